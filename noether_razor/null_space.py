"""Directions that a stack of linear conditions leaves free: the core of every search for symmetries here."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class NullSpace(NamedTuple):
    """The null space of a matrix, as orthonormal rows `basis` (rank, M).

    `values` are all M singular values over the largest, falling. `gap` is the ratio of the smallest that was
    kept out to the largest that was let in (inf where there is none on one side).
    """

    basis: Float[np.ndarray, "rank M"]
    values: Float[np.ndarray, " M"]
    gap: float


def null_space(conditions: Float[np.ndarray, "points M"], tolerance: float) -> NullSpace:
    """The combinations c with |conditions c| at most `tolerance` times the largest singular value.

    A conserved quantity sum_k c_k m_k of a motion is one with sum_k c_k {m_k, H}(x) = 0 at all points x; a
    symmetry sum_k c_k xi_k of a density is one with sum_k c_k <grad log p, xi_k>(x) = 0, and of a network's
    loss L one with sum_k c_k <grad L, xi_k>(x) = 0. All are the null space of a matrix with a row a point and
    a column a candidate.
    """
    _, values, right = np.linalg.svd(conditions, full_matrices=len(conditions) < conditions.shape[1])
    values = np.pad(values, (0, len(right) - len(values)))
    largest = values.max(initial=0.0)
    values = values / largest if largest > 0 else values
    rank = int(np.sum(values <= tolerance))
    if 0 < rank < len(values):
        inside = values[len(values) - rank]
        gap = float(values[len(values) - rank - 1] / inside) if inside > 0 else np.inf
    else:
        gap = np.inf
    return NullSpace(right[len(right) - rank :], values, gap)
