"""Comparing sets of generators as linear spaces, never vector by vector."""

import numpy as np
from jaxtyping import Float

from ..conserved import QuadraticQuantities


def flat_generators(quantities: QuadraticQuantities) -> Float[np.ndarray, "K size"]:
    """The rows vec[J A_k, J b_k], one a quantity: generators without their constant last row; size = 2n (2n +
    1).
    """
    generators = np.asarray(quantities.generators(), dtype=np.float64)
    return generators[:, :-1, :].reshape(quantities.count, -1)


def singular_directions(
    quantities: QuadraticQuantities,
) -> tuple[Float[np.ndarray, " rank"], Float[np.ndarray, "rank size"]]:
    """Singular values and right singular vectors of the stacked generators: what was learned, whatever its
    basis.

    The number of large values is the number of independent symmetries used; their vectors span the learned
    algebra.
    """
    _, values, directions = np.linalg.svd(flat_generators(quantities), full_matrices=False)
    return values, directions


def parallelness(
    directions: Float[np.ndarray, "rank size"], known: QuadraticQuantities
) -> Float[np.ndarray, " rank"]:
    """Length of the projection of each unit vector v / |v| on the span of the known generators: 1 is inside,
    0 orthogonal.
    """
    _, values, basis = np.linalg.svd(flat_generators(known), full_matrices=False)
    basis = basis[values > 1e-8 * values[0]]
    lengths = np.linalg.norm(directions, axis=1)
    projections = np.linalg.norm(directions @ basis.T, axis=1)
    return np.minimum(1.0, projections / np.maximum(lengths, np.finfo(np.float64).tiny))
