"""Null spaces of brackets, and what is orthogonal to them, by groups of coefficients."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ..quadratic_forms import Quadratics

VANISHES = 1e-9
"""Singular values of a bracket below this share of the largest are zero."""


def null_space(maps: Float[np.ndarray, "rows P"], groups: Int[np.ndarray, " P"]) -> Float[np.ndarray, "P Z"]:
    """An orthonormal basis of all c with `maps` c = 0.

    Group by group where that gives all of them, so that each column belongs to one prior variance; quantities
    that mix degrees may mix the groups.
    """
    columns = []
    for group in np.unique(groups):
        own = groups == group
        part = _null(maps[:, own])
        whole = np.zeros((len(groups), part.shape[1]))
        whole[own] = part
        columns.append(whole)
    by_group, every = np.concatenate(columns, axis=1), _null(maps)
    return by_group if by_group.shape[1] == every.shape[1] else every


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
