"""Brackets of positive coordinates of which the logarithms have constant ones, {x_i, x_j} = b_ij x_i x_j, and
Hamiltonians of logarithms and powers.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..exact_evidence.features import Derivatives, LinearFeatures
from ..exact_evidence.fields import PoissonStructure
from ..exact_evidence.polynomials import Polynomials
from ..exact_evidence.sums import Sum
from ..typing import State
from .bilinear import Family, Parts


@dataclass(frozen=True)
class Logarithms(LinearFeatures):
    """log x_i of each coordinate, for positive states."""

    dim: int
    degree: int = 1

    @property
    def name(self) -> str:
        return "logarithms"

    @property
    def size(self) -> int:
        return self.dim

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return np.zeros(self.dim, int)

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.log(state)

    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        return coefficients

    def slopes(self, state: State, prepared: Any) -> Derivatives:
        return Derivatives(prepared / state, -jnp.diag(prepared / state**2))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        return jnp.diag(1 / state)


@dataclass(frozen=True)
class LogarithmicMatrix(PoissonStructure):
    """B_ij = theta_k x_i x_j for the k-th of all pairs i < j: constant for the logarithms, so that the Jacobi
    identity holds.
    """

    coordinates: int

    @property
    def dim(self) -> int:
        return self.coordinates

    @cached_property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Of coordinates."""
        return tuple(combinations(range(self.dim), 2))

    @property
    def size(self) -> int:
        return len(self.pairs)

    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        first, second = np.array(self.pairs).T
        upper = jnp.zeros((self.dim, self.dim), parameters.dtype).at[first, second].set(parameters)
        return upper - upper.T

    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        return prepared * jnp.outer(state, state)

    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        first, second = np.array(self.pairs).T
        number, size = np.arange(self.size), state[first] * state[second]
        found = jnp.zeros((self.dim, self.size), state.dtype)
        found = found.at[first, number].set(size * gradient[second])
        return found.at[second, number].set(-size * gradient[first])

    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        return prepared * jnp.outer(state, gradient) + jnp.diag(prepared @ (state * gradient))


@dataclass(frozen=True)
class LogarithmicBrackets(Family):
    """Those of some positive coordinates. A damping changes H, and is not fitted beside it."""

    coordinates: int
    damped = False

    @cached_property
    def features(self) -> LinearFeatures:  # type: ignore[override]
        """Logarithms, then monomials of degree one and two."""
        return Sum.of(Logarithms(self.coordinates), Polynomials(self.coordinates, 2))

    @cached_property
    def kinds(self) -> tuple[Parts, ...]:
        """From the simplest: H of logarithms and the coordinates, and of their products as well."""
        pairs = np.arange(len(self.matrix.pairs))
        few = np.arange(2 * self.coordinates)
        return Parts("linear", pairs, few), Parts("quadratic", pairs, np.arange(self.features.size))

    @property
    def matrix(self) -> LogarithmicMatrix:
        """The matrix of all kinds."""
        return LogarithmicMatrix(self.coordinates)

    def structure(self, parts: Parts) -> LogarithmicMatrix:
        return self.matrix

    def products(self, points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points dim K P"]:
        slopes = self.features.gradients(points) * points[:, :, None]
        pairs = self.matrix.pairs
        found = np.zeros((*points.shape, len(pairs), self.features.size))
        for k, (i, j) in enumerate(pairs):
            found[:, i, k] = points[:, i, None] * slopes[:, j]
            found[:, j, k] = -points[:, j, None] * slopes[:, i]
        return found

    def guesses(self, paths: Sequence[Float[np.ndarray, "rows dim"]]) -> Sequence[Float[np.ndarray, " K"]]:
        """All signs of one size, and random ones."""
        count = len(self.matrix.pairs)
        draws = np.random.default_rng(0).normal(size=(12, count))
        return [np.ones(count), *np.sign(draws), *draws]
