"""Quantities of degree at most two: C(x) = x^T A x / 2 + b^T x."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..phase_space import symplectic_matrix
from ..random import normal
from ..typing import PRNGKey, State, VectorField
from .base import ConservedQuantities


class QuadraticQuantities(ConservedQuantities):
    """K quantities C_k(x) = x^T A_k x / 2 + b_k^T x, stored as stacked arrays.

    `matrices` of shape (K, 2n, 2n) may be any; only their symmetric part A enters. `vectors` of shape (K, 2n)
    are the b. The constants are left out: they generate nothing. Terms that contain one of the coordinates
    `angles` are held at zero, whatever is given: no polynomial in an angle is a function on its circle.
    """

    def __init__(
        self,
        matrices: Float[Array, "K dim dim"],
        vectors: Float[Array, "K dim"] | None = None,
        *,
        angles: Sequence[int] = (),
    ):
        if matrices.ndim != 3 or matrices.shape[1] != matrices.shape[2] or matrices.shape[1] % 2:
            raise ValueError(f"matrices must have shape (K, 2n, 2n), got {matrices.shape}")
        if vectors is None:
            vectors = jnp.zeros(matrices.shape[:2], matrices.dtype)
        if vectors.shape != matrices.shape[:2]:
            raise ValueError(f"vectors must have shape {matrices.shape[:2]}, got {vectors.shape}")
        self.angles = tuple(angles)
        self.matrices = nnx.Param(self._without_angles(matrices, 2))
        self.vectors = nnx.Param(self._without_angles(vectors, 1))

    def __repr__(self) -> str:
        *_, count, dim = self.vectors.shape
        angles = f", angles {self.angles}" if self.angles else ""
        return f"QuadraticQuantities({count} of {dim} coordinates{angles})"

    @classmethod
    def random(
        cls,
        key: PRNGKey,
        count: int,
        dof: int,
        scale: float,
        *,
        spreads: Sequence[float] | None = None,
        angles: Sequence[int] = (),
    ) -> "QuadraticQuantities":
        """Quantities with independent N(0, scale^2) entries, to start learning from; in coordinates divided
        by `spreads` (2n,), see `coefficient_units`, and without terms in `angles`.

        `scale` must not be 0: with antithetic group samples that is a stationary point of the bound.
        """
        for_matrices, for_vectors = jax.random.split(key)
        of_matrices, of_vectors = coefficient_units(dof, spreads)
        return cls(
            jnp.asarray(scale * of_matrices * normal(for_matrices, (count, 2 * dof, 2 * dof))),
            jnp.asarray(scale * of_vectors * normal(for_vectors, (count, 2 * dof))),
            angles=angles,
        )

    @property
    def count(self) -> int:
        return self.matrices.shape[0]

    @property
    def dof(self) -> int:
        return self.matrices.shape[1] // 2

    def symmetric_matrices(self) -> Float[Array, "K dim dim"]:
        """The symmetric matrices A_k."""
        matrices = self._without_angles(self.matrices[...], 2)
        return (matrices + matrices.mT) / 2

    def generators(self) -> Float[Array, "K augmented augmented"]:
        """G_k = [[J A_k, J b_k], [0, 0]]: the flow of C_k is x -> exp(t G_k) (x, 1), its first 2n entries."""
        symplectic = symplectic_matrix(self.dof).astype(self.matrices.dtype)
        linear = symplectic @ self.symmetric_matrices()
        shift = self._without_angles(self.vectors[...], 1) @ symplectic.T
        top = jnp.concatenate([linear, shift[..., None]], axis=-1)
        return jnp.pad(top, ((0, 0), (0, 1), (0, 0)))

    def __call__(self, state: State) -> Float[Array, " K"]:
        matrices = self._without_angles(self.matrices[...], 2)
        quadratic = jnp.einsum("i,kij,j->k", state, matrices, state) / 2
        return quadratic + self._without_angles(self.vectors[...], 1) @ state

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        matrix = jnp.tensordot(weights, self.symmetric_matrices(), 1)
        vector = weights @ self._without_angles(self.vectors[...], 1)
        return lambda state: matrix @ state + vector

    def _without_angles(self, entries: Array, axes: int) -> Array:
        """`entries`, whose last `axes` count coordinates, with zeros where one of them is an angle; so their
        gradient is zero there, too.
        """
        if not self.angles:
            return entries
        kept = np.ones(entries.shape[-1], dtype=bool)
        kept[list(self.angles)] = False
        return jnp.where(np.outer(kept, kept) if axes == 2 else kept, entries, 0)


def coefficient_units(
    dof: int, spreads: Sequence[float] | None
) -> tuple[Float[np.ndarray, "dim dim"], Float[np.ndarray, " dim"]]:
    """What coefficients (A, b) of size 1 in coordinates divided by `spreads` (2n,) are in the given ones.

    The quantity itself is divided by the mean spread of positions times that of momenta, which keeps flows
    and brackets of equal spreads (a canonical change of units). None: all spreads 1.
    """
    sizes = np.ones(2 * dof, np.float32) if spreads is None else np.asarray(spreads, np.float32)
    if sizes.shape != (2 * dof,) or not (sizes > 0).all():
        raise ValueError(f"spreads must be {2 * dof} positive numbers, got {sizes}")
    action = sizes[:dof].mean() * sizes[dof:].mean()
    return action / np.outer(sizes, sizes), action / sizes
