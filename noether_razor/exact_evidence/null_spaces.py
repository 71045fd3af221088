"""Null spaces of brackets, and what is orthogonal to them, by groups of coefficients."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int

from ..quadratic_forms import Quadratics

VANISHES = 1e-9
"""Singular values of a bracket below this share of the largest are zero."""


def null_space(maps: Float[np.ndarray, "rows P"], groups: Int[np.ndarray, " P"]) -> Float[np.ndarray, "P Z"]:
    """An orthonormal basis of all c with `maps` c = 0, as `by_groups` has it."""
    columns = []
    for group in np.unique(groups):
        own = groups == group
        part = _null(maps[:, own])
        whole = np.zeros((len(groups), part.shape[1]))
        whole[own] = part
        columns.append(whole)
    return by_groups(np.concatenate(columns, axis=1), _null(maps))


def by_groups(within: Float[np.ndarray, "P Y"], every: Float[np.ndarray, "P Z"]) -> Float[np.ndarray, "P Z"]:
    """An orthonormal basis of the span of orthonormal columns `every`: first the columns `within` groups,
    where these are part of it, so that most belong to one prior variance; then what mixes groups, as
    quantities that mix degrees do. Columns that all mix groups make prior precisions that cannot be inverted.
    """
    left, size, _ = np.linalg.svd(every - within @ (within.T @ every), full_matrices=False)
    mixed = left[:, size > 0.5]
    return (
        np.concatenate([within, mixed], axis=1)
        if within.shape[1] + mixed.shape[1] == every.shape[1]
        else every
    )


def unit_quantities(quantities: Quadratics) -> Quadratics:
    """The same, each of norm 1."""
    rows = np.concatenate([quantities.matrices, quantities.vectors[:, None]], axis=1)
    largest = np.abs(rows).max(axis=(1, 2))  # its square may be larger than any number
    size = largest * np.linalg.norm(rows / largest[:, None, None], axis=(1, 2))
    return Quadratics(
        quantities.matrices / size[:, None, None], quantities.vectors / size[:, None], quantities.constants
    )


def complement(
    basis: Float[np.ndarray, "P Z"], groups: Sequence[int] | np.ndarray
) -> Float[np.ndarray, "P Y"]:
    """An orthonormal basis of what is orthogonal to some columns."""
    return null_space(basis.T, np.asarray(groups))


def _null(matrix: Float[np.ndarray, "rows P"]) -> Float[np.ndarray, "P Z"]:
    """The right null space."""
    if not matrix.size or not np.abs(matrix).max(initial=0.0):
        return np.eye(matrix.shape[1])
    # Of the normal matrix, so that many rows cost nothing; singular values are good to 1e-8 of the largest.
    values, vectors = np.linalg.eigh(matrix.T @ matrix)
    rank = np.sum(values > (VANISHES * 10) * values[-1])
    return vectors[:, : len(values) - rank]
