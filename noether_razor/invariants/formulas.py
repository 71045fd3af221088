"""From a space of quantities to formulas that a person can read."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Bool, Float, Int

from .dictionary import Term
from .monomials import Monomial, monomials
from .rounding import Measured
from .simple_numbers import SimpleNumber, Surd, multiplied, ratios_of, simple_expression

_VISIBLE = 0.05
"""Coefficients below this share of a quantity's largest do not count as terms of it."""
_LARGE, _TIE = 0.43, 0.013
"""What counts as a large coefficient, and an offset before rounding to tenths: simple ratios stay clear of
both, so that rounding errors decide nothing."""
_SMALL = 0.1
"""Coefficients below this are errors, where a combination with another quantity removes them."""

_MOST_PLACES = 10
"""Places behind the point, beyond which measured values are written with an exponent."""


def sparse_basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "K monomials"]:
    """A basis of the span of `rows` of as few monomials as can be found, fewest first; largest entry 1.

    For every monomial, the combination with coefficient 1 there that is sparsest, by iteratively reweighted
    least squares; of these, the sparsest that are independent. It depends on the space alone, not on the
    basis given. Entries that errors leave small stay small, they are not removed.
    """
    if not len(rows):
        return rows
    basis = np.linalg.svd(rows, full_matrices=False)[2]
    chosen: list[np.ndarray] = []
    found = _sparse_rows(basis)
    for least in (0.3, 0.1, 0.01):
        for row in found:
            if len(chosen) < len(basis) and _beyond(row, chosen) > least:
                chosen.append(row)
    while len(chosen) < len(basis):
        # What these rows miss altogether, by rows of its own.
        spanned = np.linalg.qr(np.array(chosen).T)[0] if chosen else np.zeros((basis.shape[1], 0))
        left = np.linalg.svd(basis - (basis @ spanned) @ spanned.T, full_matrices=False)[2]
        chosen.append(_sparse_rows(left[: len(basis) - len(chosen)])[0])
    return np.array(sorted(chosen, key=_complexity))


def _sparse_rows(basis: Float[np.ndarray, "K monomials"]) -> list[Float[np.ndarray, " monomials"]]:
    """The sparsest combination of orthonormal rows for each monomial, fewest terms first."""
    found = []
    for pivot in range(basis.shape[1]):
        leverage = basis[:, pivot]
        if leverage @ leverage < 1e-3:
            continue
        row = leverage @ basis / (leverage @ leverage)
        for smoothing in np.geomspace(1.0, 0.02, 40):
            weights = 1 / (row**2 + smoothing**2)
            metric = (basis * weights) @ basis.T
            solution = np.linalg.solve(metric, leverage)
            row = solution @ basis / (leverage @ solution)
        found.append(row / row[np.argmax(np.abs(row) > _LARGE * np.abs(row).max())])
    return sorted(found, key=_complexity)


def _beyond(row: Float[np.ndarray, " monomials"], chosen: Sequence[np.ndarray]) -> float:
    """The sine of the angle between a row and the span of others."""
    unit = row / np.linalg.norm(row)
    if chosen:
        spanned = np.linalg.qr(np.array(chosen).T)[0]
        unit = unit - spanned @ (spanned.T @ unit)
    return float(np.linalg.norm(unit))


def _complexity(row: Float[np.ndarray, " monomials"]) -> tuple[object, ...]:
    """How hard a quantity is to read: number of terms, how unequal, and which."""
    size = np.abs(row) / np.abs(row).max()
    terms = size > _VISIBLE
    unequal = round(float(np.sum(np.abs(size[terms] - 1))) + _TIE, 1)
    return int(terms.sum()), unequal, tuple(np.flatnonzero(terms))


def count_terms(row: Float[np.ndarray, " monomials"]) -> int:
    """How many coefficients of a quantity are not small."""
    return int(_terms(row[None]).sum())


def _terms(rows: Float[np.ndarray, "K monomials"]) -> Bool[np.ndarray, "K monomials"]:
    return np.abs(rows) > _VISIBLE * np.abs(rows).max(axis=1, keepdims=True)


def pivots(rows: Float[np.ndarray, "K monomials"]) -> Int[np.ndarray, " K"]:
    """A monomial for each quantity that stands in it with a large coefficient, and in the others least."""
    remaining = rows / np.abs(rows).max(axis=1, keepdims=True)
    chosen = np.zeros(len(rows), dtype=int)
    for k in range(len(rows)):
        size = np.abs(remaining[k])
        others = np.delete(np.abs(remaining), k, axis=0).max(axis=0, initial=0.0)
        large = size > _LARGE * size.max()
        chosen[k] = int(
            np.argmax(np.where(large, (size + _TIE).round(1) - (others + _TIE).round(1), -np.inf))
        )
        # What is left of the others without this monomial keeps the choices independent.
        share = remaining[:, chosen[k]] / remaining[k, chosen[k]]
        share[: k + 1] = 0.0
        remaining = remaining - np.outer(share, remaining[k])
    return chosen


def reduced(
    rows: Float[np.ndarray, "K monomials"],
) -> tuple[Float[np.ndarray, "K monomials"], Int[np.ndarray, " K"]]:
    """`rows` with coefficient 1 at a pivot of each and 0 at the pivots of others, and the pivots.

    Where zeros there would add terms elsewhere, only what is small there is removed.
    """
    at = pivots(rows)
    square = rows[:, at]
    if np.linalg.cond(square) < 1e3:
        solved = np.linalg.solve(square, rows)
        if _terms(solved).sum() <= _terms(rows).sum():
            return solved, at
    rows = rows / rows[np.arange(len(rows)), at][:, None]
    for _ in range(5):
        foreign = rows[:, at] - np.eye(len(rows))
        rows = rows - np.where(np.abs(foreign) < _SMALL, foreign, 0.0) @ rows
    return rows, at


Part = Monomial | Term
"""What a coefficient in a formula is of."""


class Measurement(NamedTuple):
    """A coefficient as measured; `name` is that of its size as it stands in the formula, None for none."""

    name: str | None
    value: float
    error: float

    def text(self) -> str:
        """As 2.0003 ± 0.0004."""
        value = self.value
        if not self.error > 0:
            return f"{value:.6g}"
        places = -int(np.floor(np.log10(self.error)))
        # 0.0096 is 0.010.
        places = -int(np.floor(np.log10(round(self.error, places))))
        if -6 < places <= _MOST_PLACES:
            digits = max(places, 0)
            return f"{round(value, places):.{digits}f} ± {round(self.error, places):.{digits}f}"
        return f"{value:.6g} ± {self.error:.0e}"


@dataclass(frozen=True)
class QuantityFormula:
    """A quantity as a formula: coefficients of functions of the variables `names`.

    These are monomials of degree <= 2, or the `terms` (M,) of another dictionary where there are any.
    `coefficients` {function: value} leave out what is zero, `errors` {function: error} hold those that are
    not simple numbers. `measured` {function: (value, error)} has what simple numbers were measured as, where
    they were not chosen. `origin` are the values from which variables of monomials count, where that is not
    0: (q1 - 640)^2.
    """

    coefficients: dict[Part, SimpleNumber | float]
    errors: dict[Part, float]
    names: tuple[str, ...]
    units: tuple[str, ...]
    measured: dict[Part, Measured] = field(default_factory=dict)
    origin: tuple[float, ...] = ()
    terms: tuple[Term, ...] = field(default=(), repr=False)

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, " monomials"],
        errors: Float[np.ndarray, " monomials"],
        simple: Mapping[int, SimpleNumber],
        names: Sequence[str],
        units: Sequence[str],
        measured: Mapping[int, Measured] | None = None,
        terms: Sequence[Term] = (),
    ) -> "QuantityFormula":
        """From a row of `Coefficients` of monomials of degree <= 2, or of `terms`; denominators are cleared
        where all coefficients are simple.
        """
        every = _parts(names, terms)
        sums = {
            every[j]: simple[j] if j in simple else float(values[j]) for j in np.flatnonzero(values).tolist()
        }
        return cls.of_terms(
            sums,
            {every[j]: float(errors[j]) for j in range(len(every))},
            names,
            units,
            {every[j]: pair for j, pair in (measured or {}).items()},
            terms,
        )

    def times(self, factor: SimpleNumber | float, error: float) -> "QuantityFormula":
        """A multiple of it; a `factor` that is no simple number has a relative `error`."""
        size = abs(float(factor))
        sums = {part: multiplied(value, factor) for part, value in self.coefficients.items()}
        decimals = {
            part: float(np.hypot(size * self.errors.get(part, 0.0), error * abs(float(value))))
            for part, value in sums.items()
            if not isinstance(value, Fraction | Surd)
        }
        measured = {
            part: (value * float(factor), off * size)
            for part, (value, off) in self.measured.items()
            if part not in decimals
        }
        return replace(self, coefficients=sums, errors=decimals, measured=measured)

    @classmethod
    def of_terms(
        cls,
        sums: Mapping[Part, SimpleNumber | float],
        errors: Mapping[Part, float],
        names: Sequence[str],
        units: Sequence[str],
        measured: Mapping[Part, Measured] | None = None,
        terms: Sequence[Term] = (),
    ) -> "QuantityFormula":
        """From coefficients, in any order and up to a factor, the errors of those that are not simple, and
        what those that are were measured as; of monomials, or of some of all `terms`.
        """
        order = {term: (k,) for k, term in enumerate(terms)}
        ordered = {m: sums[m] for m in sorted(sums, key=lambda m: _reading_order(m, len(names), order))}
        factor = _sign(ordered) * _without_denominators(list(ordered.values()))
        return cls(
            {monomial: multiplied(value, factor) for monomial, value in ordered.items()},
            {
                m: abs(errors[m] * float(factor))
                for m, value in ordered.items()
                if not isinstance(value, Fraction | Surd)
            },
            tuple(names),
            tuple(units),
            {
                m: (measured[m][0] * float(factor), measured[m][1] * abs(float(factor)))
                for m, value in ordered.items()
                if measured and m in measured and isinstance(value, Fraction | Surd)
            },
            terms=tuple(terms),
        )

    def row(self) -> Float[np.ndarray, " monomials"]:
        """The coefficients of all monomials, or of all terms, in their order."""
        return np.array([float(self.coefficients.get(part, 0.0)) for part in self.parts()])

    def parts(self) -> Sequence[Part]:
        """All monomials, or all terms."""
        return _parts(self.names, self.terms)

    @property
    def degree(self) -> int:
        """1 or 2; 0 where there are other terms than monomials."""
        return max((len(part) for part in self.coefficients if not isinstance(part, Term)), default=0)

    def keyed(self, part: Part) -> str:
        """What symmetry.json calls a monomial, as q1*q1, or a term."""
        return part.name if isinstance(part, Term) else "*".join(self.names[i] for i in part)

    def text(self) -> str:
        """As q1*p2 - q2*p1; decimals have as many digits as their errors leave."""
        written = ""
        for monomial, value in self.coefficients.items():
            size = self._number(monomial)
            product = "*".join(self._powers(monomial))
            term = product if size == "1" else f"{size}*{product}"
            negative = float(value) < 0
            if written:
                written += f" {'-' if negative else '+'} {term}"
            else:
                written = f"-{term}" if negative else term
        return written or "0"

    def measurements(self) -> dict[Part, Measurement]:
        """What every coefficient that was not chosen was measured as."""
        found = {}
        for monomial, value in self.coefficients.items():
            if monomial in self.measured:
                name = _size(value) if isinstance(value, Fraction | Surd) else None
                found[monomial] = Measurement(name, *self.measured[monomial])
            elif self.errors.get(monomial, 0.0) > 0:
                found[monomial] = Measurement(None, float(value), self.errors[monomial])
        return found

    def measured_text(self, most: int | None = None) -> str:
        """As coefficient of q2^2: 2.0003 ± 0.0004, of p2^2: 1.643 ± 0.004; of more than `most` the first."""
        return measured_text(
            {"*".join(self._powers(m)): found for m, found in self.measurements().items()}, most
        )

    def expression(self) -> sympy.Expr:
        """In sympy, over symbols named as the variables."""
        origin = self.origin or (0.0,) * len(self.names)
        symbols = [
            sympy.Symbol(name) - sympy.Float(at) if at else sympy.Symbol(name)
            for name, at in zip(self.names, origin, strict=True)
        ]
        return sympy.Add(
            *(
                (
                    simple_expression(value)
                    if isinstance(value, Fraction | Surd)
                    else sympy.Float(value, max(2, self._digits(monomial)))
                )
                * (
                    monomial.expression
                    if isinstance(monomial, Term)
                    else sympy.Mul(*(symbols[i] for i in monomial))
                )
                for monomial, value in self.coefficients.items()
            )
        )

    def latex(self) -> str:
        """In LaTeX."""
        return sympy.latex(self.expression())

    def unit(self) -> str:
        """The unit of the first monomial, whose coefficient carries none; empty where the data have no units,
        and of other terms.
        """
        first = next(iter(self.coefficients), ())
        if isinstance(first, Term):
            return ""
        parts = [self.units[i] for i in first]
        if not all(parts):
            return ""
        if len(parts) == 2 and parts[0] == parts[1]:
            return f"({parts[0]})^2"
        return " ".join(parts)

    def _powers(self, monomial: Part) -> list[str]:
        if isinstance(monomial, Term):
            return [monomial.name]
        names = [self._variable(i) for i in monomial]
        return [f"{names[0]}^2"] if len(names) == 2 and monomial[0] == monomial[1] else names

    def _variable(self, index: int) -> str:
        at = self.origin[index] if self.origin else 0.0
        return f"({self.names[index]} {'-' if at > 0 else '+'} {abs(at):.10g})" if at else self.names[index]

    def _digits(self, monomial: Part) -> int:
        value, error = abs(float(self.coefficients[monomial])), self.errors.get(monomial, 0.0)
        if error <= 0:
            return 6
        return int(np.clip(np.ceil(np.log10(max(value, 1e-300) / error)) + 1, 2, 6))

    def _number(self, monomial: Part) -> str:
        value = self.coefficients[monomial]
        if isinstance(value, Fraction | Surd):
            written = _size(value)
            return f"({written})" if "/" in written or " " in written else written
        return f"{abs(value):.{self._digits(monomial)}g}"


def shortened(text: str, most: int) -> str:
    """`text`, of more than `most` letters the beginning."""
    return text if len(text) <= most else f"{text[: most - 4]} ..."


def measured_text(measurements: Mapping[str, Measurement], most: int | None = None) -> str:
    """See `QuantityFormula.measured_text`; `measurements` by terms as they stand in the formula."""
    written = [f"of {term}: {measurement.text()}" for term, measurement in measurements.items()]
    if most is not None and len(written) > most:
        written = [*written[:most], "..."]
    return f"coefficient {', '.join(written)}" if written else ""


def _size(number: SimpleNumber) -> str:
    """A simple number without its sign, as sympy writes it."""
    expression = simple_expression(number)
    return str(-expression if float(number) < 0 else expression)


def _parts(names: Sequence[str], terms: Sequence[Term]) -> Sequence[Part]:
    """What a quantity may have coefficients of."""
    return terms or monomials(len(names))


def _reading_order(monomial: Part, dim: int, order: Mapping[Term, tuple[object, ...]]) -> tuple[object, ...]:
    """Monomials by degree, then by body: q1^2, p1^2, q1*p1, .., q1*p2, q2*p1; terms as they stand."""
    if isinstance(monomial, Term):
        return order[monomial]
    dof = dim // 2
    return len(monomial), tuple(sorted(i % dof for i in monomial)), len(set(monomial)), monomial


def _without_denominators(values: list[SimpleNumber | float]) -> Fraction:
    """The factor that makes whole numbers without a common divisor of simple ones, 1 where some are not."""
    simple = [value for value in values if isinstance(value, Fraction | Surd)]
    if not simple or len(simple) < len(values):
        return Fraction(1)
    parts = [part for value in simple for part in ratios_of(value)]
    common = lcm(*(part.denominator for part in parts))
    return Fraction(common, gcd(*(int(part * common) for part in parts)) or 1)


def _sign(terms: dict[Part, SimpleNumber | float]) -> int:
    """So that the first term is positive, or the squares of an energy are."""
    if not terms:
        return 1
    squares = [
        float(value)
        for part, value in terms.items()
        if not isinstance(part, Term) and len(part) == 2 and part[0] == part[1]
    ]
    if squares and (all(v < 0 for v in squares) or all(v > 0 for v in squares)):
        return 1 if squares[0] > 0 else -1
    return 1 if float(next(iter(terms.values()))) > 0 else -1
