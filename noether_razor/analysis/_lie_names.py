"""The structure of a Lie algebra of quadratic quantities, from its structure constants and its action, and its name."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from jaxtyping import Complex, Float

Subspace = Float[np.ndarray, "r d"]
"""An orthonormal basis of a subspace, as rows."""

_RATIO = 0.05
"""Relative error up to which a ratio of frequencies, or the real part of a frequency against its size, is taken as measured."""


class UndecidedError(Exception):
    """Raised inside the recognition where the numbers do not decide; the caller then gives invariants instead of a name."""


@dataclass(frozen=True)
class Structure:
    """Structure constants f of [e_i, e_j] = sum_k f_ijk e_k, shape (d, d, d), scaled to singular values of at most 1.

    `resolution` is the singular value below which a direction counts as zero. Subspaces are orthonormal rows.
    """

    constants: Float[np.ndarray, "d d d"]
    resolution: float

    @property
    def dimension(self) -> int:
        return self.constants.shape[0]

    @cached_property
    def whole(self) -> Subspace:
        return np.eye(self.dimension)

    @cached_property
    def killing_form(self) -> Float[np.ndarray, "d d"]:
        """kappa_ij = tr(ad_i ad_j)."""
        return np.einsum("iab,jba->ij", self.constants, self.constants)

    def bracket(self, left: Float[np.ndarray, "a d"], right: Float[np.ndarray, "b d"]) -> Float[np.ndarray, "a b d"]:
        """[x, y] for every row x of `left` and y of `right`."""
        return np.einsum("ai,bj,ijk->abk", left, right, self.constants, optimize=True)

    def span(self, vectors: Float[np.ndarray, "count d"]) -> Subspace:
        """The directions of the rows that stand out of `resolution`."""
        _, size, basis = np.linalg.svd(vectors, full_matrices=False)
        return basis[size > self.resolution]

    def kernel(self, images: Float[np.ndarray, "count m"], subspace: Subspace) -> Subspace:
        """The part of `subspace` (rows x_a) where the linear map x_a -> images[a] is zero to `resolution`."""
        directions, size, _ = np.linalg.svd(images, full_matrices=True)
        rank = int(np.sum(size > self.resolution))
        return directions[:, rank:].T @ subspace

    def product(self, left: Subspace, right: Subspace) -> Subspace:
        """[left, right]."""
        return self.span(self.bracket(left, right).reshape(-1, self.dimension))

    def centraliser(self, subspace: Subspace, of: Subspace | None = None) -> Subspace:
        """The elements (of the subspace `of`, by default of the whole) that commute with `subspace`."""
        of = self.whole if of is None else of
        return self.kernel(self.bracket(of, subspace).reshape(len(of), -1), of)

    def restricted(self, subspace: Subspace) -> "Structure":
        """The structure of a subalgebra, or of the quotient by the ideal that `subspace` is the complement of."""
        return Structure(np.einsum("abk,ck->abc", self.bracket(subspace, subspace), subspace), self.resolution)

    def complement(self, subspace: Subspace) -> Subspace:
        """The orthogonal complement."""
        return np.linalg.svd(subspace, full_matrices=True)[2][len(subspace) :] if len(subspace) else self.whole

    @cached_property
    def centre(self) -> Subspace:
        return self.centraliser(self.whole)

    @cached_property
    def derived(self) -> Subspace:
        """[g, g]."""
        return self.product(self.whole, self.whole)

    @cached_property
    def radical(self) -> Subspace:
        """The largest solvable ideal: what is Killing-orthogonal to [g, g]."""
        return self.kernel(self.killing_form @ self.derived.T, self.whole)

    def derived_series(self) -> tuple[int, ...]:
        """Dimensions of g, [g, g], [[g, g], [g, g]], ... up to and with the first that repeats."""
        return _series(self.whole, lambda last: self.product(last, last))

    def lower_central_series(self) -> tuple[int, ...]:
        """Dimensions of g, [g, g], [g, [g, g]], ... up to and with the first that repeats."""
        return _series(self.whole, lambda last: self.product(self.whole, last))

    def killing_signature(self) -> tuple[int, int, int]:
        """Numbers of positive, negative and zero eigenvalues of the Killing form."""
        size = np.linalg.eigvalsh(self.killing_form)
        positive, negative = int(np.sum(size > self.resolution)), int(np.sum(size < -self.resolution))
        return positive, negative, self.dimension - positive - negative


def _series(whole, step):
    series = [whole]
    while len(series) < 2 or len(series[-1]) != len(series[-2]):
        series.append(step(series[-1]))
    return tuple(len(space) for space in series)
