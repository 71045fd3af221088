"""Subspaces of a Lie algebra given by structure constants, and how commuting elements act."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

Subspace = Float[np.ndarray, "_ d"]
"""An orthonormal basis of a subspace, as rows."""


class UndecidedError(Exception):
    """The numbers do not decide for a name; the message says which ones."""


@dataclass(frozen=True)
class Structure:
    """Structure constants f of [e_i, e_j] = sum_k f_ijk e_k, scaled to singular values of at most 1.

    `error` is the size of their errors, `resolution` the singular value below which a direction counts as
    zero. Subspaces are orthonormal rows.
    """

    constants: Float[np.ndarray, "d d d"]
    error: float
    resolution: float

    @property
    def ratio(self) -> float:
        """Relative error up to which frequencies count as equal, in a simple ratio, or imaginary."""
        return min(0.05, 5 * self.error + 1e-4)

    @property
    def dimension(self) -> int:
        return self.constants.shape[0]

    @cached_property
    def whole(self) -> Subspace:
        return np.eye(self.dimension)

    def adjoint(self, element: Float[np.ndarray, " d"]) -> Float[np.ndarray, "d d"]:
        """The matrix of y -> [x, y] on rows y."""
        return np.einsum("i,ijk->jk", element, self.constants)

    def bracket(
        self, left: Float[np.ndarray, "a d"], right: Float[np.ndarray, "b d"]
    ) -> Float[np.ndarray, "a b d"]:
        """[x, y] for every row x of `left` and y of `right`."""
        return np.einsum("ai,bj,ijk->abk", left, right, self.constants, optimize=True)

    def span(self, vectors: Float[np.ndarray, "count d"]) -> Subspace:
        """The directions of the rows that stand out of the resolution."""
        _, size, basis = np.linalg.svd(vectors, full_matrices=False)
        return basis[size > self.resolution]

    def kernel(self, images: Float[np.ndarray, "r m"], subspace: Subspace) -> Subspace:
        """The part of `subspace` where the linear map x_a -> images[a] of its rows vanishes."""
        missing = max(0, len(images) - images.shape[1])
        directions, size, _ = np.linalg.svd(np.pad(images, ((0, 0), (0, missing))), full_matrices=False)
        return directions[:, size <= self.resolution].T @ subspace

    def product(self, left: Subspace, right: Subspace) -> Subspace:
        """[left, right]."""
        return self.span(self.bracket(left, right).reshape(len(left) * len(right), self.dimension))

    def centraliser(self, subspace: Subspace) -> Subspace:
        """The elements that commute with `subspace`."""
        return self.kernel(
            self.bracket(self.whole, subspace).reshape(self.dimension, len(subspace) * self.dimension),
            self.whole,
        )

    def complement(self, subspace: Subspace) -> Subspace:
        """The orthogonal complement."""
        return (
            np.linalg.svd(subspace, full_matrices=True)[2][len(subspace) :] if len(subspace) else self.whole
        )

    def restricted(self, subspace: Subspace) -> "Structure":
        """The structure of a subalgebra, or of the quotient by the ideal orthogonal to `subspace`."""
        return replace(self, constants=np.einsum("abk,ck->abc", self.bracket(subspace, subspace), subspace))

    @cached_property
    def killing_form(self) -> Float[np.ndarray, "d d"]:
        """tr(ad_i ad_j)."""
        return np.einsum("iab,jba->ij", self.constants, self.constants)

    @cached_property
    def _killing(self) -> tuple[np.ndarray, np.ndarray]:
        """The Killing form (r, r) on elements, rows (r, d), of adjoint norm one: its values are in [-1, 1].

        Elements with small brackets then count like others although the form is quadratic in the brackets.
        """
        size, directions = np.linalg.eigh(np.einsum("iab,jab->ij", self.constants, self.constants))
        kept = size > self.resolution**2
        elements = (directions[:, kept] / np.sqrt(size[kept])).T
        return elements @ self.killing_form @ elements.T, elements

    @cached_property
    def killing_signature(self) -> tuple[int, int, int]:
        """Numbers of positive, negative and zero eigenvalues of the Killing form."""
        size = np.linalg.eigvalsh(self._killing[0])
        positive, negative = int(np.sum(size > self.resolution)), int(np.sum(size < -self.resolution))
        return positive, negative, self.dimension - positive - negative

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
        form, elements = self._killing
        norms = np.linalg.norm(elements, axis=1, keepdims=True)
        against = self.span(self.derived @ (elements / norms**2).T)
        solvable = self.kernel(form @ against.T, np.eye(len(form))) @ elements
        return np.concatenate([self.centre, np.linalg.qr(solvable.T)[0].T])

    @cached_property
    def levi(self) -> "Structure":
        """The semisimple quotient by the radical."""
        return self.restricted(self.complement(self.radical))

    @property
    def derived_series(self) -> tuple[int, ...]:
        """Dimensions of g, [g, g], [[g, g], [g, g]], ... up to and with the first that repeats."""
        return self._series(lambda last: self.product(last, last))

    @property
    def lower_central_series(self) -> tuple[int, ...]:
        """Dimensions of g, [g, g], [g, [g, g]], ... up to and with the first that repeats."""
        return self._series(lambda last: self.product(self.whole, last))

    def _series(self, step: Callable[[Subspace], Subspace]) -> tuple[int, ...]:
        series = [self.whole, step(self.whole)]
        while len(series[-1]) < len(series[-2]):
            series.append(step(series[-1]))
        return tuple(len(space) for space in series)

    def is_abelian(self, subspace: Subspace) -> bool:
        """Whether the elements of `subspace` commute."""
        return len(self.product(subspace, subspace)) == 0


def simple_ideals(algebra: Structure) -> list[Subspace]:
    """The simple ideals of a semisimple algebra, largest first.

    A root vector of a generic element lies in one simple ideal and generates it; the rest commutes with that
    ideal. Raises UndecidedError when the parts do not add up.
    """
    if algebra.dimension in (0, 3):
        return [algebra.whole] if algebra.dimension else []
    if algebra.dimension < 3:
        raise UndecidedError("its semisimple part has fewer than three dimensions")
    ideal = algebra.span(_isolated_root(algebra))
    while True:
        larger = algebra.span(
            np.concatenate([ideal, algebra.bracket(algebra.whole, ideal).reshape(-1, algebra.dimension)])
        )
        if len(larger) <= len(ideal):
            break
        ideal = larger
    rest = algebra.centraliser(ideal)
    if len(ideal) + len(rest) != algebra.dimension:
        raise UndecidedError("its semisimple part does not split cleanly into simple ideals")
    ideals = [ideal, *(part @ rest for part in simple_ideals(algebra.restricted(rest)))]
    return sorted(ideals, key=len, reverse=True)


def _isolated_root(algebra: Structure) -> Float[np.ndarray, "2 d"]:
    """Real and imaginary part of the eigenvector of a generic ad(x) whose eigenvalue is best isolated."""
    random = np.random.default_rng(0)
    best, chosen = 0.0, np.zeros((2, algebra.dimension))
    for element in random.normal(size=(20, algebra.dimension)):
        values, vectors = np.linalg.eig(algebra.adjoint(element).T)
        apart = np.abs(values[:, None] - values[None]) + np.diag(np.full(len(values), np.inf))
        # Zero is the eigenvalue of the Cartan subalgebra, never a root.
        isolation = np.minimum(apart.min(axis=1), np.abs(values)) / np.abs(values).max()
        at = int(np.argmax(isolation))
        if isolation[at] > best:
            best, chosen = isolation[at], np.stack([np.real(vectors[:, at]), np.imag(vectors[:, at])])
    return chosen


@dataclass(frozen=True)
class CommutingAction:
    """The elliptic and the hyperbolic elements of a commuting family, as rows of coefficients."""

    elliptic: Subspace
    hyperbolic: Subspace


def commuting_action(matrices: Float[np.ndarray, "k m m"], noise: float, ratio: float) -> CommutingAction:
    """Sorts commuting affine generators [[X, v], [0, 0]] by their joint Jordan decomposition.

    X = sum_i chi_i(X) Pi_i + nilpotent part: elliptic is a zero nilpotent part with imaginary chi, hyperbolic
    one with real chi. `noise` is the size of errors in the matrices, `ratio` the relative real part up to
    which a frequency counts as imaginary. Raises UndecidedError when that is not clear, or frequencies are
    too close for the noise.
    """
    count, size = matrices.shape[:2]
    if count == 0:
        return CommutingAction(np.zeros((0, 0)), np.zeros((0, 0)))
    projectors, multiplicity, weights, remainder = _joint_decomposition(matrices, noise)
    amplification = max(np.linalg.norm(projector, 2) for projector in projectors)
    remainder = np.pad(remainder.reshape(count, -1), ((0, 0), (0, max(0, count - size**2))))
    left, singular, right = np.linalg.svd(remainder, full_matrices=False)
    threshold = np.clip(20 * noise * amplification, 1e-6, 0.2)
    semisimple = singular <= threshold
    if np.any(~semisimple & (singular < 3 * threshold)):
        raise UndecidedError("an element of its centre is neither clearly diagonalisable nor clearly not")
    parts = (singular[:, None] * right)[~semisimple, : size**2].reshape(-1, size, size)
    for part in parts:
        # Eigenvalues too close to be told apart leave a part that is not nilpotent, whose square has a trace.
        norm, trace = np.linalg.norm(part[:-1, :-1]), abs(np.sum(part * part.T))
        significant = trace > max(5 * noise, 1e-9) * amplification * norm
        translation = norm < max(20 * noise, 0.05 * np.linalg.norm(part))
        if not translation and (significant or trace > 0.2 * norm**2):
            raise UndecidedError("frequencies in its centre are too close for the noise")
    basis = left[:, semisimple].T
    if not len(basis):
        return CommutingAction(basis, basis)

    weights = (basis @ weights) * np.sqrt(multiplicity)
    total = np.real(weights @ weights.conj().T)
    values, vectors = np.linalg.eigh(total)
    if values[0] <= 1e-20:
        raise UndecidedError("an element of its centre hardly acts")
    whitening = (vectors / np.sqrt(values)).T
    growth, mixing = np.linalg.eigh(whitening @ (np.real(weights) @ np.real(weights).T) @ whitening.T)
    # A little growth is a rotation with errors, or a weak spiral: not for us to say.
    if np.any((growth > ratio**2) & (growth < 0.25) | (growth < 1 - ratio**2) & (growth > 0.75)):
        raise UndecidedError("within errors, an element that commutes with all may turn or stretch states")
    rows = mixing.T @ whitening @ basis

    def orthonormal(part: np.ndarray) -> np.ndarray:
        return np.linalg.qr(part.T)[0].T

    return CommutingAction(
        elliptic=orthonormal(rows[growth <= ratio**2]),
        hyperbolic=orthonormal(rows[growth >= 1 - ratio**2]),
    )


def _joint_decomposition(
    matrices: Float[np.ndarray, "k m m"], noise: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Projectors Pi_i of a generic combination and their ranks, the chi_i of each matrix, and what these
    leave of it: of several combinations, from the one that leaves least.
    """
    count = len(matrices)
    found = []
    for coefficients in np.random.default_rng(0).normal(size=(8 if count > 1 else 1, count)):
        generic = np.einsum("k,kab->ab", coefficients / np.linalg.norm(coefficients), matrices)
        projectors, multiplicity = _spectral_projectors(generic, noise)
        weights = np.einsum("kab,iba->ki", matrices, projectors) / multiplicity
        remainder = matrices - np.einsum("ki,iab->kab", weights, projectors).real
        # Eigenvalues that happen to be close, or to be split by noise, only add to the remainder.
        sizes = np.linalg.svd(remainder.reshape(count, -1), compute_uv=False)
        found.append(
            (np.sum(np.log(np.maximum(sizes, noise))), (projectors, multiplicity, weights, remainder))
        )
    return min(found, key=lambda entry: entry[0])[1]


def _spectral_projectors(matrix: Float[np.ndarray, "m m"], noise: float) -> tuple[np.ndarray, np.ndarray]:
    """Spectral projectors (clusters, m, m) of the finest clusters that the noise allows, and their sizes.

    A cluster stands when perturbation theory holds for it: noise times the norm of its projector well below
    its distance to the others. Noise splits a Jordan block into close eigenvalues whose projectors are large;
    they are put back together.
    """
    values = np.linalg.eigvals(matrix)
    distance = np.abs(values[:, None] - values[None])
    labels = np.zeros(0, dtype=int)
    for reach in np.unique(distance):
        before, labels = labels, _clusters(distance <= reach * (1 + 1e-9))
        if np.array_equal(labels, before):
            continue
        projectors = []
        for label in range(labels.max() + 1):
            projector = _projector(matrix, values, labels == label, noise)
            if projector is None:
                break
            projectors.append(projector)
        else:
            return np.stack(projectors), np.bincount(labels)
    raise AssertionError("one cluster of all eigenvalues always stands")


def _clusters(near: np.ndarray) -> np.ndarray:
    """Labels 0, 1, ... of the connected components of a symmetric relation."""
    reachable = near.copy()
    for _ in range(len(near).bit_length()):
        reachable = reachable @ reachable
    return np.unique(reachable.argmax(axis=1), return_inverse=True)[1]


def _projector(matrix: np.ndarray, values: np.ndarray, inside: np.ndarray, noise: float) -> np.ndarray | None:
    """The integral of (z - X)^-1 / (2 pi i) around a cluster of eigenvalues, None where it is unreliable."""
    identity = np.eye(len(values), dtype=complex)
    if inside.all():
        return identity
    centre = values[inside].mean()
    inner, outer = np.abs(values[inside] - centre).max(), np.abs(values[~inside] - centre).min()
    if outer < 3 * inner or max(noise, 1e-9 * np.abs(values).max()) > 0.1 * outer:
        return None
    # The trapezoidal rule converges geometrically at the rate of the radii on both sides of the circle.
    directions = np.exp(2j * np.pi * (np.arange(64) + 0.5) / 64)
    radius = np.sqrt(max(inner, 1e-3 * outer) * outer)
    try:
        resolvents = np.linalg.inv((centre + radius * directions)[:, None, None] * identity - matrix)
    except np.linalg.LinAlgError:
        # Parts of a Jordan block that rounding has split.
        return None
    projector = np.einsum("z,zab->ab", radius * directions, resolvents) / 64
    reliable = (
        noise * np.linalg.norm(projector, 2) <= 0.1 * outer and abs(np.trace(projector) - inside.sum()) < 0.1
    )
    return projector if reliable else None
