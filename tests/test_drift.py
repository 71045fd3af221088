"""What does not change along trajectories is found whatever noise, units and coordinates; nothing else is."""

import jax
import numpy as np
import pytest
from exact_trajectories import noisy, oscillations
from hypothesis import given, settings
from hypothesis import strategies as st
from noether_razor.analysis._baseline import null_space_baseline
from noether_razor.analysis._drift import drift_test, estimate_noise, pair_statistics
from noether_razor.analysis._monomials import (
    canonical_scales,
    coefficients,
    monomials,
    quadratic_parts,
)

from noether_razor.data import Trajectories, simulate
from noether_razor.systems import CustomSystem, HamiltonianSystem, NBody, Oscillators, Pendulum

NOISE = 1e-3
ROOT = 2**0.5
EXACT = {
    "isotropic 2": (Oscillators((1.0, 1.0)), 4),
    "frequencies 1, sqrt 2": (Oscillators((1.0, ROOT)), 2),
    "central force": (CustomSystem(2, "(p1**2 + p2**2) / 2 + log(1 + q1**2 + q2**2)"), 1),
    "2-body": (NBody(masses=(1.0, 1.0), coupling=4.0), 7),
    "pendulum": (Pendulum(), 0),
    "quartic": (CustomSystem(2, "(p1**2 + p2**2) / 2 + q1**4 + q2**4"), 0),
}


def everything(dim: int) -> tuple[np.ndarray, np.ndarray]:
    return quadratic_parts(np.eye(len(monomials(dim))), dim)


@pytest.fixture(scope="module", params=EXACT)
def measured(request: pytest.FixtureRequest) -> tuple[HamiltonianSystem, int, Trajectories]:
    system, rank = EXACT[request.param]
    if isinstance(system, Oscillators):
        return system, rank, noisy(1, oscillations(0, list(system.frequencies)), NOISE)
    data = simulate(
        system,
        jax.random.key(0),
        trajectories=50,
        transitions=30,
        dt=0.2,
        noise_variance=NOISE,
        noise_on="states",
        noise_key=jax.random.key(1),
    )
    return system, rank, data


class TestMonomials:
    @given(st.integers(1, 3), st.integers(0, 2**32 - 1))
    @settings(max_examples=20, deadline=None)
    def test_coefficients_are_the_quantity(self, dof, seed):
        random = np.random.default_rng(seed)
        rows = random.normal(size=(3, len(monomials(2 * dof))))
        matrices, vectors = quadratic_parts(rows, 2 * dof)
        np.testing.assert_allclose(coefficients(matrices, vectors), rows)
        state = random.normal(size=2 * dof)
        values = [np.prod(state[list(monomial)]) for monomial in monomials(2 * dof)]
        np.testing.assert_allclose(
            rows @ values, [state @ A @ state / 2 + b @ state for A, b in zip(matrices, vectors, strict=True)]
        )

    def test_scales_keep_brackets_and_balance_pairs(self):
        states = np.random.default_rng(0).normal(size=(5000, 4)) * [1e3, 2.0, 1e-2, 5.0]
        scales = canonical_scales(states)
        np.testing.assert_allclose(scales[0] * scales[2], scales[1] * scales[3])
        spread = np.std(states / scales, axis=0)
        np.testing.assert_allclose(spread[:2], spread[2:])

    def test_scales_of_coordinates_that_do_not_move_are_finite(self):
        assert (canonical_scales(np.array([[1.0, 0.0], [1.0, 2.0]])) > 0).all()
        assert (canonical_scales(np.ones((3, 2))) > 0).all()


class TestDrift:
    def test_finds_the_conserved_space_inside_all_monomials(self, measured):
        system, rank, data = measured
        found = drift_test(*everything(2 * system.dof), data, noise_variance=NOISE)
        assert found.rank == rank
        assert rank == 0 or found.relative_drift[rank - 1] < 0.05
        assert found.relative_drift[rank] > 0.1
        known = system.known_quantities()
        if known is None:
            return
        rows = coefficients(*found.conserved())
        truth = np.linalg.qr(coefficients(np.asarray(known.matrices[...]), np.asarray(known.vectors[...])).T)[
            0
        ]
        rows /= np.linalg.norm(rows, axis=1, keepdims=True)
        np.testing.assert_array_less(0.99, np.linalg.norm(rows @ truth, axis=1))

    def test_baseline_counts_them_too(self, measured):
        system, rank, data = measured
        found = null_space_baseline(data, noise_variance=NOISE)
        assert found.rank == rank == len(found.conserved()[0])
        assert len(found.rows) == len(monomials(2 * system.dof))

    def test_one_false_direction_does_not_spoil_the_others(self, measured):
        system, rank, data = measured
        if not rank:
            return
        known = system.known_quantities()
        mixing = np.random.default_rng(0).normal(size=(rank + 1, rank + 1))
        matrices = np.concatenate(
            [
                np.asarray(known.matrices[...], float),
                np.eye(2 * system.dof)[:1, :, None] * np.eye(2 * system.dof)[0],
            ]
        )
        vectors = np.concatenate([np.asarray(known.vectors[...], float), np.zeros((1, 2 * system.dof))])
        found = drift_test(
            np.tensordot(mixing, matrices, axes=1), mixing @ vectors, data, noise_variance=NOISE
        )
        assert found.rank == rank
        assert found.verdicts[-1] == "not conserved"

    @given(st.integers(0, 2**32 - 1))
    @settings(max_examples=10, deadline=None)
    def test_does_not_depend_on_units_offsets_and_basis(self, seed):
        random = np.random.default_rng(seed)
        data = noisy(seed, oscillations(seed, [1.0, 1.0]), NOISE)
        scales, offset = 10 ** random.uniform(-3, 3, 4), random.normal(size=4)
        moved = Trajectories(data.times, (data.states + offset) * scales)
        matrices, vectors = everything(4)
        mixing = np.linalg.qr(random.normal(size=(len(vectors), len(vectors))))[0]
        first = drift_test(matrices, vectors, data, noise_variance=NOISE)
        second = drift_test(
            np.tensordot(mixing, matrices / (scales[:, None] * scales), axes=1),
            mixing @ (vectors / scales),
            moved,
            noise_variance=NOISE * scales**2,
        )
        assert first.rank == second.rank == 4
        np.testing.assert_allclose(first.relative_drift, second.relative_drift, atol=2e-3)

    @pytest.mark.parametrize("variance", [1e-6, 1e-3, 1e-2, 1e-1])
    def test_noise_is_subtracted_exactly(self, variance):
        """The mean of D^2 is the noise part, and the spread that of the exact states."""
        exact = oscillations(0, [1.0], count=4000, length=10)
        energy = np.eye(2)[None], np.zeros((1, 2))
        statistics = pair_statistics(*energy, noisy(1, exact, variance), np.full(2, variance))
        assert abs(statistics.drift[0, 0] / statistics.noise[0, 0] - 1) < 0.03
        truth = np.var(np.sum(exact.points() ** 2, axis=1) / 2)
        assert abs(statistics.variance[0, 0] / truth - 1) < 0.05

    @pytest.mark.parametrize("variance", [1e-4, 1e-2])
    def test_false_rejections_are_as_rare_as_three_standard_errors_promise(self, variance):
        exact = oscillations(0, [1.0], count=20, length=10)
        angular = np.eye(2)[None], np.zeros((1, 2))
        excess = [
            drift_test(*angular, noisy(seed, exact, variance), noise_variance=variance).excess[0]
            for seed in range(400)
        ]
        # 0.13 % beyond 3, 16 % beyond 1 of a normal variable.
        assert np.mean(np.array(excess) > 3) <= 0.01
        assert 0.1 < np.mean(np.array(excess) > 1) < 0.22

    def test_errors_of_coefficients_are_allowed_for(self):
        data = noisy(0, oscillations(0, [1.0], count=200), 1e-5)
        wrong = np.diag([1.0, 1.04])[None], np.zeros((1, 2))
        assert drift_test(*wrong, data, noise_variance=1e-5).excess[0] > 3
        assert drift_test(*wrong, data, noise_variance=1e-5, coefficient_error=0.05).excess[0] < 3

    def test_names_what_lies_between(self):
        data = oscillations(0, [1.0], count=200)
        vectors = np.zeros((1, 2))
        verdicts = [
            drift_test(np.diag([1.0, 1.0 + error])[None], vectors, data, noise_variance=0.0).verdicts[0]
            for error in (0.0, 0.03, 0.2, 1.0)
        ]
        assert verdicts == ["conserved", "conserved", "approximately conserved", "not conserved"]

    def test_says_nothing_where_noise_hides_everything(self):
        data = noisy(0, oscillations(0, [1.0], count=8, length=4), 0.3)
        assert drift_test(np.eye(2)[None], np.zeros((1, 2)), data, noise_variance=0.3).rank == 0

    def test_leaves_out_what_is_constant_on_the_data(self):
        data = oscillations(0, [1.0])
        still = np.zeros((*data.states.shape[:2], 1))
        q, p = data.states[..., :1], data.states[..., 1:]
        found = drift_test(
            *everything(4),
            Trajectories(data.times, np.concatenate([q, still, p, still], axis=2)),
            noise_variance=0.0,
        )
        assert (found.rank, len(found.rows), found.unseen) == (1, 5, 9)

    def test_lengths_may_differ(self):
        segments = [
            (t[: 5 + k % 20], x[: 5 + k % 20]) for k, (t, x) in enumerate(oscillations(0, [1.0]).segments())
        ]
        assert drift_test(*everything(2), Trajectories.of_segments(segments), noise_variance=0.0).rank == 1

    def test_a_period_hides_no_drift(self):
        """Half a trajectory is one period: at that lag everything would look conserved."""
        exact = oscillations(0, [np.pi / 1.5], count=60, length=30)
        assert drift_test(*everything(2), exact, noise_variance=0.0).rank == 1


class TestNoise:
    @pytest.mark.parametrize("variance", [1e-4, 1e-2])
    def test_is_estimated_from_the_data(self, variance):
        columns = variance * np.array([1.0, 4.0])
        found = estimate_noise(noisy(0, oscillations(0, [1.0], count=100), columns))
        np.testing.assert_allclose(found, columns, rtol=0.1)

    def test_of_exact_data_is_negligible(self):
        assert estimate_noise(oscillations(0, [1.0])).max() < 1e-7

    def test_is_estimated_at_uneven_times(self):
        random = np.random.default_rng(0)
        times = np.cumsum(random.uniform(0.05, 0.3, size=(100, 30)), axis=1)
        states = np.stack([np.cos(times), -np.sin(times)], axis=2) * random.uniform(0.5, 2, size=(100, 1, 1))
        found = estimate_noise(noisy(1, Trajectories(times, states), 1e-3))
        np.testing.assert_allclose(found, 1e-3, rtol=0.15)

    def test_on_targets_only_leaves_states_exact(self):
        exact = oscillations(0, [1.0])
        data = Trajectories(exact.times, exact.states, exact.states[:, 1:] + 0.1)
        assert not drift_test(*everything(2), data).noise_variance.any()

    def test_of_coarse_sampling_must_be_given(self):
        with pytest.raises(ValueError, match="q1 cannot be told"):
            estimate_noise(oscillations(0, [9.0]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"matrices": np.zeros((1, 4, 4)), "vectors": np.zeros((1, 4))}, r"shapes \(K, 2, 2\)"),
        ({"matrices": np.full((1, 2, 2), np.nan)}, "finite"),
        ({"trajectories": oscillations(0, [1.0], count=1)}, "at least 2 trajectories"),
        ({"noise_variance": -1.0}, "not negative"),
    ],
)
def test_bad_input_is_refused(change, message):
    good = {"matrices": np.eye(2)[None], "vectors": np.zeros((1, 2)), "trajectories": oscillations(0, [1.0])}
    with pytest.raises((ValueError, TypeError), match=message):
        drift_test(**(good | {"noise_variance": 0.0} | change))
