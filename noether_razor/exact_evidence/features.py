"""Features of a Hamiltonian that is linear in its parameters, H(x) = phi(x)^T c, with their derivatives."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property
from math import comb, factorial, prod
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..invariants.monomials import Monomial, monomials
from ..typing import State


class Derivatives(NamedTuple):
    """The gradient (dim,) and second derivatives (dim, dim) of H at a state."""

    gradient: Float[Array, " dim"]
    hessian: Float[Array, "dim dim"]


class Features(ABC):
    """P functions of a scaled state x = (q, p) of `dim` coordinates; H(x) = phi(x)^T c.

    They hash and compare by value: what is compiled for one set serves its equals. `groups` (P,) number those
    that share a prior variance, from 0.
    """

    dim: int

    @property
    @abstractmethod
    def size(self) -> int:
        """P, how many there are."""

    @cached_property
    @abstractmethod
    def groups(self) -> Int[np.ndarray, " P"]:
        """Which features share a prior variance."""

    @abstractmethod
    def values(self, state: State) -> Float[Array, " P"]:
        """All features at a state."""

    @abstractmethod
    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        """What `slopes` needs of the coefficients, computed once for all states."""

    @abstractmethod
    def slopes(self, state: State, prepared: Any) -> Derivatives:
        """Those of H at a state."""

    @abstractmethod
    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        """The gradients of all features at a state."""

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        """All features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_values(self, jnp.asarray(states)))

    def with_one_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows one_and_P"]:
        """1 and all features at many states, in which brackets are expressed."""
        return np.concatenate([np.ones((len(states), 1)), self.values_at(states)], axis=1)

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        """The gradients of all features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_gradients(self, jnp.asarray(states)))


@jax.jit(static_argnums=0)
def _values(features: Features, states: Float[Array, "rows dim"]) -> Float[Array, "rows P"]:
    return jax.vmap(features.values)(states)


@jax.jit(static_argnums=0)
def _gradients(features: Features, states: Float[Array, "rows dim"]) -> Float[Array, "rows dim P"]:
    return jax.vmap(features.slopes_of_all)(states)


def polynomial_count(dim: int, degree: int) -> int:
    """Monomials of degree 1 to `degree` in `dim` variables."""
    return comb(dim + degree, degree) - 1


@dataclass(frozen=True)
class Polynomials(Features):
    """All monomials of degree 1 to `degree`, times Bombieri's weights sqrt(d! / prod e_i!).

    With one prior variance v_d for each degree, the prior of H has the kernel sum_d v_d (x . x')^d: rotations
    of phase space leave it as it is. The span is closed under brackets with quantities of degree <= 2.
    """

    dim: int
    degree: int

    @property
    def size(self) -> int:
        return polynomial_count(self.dim, self.degree)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return self.exponents.sum(axis=1) - 1

    @cached_property
    def monomials(self) -> list[Monomial]:
        """Those of `invariants.monomials`, in its order."""
        return monomials(self.dim, self.degree)

    @cached_property
    def exponents(self) -> Int[np.ndarray, "P dim"]:
        """The power of each coordinate in each monomial."""
        return np.array([[m.count(i) for i in range(self.dim)] for m in self.monomials])

    @cached_property
    def weights(self) -> Float[np.ndarray, " P"]:
        """Bombieri's weights."""
        return np.array([bombieri_weight(row) for row in self.exponents.tolist()])

    @cached_property
    def _lower(self) -> tuple[np.ndarray, np.ndarray]:
        """For each coordinate and monomial: where the monomial divided by the coordinate stands among 1 and
        all monomials, and the factor of the derivative, with the weight.
        """
        place = {m: k for k, m in enumerate(self.monomials, start=1)} | {(): 0}
        where = [[place.get(_without(m, i), 0) for m in self.monomials] for i in range(self.dim)]
        return np.array(where), self.exponents.T * self.weights

    @cached_property
    def _twice_lower(self) -> tuple[np.ndarray, np.ndarray]:
        """The same for pairs of coordinates."""
        place = {m: k for k, m in enumerate(self.monomials, start=1)} | {(): 0}
        where = np.zeros((self.dim, self.dim, self.size), int)
        factor = np.zeros((self.dim, self.dim, self.size))
        for i in range(self.dim):
            for j in range(self.dim):
                for k, m in enumerate(self.monomials):
                    once = m.count(i) * (m.count(j) - (i == j))
                    if once > 0:
                        where[i, j, k] = place[_without(_without(m, i), j)]
                        factor[i, j, k] = once * self.weights[k]
        return where, factor

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.asarray(self.weights, state.dtype) * _powers(state, self.degree)[1:]

    def prepared(self, coefficients: Float[Array, " P"]) -> tuple[Array, Array]:
        """H's gradient and second derivatives as combinations of monomials of degree <= D - 1 and D - 2."""
        first, second = self._lower, self._twice_lower
        row = np.arange(self.dim)[:, None]
        gradient = jnp.zeros((self.dim, 1 + polynomial_count(self.dim, self.degree - 1)), coefficients.dtype)
        gradient = gradient.at[row, first[0]].add(first[1] * coefficients)
        hessian = jnp.zeros((self.dim, self.dim, gradient.shape[1]), coefficients.dtype)
        hessian = hessian.at[row[:, :, None], row[None], second[0]].add(second[1] * coefficients)
        return gradient, hessian[:, :, : 1 + polynomial_count(self.dim, max(self.degree - 2, 0))]

    def slopes(self, state: State, prepared: tuple[Array, Array]) -> Derivatives:
        gradient, hessian = prepared
        powers = _powers(state, self.degree - 1)
        return Derivatives(gradient @ powers, hessian @ powers[: hessian.shape[2]])

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        where, factor = self._lower
        return _powers(state, self.degree - 1)[where] * factor


def bombieri_weight(exponents: list[int]) -> float:
    """sqrt(d! / prod e_i!) of a monomial of degree d."""
    return float(np.sqrt(factorial(sum(exponents)) / prod(map(factorial, exponents))))


def _without(monomial: Monomial, coordinate: int) -> Monomial:
    """The monomial divided by a coordinate; itself where it has none of it, which a factor of 0 meets."""
    if coordinate not in monomial:
        return monomial
    at = monomial.index(coordinate)
    return monomial[:at] + monomial[at + 1 :]


def _powers(state: State, degree: int) -> Float[Array, " powers"]:
    """1 and all monomials of degree 1 to `degree`, in the order of `monomials`."""
    if degree == 0:
        return jnp.ones(1, state.dtype)
    dim = state.shape[0]
    # Products of `degree` entries of (1, x): few operations, whatever the degree.
    factors = [(0,) * degree] + [
        (0,) * (degree - len(m)) + tuple(i + 1 for i in m) for m in monomials(dim, degree)
    ]
    with_one = jnp.concatenate([jnp.ones(1, state.dtype), state])
    return jnp.prod(with_one[np.array(factors).T], axis=0)
