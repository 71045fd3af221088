"""What measured trajectories alone say of conservation: counts, limits, noise, and what they cannot tell."""

import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from exact_trajectories import linear_motion, noisy
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

import noether_razor as nr
from noether_razor import ConservedSpace, analyse, conserved_space
from noether_razor.invariants import Motion, noise_estimate
from noether_razor.invariants.correlated import rows_alike
from noether_razor.invariants.monomials import canonical_scales, coefficients, monomials, quadratic_parts
from noether_razor.invariants.noise import differences, noise_profile
from noether_razor.trajectories import Trajectories

ROOT = 2**0.5
SPIN = {(0, 3): 1.0, (1, 2): -1.0}
ENERGY = {(0, 0): 0.5, (1, 1): 0.5, (2, 2): 0.5, (3, 3): 0.5}
FIELD = np.array([[0.25, 0, 0, -0.5], [0, 0.25, 0.5, 0], [0, 0.5, 1, 0], [-0.5, 0, 0, 1]])
"""The Hessian of a charge in a uniform field: ((p1 + q2 / 2)^2 + (p2 - q1 / 2)^2) / 2."""


def row(terms: dict[tuple[int, ...], float], dim: int = 4) -> np.ndarray:
    """A quantity as coefficients of all monomials."""
    return np.array([terms.get(monomial, 0.0) for monomial in monomials(dim)])


def shared(space: np.ndarray, quantity: np.ndarray) -> float:
    """The cosine of a quantity and the span of others, all as coefficients of monomials."""
    if not len(space):
        return 0.0
    basis = np.linalg.qr((space / np.linalg.norm(space, axis=1, keepdims=True)).T)[0]
    return float(np.linalg.norm(quantity @ basis) / np.linalg.norm(quantity))


def conserved(space: ConservedSpace) -> np.ndarray:
    return space.motion.quantities(space.conserved)


def measured(data: Trajectories, share: float, seed: int = 0) -> Trajectories:
    """With noise on all columns, of standard deviation `share` times the spread of each."""
    return noisy(1000 + seed, data, (share * data.points().std(axis=0)) ** 2)


def oscillators(
    frequencies: tuple[float, ...], count: int, length: int = 51, dt: float = 0.2, seed: int = 0
) -> Trajectories:
    return linear_motion(np.diag([*frequencies, *frequencies]), seed, count, length, dt)


def damped(
    decay: float, count: int, length: int, dt: float = 0.2, seed: int = 0, dof: int = 1
) -> Trajectories:
    """q'' = -q - decay q', p = q': q^2 + p^2 + decay q p falls as exp(-decay t)."""
    generator = np.random.default_rng(seed)
    times = dt * np.arange(length)
    amplitude, phase = generator.uniform(0.4, 1.6, (2, count, 1, dof)) * np.array([1, 4]).reshape(2, 1, 1, 1)
    frequency = np.sqrt(1 - decay**2 / 4)
    angle, size = frequency * times[:, None] + phase, amplitude * np.exp(-decay / 2 * times)[:, None]
    q = size * np.cos(angle)
    p = -decay / 2 * q - size * frequency * np.sin(angle)
    return Trajectories(np.tile(times, (count, 1)), np.concatenate([q, p], axis=2))


def integrated(
    force: Callable[[np.ndarray], np.ndarray], starts: np.ndarray, length: int, dt: float
) -> Trajectories:
    """Motion of q'' = force(q), q (dof, count), from `starts` (count, 2 dof), p = q'."""
    count, dim = starts.shape
    times = dt * np.arange(length)

    def rates(_: float, flat: np.ndarray) -> np.ndarray:
        q, p = np.split(flat.reshape(dim, count), 2)
        return np.concatenate([p, force(q)]).ravel()

    found = solve_ivp(
        rates, (0, times[-1]), starts.T.ravel(), t_eval=times, method="DOP853", rtol=1e-9, atol=1e-11
    )
    states = found.y.reshape(dim, count, length).transpose(1, 2, 0)
    return Trajectories(np.tile(times, (count, 1)), states)


def normal(count: int, dim: int, seed: int = 0, size: float = 1.0) -> np.ndarray:
    return size * np.random.default_rng(seed).normal(size=(count, dim))


def central(squeezed: float, count: int, length: int, dt: float = 0.1, seed: int = 0) -> Trajectories:
    """V = (r^4 + squeezed (x^4 - y^4)) / 4: a quadrupole in a central quartic well."""

    def force(q: np.ndarray) -> np.ndarray:
        return -(q * np.sum(q**2, axis=0) + squeezed * np.array([[1.0], [-1.0]]) * q**3)

    return integrated(force, normal(count, 4, seed), length, dt)


class TestCounts:
    @pytest.mark.parametrize(
        ("count", "rank", "decided"), [(4, 3, False), (5, 4, True), (8, 4, True), (20, 4, True)]
    )
    def test_two_equal_oscillators(self, count, rank, decided):
        found = conserved_space(measured(oscillators((1.0, 1.0), count, seed=1), 0.01))
        assert (found.staying, found.most, found.rank) == (4, count - 1, rank)
        assert found.decided == decided
        assert not len(found.drifting)
        if rank == 4:
            for terms in (SPIN, ENERGY, {(0, 1): 1.0, (2, 3): 1.0}):
                assert shared(conserved(found), row(terms)) > 0.999

    @pytest.mark.parametrize(("count", "rank"), [(5, 4), (6, 5), (7, 6), (30, 6)])
    def test_a_charge_in_a_uniform_field(self, count, rank):
        found = conserved_space(measured(linear_motion(FIELD, 0, count, 51), 0.01))
        assert (found.staying, found.rank) == (6, rank)
        assert found.decided == (rank == 6)

    def test_three_equal_oscillators(self):
        found = conserved_space(measured(oscillators((1.0,) * 3, 24, 40), 0.005))
        assert found.rank == 9 and found.decided

    @pytest.mark.parametrize("detuning", [0.005, 0.01, 0.02])
    @pytest.mark.parametrize("length", [51, 201])
    def test_a_small_detuning_leaves_the_two_energies(self, detuning, length):
        found = conserved_space(measured(oscillators((1.0, 1 + detuning), 50, length), 0.01))
        assert (found.rank, len(found.drifting)) == (2, 2) and found.decided
        assert shared(conserved(found), row({(0, 0): 1.0, (2, 2): 1.0})) > 0.99
        both = np.concatenate([found.conserved, found.drifting])
        assert shared(found.motion.quantities(both), row(SPIN)) > 0.98

    @pytest.mark.parametrize(("decay", "dof"), [(0.001, 1), (0.005, 1), (0.02, 1), (0.005, 2)])
    def test_friction_conserves_nothing_and_its_rate_is_told(self, decay, dof):
        found = conserved_space(measured(damped(decay, 50, 51, dof=dof), 0.01))
        assert found.staying == 0 and len(found.drifting) == (1 if dof == 1 else 4)
        for drifting in found.drifting:
            change = found.drift.change(drifting)
            assert change.decays and change.excess > 3
            assert abs(change.decay - decay) < 4 * change.decay_error < 2 * decay

    @pytest.mark.parametrize("squeezed", [0.01, 0.05])
    def test_a_quadrupole_makes_angular_momentum_drift(self, squeezed):
        data = measured(central(squeezed, 40, 101), 0.01)
        found = conserved_space(data)
        assert (found.staying, len(found.drifting)) == (0, 1)
        assert shared(found.motion.quantities(found.drifting), row(SPIN)) > 0.99
        assert conserved_space(measured(central(0.0, 40, 101), 0.01)).rank == 1

    def test_a_free_particle_in_space(self):
        starts = normal(20, 6)
        data = integrated(lambda q: 0 * q, starts, 31, 0.1)
        found = conserved_space(measured(data, 0.01))
        assert found.rank == 12 and found.decided

    @pytest.mark.parametrize("name", ["pendulum", "Duffing", "Henon-Heiles"])
    def test_anharmonic_motion_conserves_nothing_of_degree_two(self, name):
        force, dim = {
            "pendulum": (lambda q: -np.sin(q), 2),
            "Duffing": (lambda q: q - q**3, 2),
            "Henon-Heiles": (lambda q: np.stack([-q[0] - 2 * q[0] * q[1], -q[1] - q[0] ** 2 + q[1] ** 2]), 4),
        }[name]
        size = 0.12 if name == "Henon-Heiles" else 0.8
        data = integrated(force, normal(40, dim, size=size), 101, 0.2)
        assert conserved_space(measured(data, 0.01)).staying == 0


class TestWhatAFileCannotTell:
    def test_on_one_energy_shell_the_energy_is_the_same_everywhere(self):
        data = oscillators((1.0, 1.0), 30)
        size = np.linalg.norm(data.states[:, 0], axis=1)
        data = measured(Trajectories(data.times, data.states / size[:, None, None]), 0.01)
        found = analyse(np.zeros((0, 4, 4)), np.zeros((0, 4)), data, restrict=False)
        assert (found.rank, found.algebra.name, found.space.staying) == (3, "su(2)", 4)
        # The sum of their squares is that of the energy.
        assert found.independent == 2
        (energy,) = found.same
        np.testing.assert_allclose(energy.matrix / energy.matrix[0, 0], np.eye(4), atol=0.02)
        assert energy.mean == pytest.approx(energy.matrix[0, 0] / 2, rel=0.02)
        assert not found.space.decided

    def test_pieces_of_one_recording_count_as_one(self):
        whole = oscillators((1.0, 1.0), 4, 80, seed=1)
        pieces = [
            (t[20 * k : 20 * (k + 1)], x[20 * k : 20 * (k + 1)])
            for t, x in whole.segments()
            for k in range(4)
        ]
        numbers = np.repeat(np.arange(4), 4)
        data = measured(Trajectories.of_segments(pieces, recordings=numbers), 0.01)
        data = Trajectories(data.times, data.states, recordings=numbers)
        found = conserved_space(data)
        assert (found.most, found.staying, found.rank, found.decided) == (3, 4, 3, False)
        # A constant that starts anew in each piece is none of the recording.
        with_steps = data.states.copy()
        with_steps[:, :, 0] += 3 * np.tile(np.arange(4.0), 4)[:, None]
        moved = Trajectories(data.times, with_steps, recordings=numbers)
        assert conserved_space(moved).staying < 4

    def test_an_orbit_cut_into_trajectories_is_one_orbit(self):
        orbits = central(0.0, 4, 1200, seed=3)
        for times, states in orbits.segments():
            pieces = Trajectories(times.reshape(30, 40), states.reshape(30, 40, 4))
            found = conserved_space(measured(pieces, 0.01))
            assert (found.rank, found.staying, found.decided) == (0, 1, False)
            assert shared(found.motion.quantities(found.same), row(SPIN)) > 0.99

    def test_a_constraint_is_no_conserved_quantity(self):
        """Beads on rings in a uniform force: x^2 + y^2 = 1 and x p_x + y p_y = 0, and the energy."""
        angle = integrated(lambda q: -np.cos(q), normal(30, 2, size=1.2), 61, 0.15)
        turn, speed = np.moveaxis(angle.states, 2, 0)
        ring = np.stack([np.cos(turn), np.sin(turn), -speed * np.sin(turn), speed * np.cos(turn)], axis=2)
        found = conserved_space(measured(Trajectories(angle.times, ring), 0.005))
        assert (found.rank, len(found.same)) == (1, 2) and not found.decided
        same = found.motion.quantities(found.same)
        assert shared(same, row({(0, 0): 1.0, (1, 1): 1.0})) > 0.99
        assert shared(same, row({(0, 2): 1.0, (1, 3): 1.0})) > 0.99
        every = np.concatenate([conserved(found), same])
        assert shared(every, row({(2, 2): 0.5, (3, 3): 0.5, (1,): 1.0})) > 0.99

    def test_on_a_sphere_what_depends_on_the_rest_there_is_not_independent(self):
        """Free motion on |x| = 1: L and p^2 are conserved, and p^2 = |L|^2 only where x p = 0."""
        start = normal(30, 6)
        at = start[:, :3] / np.linalg.norm(start[:, :3], axis=1, keepdims=True)
        velocity = start[:, 3:] - np.sum(start[:, 3:] * at, axis=1, keepdims=True) * at
        speed = np.linalg.norm(velocity, axis=1, keepdims=True)
        times = np.tile(np.linspace(0, 6, 60), (30, 1))
        turn = (speed * times)[:, :, None]
        ahead = (velocity / speed)[:, None]
        at = at[:, None]
        states = np.concatenate(
            [
                np.cos(turn) * at + np.sin(turn) * ahead,
                speed[:, :, None] * (np.cos(turn) * ahead - np.sin(turn) * at),
            ],
            axis=2,
        )
        data = measured(Trajectories(times, states), 0.01)
        found = analyse(np.zeros((0, 6, 6)), np.zeros((0, 6)), data, restrict=False)
        assert (found.rank, len(found.same), found.independent) == (4, 2, 3)

    def test_too_few_rows_are_said(self):
        found = conserved_space(measured(oscillators((1.0, 1.0), 6, 5), 0.01))
        assert not found.enough and not found.decided and found.rows_needed == 42

    @pytest.mark.parametrize(("count", "length"), [(1, 2), (1, 3), (2, 2), (3, 3), (20, 2)])
    @pytest.mark.parametrize("share", [0.0, 0.01])
    def test_of_hardly_any_rows_nothing_is_decided(self, count, length, share):
        exact = linear_motion(np.eye(4), 0, count, length)
        found = analyse(
            np.zeros((0, 4, 4)), np.zeros((0, 4)), measured(exact, share) if share else exact, restrict=False
        ).to_json()
        assert found["decided"] is False
        assert json.loads(json.dumps(found, allow_nan=False)) == found

    def test_rows_that_do_not_move_say_nothing(self):
        still = Trajectories(np.tile(np.arange(5.0), (3, 1)), np.ones((3, 5, 2)))
        found = analyse(np.zeros((0, 2, 2)), np.zeros((0, 2)), still, restrict=False)
        assert found.rank == 0

    def test_one_trajectory_tells_no_count(self):
        found = conserved_space(measured(oscillators((1.0, 1.0), 1, 200), 0.01))
        assert (found.rank, found.most, found.decided) == (0, 0, False)
        # Of one orbit ten combinations stay: all that are quadratic.
        assert found.staying == 10

    def test_noise_that_hides_a_change_leaves_the_count_open(self):
        found = conserved_space(measured(oscillators((1.0, 1.0), 8, 12), 0.25))
        assert not found.decided


class TestData:
    def test_lengths_and_times_may_be_irregular(self):
        generator = np.random.default_rng(0)
        segments = []
        for k in range(20):
            times = np.cumsum(generator.uniform(0.1, 0.4, 20 + 3 * k))
            amplitude, phase = generator.uniform(0.4, 1.6, 2), generator.uniform(0, 6, 2)
            angle = times[:, None] + phase
            states = np.concatenate([amplitude * np.cos(angle), -amplitude * np.sin(angle)], axis=1)
            segments.append((times, states + 0.01 * generator.normal(size=states.shape)))
        found = conserved_space(Trajectories.of_segments(segments))
        assert found.rank == 4 and found.decided

    def test_a_column_that_never_moves_is_no_quantity(self):
        exact = oscillators((1.0,), 20)
        still = np.full((*exact.states.shape[:2], 1), 7.0)
        q, p = exact.states[..., :1], exact.states[..., 1:]
        moving = measured(Trajectories(exact.times, np.concatenate([q, p], axis=2)), 0.01).states
        states = np.concatenate([moving[..., :1], still, moving[..., 1:], still], axis=2)
        found = conserved_space(Trajectories(exact.times, states))
        assert (found.rank, found.ratios.shape) == (1, (5,)) and found.decided
        assert shared(conserved(found), row({(0, 0): 1.0, (2, 2): 1.0})) > 0.999

    @pytest.mark.parametrize("scale", [1e6, 1e-6])
    @pytest.mark.parametrize("offset", [0.0, 1e6])
    def test_units_and_offsets_do_not_matter(self, scale, offset):
        data = measured(oscillators((1.0, 1.01), 30), 0.01)
        plain = conserved_space(data)
        moved = Trajectories(data.times, scale * (data.states + np.array([offset, 0.0, -offset, 0.0])))
        found = conserved_space(moved)
        assert (found.rank, len(found.drifting), found.decided) == (2, 2, plain.decided)
        assert plain.rank == 2
        few = slice(0, 6)
        np.testing.assert_allclose(found.ratios[few], plain.ratios[few], rtol=1e-3)

    def test_formulas_count_from_where_they_are_shortest(self):
        """L of a beam of free particles is short about 0, the energy of an oscillator where it swings."""
        generator = np.random.default_rng(0)
        times, paths = np.arange(31) * 0.2, []
        for _ in range(20):
            p = np.array([5.0, 0.3]) + generator.normal(size=2) * [0.5, 1.0]
            q = generator.normal(size=2) + times[:, None] * p
            paths.append((times, np.concatenate([q, np.tile(p, (31, 1))], axis=1)))
        beam = measured(Trajectories.of_segments(paths, names=("q1", "q2", "p1", "p2")), 0.005)
        found = nr.data_answer(beam)
        assert {"p1", "p2", "p1^2", "p1*p2", "p2^2", "q1*p2 - q2*p1"} == {q.text for q in found.quantities}
        around = oscillators((1.0,), 20)
        moved = replace(around, states=around.states + np.array([7.0, 0.0]))
        assert [one.text for one in nr.data_answer(measured(moved, 0.01)).quantities] == ["(q1 - 7)^2 + p1^2"]

    @pytest.mark.parametrize("noise", ["given", "a column each", "estimated"])
    def test_noise_may_be_given_or_estimated(self, noise):
        exact = oscillators((1.0, 1.0), 20)
        variance = {"given": 1e-4, "a column each": np.full(4, 1e-4), "estimated": None}[noise]
        found = conserved_space(noisy(1, exact, 1e-4), noise_variance=variance)
        assert found.rank == 4 and found.told and found.decided
        np.testing.assert_allclose(found.motion.noise.variance, 1e-4, rtol=0.2)

    @pytest.mark.parametrize("step", [2.0, 2.2, 3.1, 3.3])
    def test_of_two_or_three_rows_a_period_noise_is_not_told_from_motion(self, step):
        data = measured(oscillators((1.0, 1.0), 40, dt=step), 0.003)
        found = conserved_space(data)
        assert not found.told and found.rank == 4
        # Said how large it is, it need not be told.
        known = conserved_space(data, noise_variance=(0.003 * data.points().std(axis=0)) ** 2)
        assert known.told and known.rank == 4
        # Frequencies that differ by a turn between rows give the same rows, and conserve two.
        other = oscillators((1.0, 1.0 + 2 * np.pi / step), 40, dt=step)
        np.testing.assert_allclose(other.states, oscillators((1.0, 1.0), 40, dt=step).states, atol=1e-9)
        assert not known.decided and known.unresolved.startswith("rows are too far apart, about ")
        assert conserved_space(measured(oscillators((1.0, 1.7), 40, dt=step), 0.003)).rank == 2

    @pytest.mark.parametrize(
        ("step", "rows"), [(0.2, 31.4), (1.2, 5.24), (1.7, 3.7), (2.9, 2.17), (np.pi, 2.0)]
    )
    def test_rows_in_a_period_are_those_of_the_fastest_motion(self, step, rows):
        data = measured(oscillators((0.3, 1.0), 20, dt=step), 0.02)
        found = conserved_space(data)
        assert abs(found.per_period / rows - 1) < 0.02 and found.resolved == (rows > 4)
        assert found.decided == found.resolved

    def test_columns_without_noise_and_rows_far_apart_are_no_error(self):
        """Differences of two rows a period are as large as the motion: no noise is left for columns."""
        found = conserved_space(measured(oscillators((1.0, 1.3), 20, 100, dt=2.6), 0.01))
        assert not found.decided and not found.resolved

    def test_rows_at_unequal_steps_are_not_counted(self):
        data = oscillators((1.0,), 10)
        jittered = replace(
            data, times=np.sort(data.times + 0.1 * np.random.default_rng(0).random(data.times.shape))
        )
        assert conserved_space(jittered).per_period == np.inf

    def test_exact_data_need_no_noise(self):
        assert conserved_space(oscillators((1.0, 1.0), 20)).rank == 4
        assert conserved_space(oscillators((1.0, 1.0), 20), noise_variance=0.0).rank == 4

    def test_noise_on_targets_only_leaves_states_exact(self):
        exact = oscillators((1.0, 1.0), 20)
        data = Trajectories(exact.times, exact.states, exact.states[:, 1:] + 0.1)
        found = conserved_space(data)
        assert not found.motion.noise.variance.any() and found.rank == 4

    @pytest.mark.parametrize("variance", [-1.0, float("nan"), np.array([1e-4, -1.0])])
    def test_impossible_noise_is_refused(self, variance):
        with pytest.raises(ValueError, match="not negative"):
            conserved_space(oscillators((1.0,), 5), noise_variance=variance)

    def test_only_what_is_asked_for_is_tested(self):
        data = measured(oscillators((1.0, ROOT), 20), 0.01)
        asked = np.stack([row(SPIN), row({(0, 0): 1.0, (2, 2): 1.0})])
        found = conserved_space(data, asked)
        assert found.rank == 1 and len(found.ratios) == 2
        assert shared(conserved(found), asked[1]) > 0.999


class TestCalibration:
    def test_the_count_is_right_in_small_data_and_what_is_conserved_drifts_by_chance(self):
        counts, excess = [], []
        for seed in range(100):
            data = measured(oscillators((1.0, 1.0), 10, 30, seed=seed), 0.02, seed)
            space = conserved_space(data)
            counts.append(space.staying)
            excess.append(space.drift.change(space.motion.rows(row(SPIN)[None])[0]).excess)
        assert np.sum(np.equal(counts, 4)) >= 97
        assert abs(np.mean(excess)) < 0.4 and 0.7 < np.std(excess) < 1.4
        assert np.max(np.abs(excess)) < 4.5

    def test_the_limit_holds_the_true_change(self):
        """Of slow friction: what C changes in the file without noise."""
        inside = []
        for seed in range(40):
            exact = damped(0.01, 12, 40, seed=seed)
            space = conserved_space(measured(exact, 0.02, seed))
            energy = space.motion.rows(row({(0, 0): 1.0, (1, 1): 1.0}, 2)[None])[0]
            values = np.sum(exact.states**2, axis=2)
            true = np.sqrt(np.mean((values - values.mean(axis=1, keepdims=True)) ** 2)) / values.std()
            change = space.drift.change(energy)
            inside.append(change.hidden >= true)
        assert np.sum(inside) >= 36


class TestNoise:
    @pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
    @pytest.mark.parametrize("irregular", [False, True])
    def test_is_estimated_within_its_error(self, share, irregular):
        generator = np.random.default_rng(5)
        steps = generator.uniform(0.1, 0.3, (20, 60)) if irregular else np.full((20, 60), 0.2)
        times = np.cumsum(steps, axis=1)
        size = generator.uniform(0.5, 1.5, (20, 1))
        q, p = size * np.cos(times), -3 * size * np.sin(times)
        exact = Trajectories(times, np.stack([q, p], axis=2))
        true = (share * exact.points().std(axis=0)) ** 2
        found = noise_estimate(noisy(1, exact, true))
        assert found.told.all()
        np.testing.assert_array_less(np.abs(found.variance / true - 1), 3 * found.relative_error)
        assert (found.relative_error < 0.15).all()

    def test_differences_are_those_of_each_trajectory(self, monkeypatch):
        monkeypatch.setattr("noether_razor.invariants.noise.AT_ONCE", 30)
        generator = np.random.default_rng(0)
        segments = [(0.2 * np.arange(n), generator.normal(size=(n, 2))) for n in (12, 3, 4, 25, 9)]
        found = differences(segments, 3)
        # With equal steps: binomial weights of unit length.
        weights = np.array([-1, 3, -3, 1]) / np.sqrt(20)
        for part, (_, x) in zip(found, [one for one in segments if len(one[0]) > 3], strict=True):
            wanted = [weights @ x[k : k + 4] for k in range(len(x) - 3)]
            np.testing.assert_allclose(np.abs(part), np.abs(wanted), rtol=1e-9, atol=1e-12)

    def test_of_exact_smooth_motion_is_nothing(self):
        found = noise_estimate(oscillators((1.0,), 20))
        assert found.told.all() and (found.variance < 1e-7).all()

    def test_of_rows_too_few_is_not_told(self):
        data = oscillators((1.0,), 2, 2)
        found = noise_estimate(data)
        assert not found.told.any() and not found.variance.any()

    @pytest.mark.parametrize("kind", ["equal", "multiplicative", "by recording"])
    def test_at_each_row_follows_what_it_depends_on(self, kind):
        generator = np.random.default_rng(2)
        exact = oscillators((1.0,), 24, 60)
        size = np.full(exact.states.shape, 0.01)
        if kind == "multiplicative":
            size = 0.02 * np.abs(exact.states)
        if kind == "by recording":
            size = size * 10 ** generator.uniform(-1, 0.5, (24, 1, 1))
        data = replace(exact, states=exact.states + size * generator.normal(size=exact.states.shape))
        found = noise_profile(data, noise_estimate(data))
        true = size[data.present()] ** 2
        assert found.mean() == pytest.approx(true.mean(), rel=0.2)
        if kind == "equal":
            assert (found == found[0]).all()
        else:
            assert np.corrcoef(np.sqrt(found[:, 0]), np.sqrt(true[:, 0]))[0, 1] > 0.85

    @pytest.mark.parametrize("memory", [0.0, 0.5, 0.8])
    def test_of_neighbours_that_are_alike_counts_once(self, memory):
        generator = np.random.default_rng(4)
        noise = generator.normal(size=(20, 200))
        for k in range(1, 200):
            noise[:, k] = memory * noise[:, k - 1] + np.sqrt(1 - memory**2) * noise[:, k]
        found = rows_alike(noise.ravel(), np.repeat(np.arange(20), 200))
        assert found == pytest.approx((1 + memory) / (1 - memory), rel=0.25)

    @pytest.mark.parametrize("kind", ["random walk", "oscillation", "trend"])
    def test_what_does_not_forget_is_no_noise(self, kind):
        generator = np.random.default_rng(4)
        steps = np.arange(200)
        values = {
            "random walk": generator.normal(size=(20, 200)).cumsum(axis=1),
            "oscillation": np.sin(0.3 * steps + generator.uniform(0, 6, (20, 1))),
            "trend": steps * generator.normal(size=(20, 1)),
        }[kind]
        assert rows_alike(values.ravel(), np.repeat(np.arange(20), 200)) is None


class TestTerms:
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

    def test_combinations_of_terms_and_quantities_are_inverse(self):
        data = oscillators((1.0, 1.3), 5)
        states = data.states * np.array([1e3, 1.0, 1e-2, 5.0]) + np.array([100.0, 0, 2, 0])
        motion = Motion.of(Trajectories(data.times, states))
        rows = normal(6, 14)
        quantities = motion.quantities(rows)
        np.testing.assert_allclose(motion.rows(quantities), rows, rtol=1e-6, atol=1e-8)
        # The values of a combination are those of its quantity, up to a constant.
        values = np.array([np.prod(states.reshape(-1, 4)[:, list(m)], axis=1) for m in monomials(4)]).T
        there = values @ quantities.T
        np.testing.assert_allclose(there - there.mean(axis=0), motion.values @ rows.T, atol=1e-6)

    def test_scales_keep_brackets_and_balance_pairs(self):
        states = np.random.default_rng(0).normal(size=(5000, 4)) * [1e3, 2.0, 1e-2, 5.0]
        scales = canonical_scales(states)
        np.testing.assert_allclose(scales[0] * scales[2], scales[1] * scales[3])
        spread = np.std(states / scales, axis=0)
        np.testing.assert_allclose(spread[:2], spread[2:])

    def test_scales_of_coordinates_that_do_not_move_are_finite(self):
        assert (canonical_scales(np.array([[1.0, 0.0], [1.0, 2.0]])) > 0).all()
        assert (canonical_scales(np.ones((3, 2))) > 0).all()


class TestRowsThatAreNone:
    @pytest.mark.parametrize("size", [0.1, 1.0, 10.0])
    def test_a_glitch_in_one_row_is_left_out(self, size):
        data = measured(oscillators((1.0, 1.0), 15, length=100, dt=0.1), 0.01)
        states = data.states.copy()
        states[0, 50] += size
        space = conserved_space(Trajectories(data.times, states))
        assert space.rank == 4 and space.left_out == 1 and space.decided

    @pytest.mark.parametrize("seed", [0, 1, 2])
    def test_where_a_quantity_that_moves_is_flat_no_row_stands_out(self, seed):
        """A bead on a rotating hoop, q'' = -sin q + 2 sin q cos q, conserves nothing of degree <= 2."""
        rng, times = np.random.default_rng(seed), np.linspace(0, 12, 61)

        def hoop(_, x):
            return [x[1], -np.sin(x[0]) + np.sin(2 * x[0])]

        starts = rng.uniform(-1, 1, (24, 2)) * [1.5, 0.8]
        paths = [solve_ivp(hoop, (0, 12), x, t_eval=times, rtol=1e-9).y.T for x in starts]
        data = measured(Trajectories(np.tile(times, (24, 1)), np.array(paths)), 0.01, seed)
        space = conserved_space(data)
        assert space.left_out == 0 and space.rank == 0

    def test_copies_count_once(self):
        data = measured(oscillators((1.0, 1.0), 4), 0.01)
        copied = Trajectories(np.tile(data.times, (5, 1)), np.tile(data.states, (5, 1, 1)))
        space = conserved_space(copied)
        assert space.copies == 16 and space.most == 3 and space.rank == 3 and not space.decided

    def test_columns_of_very_different_noise(self):
        """Rows at which a noisy column happens to be small are not exact."""
        data = oscillators((1.0, 1.6), 25, length=100, dt=0.1)
        noise = np.array([0.001, 0.1, 0.1, 0.001]) * np.random.default_rng(3).normal(size=data.states.shape)
        assert conserved_space(Trajectories(data.times, data.states + noise)).rank == 2

    def test_velocities_made_of_differences_of_positions(self):
        times = 0.05 * np.arange(201)
        generator = np.random.default_rng(0)
        states = []
        for first, second in generator.normal(size=(20, 2, 2)):
            position = first * np.cos(times)[:, None] + second * np.sin(times)[:, None]
            position += 0.003 * generator.normal(size=position.shape)
            states.append(np.concatenate([position, np.gradient(position, times, axis=0)], axis=1))
        assert conserved_space(Trajectories(np.tile(times, (20, 1)), np.array(states))).rank == 4

    @pytest.mark.parametrize("offset", [30.0, 1e3, 1e5])
    def test_offsets_hide_no_group(self, offset):
        data = measured(oscillators((1.0, 1.0), 15, length=100, dt=0.1), 0.01)
        moved = Trajectories(data.times, data.states + np.array([offset, -5 * offset, 0.0, 0.0]))
        found = analyse(np.zeros((0, 4, 4)), np.zeros((0, 4)), moved, restrict=False)
        assert found.rank == 4 and found.algebra.name == "u(2)"
        # A and b are in the units of the data.
        matrices, vectors = found.matrices()
        values = np.einsum("pi,kij,pj->pk", moved.points(), matrices, moved.points()) / 2
        values = (values + moved.points() @ vectors.T).reshape(15, 100, 4)
        assert np.std(values - values.mean(axis=1, keepdims=True)) < 0.1 * np.std(values, axis=(0, 1)).min()
