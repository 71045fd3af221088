"""Poisson brackets of quantities of degree <= 2 with polynomials, as matrices, and what they leave."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..quadratic_forms import Quadratics
from .features import Polynomials, bombieri_weight

VANISHES = 1e-9
"""Singular values of a bracket below this share of the largest are zero."""


def bracket_matrices(features: Polynomials, quantities: Quadratics) -> Float[np.ndarray, "K one_and_P P"]:
    """The maps c -> {C_k, phi^T c} into coefficients of 1 and phi, for quantities C_k of degree <= 2.

    {C, f} = grad C . J grad f, and (A x + b)_j d/dx_k takes a monomial to monomials of its degree, or of one
    less.
    """
    dim, dof = features.dim, features.dim // 2
    exponents = [(0,) * dim, *map(tuple, features.exponents.tolist())]
    place = {e: k for k, e in enumerate(exponents)}
    weights = np.array([bombieri_weight(list(e)) for e in exponents])
    found = np.zeros((len(quantities.vectors), len(exponents), features.size))
    for k in range(dim):
        # grad C . J grad f = sum_i (dC/dq_i df/dp_i - dC/dp_i df/dq_i).
        partner, sign = (k - dof, 1.0) if k >= dof else (k + dof, -1.0)
        for column, e in enumerate(exponents[1:]):
            if e[k]:
                lower = _moved(e, k, -1)
                size = sign * e[k] * weights[column + 1]
                row = place[lower]
                found[:, row, column] += size / weights[row] * quantities.vectors[:, partner]
                for j in range(dim):
                    row = place[_moved(lower, j, 1)]
                    found[:, row, column] += size / weights[row] * quantities.matrices[:, partner, j]
    return found


def _moved(exponents: tuple[int, ...], coordinate: int, by: int) -> tuple[int, ...]:
    return (*exponents[:coordinate], exponents[coordinate] + by, *exponents[coordinate + 1 :])


def null_space(features: Polynomials, quantities: Quadratics) -> Float[np.ndarray, "P Z"]:
    """An orthonormal basis of all c with {C_k, phi^T c} = 0 for all of the quantities.

    Degree by degree where each C_k is of one degree, so that each column belongs to one prior variance.
    """
    maps = bracket_matrices(features, unit_quantities(quantities))
    stacked = maps.reshape(-1, features.size)
    homogeneous = ~(quantities.matrices.any(axis=(1, 2)) & quantities.vectors.any(axis=1))
    if not homogeneous.all():
        return _null(stacked)
    columns = []
    for group in np.unique(features.groups):
        own = features.groups == group
        part = _null(stacked[:, own])
        whole = np.zeros((features.size, part.shape[1]))
        whole[own] = part
        columns.append(whole)
    return np.concatenate(columns, axis=1)


def unit_quantities(quantities: Quadratics) -> Quadratics:
    """The same, each of norm 1."""
    size = np.sqrt(np.sum(quantities.matrices**2, axis=(1, 2)) + np.sum(quantities.vectors**2, axis=1))
    return Quadratics(
        quantities.matrices / size[:, None, None], quantities.vectors / size[:, None], quantities.constants
    )


def complement(
    basis: Float[np.ndarray, "P Z"], groups: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "P Y"]:
    """An orthonormal basis of what is orthogonal to orthonormal columns; group by group where each of them
    belongs to one of `groups` (P,).
    """
    groups = np.asarray(groups)
    every = np.unique(groups)
    within = np.array([np.abs(basis[groups == group]).max(axis=0, initial=0.0) for group in every])
    if np.any(np.sum(within > 0, axis=0) > 1):
        return _null(basis.T)
    columns = []
    for group in every:
        own = groups == group
        part = _null(basis[own].T)
        whole = np.zeros((len(basis), part.shape[1]))
        whole[own] = part
        columns.append(whole)
    return np.concatenate(columns, axis=1)


def _null(matrix: Float[np.ndarray, "rows P"]) -> Float[np.ndarray, "P Z"]:
    """The right null space."""
    if not matrix.size or not np.abs(matrix).max(initial=0.0):
        return np.eye(matrix.shape[1])
    # Of the normal matrix, so that many rows cost nothing; singular values are good to 1e-8 of the largest.
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    rank = np.sum(values > (VANISHES * 10) * values[-1])
    return vectors[:, : len(values) - rank]
