"""Quantities of degree <= 2 as coefficients of monomials, and the scaled coordinates to judge them in."""

from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float

Monomial = tuple[int, ...]
"""The coordinates that are multiplied: (i,) is x_i, (i, j) with i <= j is x_i x_j."""


def monomials(dim: int) -> list[Monomial]:
    """All monomials of degree 1 and 2 in `dim` coordinates, linear ones first; dim (dim + 3) / 2 of them."""
    return [*((i,) for i in range(dim)), *combinations_with_replacement(range(dim), 2)]


def monomial_values(states: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points monomials"]:
    """The values of all `monomials` at states (points, dim)."""
    return np.stack([np.prod(states[:, list(m)], axis=1) for m in monomials(states.shape[1])], axis=1)


def coefficients(
    matrices: Float[np.ndarray, "K dim dim"], vectors: Float[np.ndarray, "K dim"]
) -> Float[np.ndarray, "K monomials"]:
    """C = x^T A x / 2 + b^T x as coefficients of `monomials`, (K, dim (dim + 3) / 2)."""
    symmetric = (matrices + np.swapaxes(matrices, 1, 2)) / 2
    row, column = np.triu_indices(vectors.shape[1])
    quadratic = symmetric[:, row, column] * np.where(row == column, 0.5, 1.0)
    return np.concatenate([vectors, quadratic], axis=1)


def quadratic_parts(
    rows: Float[np.ndarray, "K monomials"], dim: int
) -> tuple[Float[np.ndarray, "K dim dim"], Float[np.ndarray, "K dim"]]:
    """The symmetric A (K, dim, dim) and b (K, dim) of coefficients of `monomials`."""
    row, column = np.triu_indices(dim)
    matrices = np.zeros((len(rows), dim, dim))
    matrices[:, row, column] = rows[:, dim:]
    return matrices + np.swapaxes(matrices, 1, 2), np.array(rows[:, :dim])


def canonical_scales(states: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, " dim"]:
    """Units s, (2n,), of canonical coordinates y_i = x_i / s_i in which position and momentum of a pair
    spread alike.

    s_qi s_pi is one constant for all i, so that Poisson brackets keep their form: the geometric mean of the
    products of standard deviations. Coordinates that do not move count as spreading like the least that does.
    """
    spread = np.std(states, axis=0)
    moving = spread[spread > 0]
    spread = np.where(spread > 0, spread, moving.min() if len(moving) else 1.0)
    position, momentum = np.split(spread, 2)
    product = np.exp(np.mean(np.log(position * momentum)))
    ratio = np.sqrt(position / momentum)
    return np.sqrt(product) * np.concatenate([ratio, 1 / ratio])


def monomial_slopes(
    states: Float[np.ndarray, "points dim"], coordinate: int
) -> Float[np.ndarray, "points monomials"]:
    """The derivatives of all `monomials` by one coordinate at states (points, dim)."""
    dim = states.shape[1]
    row, column = np.triu_indices(dim)
    linear = np.zeros((len(states), dim))
    linear[:, coordinate] = 1.0
    quadratic = states[:, column] * (row == coordinate) + states[:, row] * (column == coordinate)
    return np.concatenate([linear, quadratic], axis=1)
