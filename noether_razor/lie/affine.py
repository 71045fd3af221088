"""Lie algebras of affine vector fields x -> A x + b, by the same naming as those of quantities."""

import numpy as np
from jaxtyping import Float

from .algebra import LieAlgebra, lie_algebra


def affine_lie_algebra(
    matrices: Float[np.ndarray, "K D D"], vectors: Float[np.ndarray, "K D"], *, tolerance: float = 0.05
) -> LieAlgebra:
    """The Lie algebra of the fields A_k x + b_k on R^D under the commutator, with its name.

    A field is the quantity p . (A x + b) on the phase space (x, p) of R^2D (its cotangent lift): the Poisson
    brackets of these quantities are the commutators of the fields. Raises as `lie_algebra` does.
    """
    count, dim = np.asarray(vectors).shape
    lifted = np.zeros((count, 2 * dim, 2 * dim))
    lifted[:, dim:, :dim] = matrices
    lifted[:, :dim, dim:] = np.swapaxes(matrices, 1, 2)
    return lie_algebra(lifted, np.pad(vectors, ((0, 0), (dim, 0))), tolerance=tolerance)
