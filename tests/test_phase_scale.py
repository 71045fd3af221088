"""Scaled canonical coordinates: what they must keep, and the exact way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noether_razor.integrators import rollout
from noether_razor.phase_space import hamiltonian_field, poisson_bracket
from noether_razor.quadratic_forms import Quadratics
from noether_razor.scaling import PhaseScale, VelocityScale
from noether_razor.typing import Hamiltonian

pytestmark = pytest.mark.usefixtures("double_precision")

DOF = 2
DIM = 2 * DOF
several_examples = settings(max_examples=40, deadline=None)
scale_values = st.integers(-20, 20).map(lambda k: 1.7 * 2.0**k)
values = st.floats(-2, 2, width=16)
scales = st.builds(
    PhaseScale,
    st.tuples(*[scale_values] * DOF),
    scale_values,
    scale_values,
    st.tuples(*[values] * DIM),
)
vectors = arrays(np.float64, DIM, elements=values)


def sets(count: int) -> st.SearchStrategy[Quadratics]:
    def symmetric(matrices: np.ndarray) -> np.ndarray:
        return matrices + np.swapaxes(matrices, 1, 2)

    return st.builds(
        Quadratics,
        arrays(np.float64, (count, DIM, DIM), elements=values).map(symmetric),
        arrays(np.float64, (count, DIM), elements=values),
        arrays(np.float64, count, elements=values),
    )


def value(quantity: Quadratics, k: int = 0) -> Hamiltonian:
    a, b, c = (jnp.asarray(part[k]) for part in quantity)
    return lambda x: x @ a @ x / 2 + b @ x + c


def close(left: np.ndarray, right: np.ndarray, size: float = 1.0) -> None:
    np.testing.assert_allclose(left, right, rtol=1e-9, atol=1e-9 * size)


@several_examples
@given(scales, vectors)
def test_states_and_times_come_back(scale, state):
    there = scale.states(scale.states_back(state))
    size = np.abs(np.array(scale.shifts) / scale.scales).max() + 1
    close(there, state, size)
    np.testing.assert_allclose(scale.times_back(scale.times(np.array(3.0))), 3.0, rtol=1e-15)
    np.testing.assert_allclose(scale.scales[:DOF] * scale.scales[DOF:], scale.action, rtol=1e-15)


@several_examples
@given(scales, sets(2), vectors)
def test_quantities_are_the_same_functions_and_come_back(scale, quantities, scaled):
    state = scale.states_back(scaled)
    mapped = scale.quantities(quantities)
    back = scale.quantities_back(mapped)
    for k in range(2):
        a, b, c = (np.abs(part[k]).max() for part in mapped)
        reach = np.abs(scaled).max() + np.abs(np.array(scale.shifts) / scale.scales).max() + 1
        size = (a + b) * reach**2 + c
        close(np.asarray(value(mapped, k)(scaled)), np.asarray(value(quantities, k)(state)), size)
    close(back.matrices, quantities.matrices)
    # A slope is the difference of two terms where there is a shift.
    shift = np.abs(np.array(scale.shifts)).max() + 1
    close(back.vectors, quantities.vectors, 10 * shift)
    close(back.constants, quantities.constants, 100 * shift**2)


@several_examples
@given(scales, sets(2), vectors)
def test_brackets_are_kept_up_to_the_action(scale, quantities, scaled):
    state = jnp.asarray(scale.states_back(scaled))
    mapped = scale.quantities(quantities)
    ours = float(poisson_bracket(value(mapped, 0), value(mapped, 1))(jnp.asarray(scaled))) / scale.action
    theirs = float(poisson_bracket(value(quantities, 0), value(quantities, 1))(state))
    gradients = [np.abs(np.asarray(jax.grad(value(quantities, k))(state))).max() + 1 for k in range(2)]
    close(np.asarray(ours), np.asarray(theirs), 10 * gradients[0] * gradients[1])


@several_examples
@given(scales, sets(1), vectors)
def test_hamiltons_equations_hold_in_scaled_coordinates(scale, quantity, scaled):
    hamiltonian = value(quantity)
    state = jnp.asarray(scale.states_back(scaled))
    moved = hamiltonian_field(scale.hamiltonian(hamiltonian))(jnp.asarray(scaled))
    expected = np.asarray(hamiltonian_field(hamiltonian)(state)) * scale.time / scale.scales
    close(np.asarray(moved), expected, float(np.abs(expected).max() + 1))
    there_and_back = scale.hamiltonian_back(scale.hamiltonian(hamiltonian))(state)
    size = 1 + 100 * float(jnp.abs(state).max()) ** 2
    close(np.asarray(there_and_back), np.asarray(hamiltonian(state)), size)


@several_examples
@given(scales, sets(4), st.integers(0, 3))
def test_the_rank_of_a_set_is_kept(scale, quantities, dependent):
    matrices, slopes, constants = (np.array(part) for part in quantities)
    for part in (matrices, slopes, constants):
        part[dependent] = part.sum(axis=0) - part[dependent]

    def rank(q: Quadratics) -> int:
        upper = np.triu_indices(DIM)
        stacked = np.array([m[upper] for m in q.matrices])
        stacked /= np.maximum(np.abs(stacked).max(axis=0), 1e-300)
        return int(np.linalg.matrix_rank(stacked, tol=1e-8 * max(np.linalg.norm(stacked, 2), 1e-300)))

    ours = Quadratics(matrices, slopes, constants)
    assert rank(scale.quantities(ours)) == rank(ours)


def test_what_is_conserved_stays_conserved():
    scale = PhaseScale((3.0, 5.0), 7.0, 0.3, (1.0, -2.0, 0.5, 4.0))
    quantity = Quadratics(np.zeros((1, 4, 4)), np.zeros((1, 4)), np.zeros(1))
    angular = np.zeros((4, 4))
    angular[0, 3] = angular[3, 0] = 1.0
    angular[1, 2] = angular[2, 1] = -1.0
    quantity = quantity._replace(matrices=angular[None])
    times = np.linspace(0, 3, 7)[None]
    initial = np.array([[1.0, 0.2, 0.1, 0.9]])
    scaled = rollout(scale.hamiltonian(kepler), jnp.asarray(scale.states(initial)), scale.times(times))
    energy = jax.vmap(kepler)(jnp.asarray(scale.states_back(np.asarray(scaled[0]))))
    np.testing.assert_allclose(energy, energy[0], rtol=1e-8)
    mapped = value(scale.quantities(quantity))
    along = jax.vmap(mapped)(scaled[0])
    np.testing.assert_allclose(along, along[0], rtol=1e-8)


def kepler(x):
    return (x[2] ** 2 + x[3] ** 2) / 2 - 1 / jnp.sqrt(x[0] ** 2 + x[1] ** 2 + 0.1)


# Scales from data


def oscillation(factor_q: float, factor_p: float, rate: float, count: int = 3) -> list:
    generator = np.random.default_rng(0)
    segments = []
    for _ in range(count):
        at = np.sort(generator.uniform(0, 10, 40))
        amplitude, phase = generator.uniform(0.5, 2, 2), generator.uniform(0, 6, 2)
        q = amplitude * np.cos(at[:, None] + phase)
        p = -amplitude * np.sin(at[:, None] + phase)
        segments.append((at / rate, np.concatenate([factor_q * q, factor_p * p], axis=1)))
    return segments


@several_examples
@given(st.integers(-40, 40), st.integers(-40, 40), st.integers(-20, 20))
def test_units_do_not_matter(q, p, rate):
    here = oscillation(1.0, 1.0, 1.0)
    there = oscillation(2.0**q, 2.0**p, 2.0**rate)
    one, other = PhaseScale.fitted(here), PhaseScale.fitted(there)
    for (t, x), (s, y) in zip(here, there, strict=True):
        # One common choice of s_q s_p may round either way.
        ratio = other.states(y) / one.states(x)
        assert ratio.min() >= 0.49 and ratio.max() <= 2.01
        assert np.allclose(np.std(ratio, axis=0), 0)
        assert 0.49 <= (other.times(s) / one.times(t)).max() <= 2.01


def test_scaled_states_spread_and_move_by_about_one():
    scale = PhaseScale.fitted(oscillation(1e6, 3e-4, 1e3))
    states = np.concatenate([scale.states(x) for _, x in oscillation(1e6, 3e-4, 1e3)])
    assert states.std(axis=0).min() > 0.4 and states.std(axis=0).max() < 2.5
    assert 0.3 < scale.time * 1e3 < 3
    assert scale.shifts == (0.0,) * 4
    assert all(np.log2(s) == round(np.log2(s)) for s in (*scale.scales, scale.time, scale.action))


def test_positions_of_one_kind_share_a_scale_and_others_do_not():
    segments = [(t, x * np.array([1.0, 4.0, 1.0, 4.0])) for t, x in oscillation(1, 1, 1)]
    assert len(set(PhaseScale.fitted(segments).positions)) == 1
    odd = [(t, x * np.array([1.0, 4000.0, 1.0, 1.0])) for t, x in oscillation(1, 1, 1)]
    assert len(set(PhaseScale.fitted(odd).positions)) == 2
    assert len(set(PhaseScale.fitted(odd, kinds=("m", "m")).positions)) == 1
    assert PhaseScale.fitted(segments, kinds=("m", "rad")).dof == 2
    with pytest.raises(ValueError, match="one label a degree of freedom"):
        PhaseScale.fitted(segments, kinds=("m",))


def test_velocities_are_scaled_as_positions_over_one_time():
    segments = oscillation(1.0, 0.5, 2.0)
    fine = np.array([1e3, 1.0, 1e3, 1.0])
    one, other = (VelocityScale.fitted([(t, x * units) for t, x in segments]) for units in (np.ones(4), fine))
    canonical = PhaseScale.fitted(segments, rounded=False)
    np.testing.assert_allclose(one.scales, canonical.scales)
    assert one.alike and not other.alike and one.shifts == other.shifts == (0.0,) * 4
    for scale in (one, other):
        np.testing.assert_allclose(np.ptp(np.array(scale.momenta) / np.array(scale.positions)), 0, atol=1e-12)
        assert scale.momenta[0] * scale.positions[0] == pytest.approx(scale.action)
    # A length in thousandths is the same scaled column.
    for _, x in segments:
        ratio = other.states(x * fine) / one.states(x)
        assert ratio.min() > 0.5 and ratio.max() < 2


def test_large_offsets_are_taken_away_and_small_ones_are_not():
    segments = [(t, x + np.array([1e4, 0.5, 0.0, 0.0])) for t, x in oscillation(1, 1, 1)]
    scale = PhaseScale.fitted(segments)
    assert scale.shifts[1:] == (0.0, 0.0, 0.0)
    assert abs(scale.shifts[0] - 1e4) < 1


def test_coordinates_that_do_not_move_do_no_harm():
    segments = [(t, x * np.array([1.0, 0.0, 1.0, 0.0])) for t, x in oscillation(1, 1, 1)]
    assert np.isfinite(PhaseScale.fitted(segments, kinds=("a", "b")).scales).all()
    still = [(t, 0 * x + 5.0) for t, x in segments]
    scale = PhaseScale.fitted(still)
    assert np.isfinite(scale.scales).all() and scale.shifts == (5.0,) * 4


def test_noise_on_close_samples_is_not_taken_for_motion():
    generator = np.random.default_rng(1)
    at = np.linspace(0, 20, 4001)
    clean = np.stack([np.cos(at), -np.sin(at)], axis=1)
    noisy = clean + 0.1 * generator.standard_normal(clean.shape)
    assert 0.5 <= PhaseScale.fitted([(at, noisy)]).time / PhaseScale.fitted([(at, clean)]).time <= 2


@pytest.mark.parametrize(
    "wrong",
    [
        {"positions": (0.0, 1.0)},
        {"positions": ()},
        {"action": float("nan")},
        {"time": -1.0},
        {"shifts": (0.0,)},
        {"shifts": (0.0, 0.0, 0.0, float("inf"))},
    ],
)
def test_impossible_scales_are_refused(wrong):
    usable = {"positions": (1.0, 1.0), "action": 1.0, "time": 1.0, "shifts": (0.0,) * 4}
    with pytest.raises(ValueError, match="got"):
        PhaseScale(**{**usable, **wrong})
