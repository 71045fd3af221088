"""Symmetries of a density: affine fields along which its log does not change, and their Lie algebra."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..lie import LieAlgebra, affine_lie_algebra
from ..null_space import null_space
from .functional import LogDensity
from .linear import principal_components

EXACT = 1e-9
"""Singular value over the largest, up to which a direction counts as a symmetry of a known density."""


AT_REST = 0.2
"""Of the spread of the points, the movement of an image below which it is at rest."""


@dataclass(frozen=True, eq=False)
class DensitySymmetries:
    """Fields xi_k(x) = A_k x + b_k with <grad log p, xi_k> = 0, and the Lie algebra that they span.

    `matrices` (K, D, D) and `vectors` (K, D) are in the units of the data. `singular_values` are those of all
    candidates over the largest, falling; `gap` is the ratio between the last that is no symmetry and the
    first that is. Symmetries form a group: of directions within the tolerance, the flattest ones that are
    closed under commutators are taken, and `open_directions` more are left out.
    """

    matrices: Float[np.ndarray, "K D D"]
    vectors: Float[np.ndarray, "K D"]
    singular_values: Float[np.ndarray, " M"]
    gap: float
    algebra: LieAlgebra
    open_directions: int = 0

    @property
    def dimension(self) -> int:
        """How many independent symmetries there are."""
        return len(self.matrices)

    def __repr__(self) -> str:
        return f"DensitySymmetries({self.algebra.name}, dimension {self.dimension}, gap {self.gap:.2g})"

    def to_json(self) -> dict[str, Any]:
        """The symmetries as plain numbers."""
        return {
            "dimension": self.dimension,
            "matrices": self.matrices.tolist(),
            "vectors": self.vectors.tolist(),
            "singular_values": self.singular_values.tolist(),
            "gap": self.gap if np.isfinite(self.gap) else None,
            "algebra": self.algebra.to_json(),
            "open_directions": self.open_directions,
        }


def density_symmetries(
    log_density: LogDensity,
    points: Float[np.ndarray, "n D"],
    *,
    isometries: bool = False,
    tolerance: float = EXACT,
    resolution: float = 0.0,
    image: Float[np.ndarray, "m D"] | None = None,
) -> DensitySymmetries:
    """The affine symmetries of a density: the null space of <grad log p, A x + b> over points.

    `points` say where the density matters; as many as candidates (D^2 + D) at least, three times as many
    better. With `isometries` only rotations and translations are candidates, those that have a Noether
    current. `tolerance` is the largest singular value, over the largest of all, of a symmetry: 1e-9 for a
    known density, some per cent for an estimated one. Fields along principal axes on which the points spread
    at most by `resolution` are no candidates: the points say nothing of them. Where the density is that of
    noise around an `image` (m, D), fields that leave the image at rest only say that the noise is the same in
    all directions: what is listed moves the image. Raises ValueError for too few points, and where log p or
    its gradient is not finite.
    """
    points = np.asarray(points, dtype=np.float64)
    count, dim = points.shape
    middle = points.mean(axis=0)
    scale = float(np.sqrt(np.mean((points - middle) ** 2)))
    with jax.enable_x64(True):
        scores = np.asarray(jax.jit(jax.vmap(jax.grad(log_density)))(jnp.asarray(points)))
    if not np.isfinite(scores).all():
        where = int(np.argmin(np.isfinite(scores).all(axis=1)))
        raise ValueError(f"the gradient of the log density is not finite at point {where}: {points[where]}")
    components = principal_components(points)
    seen = np.sqrt(components.variances) > max(resolution, 1e-12 * scale)
    fields = _candidates(components.axes[seen], isometries)
    if count < len(fields):
        raise ValueError(f"got {count} points, expected at least {len(fields)}, one a candidate")
    # However steep the density is, no point outweighs another; where it is flat, an estimated one has errors
    # as large as its gradient, and points count less.
    sizes = np.linalg.norm(scores, axis=1, keepdims=True)
    directions = scores / np.maximum(sizes, max(float(np.median(sizes)), np.finfo(float).tiny))
    moved = np.pad((points - middle) / scale, ((0, 0), (0, 1)), constant_values=1.0)
    conditions = np.einsum("ni,kij,nj->nk", directions, fields, moved, optimize=True)
    found = null_space(conditions, tolerance)
    affine = np.einsum("rk,kij->rij", found.basis, fields)
    if image is not None:
        affine = _moving(affine, (image - middle) / scale)
    count = len(affine)
    algebra = _named(affine, tolerance)
    # The first of them is the least flat one.
    while algebra.centre is None and len(affine):
        affine = affine[1:]
        algebra = _named(affine, tolerance)
    skipped = count - len(affine)
    if len(affine) == 1:
        affine = _turned(affine, tolerance)
        algebra = _named(affine, tolerance)
    matrices = affine[:, :, :dim]
    vectors = scale * affine[:, :, dim] - matrices @ middle
    return DensitySymmetries(matrices, vectors, found.values, found.gap, algebra, skipped)


def _candidates(axes: Float[np.ndarray, "r D"], isometries: bool) -> Float[np.ndarray, "M D D+1"]:
    """The augmented matrices (A, b) of all candidates in the span of orthonormal axes, each of norm one."""
    rank = len(axes)
    shifts = np.pad(axes[:, :, None], ((0, 0), (0, 0), (axes.shape[1], 0)))
    if isometries:
        first, second = np.triu_indices(rank, 1)
        turns = np.einsum("ki,kj->kij", axes[second], axes[first])
        turns = (turns - np.swapaxes(turns, 1, 2)) * np.sqrt(0.5)
    else:
        turns = np.einsum("ai,bj->abij", axes, axes).reshape(rank * rank, axes.shape[1], axes.shape[1])
    return np.concatenate([np.pad(turns, ((0, 0), (0, 0), (0, 1))), shifts])


def _moving(
    affine: Float[np.ndarray, "K D D+1"], image: Float[np.ndarray, "m D"]
) -> Float[np.ndarray, "R D D+1"]:
    """Of the span of fields the part that moves an image, orthogonal to what leaves it at rest; in the order
    of the fields where all of them move it.
    """
    at = np.pad(image, ((0, 0), (0, 1)), constant_values=1.0)
    if not len(affine):
        return affine
    moved = np.einsum("kij,mj->kmi", affine, at).reshape(len(affine), -1) / np.sqrt(len(image))
    axes, sizes, _ = np.linalg.svd(moved, full_matrices=False)
    if sizes[-1] > AT_REST:
        return affine
    return np.einsum("kr,kij->rij", axes[:, sizes > AT_REST], affine)


def _turned(affine: Float[np.ndarray, "1 D D+1"], tolerance: float) -> Float[np.ndarray, "1 D D+1"]:
    """A single turn without a shift along its axis that is within the tolerance: a turn, and no screw."""
    matrix, vector = affine[0, :, :-1], affine[0, :, -1]
    still = null_space(matrix, 1e-6).basis
    shift = still.T @ (still @ vector)
    if np.linalg.norm(shift) <= tolerance * np.linalg.norm(matrix):
        affine = affine.copy()
        affine[0, :, -1] -= shift
    return affine


def _named(affine: Float[np.ndarray, "K D D+1"], tolerance: float) -> LieAlgebra:
    """The algebra of fields in coordinates of about unit spread, which close to the tolerance of an estimated
    density, or to 5 %.
    """
    dim = affine.shape[1]
    close = tolerance if tolerance > 1e-3 else 0.05
    return affine_lie_algebra(affine[:, :, :dim], affine[:, :, dim], tolerance=close)
