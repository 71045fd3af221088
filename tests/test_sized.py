"""Orbits of built-in quantities are sized by the data; no flow runs away, whatever generates it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from noether_razor.quantities import QuadraticQuantities, quadratic_form
from noether_razor.symmetry import AffineSamples, Ball, FlowAveraging, GroupDraws, flow_samples, sized
from noether_razor.symmetry.group_samples import _bounded
from noether_razor.systems import NBody, Oscillators

STATES = np.random.default_rng(0).standard_normal((300, 4))
SPREADS = STATES.std(axis=0)
HYPERBOLIC = quadratic_form(2, [{(0, 2): 1.0}])  # q1 p1
SHEAR = quadratic_form(2, [{(2, 2): 0.5}])
TRANSLATION = quadratic_form(2, [{(2,): 1.0}])


def displacements(quantities, w):
    samples = flow_samples(quantities, jnp.asarray(w, jnp.float32))
    images = jax.vmap(samples)(jnp.asarray(STATES, jnp.float32))
    return np.linalg.norm(np.asarray(images) - STATES[:, None], axis=2)


def stacked(*parts):
    return QuadraticQuantities(
        jnp.concatenate([part.matrices[...] for part in parts]),
        jnp.concatenate([part.vectors[...] for part in parts]),
    )


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
def test_rotations_keep_their_circle(size):
    known = Oscillators((1.0, 1.0)).known_quantities()
    large = QuadraticQuantities(size * known.matrices[...], known.vectors[...])
    frequencies = np.linalg.eigvals(np.asarray(sized(large, STATES, SPREADS).generators())).imag.max(axis=1)
    np.testing.assert_allclose(frequencies, 1.0, rtol=1e-5)


@pytest.mark.parametrize("size", [1e-12, 1.0, 1e12])
@pytest.mark.parametrize("quantity", [HYPERBOLIC, SHEAR, TRANSLATION], ids=["hyperbolic", "shear", "shift"])
def test_what_has_no_period_moves_data_by_their_spread(quantity, size):
    large = QuadraticQuantities(size * quantity.matrices[...], size * quantity.vectors[...])
    moved = displacements(sized(large, STATES, SPREADS), [[1.0], [-1.0]])
    assert 0.5 < np.sqrt(np.mean(moved**2, axis=0)).max() < 1.1


def test_an_eccentric_rotation_stays_with_the_data():
    eccentric = quadratic_form(2, [{(0, 0): 5e3, (2, 2): 5e-3}])
    moved = displacements(sized(eccentric, STATES, SPREADS), np.linspace(-1, 1, 41)[:, None])
    assert 0.5 < np.sqrt(np.mean(moved**2, axis=0)).max() < 1.1


def test_shears_of_a_system_are_not_widened():
    known = NBody((1.0, 1.0), 1).known_quantities()
    factors = np.abs(np.asarray(sized(known, STATES, SPREADS).generators())).max(axis=(1, 2))
    factors /= np.abs(np.asarray(known.generators())).max(axis=(1, 2))
    spread = SPREADS.mean()
    reach = np.pi * np.array([np.sqrt(2), 4 * spread])  # of P and of P^2
    np.testing.assert_allclose(factors[:2], spread / reach, rtol=0.1)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(1, 6), st.floats(-12, 12), st.floats(-3, 3))
def test_random_quantities_of_any_size_stay_near_the_data(seed, count, size, other):
    rng = np.random.default_rng(seed)
    scales = 10.0 ** (size + rng.uniform(min(0, other), max(0, other), count))
    quantities = QuadraticQuantities(
        jnp.asarray(scales[:, None, None] * rng.standard_normal((count, 4, 4)), jnp.float32),
        jnp.asarray(scales[:, None] * rng.standard_normal((count, 4)), jnp.float32),
    )
    built_in = sized(quantities, STATES, SPREADS)
    w = Ball().sample(jax.random.key(seed), count, 64)
    w = w / jnp.linalg.norm(w, axis=1, keepdims=True)
    moved = displacements(built_in, w)
    # Between the elements by which it was judged it may be a little more.
    assert np.isfinite(moved).all() and moved.max() < 60
    assert np.abs(np.asarray(built_in.generators())).max() > 1e-4


def test_constant_quantities_stay_zero():
    nothing = QuadraticQuantities(jnp.zeros((2, 4, 4)))
    assert not np.asarray(sized(nothing, STATES, SPREADS).generators()).any()


@pytest.mark.parametrize("size", [1.0, 10.0, 1e3, 1e10])
def test_learned_flows_are_finite_however_large_their_generators(size):
    quantities = stacked(HYPERBOLIC, SHEAR, TRANSLATION)
    matrices, vectors = size * quantities.matrices[...], size * quantities.vectors[...]

    def total(matrices, vectors):
        quantities = QuadraticQuantities(matrices, vectors)
        samples = FlowAveraging().sample(jax.random.key(0), quantities, GroupDraws(32))
        assert isinstance(samples, AffineSamples)
        return jnp.sum(jnp.tanh(samples(jnp.asarray(STATES[0], jnp.float32)))), samples.matrices

    (_, elements), gradients = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(matrices, vectors)
    assert np.isfinite(np.asarray(elements)).all() and np.abs(np.asarray(elements)).max() < 1e7
    assert all(np.isfinite(np.asarray(gradient)).all() for gradient in gradients)


def test_small_generators_are_as_they_were():
    generators = np.pi * np.asarray(Oscillators((1.0, -1.0)).known_quantities().generators(), np.float32)
    np.testing.assert_array_equal(_bounded(jnp.asarray(generators)), generators)
    zero = jnp.zeros((1, 3, 3))
    assert np.isfinite(jax.grad(lambda g: jnp.sum(_bounded(g)))(zero)).all()
