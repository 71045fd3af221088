"""What the data can tell: few trajectories, sampling, and whether there is a Hamiltonian at all."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.diagnostics import (
    StructureCheck,
    fit_vector_field,
    points_a_turn,
    sampling_check,
    structure_check,
    vector_field_posterior,
)
from noether_razor.diagnostics.structure import ASYMMETRIC, ATTEMPTS, Asymmetry, field_asymmetry
from noether_razor.inference import ELBO, Estimator, Posterior
from noether_razor.invariants import conserved_space
from noether_razor.networks import HamiltonianNetwork, VectorFieldNetwork
from noether_razor.prediction import substep_error
from noether_razor.training import FitResult, NonFiniteELBOError, Training, fit
from noether_razor.trajectories import Trajectories


def oscillators(
    count: int,
    frequencies: tuple[float, ...] = (1.0, 1.0),
    *,
    steps: int = 40,
    dt: float = 0.3,
    noise: float = 0.0,
    decay: float = 0.0,
    seed: int = 0,
) -> Trajectories:
    """Oscillators with amplitudes of their own, of unequal length, damped exponentially by `decay`."""
    generator = np.random.default_rng(seed)
    segments = []
    for k in range(count):
        times = dt * np.arange(steps + k % 3)
        angle = times[:, None] * np.array(frequencies) + generator.uniform(0, 6, len(frequencies))
        amplitude = generator.uniform(0.3, 1.5, len(frequencies)) * np.exp(-decay * times)[:, None]
        states = np.concatenate([amplitude * np.cos(angle), -amplitude * np.sin(angle)], axis=1)
        segments.append((times, states + noise * generator.standard_normal(states.shape)))
    return Trajectories.of_segments(segments)


# Few trajectories


@pytest.mark.parametrize(("frequencies", "laws"), [((1.0, 1.0), 4), ((1.0, 2**0.5), 2), ((1.0,), 1)])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_accidents_vanish_as_trajectories_are_added(frequencies, laws, noise):
    data = oscillators(24, frequencies, noise=noise)
    spaces = [conserved_space(data[:count], noise_variance=noise**2) for count in (1, 2, 4, 8, 24)]
    counts = [space.staying for space in spaces]
    assert counts == sorted(counts, reverse=True) and counts[-1] == spaces[-1].rank == laws
    assert spaces[-1].decided and not spaces[0].decided
    if frequencies == (1.0, 1.0):
        assert counts[0] > laws
    # Never more than trajectories can show.
    assert all(space.rank <= space.most for space in spaces)


def test_one_orbit_of_two_equal_oscillators_keeps_ten():
    found = conserved_space(oscillators(1))
    assert (found.staying, found.rank, len(found.ratios)) == (10, 0, 14) and not found.decided


def test_few_trajectories_are_said_with_a_number():
    found = conserved_space(oscillators(2))
    assert not found.decided and found.rank == 1 and 4 <= found.needed <= 12


@settings(max_examples=20, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.floats(-3, 3))
def test_the_count_does_not_depend_on_units(q, p, offset):
    data = oscillators(8)
    units = np.array([2.0**q, 2.0**q, 2.0**p, 2.0**p])
    moved = Trajectories(data.times, (data.states + offset) * units, lengths=data.lengths)
    found, plain = conserved_space(moved), conserved_space(data)
    assert (found.staying, found.rank, found.decided) == (plain.staying, plain.rank, plain.decided)


# Sampling


@pytest.mark.parametrize("dt", [0.1, 0.5, 1.0])
def test_points_a_turn_of_a_circle(dt):
    assert points_a_turn(oscillators(5, (1.0,), dt=dt)) == pytest.approx(2 * np.pi / dt, rel=0.1)


def test_straight_motion_never_turns_and_pairs_of_points_do_not_say():
    times = np.tile(np.arange(5.0), (2, 1))
    straight = np.stack([times, np.ones_like(times)], axis=2)
    assert points_a_turn(Trajectories(times, straight)) == np.inf
    assert np.isnan(points_a_turn(Trajectories(times[:, :2], straight[:, :2])))


def hamiltonian(x):
    return 50.0 * (x[0] ** 2 + x[1] ** 2) / 2


def stiff_error(trajectories):
    """That of so many sub-steps, of `hamiltonian`."""
    return lambda substeps: substep_error(
        hamiltonian, trajectories.transitions(), estimator=Estimator(substeps=substeps)
    )


def test_the_sub_step_rule_gives_the_fewest_steps_that_meet_it():
    fast = oscillators(4, (50.0,), dt=0.02)
    error = stiff_error(fast)
    found = sampling_check(error, fast, noise_variance=1e-4)
    assert found.fine_enough and found.substeps is not None and found.substeps > 1
    assert found.error <= found.limit == pytest.approx(1e-3)
    fewer = sampling_check(error, fast, noise_variance=1e-4, most_substeps=found.substeps - 1)
    assert fewer.substeps is None and fewer.error > fewer.limit
    assert "too coarse" in fewer.text() and "too coarse" not in found.text()


def test_sampling_below_the_frequency_of_motion_is_too_coarse():
    coarse = oscillators(4, (50.0,), dt=0.05)
    found = sampling_check(stiff_error(coarse), coarse, noise_variance=1e-2)
    assert not found.fine_enough and found.points_a_turn < 4
    assert "too coarse" in found.text()
    with pytest.raises(ValueError, match="positive, got 0"):
        sampling_check(stiff_error(coarse), coarse, noise_variance=0.0)


# Structure

FEW = Estimator(weight_samples=4, group_samples=1)
TRAINING = Training(steps=600, batch=100, log_every=600)


def structure_of(decay: float) -> StructureCheck:
    data = oscillators(16, (1.0,), steps=15, noise=0.01, decay=decay)
    held_out = oscillators(12, (1.0,), steps=15, noise=0.01, decay=decay, seed=1)
    start = Posterior(HamiltonianNetwork(2, layers=2, width=24, rngs=nnx.Rngs(0)), noise_variance=1e-3)
    rows = data.transitions()
    objective = ELBO.of(rows, FEW)
    ours = fit(start, rows, objective, TRAINING, key=jax.random.key(0)).posterior
    for_start, for_fit = jax.random.split(jax.random.key(1))
    unstructured = vector_field_posterior(rows, for_start, layers=2, width=24)
    field = fit_vector_field(unstructured, rows, objective, TRAINING, key=for_fit)
    assert isinstance(field.network, VectorFieldNetwork)
    learned = ours.network_with(ours.means())
    return structure_check(
        ours,
        field,
        jax.random.key(2),
        held_out,
        noise_variance=np.full(2, 1e-4),
        hamiltonian=learned,
        estimator=FEW,
    )


def test_friction_is_told_from_its_absence():
    free, damped = structure_of(0.0), structure_of(0.15)
    assert free.hamiltonian is True and free.verdict == "explained" and free.reason is None
    assert free.asymmetry is not None and "motion explained" in free.text()
    assert damped.hamiltonian is False and damped.energy_drifts and damped.energy_trend < 0
    assert damped.field_is_better and damped.asymmetry is not None
    assert damped.asymmetry.friction > max(free.asymmetry.friction, damped.asymmetry.turning)
    assert damped.reason in ("friction", "energy")


@pytest.mark.parametrize("failures", [2, ATTEMPTS])
def test_a_field_that_runs_away_is_fitted_anew_with_smaller_steps(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    rates = []

    def breaks(
        posterior: Posterior, data: Any, objective: ELBO, training: Training, **rest: Any
    ) -> FitResult:
        rates.append(training.rates.weights)
        if len(rates) <= failures:
            raise NonFiniteELBOError(7, "the gradient")
        return fit(posterior, data, objective, training, **rest)

    monkeypatch.setattr("noether_razor.diagnostics.structure.fit", breaks)

    def field() -> Posterior:
        rows = oscillators(4).transitions()
        start = vector_field_posterior(rows, jax.random.key(0), layers=2, width=8)
        objective = ELBO.of(rows, Estimator(weight_samples=2, group_samples=1))
        return fit_vector_field(start, rows, objective, Training(steps=2, batch=8), key=jax.random.key(0))

    if failures < ATTEMPTS:
        assert isinstance(field().network, VectorFieldNetwork)
    else:
        with pytest.raises(NonFiniteELBOError):
            field()
    usual = Training(steps=2).rates.weights
    assert rates == [usual / 2**k for k in range(min(failures + 1, ATTEMPTS))]


def check(**changes: Any) -> StructureCheck:
    """A model that follows the motion as well as a free field does, to the noise."""
    values: dict[str, Any] = {
        "rows": 1,
        "motion": 1.0,
        "floor": 0.01,
        "mse_hamiltonian": 0.0101,
        "mse_field": 0.01,
        "difference": 0.005,
        "difference_stderr": 0.01,
        "energy_trend": 0.01,
        "energy_trend_stderr": 0.01,
        "correlation": 0.1,
        "correlation_stderr": 0.1,
        "asymmetry": Asymmetry(0.1, 0.05, 0.05, 0.02),
    }
    return StructureCheck(**(values | changes))


@pytest.mark.parametrize(
    ("changes", "verdict", "hamiltonian", "reason"),
    [
        ({}, "explained", True, None),
        ({"mse_hamiltonian": 0.05}, "partly explained", True, None),
        # What explains too little says nothing of a Hamiltonian, for or against.
        ({"mse_hamiltonian": 0.9, "mse_field": 0.9}, "not explained", None, None),
        ({"mse_hamiltonian": float("inf")}, "not explained", None, None),
        # Noise as large as the motion: it cannot be seen what explains it.
        ({"floor": 0.9, "mse_hamiltonian": 1.0, "mse_field": 1.0}, "not explained", None, None),
        ({"mse_hamiltonian": 0.2, "difference": 0.8}, "partly explained", False, "coordinates"),
        # The better field is Hamiltonian itself.
        (
            {"mse_hamiltonian": 0.2, "difference": 0.8, "asymmetry": Asymmetry(0.02, 0.0, 0.01, 0.01)},
            "partly explained",
            True,
            None,
        ),
        # Beyond chance, by a third, and visibly.
        ({"mse_hamiltonian": 0.2, "difference": 0.02}, "partly explained", True, None),
        ({"mse_hamiltonian": 0.012, "difference": 0.8}, "explained", True, None),
        ({"mse_hamiltonian": 0.015, "mse_field": 0.0145, "difference": 0.8}, "explained", True, None),
        ({"energy_trend": -0.2, "correlation": -0.8}, "explained", False, "energy"),
        ({"energy_trend": -0.2, "correlation": -0.2}, "explained", True, None),
        ({"energy_trend": -0.02, "correlation": -0.8}, "explained", True, None),
    ],
)
def test_verdicts_need_size_and_significance(changes, verdict, hamiltonian, reason):
    found = check(**changes)
    assert (found.verdict, found.hamiltonian, found.reason) == (verdict, hamiltonian, reason)
    assert f"motion {verdict}" in found.text()


@pytest.mark.parametrize(
    ("asymmetry", "reason"),
    [
        (Asymmetry(0.6, 0.5, 0.1, 0.1), "velocities"),
        (Asymmetry(0.6, 0.1, 0.5, 0.1), "friction"),
        (Asymmetry(0.6, 0.1, 0.1, 0.5), "coordinates"),
        (Asymmetry(0.08, 0.06, 0.01, 0.01), "coordinates"),
        (None, "coordinates"),
    ],
)
def test_what_speaks_against_a_hamiltonian_is_named(asymmetry, reason):
    found = check(mse_hamiltonian=0.2, difference=0.8, asymmetry=asymmetry)
    assert found.hamiltonian is False and found.reason == reason
    # The fits are as good, and the energy falls: a field that follows the motion says why.
    drifting = check(energy_trend=-0.2, correlation=-0.8, asymmetry=asymmetry)
    seen = asymmetry is not None and asymmetry.whole > ASYMMETRIC
    assert drifting.hamiltonian is False and drifting.reason == (reason if seen else "energy")
    poor = check(energy_trend=-0.2, correlation=-0.8, asymmetry=asymmetry, mse_field=0.9)
    assert poor.reason == "energy"


def linear_field(matrix: np.ndarray) -> Posterior:
    """x' = M x."""

    class Linear(nnx.Module):
        def __init__(self):
            self.kernel = nnx.Param(jnp.asarray(matrix.T, jnp.float32))

        def __call__(self, state: jax.Array) -> jax.Array:
            return state @ self.kernel[...]

    return Posterior(Linear(), relative_scale=1e-5)


@pytest.mark.parametrize(
    ("rates", "largest"),
    [
        (np.zeros((2, 2)), None),
        (-0.8 * np.eye(2), "friction"),
        (np.array([[0.0, 1.0], [-1.0, 0.0]]), "turning"),
    ],
)
def test_the_field_tells_friction_from_forces_at_right_angles(rates, largest):
    zero, one = np.zeros((2, 2)), np.eye(2)
    matrix = np.block([[zero, one], [-one, rates]])
    states = np.random.default_rng(0).normal(size=(20, 4))
    found = field_asymmetry(linear_field(matrix), jax.random.key(0), states)
    if largest is None:
        assert found.whole < 1e-3
    else:
        assert found.whole > 0.15 and getattr(found, largest) == max(found[1:])
    # A force that no potential has.
    turning = np.block([[zero, one], [np.array([[-1.0, 0.7], [-0.7, -1.0]]), zero]])
    curl = field_asymmetry(linear_field(turning), jax.random.key(0), states)
    assert curl.curl == max(curl[1:]) > 0.15


def test_one_trajectory_has_no_standard_error_and_nothing_to_compare_needs_no_field(posterior):
    found = structure_check(
        posterior,
        None,
        jax.random.key(0),
        oscillators(1, (1.0,)),
        noise_variance=np.full(2, 1e-4),
        hamiltonian=hamiltonian,
        estimator=FEW,
    )
    assert np.isnan([found.mse_field, found.energy_trend, found.difference_stderr]).all()
    assert found.asymmetry is None and not found.field_is_better and not found.energy_drifts
    assert "energy" not in found.text() and "unstructured" not in found.text()


@pytest.mark.parametrize("size", [{"dim": 0}, {"layers": 1}, {"width": 0}])
def test_impossible_fields_are_refused(size):
    with pytest.raises(ValueError, match="got dim="):
        VectorFieldNetwork(**{"dim": 2, "layers": 2, "width": 3, **size}, rngs=nnx.Rngs(0))
