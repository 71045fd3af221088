"""Whether a fit has learned, early and at the end; steps across rows left out; masses."""

import jax
import numpy as np
import pytest

from noether_razor.analysis import LearningCheck, learning_check
from noether_razor.config import ConfigError, build_system, parse_config
from noether_razor.config._build import MAX_SUBSTEPS, substeps_for
from noether_razor.config._schema import SystemTable
from noether_razor.data import Transitions, simulate
from noether_razor.inference import Estimator, windows_of
from noether_razor.symmetry import NoAveraging
from noether_razor.systems import Oscillators
from noether_razor.training import Report, Training, early_check, fit, no_motion_nll

ESTIMATOR = Estimator(substeps=1, group_samples=1, weight_samples=2)


@pytest.mark.parametrize(
    ("error", "motion", "noise", "verdict"),
    [
        (0.0042, 0.2, 0.003, "explained"),
        (0.0039, 0.2, None, "explained"),
        (0.02, 0.2, 0.003, "partly explained"),
        (0.11, 0.2, 0.003, "not explained"),
        (0.3, 0.2, None, "not explained"),
        (float("nan"), 0.2, 0.003, "not explained"),
        (0.0042, 0.0043, 0.003, "explained"),
        (0.1, 0.0, None, "not explained"),
    ],
)
def test_verdicts(error, motion, noise, verdict):
    check = LearningCheck(error, motion, noise, 0.1)
    assert check.verdict == verdict and check.learned == (verdict != "not explained")
    assert check.text().startswith("the fit has not learned") == (not check.learned)
    assert ("more training.steps" in check.text()) == (verdict != "explained")


@pytest.fixture(scope="module")
def data():
    return simulate(Oscillators(), jax.random.key(0), trajectories=10, transitions=20, dt=0.3)


def test_an_untrained_network_has_not_learned_and_a_trained_one_has(posterior, data):
    options = {"averaging": NoAveraging(), "estimator": ESTIMATOR}
    before = learning_check(posterior, jax.random.key(0), data, **options)
    assert not before.learned and before.last_gain is None
    training = Training(steps=400, log_every=20, learn_noise_variance=True, noise_floor=1e-7)
    result = fit(posterior, data.transitions(), training, key=jax.random.key(1), **options)
    history = [report.nll for report in result.history]
    after = learning_check(
        result.posterior, jax.random.key(0), data, noise_variance=np.full(2, 1e-8), history=history, **options
    )
    assert after.learned and after.share < 0.2 < before.share and after.motion == before.motion
    assert after.last_gain is not None and result.stopped == ""


def report(step: int, nll: float) -> Report:
    return Report(step, 0.0, 0.0, nll, 0.0, 0.0, 1e-3, None)  # type: ignore[arg-type]


def test_two_late_reports_above_no_motion_end_a_fit(posterior, data):
    training = Training(steps=1000, learn_noise_variance=True)
    bar = no_motion_nll(data.transitions())
    for steps, stopped in (
        ([(100, bar + 9), (190, bar + 9), (300, bar - 1)], False),
        ([(100, bar + 9), (200, bar + 9), (300, bar - 1), (400, bar + 9), (500, bar - 1)], False),
        ([(200, bar + 9), (300, bar + 9)], True),
        ([(200, bar - 9), (300, float("nan")), (400, float("nan"))], True),
    ):
        should_stop = early_check(posterior, data.transitions(), training)
        reasons = [should_stop(report(*pair)) for pair in steps]
        assert bool(reasons[-1]) == stopped and not any(reasons[:-1])
    assert "nothing moves" in reasons[-1] and "400 of 1000" in reasons[-1]


def test_a_fit_ends_where_it_is_told_to(posterior, data):
    seen = []
    result = fit(
        posterior,
        data.transitions(),
        Training(steps=50, log_every=10),
        key=jax.random.key(0),
        averaging=NoAveraging(),
        estimator=ESTIMATOR,
        callback=lambda report: seen.append(report.step),
        should_stop=lambda report: "enough" if report.step >= 20 else "",
    )
    assert result.stopped == "enough" and seen == [10, 20] and int(result.state.step) == 20


def test_no_motion_is_the_gaussian_of_the_steps(data):
    pairs = data.transitions()
    steps = np.asarray(pairs.targets) - np.asarray(pairs.states)
    variance = float(np.mean(steps**2))
    expected = np.mean(np.sum(np.log(2 * np.pi * variance) + steps**2 / variance, axis=1)) / 2
    assert no_motion_nll(pairs) == pytest.approx(expected)
    assert no_motion_nll(pairs, 2 * variance) > expected
    assert no_motion_nll(windows_of(data, 1)) == pytest.approx(expected)
    assert no_motion_nll(windows_of(data, 5)) > expected
    still = Transitions(np.zeros((3, 2)), np.zeros((3, 2)), np.ones(3))
    assert np.isfinite(no_motion_nll(still))


def test_substeps_reach_across_rows_left_out():
    assert substeps_for(np.full(100, 0.1)) == 1
    usual = np.full(1000, 0.4)
    assert substeps_for(np.append(usual, [0.8] * 30)) == 2
    assert substeps_for(np.append(usual, 1.8)) == 2
    assert substeps_for(np.append(usual, [1.8] * 30)) == 4
    assert substeps_for(np.full(10, 1e9)) == MAX_SUBSTEPS


def test_a_mass_of_zero_is_one_true_message():
    table = SystemTable(kind="n_body", parameters={"masses": [1.0, 0.0]})
    with pytest.raises(ConfigError, match="got 0 for body 2: a body without mass has no momentum"):
        build_system(table)
    custom = SystemTable(kind="custom", dof=1, hamiltonian="p1**2 / (2 * m) + q1**2", parameters={"m": 0.0})
    with pytest.raises(ConfigError, match="is zero; expected a divisor that is not"):
        build_system(custom)


@pytest.mark.parametrize("masses", [0, [1.0, 0.0], ["0"], [-1], True, [True], "heavy", [], float("inf")])
def test_wrong_masses_of_a_file_are_one_message(masses):
    with pytest.raises(ConfigError) as caught:
        parse_config({"data": {"file": "x.csv", "masses": masses}})
    assert str(caught.value).count("data.masses") == 1 and "expected positive numbers" in str(caught.value)


@pytest.mark.parametrize("masses", [2, 2.0, [1, 2.5], ["2.5"]])
def test_right_masses_of_a_file_are_read(masses):
    assert parse_config({"data": {"file": "x.csv", "masses": masses}}).data.masses
