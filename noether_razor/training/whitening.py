"""Steps for quantities of degree two that look at all of their coefficients together."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from ..quantities import coefficient_units

MOMENTUM, SECOND_MOMENT = 0.9, 0.99
LARGEST = 10.0
"""Norm of a gradient's row in units of the root of its second moment, a coefficient."""
DAMPING = 1e-6
"""Of the eigenvalues of the second moment, over the largest: what rounding leaves of them in float32."""
EVERY, AT_FIRST = 10, 100
"""Steps between two eigendecompositions, after so many that take one each."""


class WhitenedState(NamedTuple):
    """Momentum and second moment of the gradient's rows, the inverse root of the latter, and the units of
    the rows: what depends on the data is here, so that one compiled program serves all data.
    """

    step: Int[Array, ""]
    units: Float[Array, " size"]
    momentum: Float[Array, "K size"]
    second: Float[Array, "size size"]
    root: Float[Array, "size size"]


Rows = Callable[[Any], Float[Array, "K size"]]
"""A tree of quantities as rows, one a quantity."""
FromRows = Callable[[Float[Array, "K size"], Any], Any]
"""A tree of quantities, like a given one, of rows."""


def whitened(
    rate: optax.Schedule,
    rows_of: Rows,
    from_rows: FromRows,
    units: Float[np.ndarray, " size"] | None = None,
) -> optax.GradientTransformation:
    """Momentum over the square root of the second moment of the gradient, a full matrix that all quantities
    share: Shampoo (Gupta et al. 2018) with the factor on the side of the coefficients alone.

    Near a symmetry the ELBO is flat along conserved quantities and steep across them, and the steep
    directions mix all coefficients: a step size for each entry, as Adam has, is that of the steep ones,
    and what is conserved drowns. In the eigenvectors of the second moment the two are apart, and each moves
    at its own pace. Rows of more than `LARGEST` times their usual size are shortened to that, once there is a
    usual size: the root is some steps old, so that one outlier would throw the quantities where no flow is
    finite, and its square would hold them still for hundreds of steps. Coefficients that never had a gradient
    stay where they are. `units` are those of the rows in which all this is done; None: all 1.
    """

    def init(params: Any) -> WhitenedState | optax.EmptyState:
        if not jax.tree.leaves(params):  # no such quantities in the model
            return optax.EmptyState()
        rows = jax.eval_shape(rows_of, params)
        size = rows.shape[1]
        given = jnp.asarray(np.ones(size) if units is None else units, rows.dtype)
        square, momentum = jnp.zeros((size, size), rows.dtype), jnp.zeros(rows.shape, rows.dtype)
        return WhitenedState(jnp.zeros((), jnp.int32), given, momentum, square, square)

    def update(gradient: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        del params
        if isinstance(state, optax.EmptyState):
            return gradient, state
        rows = rows_of(gradient) * state.units
        rows = jnp.where(state.step < AT_FIRST, rows, _shortened(rows, state.root))
        count = state.step + 1
        momentum = MOMENTUM * state.momentum + (1 - MOMENTUM) * rows
        second = SECOND_MOMENT * state.second + (1 - SECOND_MOMENT) * rows.T @ rows / len(rows)
        due = (state.step < AT_FIRST) | (state.step % EVERY == 0)
        root = jax.lax.cond(
            due, lambda: _inverse_root(second / (1 - SECOND_MOMENT**count)), lambda: state.root
        )
        steps = -jnp.asarray(rate(state.step)) * (momentum / (1 - MOMENTUM**count)) @ root
        steps = jnp.where(jnp.diagonal(second) > 0, steps, 0.0)
        after = WhitenedState(count, state.units, momentum, second, root)
        return from_rows(steps * state.units, gradient), after

    return optax.GradientTransformation(init, update)  # type: ignore[arg-type]


def whitened_quadratic(
    rate: optax.Schedule, spreads: tuple[float, ...] | None = None
) -> optax.GradientTransformation:
    """`whitened` for a tree of ``matrices`` (K, 2n, 2n), with symmetric gradients, and ``vectors`` (K, 2n).
    `spreads` (2n,) are the sizes of the coordinates, among which noise in the steps is balanced; None: all
    alike.
    """
    units = None
    if spreads is not None:
        of_matrices, of_vectors = coefficient_units(len(spreads) // 2, spreads)
        units = np.append(of_matrices[np.triu_indices(len(spreads))], of_vectors)
    return whitened(rate, _rows, _unflatten, units)


def whitened_coefficients(rate: optax.Schedule) -> optax.GradientTransformation:
    """`whitened` for a tree of ``coefficients`` (K, B) alone, in a basis of functions of one size."""
    return whitened(
        rate,
        lambda tree: jax.tree.leaves(tree)[0],
        lambda rows, like: jax.tree.unflatten(jax.tree.structure(like), [rows]),
    )


def _shortened(rows: Float[Array, "K size"], root: Float[Array, "size size"]) -> Float[Array, "K size"]:
    limit = LARGEST * np.sqrt(rows.shape[1])
    # What is not finite stays so, for the caller to see.
    norms = jnp.linalg.norm(rows @ root, axis=1, keepdims=True)
    return rows * jnp.where(norms > limit, limit / norms, 1.0)


def _inverse_root(second: Float[Array, "size size"]) -> Float[Array, "size size"]:
    # Where a gradient is not finite the caller drops the step, but an eigendecomposition may not return.
    values, vectors = jnp.linalg.eigh(jnp.nan_to_num(second, posinf=0.0, neginf=0.0))
    floor = DAMPING * values[-1] + jnp.finfo(values.dtype).tiny
    return (vectors / jnp.sqrt(jnp.maximum(values, 0) + floor)) @ vectors.T


def _rows(tree: Any) -> Float[Array, "K size"]:
    """Gradients with respect to (A, b), a row a quantity: in an orthonormal basis of symmetric matrices and
    vectors.
    """
    matrices, vectors = jax.tree.leaves(tree)
    (i, j), weights = _upper(vectors.shape[1])
    return jnp.concatenate([matrices[:, i, j] * weights, vectors], axis=1)


def _unflatten(rows: Float[Array, "K size"], like: Any) -> Any:
    """The steps of (A, b) that rows of steps in the basis of `_rows` stand for."""
    leaves, structure = jax.tree.flatten(like)
    dim = leaves[0].shape[1]
    (i, j), weights = _upper(dim)
    place = np.zeros((dim, dim), np.int32)
    place[i, j] = place[j, i] = np.arange(len(i))
    matrices = (rows[:, : len(i)] / weights)[:, place]
    return jax.tree.unflatten(structure, [matrices, rows[:, len(i) :]])


def _upper(dim: int) -> tuple[tuple[np.ndarray, np.ndarray], Float[np.ndarray, " entries"]]:
    """Indices of the upper triangle, and the weight sqrt 2 off its diagonal."""
    i, j = np.triu_indices(dim)
    return (i, j), np.where(i == j, 1.0, np.sqrt(2)).astype(np.float32)
