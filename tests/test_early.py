"""A fit that learns nothing is ended early."""

import jax
import numpy as np
import pytest

from noether_razor.inference import ELBO, Estimator, Posterior, SegmentLikelihood
from noether_razor.systems import Oscillators
from noether_razor.training import Report, Training, early_check, fit, no_motion_nll
from noether_razor.trajectories import Transitions, simulate

ESTIMATOR = Estimator(substeps=1, group_samples=1, weight_samples=2)


@pytest.fixture(scope="module")
def data():
    return simulate(Oscillators(), jax.random.key(0), trajectories=10, transitions=20, dt=0.3)


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
    assert "predicting no motion" in reasons[-1] and "400 of 1000" in reasons[-1]


def test_a_fit_ends_where_it_is_told_to(posterior, data):
    seen = []
    result = fit(
        Posterior(posterior.network),
        data.transitions(),
        ELBO.of(data.transitions(), ESTIMATOR),
        Training(steps=50, log_every=10),
        key=jax.random.key(0),
        callback=lambda report: seen.append(report.step),
        should_stop=lambda report: "enough" if report.step >= 20 else "",
    )
    assert result.stopped == "enough" and seen == [10, 20] and int(result.state.step) == 20


def test_no_motion_is_the_gaussian_of_the_steps(data):
    pairs = data.transitions()
    steps = np.asarray(pairs.targets) - np.asarray(pairs.states)
    variance = np.mean(steps**2)
    expected = np.mean(np.sum(np.log(2 * np.pi * variance) + steps**2 / variance, axis=1)) / 2
    assert no_motion_nll(pairs) == pytest.approx(expected)
    assert no_motion_nll(pairs, 2 * float(variance)) > expected
    assert no_motion_nll(SegmentLikelihood().cut(data, 1)) == pytest.approx(expected)
    assert no_motion_nll(SegmentLikelihood().cut(data, 5)) > expected
    still = Transitions(np.zeros((3, 2)), np.zeros((3, 2)), np.ones(3))
    assert np.isfinite(no_motion_nll(still))
