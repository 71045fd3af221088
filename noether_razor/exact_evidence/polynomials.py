"""Polynomials as features of a Hamiltonian."""

from dataclasses import dataclass
from functools import cached_property
from math import comb, factorial, prod

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..invariants.monomials import Monomial, monomials
from ..quadratic_forms import Quadratics
from ..typing import State
from .features import Derivatives, Features, Richer, hamiltonian_fields
from .terms import Terms

WIDER = 2
"""Degrees more of a richer dictionary."""


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
    def name(self) -> str:
        return f"polynomials of degree {self.degree}"

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

    def curvatures_of_all(self, state: State) -> Float[Array, "dim dim P"]:
        """The second derivatives of all features at a state."""
        where, factor = self._twice_lower
        return _powers(state, max(self.degree - 2, 0))[where] * factor

    def brackets(self, quantities: Quadratics) -> Float[np.ndarray, "K L P"]:
        return self.along(*hamiltonian_fields(quantities))

    def landing_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows L"]:
        return np.concatenate([np.ones((len(states), 1)), self.values_at(states)], axis=1)

    def terms(self) -> Terms:
        none = np.zeros(self.exponents.shape)
        return Terms(self.exponents, none, none[:, 0], self.weights)

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        wider = Polynomials(self.dim, self.degree + WIDER)
        return (Richer(wider, np.arange(self.size)),) if wider.size <= most else ()

    def along(
        self, matrices: Float[np.ndarray, "K dim dim"], vectors: Float[np.ndarray, "K dim"]
    ) -> Float[np.ndarray, "K one_and_P P"]:
        """Derivatives along the fields A_k x + b_k, as maps of coefficients into those of 1 and phi: d/dx_j
        takes a monomial to one of a degree less, and x_i d/dx_j to one of its own.
        """
        found = np.zeros((len(vectors), 1 + self.size, self.size))
        for column, e in enumerate(self._with_one[1:]):
            for j in range(self.dim):
                if e[j]:
                    lower = _moved(e, j, -1)
                    size = e[j] * self._weight(e)
                    row = self._place[lower]
                    found[:, row, column] += size / self._weight(lower) * vectors[:, j]
                    for i in range(self.dim):
                        same = _moved(lower, i, 1)
                        row = self._place[same]
                        found[:, row, column] += size / self._weight(same) * matrices[:, j, i]
        return found

    def times(
        self, rows: Float[np.ndarray, "K dim"], constants: Float[np.ndarray, " K"]
    ) -> Float[np.ndarray, "K wide one_and_P"]:
        """Multiplication by r_k . x + s_k, as maps of coefficients of 1 and phi into those of 1 and the
        polynomials of one degree more.
        """
        wide = Polynomials(self.dim, self.degree + 1)
        found = np.zeros((len(rows), 1 + wide.size, 1 + self.size))
        for column, e in enumerate(self._with_one):
            found[:, column, column] += constants
            for i in range(self.dim):
                higher = _moved(e, i, 1)
                row = wide._place[higher]
                found[:, row, column] += self._weight(e) / self._weight(higher) * rows[:, i]
        return found

    @cached_property
    def _with_one(self) -> list[tuple[int, ...]]:
        """The exponents of 1 and all monomials."""
        return [(0,) * self.dim, *map(tuple, self.exponents.tolist())]

    @cached_property
    def _place(self) -> dict[tuple[int, ...], int]:
        return {e: k for k, e in enumerate(self._with_one)}

    @staticmethod
    def _weight(exponents: tuple[int, ...]) -> float:
        return bombieri_weight(list(exponents))


def bombieri_weight(exponents: list[int]) -> float:
    """sqrt(d! / prod e_i!) of a monomial of degree d."""
    return float(np.sqrt(factorial(sum(exponents)) / prod(map(factorial, exponents))))


def _moved(exponents: tuple[int, ...], coordinate: int, by: int) -> tuple[int, ...]:
    return (*exponents[:coordinate], exponents[coordinate] + by, *exponents[coordinate + 1 :])


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
