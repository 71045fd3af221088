"""Libraries of terms: monomials beside products of functions and momenta."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import sympy
from jaxtyping import Float, Int

from ..invariants import Dictionary, Monomials, Term
from ..invariants.monomials import Monomial, monomials, written
from .factors import Factor, One


@dataclass(frozen=True, eq=False, kw_only=True)
class Products(Dictionary):
    """Terms f(x) m(x): a factor times a monomial of degree <= 4, derivatives by the product rule.

    `factors` are the functions, `which` (M,) says which one each term has, `exponents` (M, 2n) the powers of
    the coordinates.
    """

    factors: tuple[Factor, ...]
    which: Int[np.ndarray, " M"]
    exponents: Int[np.ndarray, "M dim"]

    @classmethod
    def of(
        cls, names: Sequence[str], blocks: Sequence[tuple[Factor, Sequence[Monomial]]], family: str
    ) -> "Products":
        """Each factor times its monomials, () for the factor alone."""
        dim, symbols = len(names), [sympy.Symbol(name) for name in names]
        terms, which, exponents = [], [], []
        for number, (factor, products) in enumerate(blocks):
            for m in products:
                product = written(names, m) if m else ""
                name = "*".join(part for part in (product, factor.name) if part)
                terms.append(Term(name, sympy.Mul(*(symbols[i] for i in m)) * factor.expression))
                which.append(number)
                exponents.append([m.count(i) for i in range(dim)])
        return cls(
            family=family,
            variables=tuple(names),
            terms=tuple(terms),
            factors=tuple(factor for factor, _ in blocks),
            which=np.array(which, int),
            exponents=np.array(exponents, int).reshape(len(terms), dim),
        )

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return self._factor_values(states) * self._powers(states)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        inner = self._spread([f.slopes(states, coordinate) for f in self.factors], states)
        return inner * self._powers(states) + self._factor_values(states) * self._powers(states, coordinate)

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        twice = self._spread([f.bends(states, first, second) for f in self.factors], states)
        one, other = (
            self._spread([f.slopes(states, k) for f in self.factors], states) for k in (first, second)
        )
        return (
            twice * self._powers(states)
            + one * self._powers(states, second)
            + other * self._powers(states, first)
            + self._factor_values(states) * self._powers(states, first, second)
        )

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        return None

    def _spread(self, columns: list[np.ndarray], states: np.ndarray) -> np.ndarray:
        """A column a factor as one a term."""
        return np.stack(columns, axis=1)[:, self.which] if columns else np.zeros((len(states), 0))

    def _factor_values(self, states: np.ndarray) -> np.ndarray:
        return self._spread([f.values(states) for f in self.factors], states)

    def _powers(self, states: np.ndarray, *by: int) -> np.ndarray:
        """The monomials at states, differentiated by some coordinates."""
        exponents, size = self.exponents.copy(), np.ones(len(self))
        for k in by:
            size = size * exponents[:, k]
            exponents[:, k] = np.maximum(exponents[:, k] - 1, 0)
        found = np.tile(size, (len(states), 1))
        for i in np.flatnonzero(exponents.any(axis=0)).tolist():
            power = np.ones(len(states))
            for e in range(1, int(exponents[:, i].max()) + 1):
                power = power * states[:, i]
                found[:, exponents[:, i] == e] *= power[:, None]
        return found


@dataclass(frozen=True, eq=False, kw_only=True)
class Library(Dictionary):
    """The terms of several dictionaries of the same variables, side by side.

    `label` says what they are. `grades` (M,) sort them: the degree of monomials, one more for each with a
    factor. `legend` says what short names in formulas mean: r is sqrt(q1^2 + q2^2). `largest` is the degree
    of the monomials.
    """

    parts: tuple[Dictionary, ...]
    label: str
    largest: int
    grades: tuple[int, ...]
    legend: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def of(
        cls, parts: Sequence[Dictionary], label: str, largest: int, legend: Mapping[str, str] | None = None
    ) -> "Library":
        """Raises ValueError for terms of one name in two parts."""
        return cls(
            family="library",
            variables=parts[0].variables,
            terms=tuple(term for part in parts for term in part.terms),
            parts=tuple(parts),
            label=label,
            largest=largest,
            grades=tuple(grade for part in parts for grade in _grades(part)),
            legend=dict(legend or {}),
        )

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return np.concatenate([part.values(states) for part in self.parts], axis=1)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        return np.concatenate([part.slopes(states, coordinate) for part in self.parts], axis=1)

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        return np.concatenate([part.bends(states, first, second) for part in self.parts], axis=1)

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        return self.parts[0].moved(shift, scales) if len(self.parts) == 1 else None

    def chosen(self, terms: Int[np.ndarray, " kept"]) -> "Library":
        """The same with some of its terms."""
        parts, start = [], 0
        for part in self.parts:
            own = terms[(terms >= start) & (terms < start + len(part))] - start
            if len(own):
                parts.append(part if len(own) == len(part) else _chosen(part, own))
            start += len(part)
        short = Library.of(parts, self.label, self.largest, self.legend)
        return replace(short, grades=tuple(self.grades[k] for k in terms.tolist()))


@dataclass(frozen=True, eq=False, kw_only=True)
class Chosen(Dictionary):
    """Some terms, by number, of another dictionary."""

    whole: Dictionary
    kept: Int[np.ndarray, " M"]

    @classmethod
    def of(cls, whole: Dictionary, kept: Int[np.ndarray, " M"]) -> "Chosen":
        terms = tuple(whole.terms[k] for k in kept.tolist())
        return cls(family=whole.family, variables=whole.variables, terms=terms, whole=whole, kept=kept)

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return self.whole.values(states)[:, self.kept]

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        return self.whole.slopes(states, coordinate)[:, self.kept]

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        return self.whole.bends(states, first, second)[:, self.kept]

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        return None


def _chosen(part: Dictionary, kept: Int[np.ndarray, " M"]) -> Dictionary:
    """Some terms of a part, which costs less than all where that is possible."""
    if isinstance(part, Products):
        which, exponents = part.which[kept], part.exponents[kept]
        factors = part.factors
    elif isinstance(part, Monomials):
        every = monomials(part.dim, part.degree or 0)
        exponents = np.array([[every[k].count(i) for i in range(part.dim)] for k in kept.tolist()], int)
        which, factors = np.zeros(len(kept), int), (One.make(),)
    else:
        return Chosen.of(part, kept)
    used, which = np.unique(which, return_inverse=True)
    return Products(
        family=part.family,
        variables=part.variables,
        terms=tuple(part.terms[k] for k in kept.tolist()),
        factors=tuple(factors[k] for k in used.tolist()),
        which=which.reshape(-1),
        exponents=exponents,
    )


def _grades(part: Dictionary) -> list[int]:
    if isinstance(part, Products):
        made = [bool(part.factors[k].name) for k in part.which.tolist()]
        return [int(e.sum()) + one for e, one in zip(part.exponents, made, strict=True)]
    if isinstance(part, Monomials):
        symbols = [sympy.Symbol(name) for name in part.variables]
        return [int(sympy.Poly(term.expression, *symbols).total_degree()) for term in part.terms]
    return [2] * len(part)
