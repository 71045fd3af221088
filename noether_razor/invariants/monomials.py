"""Monomials as terms of quantities, and those of degree <= 2 as matrices and vectors."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from math import prod

import numpy as np
import sympy
from jaxtyping import Float, Int

from ..scaling import Periods, centres_and_spreads
from .dictionary import Dictionary, Term, register_dictionary

Monomial = tuple[int, ...]
"""The coordinates that are multiplied: (i,) is x_i, (i, j) with i <= j is x_i x_j."""


def monomials(dim: int, degree: int = 2) -> list[Monomial]:
    """All monomials of degree 1 to `degree` in `dim` coordinates, linear ones first; dim (dim + 3) / 2 of
    them for degree 2.
    """
    return [m for d in range(1, degree + 1) for m in combinations_with_replacement(range(dim), d)]


@dataclass(frozen=True, eq=False, kw_only=True)
class Monomials(Dictionary):
    """All monomials of degree 1 to `degree`; derivatives are lower ones."""

    @classmethod
    def of(cls, names: Sequence[str], degree: int) -> "Monomials":
        """Those in variables of these names; the family of degree 2 is "quadratic"."""
        symbols = [sympy.Symbol(name) for name in names]
        terms = tuple(
            Term(written(names, m), sympy.Mul(*(symbols[i] for i in m)))
            for m in monomials(len(names), degree)
        )
        family = "quadratic" if degree == 2 else f"degree_{degree}"
        return cls(family=family, variables=tuple(names), terms=terms, degree=degree)

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return _values(states, self._degree)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        factor, lower = self._powers[:, coordinate], self._lower[coordinate]
        return _with_one(states, self._degree - 1)[:, np.where(factor > 0, lower, 0)] * factor

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        factor = self._powers[:, first] * (self._powers[:, second] - (first == second))
        once = self._lower[first]
        lower = np.where(factor > 0, self._lower[second][np.maximum(once - 1, 0)], 0)
        return _with_one(states, self._degree - 2)[:, lower] * factor

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"]:
        place = {m: k for k, m in enumerate(monomials(self.dim, self._degree))}
        found = np.zeros((len(place), len(place)))
        for m, k in place.items():
            for kept in product((True, False), repeat=len(m)):
                if any(kept):
                    left = tuple(i for i, stays in zip(m, kept, strict=True) if stays)
                    factors = (scales[i] if stays else shift[i] for i, stays in zip(m, kept, strict=True))
                    found[k, place[left]] += prod(factors)
        return found

    @property
    def _degree(self) -> int:
        assert self.degree is not None
        return self.degree

    @cached_property
    def _powers(self) -> Float[np.ndarray, "M dim"]:
        """The power of each coordinate in each term."""
        every = monomials(self.dim, self._degree)
        return np.array([[float(m.count(i)) for i in range(self.dim)] for m in every])

    @cached_property
    def _lower(self) -> Int[np.ndarray, "dim M"]:
        """Which of 1 and all terms is left of each one, divided by a coordinate; 0 where there is none."""
        every = monomials(self.dim, self._degree)
        place = {m: k for k, m in enumerate(every, start=1)} | {(): 0}
        return np.array([[place[_without(m, i)] if i in m else 0 for m in every] for i in range(self.dim)])


def quadratic(dim: int) -> Monomials:
    """The monomials of degree <= 2 in x1, x2, .."""
    return Monomials.of([f"x{i + 1}" for i in range(dim)], 2)


@register_dictionary("quadratic")
def of_variables(names: tuple[str, ...], periods: Periods) -> Monomials:
    """The monomials of degree <= 2; those of angles are among them, and not usable."""
    return Monomials.of(names, 2)


def written(names: Sequence[str], monomial: Monomial) -> str:
    """As q1^2*p2."""
    counts = {i: monomial.count(i) for i in monomial}
    return "*".join(f"{names[i]}^{count}" if count > 1 else names[i] for i, count in counts.items())


def _without(monomial: Monomial, coordinate: int) -> Monomial:
    at = monomial.index(coordinate)
    return monomial[:at] + monomial[at + 1 :]


def _values(states: np.ndarray, degree: int) -> np.ndarray:
    every = monomials(states.shape[1], degree)
    return np.stack([np.prod(states[:, list(m)], axis=1) for m in every], axis=1)


def _with_one(states: np.ndarray, degree: int) -> np.ndarray:
    one = np.ones((len(states), 1))
    return np.concatenate([one, _values(states, degree)], axis=1) if degree > 0 else one


def coefficients(
    matrices: Float[np.ndarray, "K dim dim"], vectors: Float[np.ndarray, "K dim"]
) -> Float[np.ndarray, "K monomials"]:
    """C = x^T A x / 2 + b^T x as coefficients of `monomials`, (K, dim (dim + 3) / 2)."""
    symmetric = (matrices + np.swapaxes(matrices, 1, 2)) / 2
    row, column = np.triu_indices(vectors.shape[1])
    quadratic = symmetric[:, row, column] * np.where(row == column, 0.5, 1.0)
    return np.concatenate([vectors, quadratic], axis=1)


def quadratic_parts(
    rows: Float[np.ndarray, "K monomials"], dim: int
) -> tuple[Float[np.ndarray, "K dim dim"], Float[np.ndarray, "K dim"]]:
    """The symmetric A (K, dim, dim) and b (K, dim) of coefficients of `monomials`."""
    row, column = np.triu_indices(dim)
    matrices = np.zeros((len(rows), dim, dim))
    matrices[:, row, column] = rows[:, dim:]
    return matrices + np.swapaxes(matrices, 1, 2), np.array(rows[:, :dim])


def canonical_scales(
    states: Float[np.ndarray, "points dim"], periods: Periods = ()
) -> Float[np.ndarray, " dim"]:
    """Units s, (2n,), of canonical coordinates y_i = x_i / s_i in which position and momentum of a pair
    spread alike.

    s_qi s_pi is one constant for all i, so that Poisson brackets keep their form: the geometric mean of the
    products of their spreads.
    """
    position, momentum = np.split(spreads(states, periods), 2)
    product = np.exp(np.mean(np.log(position * momentum)))
    ratio = np.sqrt(position / momentum)
    return np.sqrt(product) * np.concatenate([ratio, 1 / ratio])


def spreads(states: Float[np.ndarray, "points dim"], periods: Periods = ()) -> Float[np.ndarray, " dim"]:
    """The standard deviation of every coordinate, that of an angle (of `periods`) on its circle. Coordinates
    that do not move count as spreading like the least that does.
    """
    spread = centres_and_spreads(states, periods)[1]
    moving = spread[spread > 0]
    return np.where(spread > 0, spread, moving.min() if len(moving) else 1.0)
