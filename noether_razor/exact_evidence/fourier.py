"""Waves in many directions of phase space, beside polynomials of degree 2: for forces that no polynomial fits."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.linalg import block_diag, expm, orth
from scipy.special import ndtri
from scipy.stats.qmc import Sobol

from ..quadratic_forms import Quadratics
from ..typing import State
from .features import Derivatives, Features, NotBuiltInError, Relaxed, Richer, Symmetric, hamiltonian_fields
from .polynomials import Polynomials


class Band(NamedTuple):
    """Waves of positions ("q"), momenta ("p") or "all" coordinates: w ~ N(0, 1 / length^2), and their share."""

    which: str
    length: float
    share: float


BANDS = (Band("q", 1.0, 0.3), Band("q", 2.0, 0.2), Band("p", 2.0, 0.15), Band("all", 2.0, 0.35))
"""In scaled coordinates, whose spread is near 1."""
NODES = 32
"""Elements of a compact group that waves are averaged over, for each of its shortest periods."""
MOST_RATIO = 6
"""The largest ratio of the frequencies of a flow that counts as periodic."""
CONSTANT = 1e-6
"""Standard deviation, at random states, below which an averaged wave is left out."""


@dataclass(frozen=True)
class Fourier(Features):
    """Monomials of degree <= 2, and cos(w . x), sin(w . x) for `pairs` quasi-random w.

    With one prior variance for each band, the prior of H is near a Gaussian process with a sum of squared
    exponential kernels. `symmetry` are quantities, each A and b as one row, whose flows leave all waves as they
    are. Those of linear quantities are translations: w loses its component along them. Those of a quadratic one
    with a periodic flow are averaged over it.
    """

    dim: int
    pairs: int
    symmetry: tuple[tuple[float, ...], ...] = ()

    @property
    def degree(self) -> int:
        return self.polynomials.degree

    @property
    def name(self) -> str:
        return f"{2 * self.pairs} waves with polynomials of degree {self.degree}"

    @cached_property
    def polynomials(self) -> Polynomials:
        """The monomials."""
        return Polynomials(self.dim, 2)

    @cached_property
    def _band(self) -> Int[np.ndarray, " F"]:
        """The band of each w."""
        counts = [round(self.pairs * band.share) for band in BANDS[:-1]]
        return np.repeat(np.arange(len(BANDS)), [*counts, self.pairs - sum(counts)])

    @cached_property
    def _free(self) -> Float[np.ndarray, "F dim"]:
        """All w without symmetry."""
        found, half = np.zeros((self.pairs, self.dim)), self.dim // 2
        columns = {"q": np.arange(half), "p": np.arange(half, self.dim), "all": np.arange(self.dim)}
        for k, band in enumerate(BANDS):
            own, where = self._band == k, columns[band.which]
            points = Sobol(len(where), seed=k).random(2 ** int(np.ceil(np.log2(max(own.sum(), 1)))))
            found[np.ix_(own, where)] = ndtri(points[: own.sum()]) / band.length
        return found

    @cached_property
    def waves(self) -> tuple[Float[np.ndarray, "F N dim"], Float[np.ndarray, "F N"]]:
        """w and phase of the waves that each feature is the mean of."""
        if not self.symmetry:
            return self._free[:, None], np.zeros((self.pairs, 1))
        quantities = _unpacked(self.symmetry, self.dim)
        matrices, vectors = hamiltonian_fields(quantities)
        if not matrices.any():
            along = orth(vectors.T)
            return (self._free - self._free @ along @ along.T)[:, None], np.zeros((self.pairs, 1))
        linear, shifts = _orbit(matrices[0], vectors[0])
        return np.einsum("fi,nij->fnj", self._free, linear), self._free @ shifts.T

    @cached_property
    def _used(self) -> Int[np.ndarray, " W"]:
        """Which of all cosines and sines are no constants."""
        states = np.random.default_rng(0).normal(size=(64, self.dim))
        frequencies, phases = self.waves
        values = np.exp(1j * (np.einsum("rd,fnd->rfn", states, frequencies) + phases)).mean(axis=2)
        spread = np.concatenate([values.real, values.imag], axis=1).std(axis=0)
        return np.flatnonzero(spread > CONSTANT)

    @property
    def size(self) -> int:
        return self.polynomials.size + len(self._used)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        waves = self.degree + np.tile(self._band, 2)[self._used]
        return np.concatenate([self.polynomials.groups, waves])

    def values(self, state: State) -> Float[Array, " P"]:
        cos, sin = self._phases(state)
        every = jnp.concatenate([cos.mean(axis=1), sin.mean(axis=1)])
        return jnp.concatenate([self.polynomials.values(state), every[self._used]])

    def prepared(self, coefficients: Float[Array, " P"]) -> tuple[Any, Float[Array, "2 F"]]:
        """Of the monomials, and the coefficients of cosines and sines."""
        low = self.polynomials.size
        waves = jnp.zeros(2 * self.pairs, coefficients.dtype).at[self._used].set(coefficients[low:])
        return self.polynomials.prepared(coefficients[:low]), waves.reshape(2, -1)

    def slopes(self, state: State, prepared: tuple[Any, Float[Array, "2 F"]]) -> Derivatives:
        low, (even, odd) = prepared
        cos, sin = self._phases(state)
        count = cos.shape[1]
        frequencies = jnp.asarray(self.waves[0].reshape(-1, self.dim), state.dtype)
        once = ((odd[:, None] * cos - even[:, None] * sin) / count).reshape(-1)
        twice = (-(even[:, None] * cos + odd[:, None] * sin) / count).reshape(-1)
        found = self.polynomials.slopes(state, low)
        return Derivatives(
            found.gradient + once @ frequencies,
            found.hessian + (frequencies.T * twice) @ frequencies,
        )

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        cos, sin = self._phases(state)
        frequencies = jnp.asarray(self.waves[0], state.dtype)
        of_cos = -jnp.einsum("fn,fnd->df", sin, frequencies) / cos.shape[1]
        of_sin = jnp.einsum("fn,fnd->df", cos, frequencies) / cos.shape[1]
        every = jnp.concatenate([of_cos, of_sin], axis=1)
        return jnp.concatenate([self.polynomials.slopes_of_all(state), every[:, self._used]], axis=1)

    def _phases(self, state: State) -> tuple[Float[Array, "F N"], Float[Array, "F N"]]:
        frequencies, phases = self.waves
        angles = jnp.asarray(frequencies, state.dtype) @ state + jnp.asarray(phases, state.dtype)
        return jnp.cos(angles), jnp.sin(angles)

    def symmetric(self, quantities: Quadratics) -> Symmetric:
        reduced = _linear(quantities)
        if reduced.matrices.any():
            if len(reduced.vectors) > 1:
                raise NotBuiltInError("waves take one quantity with a periodic flow, or linear ones")
            matrices, vectors = hamiltonian_fields(reduced)
            _orbit(matrices[0], vectors[0])
        own = replace(self, symmetry=_packed(reduced))
        low = self.polynomials.symmetric(quantities).kept
        return Symmetric(own, block_diag(low, np.eye(len(own._used))))

    def relaxed(self, quantities: Quadratics) -> Relaxed:
        own, kept = self.symmetric(quantities)
        features = Joined((own, self))
        zero = np.zeros((own.size, self.size))
        kept = np.concatenate([kept, np.zeros((self.size, kept.shape[1]))])
        return Relaxed(features, kept, np.concatenate([zero, np.eye(self.size)]))

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        return ()


@dataclass(frozen=True)
class Joined(Features):
    """Two dictionaries side by side, with groups of the same numbers."""

    parts: tuple[Features, Features]

    @property
    def dim(self) -> int:
        return self.parts[0].dim

    @property
    def degree(self) -> int:
        return max(part.degree for part in self.parts)

    @property
    def name(self) -> str:
        return " and ".join(part.name for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return np.concatenate([part.groups for part in self.parts])

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.concatenate([part.values(state) for part in self.parts])

    def prepared(self, coefficients: Float[Array, " P"]) -> tuple[Any, Any]:
        first = self.parts[0].size
        return self.parts[0].prepared(coefficients[:first]), self.parts[1].prepared(coefficients[first:])

    def slopes(self, state: State, prepared: tuple[Any, Any]) -> Derivatives:
        found = [part.slopes(state, own) for part, own in zip(self.parts, prepared, strict=True)]
        return jax.tree.map(jnp.add, *found)

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        return jnp.concatenate([part.slopes_of_all(state) for part in self.parts], axis=1)

    def symmetric(self, quantities: Quadratics) -> Symmetric:
        raise NotBuiltInError("two dictionaries have no symmetry in common")

    def relaxed(self, quantities: Quadratics) -> Relaxed:
        raise NotBuiltInError("two dictionaries have no symmetry in common")

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        return ()


def _packed(quantities: Quadratics) -> tuple[tuple[float, ...], ...]:
    rows = np.concatenate([quantities.matrices.reshape(len(quantities.vectors), -1), quantities.vectors], axis=1)
    return tuple(tuple(row) for row in rows.tolist())


def _unpacked(rows: tuple[tuple[float, ...], ...], dim: int) -> Quadratics:
    every = np.array(rows)
    return Quadratics(every[:, : dim * dim].reshape(-1, dim, dim), every[:, dim * dim :], np.zeros(len(rows)))


def _linear(quantities: Quadratics) -> Quadratics:
    """The same symmetries, with the square of a linear function, up to a constant, replaced by the function."""
    matrices, vectors = quantities.matrices.copy(), quantities.vectors.copy()
    for k, (matrix, vector) in enumerate(zip(matrices, vectors, strict=True)):
        left, sizes, _ = np.linalg.svd(matrix)
        if sizes[0] and sizes[1:].max(initial=0.0) < 1e-9 * sizes[0]:
            along = left[:, 0]
            if np.linalg.norm(vector - along * (along @ vector)) < 1e-9 * (sizes[0] + np.linalg.norm(vector)):
                matrices[k], vectors[k] = 0.0, along
    return Quadratics(matrices, vectors, quantities.constants)


def _orbit(
    matrix: Float[np.ndarray, "dim dim"], vector: Float[np.ndarray, " dim"]
) -> tuple[Float[np.ndarray, "N dim dim"], Float[np.ndarray, "N dim"]]:
    """Elements x -> G x + s of the flow of the field `matrix` x + `vector`, evenly over its period. Raises
    `NotBuiltInError` where it has none.
    """
    refused = NotBuiltInError("the flow of this quantity is neither a translation nor periodic")
    centre = -np.linalg.lstsq(matrix, vector, rcond=None)[0]
    values = np.linalg.eigvals(matrix)
    speeds = np.abs(values.imag)
    fast = speeds[speeds > 1e-9 * speeds.max(initial=0.0)]
    if not len(fast) or np.linalg.norm(matrix @ centre + vector) > 1e-9 * (1 + np.linalg.norm(vector)):
        raise refused
    for share in range(1, MOST_RATIO + 1):
        # Every frequency is a whole multiple of this one.
        slowest = fast.min() / share
        ratios = fast / slowest
        period = 2 * np.pi / slowest
        if np.abs(ratios - np.round(ratios)).max() < 1e-6 and ratios.max() < MOST_RATIO + 0.5:
            count = NODES * int(round(ratios.max()))
            linear = np.array([expm(k * period / count * matrix) for k in range(count)])
            if np.abs(expm(period * matrix) - np.eye(len(matrix))).max() > 1e-6:
                break
            return linear, centre - linear @ centre
    raise refused
