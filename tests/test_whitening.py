"""The steps of quantities of degree two: what they find, and that units do not matter."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from noether_razor.quantities import QuadraticQuantities, coefficient_units
from noether_razor.training.whitening import _shortened, whitened_quadratic

DIM = 4
SIZE = DIM * (DIM + 1) // 2 + DIM


def tree(rows: np.ndarray) -> dict[str, jax.Array]:
    """Rows in an orthonormal basis of (A, b) as stacked coefficients."""
    i, j = np.triu_indices(DIM)
    matrices = np.zeros((len(rows), DIM, DIM))
    matrices[:, i, j] = matrices[:, j, i] = rows[:, : len(i)] / np.where(i == j, 1, np.sqrt(2))
    return {
        "matrices": jnp.asarray(matrices, jnp.float32),
        "vectors": jnp.asarray(rows[:, len(i) :], jnp.float32),
    }


def rows(values: dict[str, jax.Array]) -> np.ndarray:
    i, j = np.triu_indices(DIM)
    entries = np.asarray(values["matrices"])[:, i, j] * np.where(i == j, 1, np.sqrt(2))
    return np.concatenate([entries, np.asarray(values["vectors"])], axis=1)


def share_along(optimiser: optax.GradientTransformation, seed: int) -> float:
    """Of the largest direction after 200 steps down a bound that is steep but for one direction of (A, b),
    along which it falls gently, with noise: how much of it is that direction.
    """
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.normal(size=(SIZE, SIZE)))[0]
    curvature = np.append(-1e-2, np.logspace(0, 2, SIZE - 1))
    hessian = basis * curvature @ basis.T
    values: Any = tree(0.01 * rng.normal(size=(3, SIZE)))
    state = optimiser.init(values)
    step = jax.jit(optimiser.update)
    for _ in range(200):
        noise = 1 + 0.3 * rng.normal(size=(3, SIZE))
        gradient = ((rows(values) @ basis * noise) @ basis.T) @ hessian
        updates, state = step(tree(gradient), state, values)
        values = optax.apply_updates(values, updates)
    return abs(np.linalg.svd(rows(values))[2][0] @ basis[:, 0])


def test_flat_directions_are_found_among_steep_ones() -> None:
    found = [share_along(whitened_quadratic(optax.constant_schedule(1e-3)), seed) for seed in range(3)]
    by_entry = [share_along(optax.adam(1e-3, b2=0.95), seed) for seed in range(3)]
    assert min(found) > 0.99
    assert max(by_entry) < min(found)


def test_steps_are_the_same_in_other_units() -> None:
    """With spreads s, steps of (A, b) are those of the coefficients in coordinates x / s."""
    spreads = (3.0, 3.0, 0.5, 0.5)
    of_matrices, of_vectors = coefficient_units(2, spreads)
    units = {"matrices": jnp.asarray(of_matrices), "vectors": jnp.asarray(of_vectors)}
    plain, scaled = (whitened_quadratic(optax.constant_schedule(0.1), s) for s in (None, spreads))
    gradients = [tree(np.random.default_rng(k).normal(size=(2, SIZE))) for k in range(3)]
    states = [optimiser.init(gradients[0]) for optimiser in (plain, scaled)]
    wanted: Any
    got: Any
    for gradient in gradients:
        given = jax.tree.map(jnp.divide, gradient, units)
        wanted, states[0] = plain.update(gradient, states[0])
        got, states[1] = scaled.update(given, states[1])
        for name in units:
            np.testing.assert_allclose(got[name], wanted[name] * units[name], rtol=2e-3, atol=1e-5)


def test_units_keep_flows() -> None:
    """A quantity of size 1 in divided coordinates moves states by about their spreads."""
    spreads = jnp.array([3.0, 3.0, 0.5, 0.5])
    one = QuadraticQuantities.random(jax.random.key(0), 1, 2, 0.3)
    other = QuadraticQuantities.random(jax.random.key(0), 1, 2, 0.3, spreads=tuple(spreads.tolist()))
    state = jnp.arange(1.0, 5.0)
    np.testing.assert_allclose(
        other.generators()[0, :-1] @ jnp.append(state * spreads, 1) / spreads,
        one.generators()[0, :-1] @ jnp.append(state, 1),
        rtol=1e-5,
    )
    np.testing.assert_allclose(other(state * spreads), 1.5 * one(state), rtol=1e-5)
    with pytest.raises(ValueError, match="4 positive numbers"):
        coefficient_units(2, (1.0, 0.0, 1.0, 1.0))


def test_nothing_to_step() -> None:
    optimiser = whitened_quadratic(optax.constant_schedule(0.1))
    assert optimiser.update({}, optimiser.init({}), {})[0] == {}


def test_an_outlier_neither_throws_nor_stops_the_quantities() -> None:
    """One gradient a million times too large, between two roots: its step is small, and later ones go on."""
    rng = np.random.default_rng(0)
    optimiser = whitened_quadratic(optax.constant_schedule(1e-3))
    gradients = [rng.normal(size=(3, SIZE)) for _ in range(400)]
    outlier = 255
    gradients[outlier] = 1e6 * gradients[outlier]
    state = optimiser.init(tree(gradients[0]))
    update = jax.jit(optimiser.update)
    sizes = []
    for gradient in gradients:
        steps, state = update(tree(gradient), state)
        sizes.append(np.linalg.norm(rows(steps), axis=1).max())
    usual = np.median(sizes[150:outlier])
    assert sizes[outlier] < 6 * usual
    assert np.median(sizes[outlier + 40 : outlier + 60]) > usual / 3


def test_usual_gradients_are_not_shortened() -> None:
    rng = np.random.default_rng(1)
    root = np.diag(rng.uniform(0.1, 10, SIZE)).astype(np.float32)
    usual = (5 * rng.normal(size=(3, SIZE)) / np.diag(root)).astype(np.float32)
    np.testing.assert_array_equal(_shortened(jnp.asarray(usual), jnp.asarray(root)), usual)
