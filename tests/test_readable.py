"""The Hamiltonian as a formula: the terms it keeps, their errors and units, predictions beyond the data."""

import json

import numpy as np
import pytest
from scipy.integrate import solve_ivp

import noether_razor as nr
from noether_razor.app.config import build_system, simulate_data, simulate_test_sets
from noether_razor.exact_evidence import ReadableHamiltonian
from noether_razor.exact_evidence.hamiltonian import needed_terms
from noether_razor.invariants.simple_numbers import with_error
from noether_razor.paper.targets import TABLE1, row_config
from noether_razor.trajectories import Trajectories

TRUE = {"p1^2": 0.5, "q1^2": 0.5, "q1^4": 0.1}
"""H = p^2 / 2 + q^2 / 2 + q^4 / 10."""


def followed(states: np.ndarray, times: np.ndarray, friction: float = 0.0) -> np.ndarray:
    """True trajectories (batch, time, 2)."""

    def field(_, x):
        return [x[1], -x[0] - 0.4 * x[0] ** 3 - friction * x[1]]

    paths = [solve_ivp(field, (0, times[-1]), s, t_eval=times, rtol=1e-10, atol=1e-12).y for s in states]
    return np.swapaxes(np.array(paths), 1, 2)


def quartic(seed: int = 0, friction: float = 0.0) -> Trajectories:
    """12 trajectories of 31 rows with noise of 1 % on both columns."""
    draws = np.random.default_rng(seed)
    times = 0.2 * np.arange(31)
    states = followed(draws.normal(size=(12, 2)), times, friction)
    states += 0.01 * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
    return Trajectories(np.tile(times, (12, 1)), states)


@pytest.fixture(scope="module")
def found() -> nr.Evidence:
    return nr.evidence(quartic())


def formula(found: nr.Evidence) -> ReadableHamiltonian:
    assert found.hamiltonian is not None
    return found.hamiltonian


def test_the_terms_that_are_there_and_no_others(found):
    h = formula(found)
    assert {term.text for term in h.terms} == set(TRUE) and h.dictionary == 14 and h.gain > 10
    for term in h.terms:
        assert 0 < term.error < 0.02 and abs(term.coefficient - TRUE[term.text]) < 4 * term.error
    assert h.text().split(" ")[1] == "p1^2" and h.friction == 0.0
    assert f"H = {h.text()}" in str(found)


@pytest.mark.slow
def test_errors_are_those_of_repeated_data():
    off = []
    for seed in range(1, 9):
        h = formula(nr.evidence(quartic(seed)))
        off += [(term.coefficient - TRUE[term.text]) / term.error for term in h.terms if term.text in TRUE]
    assert len(off) == 24 and 0.5 < np.sqrt(np.mean(np.square(off))) < 1.6


def test_predictions_beyond_the_data(found):
    # At twice the largest amplitude of the file.
    states, times = np.array([[5.0, 0.0], [0.0, -6.0]]), np.linspace(0, 3, 16)
    truth = followed(states, times)
    rollouts = found.predict(states, times, samples=40)
    assert rollouts.states.shape == (2, 16, 2) and rollouts.samples.shape == (40, 2, 16, 2)
    np.testing.assert_allclose(rollouts.states[:, 0], states)
    assert np.sqrt(np.mean((rollouts.states - truth) ** 2)) < 0.15
    low, high = rollouts.band(0.98)
    assert np.mean((low <= truth + 1e-9) & (truth - 1e-9 <= high)) > 0.8
    values = formula(found).values(rollouts.states)
    assert np.ptp(values, axis=1).max() < 1e-5 * values.max()


def test_friction_stands_beside_it_and_acts_on_predictions():
    found = nr.evidence(quartic(friction=0.05))
    h = formula(found)
    assert set(TRUE) <= {term.text for term in h.terms}
    assert h.friction == pytest.approx(found.friction.gamma, abs=3 * found.friction.sd)
    assert h.friction == pytest.approx(0.05, abs=0.005)
    start, times = np.array([[1.0, 0.5]]), np.linspace(0, 6, 31)
    assert np.abs(found.predict(start, times).states - followed(start, times, 0.05)).max() < 0.02


def test_units_and_origin_of_the_file(found):
    data, factor, shift = quartic(), np.array([1e-3, 1e5]), np.array([1.0, 0.0])
    moved = Trajectories(data.times * 10, data.states * factor + shift, names=("x", "p_x"))
    there = nr.evidence(moved)
    h, energy = formula(there), factor.prod() / 10
    kinetic, *potential = h.terms
    assert kinetic.text == "p_x^2" and kinetic.coefficient == pytest.approx(0.5 * energy / 1e10, rel=0.01)
    assert all(term.text.startswith(f"(x - {h.origin[0]:.6g})") for term in potential)
    # The unit of energy is action over time; a constant is free.
    states = data.points()
    values = h.values(states * factor + shift) / energy - formula(found).values(states)
    assert np.std(values) < 0.01 * np.std(formula(found).values(states))
    first, times = np.array([[1.0, 0.5]]), np.linspace(0, 3, 4)
    back = (there.predict(first * factor + shift, times * 10).states - shift) / factor
    np.testing.assert_allclose(back, followed(first, times), atol=0.03)


def test_files_hold_all_that_predictions_need(found):
    entry = json.loads(json.dumps(found.to_json()))
    again = nr.Evidence.from_json(entry)
    assert again.to_json() == found.to_json()
    states, times = np.array([[1.0, 0.0]]), [0.0, 1.0, 2.0]
    for one, other in zip(
        found.predict(states, times, samples=3), again.predict(states, times, samples=3), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    assert entry["hamiltonian"]["terms"][0]["text"] == "p1^2"
    # Of before there were formulas.
    del entry["hamiltonian"]
    with pytest.raises(ValueError, match="no Hamiltonian to predict with"):
        nr.Evidence.from_json(entry).predict(states, times)


def test_what_cannot_be_predicted(found):
    h = formula(found)
    with pytest.raises(ValueError, match=r"shape \(batch, 2\), got \(1, 3\)"):
        h.predict(np.ones((1, 3)), [0.0, 1.0])
    with pytest.raises(ValueError, match="increasing"):
        h.predict(np.ones((1, 2)), [0.0, 0.0])
    with pytest.raises(ValueError, match="samples=100"):
        h.predict(np.ones((1, 2)), [0.0, 1.0]).band()
    down = h.to_json()
    down["terms"][-1]["coefficient"] = -1.0
    runaway = ReadableHamiltonian.from_json(down)
    with pytest.raises(FloatingPointError, match="goes to infinity after the time"):
        runaway.predict(9 * np.ones((1, 2)), np.linspace(0, 9, 10))


@pytest.mark.slow
def test_at_three_times_the_radius_of_the_data_of_table_1():
    """Networks have errors of .04 to .05 there (docs/results.md); the noise has a variance of .001."""
    errors = []
    for seed in range(3):
        config = row_config(TABLE1.rows[0], seed=seed, budget="standard", paper=())
        system = build_system(config.system)
        found = nr.evidence(simulate_data(config, system))
        wider = simulate_test_sets(config, system)["wider"].transitions()
        first, target = np.asarray(wider.states, np.float64), np.asarray(wider.targets, np.float64)
        reached = found.predict(first, [0.0, config.data.dt]).states[:, 1]
        errors.append(np.mean((reached - target) ** 2))
    assert np.mean(errors) < 0.004


class TestNeededTerms:
    def test_of_independent_coefficients_by_their_odds(self):
        error, prior = 0.01, 1.0
        # log(prior / error^2) + 2 log 5 = 12.4: a coefficient needs 3.53 errors.
        mean = np.array([0.034, 0.037, -0.037, 0.0, 1.0])
        kept = needed_terms(mean, error**2 * np.eye(5), np.full(5, prior))
        np.testing.assert_array_equal(kept, [False, True, True, False, True])

    def test_of_many_to_choose_from_one_is_there_by_chance(self):
        # log(prior / error^2) + 2 log 100 = 11.5: it needs 3.39 errors, and 2.4 where it is the only one.
        only = np.array([0.032]), np.array([[1e-4]]), np.array([0.001])
        assert needed_terms(*only).all() and not needed_terms(*only, 100).any()

    def test_of_two_that_do_the_same_one_stays(self):
        covariance = 1e-4 * np.array([[100.0, -99.995], [-99.995, 100.0]])
        kept = needed_terms(np.array([0.3, 0.2]), covariance, np.ones(2))
        assert kept.sum() == 1

    def test_what_has_no_prior_variance_is_not_wanted(self):
        kept = needed_terms(np.ones(2), 1e-4 * np.eye(2), np.array([0.0, 1.0]))
        np.testing.assert_array_equal(kept, [False, True])


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (0.5012, 0.0021, "0.501(2)"),
        (0.5012, 0.0014, "0.5012(14)"),
        (0.5012, 0.00096, "0.5012(10)"),
        (-2.0, 0.3, "-2.0(3)"),
        (1234.0, 30.0, "1230(30)"),
        (1.0, 0.0, "1"),
        (5.012e11, 2.1e8, "5.012(2)e11"),
        (5.012e-12, 2.1e-14, "5.01(2)e-12"),
    ],
)
def test_errors_of_the_last_digits(value, error, text):
    assert with_error(value, error) == text
