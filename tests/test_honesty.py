"""What the data can tell: coverage of phase space, sampling, and whether there is a Hamiltonian at all."""

from typing import Any

import jax
import numpy as np
import pytest
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.analysis import (
    PhaseSpaceCoverage,
    StructureCheck,
    fit_vector_field,
    phase_space_coverage,
    points_a_turn,
    sampling_check,
    structure_check,
)
from noether_razor.analysis._structure import ATTEMPTS
from noether_razor.data import Trajectories
from noether_razor.inference import Estimator, Posterior
from noether_razor.networks import HamiltonianNetwork, VectorFieldNetwork
from noether_razor.symmetry import NoAveraging
from noether_razor.training import FitResult, NonFiniteBoundError, Training, fit


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


# Coverage


@pytest.mark.parametrize(("frequencies", "laws"), [((1.0, 1.0), 4), ((1.0, 2**0.5), 2), ((1.0,), 1)])
@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_accidents_vanish_as_trajectories_are_added(frequencies, laws, noise):
    found = phase_space_coverage(oscillators(24, frequencies, noise=noise), noise_variance=noise**2)
    counts = [count for _, count in found.constant]
    assert counts[-1] == laws
    assert counts == sorted(counts, reverse=True)
    if len(frequencies) == 2:
        assert counts[0] > laws
    assert found.enough and f": {laws} combination" in found.text()
    assert found.dimensions == pytest.approx(2 * len(frequencies), rel=0.2)


def test_the_count_that_fell_last_is_told():
    found = PhaseSpaceCoverage(20, 1000, 14, ((1, 6), (8, 2), (16, 1), (20, 1)), 16, 4.0)
    assert not found.enough
    assert "1 combination stays constant" in found.text() and "along 8 of them 2:" in found.text()


def test_one_orbit_of_two_equal_oscillators_keeps_ten():
    found = phase_space_coverage(oscillators(1))
    assert found.constant == ((1, 10),) and found.monomials == 14
    assert not found.enough and "cannot tell a law from an accident" in found.text()


def test_few_trajectories_are_said_with_a_number():
    found = phase_space_coverage(oscillators(2))
    assert not found.enough
    assert "about 8 would tell" in found.text()


@settings(max_examples=20, deadline=None)
@given(st.integers(-30, 30), st.integers(-30, 30), st.floats(-3, 3))
def test_coverage_does_not_depend_on_units(q, p, offset):
    data = oscillators(8)
    units = np.array([2.0**q, 2.0**q, 2.0**p, 2.0**p])
    moved = Trajectories(data.times, (data.states + offset) * units, lengths=data.lengths)
    assert phase_space_coverage(moved).constant == phase_space_coverage(data).constant


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


def test_the_sub_step_rule_gives_the_fewest_steps_that_meet_it():
    fast = oscillators(4, (50.0,), dt=0.02)
    estimator = Estimator()
    found = sampling_check(hamiltonian, fast, noise_variance=1e-4, estimator=estimator)
    assert found.fine_enough and found.substeps is not None and found.substeps > 1
    assert found.error <= found.limit == pytest.approx(1e-3)
    fewer = sampling_check(
        hamiltonian, fast, noise_variance=1e-4, estimator=estimator, most_substeps=found.substeps - 1
    )
    assert fewer.substeps is None and fewer.error > fewer.limit
    assert "too coarse" in fewer.text() and "too coarse" not in found.text()


def test_sampling_below_the_frequency_of_motion_is_too_coarse():
    coarse = oscillators(4, (50.0,), dt=0.05)
    found = sampling_check(hamiltonian, coarse, noise_variance=1e-2, estimator=Estimator())
    assert not found.fine_enough and found.points_a_turn < 4
    assert "too coarse" in found.text()
    with pytest.raises(ValueError, match="positive, got 0"):
        sampling_check(hamiltonian, coarse, noise_variance=0.0, estimator=Estimator())


# Structure

FEW = Estimator(weight_samples=4, group_samples=1)
TRAINING = Training(steps=600, batch=100, log_every=600)


def structure_of(decay: float) -> StructureCheck:
    data = oscillators(16, (1.0,), steps=15, noise=0.01, decay=decay)
    held_out = oscillators(12, (1.0,), steps=15, noise=0.01, decay=decay, seed=1)
    common: dict[str, Any] = {"estimator": FEW}
    start = Posterior(HamiltonianNetwork(2, layers=2, width=24, rngs=nnx.Rngs(0)), noise_variance=1e-3)
    ours = fit(
        start, data.transitions(), TRAINING, key=jax.random.key(0), averaging=NoAveraging(), **common
    ).posterior
    field = fit_vector_field(
        data.transitions(), TRAINING, key=jax.random.key(1), layers=2, width=24, **common
    )
    assert isinstance(field.network, VectorFieldNetwork)
    learned = ours.network_with(ours.means())
    return structure_check(
        ours, field, jax.random.key(2), held_out, hamiltonian=learned, averaging=NoAveraging(), **common
    )


def test_friction_is_told_from_its_absence():
    free, damped = structure_of(0.0), structure_of(0.15)
    assert free.hamiltonian and "consistent with a Hamiltonian" in free.text()
    assert not damped.hamiltonian and damped.text().startswith("non-Hamiltonian")
    assert damped.energy_drifts and damped.energy_trend < 0
    assert damped.field_is_better


@pytest.mark.parametrize("failures", [2, ATTEMPTS])
def test_a_field_that_runs_away_is_fitted_anew_with_smaller_steps(
    monkeypatch: pytest.MonkeyPatch, failures: int
) -> None:
    rates = []

    def breaks(posterior: Posterior, data: Any, training: Training, **rest: Any) -> FitResult:
        rates.append(training.rates.weights)
        if len(rates) <= failures:
            raise NonFiniteBoundError(7, "the gradient")
        return fit(posterior, data, training, **rest)

    monkeypatch.setattr("noether_razor.analysis._structure.fit", breaks)

    def field() -> Posterior:
        return fit_vector_field(
            oscillators(4).transitions(),
            Training(steps=2, batch=8),
            key=jax.random.key(0),
            layers=2,
            width=8,
            estimator=Estimator(weight_samples=2, group_samples=1),
        )

    if failures < ATTEMPTS:
        assert isinstance(field().network, VectorFieldNetwork)
    else:
        with pytest.raises(NonFiniteBoundError):
            field()
    usual = Training(steps=2).rates.weights
    assert rates == [usual / 2**k for k in range(min(failures + 1, ATTEMPTS))]


def test_the_signs_need_size_and_significance():
    calm = StructureCheck(1.0, 0.99, 0.01, 0.001, 0.01, 0.001, 0.1, 0.01, motion=10.0)
    assert calm.hamiltonian
    worse = calm._replace(mse_hamiltonian=1.5, difference=0.2)
    assert not worse.hamiltonian
    assert worse._replace(difference_stderr=0.1).hamiltonian
    assert worse._replace(motion=100.0).hamiltonian
    drifting = calm._replace(energy_trend=-0.2, correlation=-0.8)
    assert not drifting.hamiltonian
    assert drifting._replace(correlation_stderr=0.3).hamiltonian


def test_one_trajectory_has_no_standard_error(posterior):
    with pytest.raises(ValueError, match="at least 2"):
        structure_check(
            posterior,
            posterior,
            jax.random.key(0),
            oscillators(1, (1.0,)),
            hamiltonian=hamiltonian,
            averaging=NoAveraging(),
            estimator=FEW,
        )


@pytest.mark.parametrize("size", [{"dim": 0}, {"layers": 1}, {"width": 0}])
def test_impossible_fields_are_refused(size):
    with pytest.raises(ValueError, match="got dim="):
        VectorFieldNetwork(**{"dim": 2, "layers": 2, "width": 3, **size}, rngs=nnx.Rngs(0))
