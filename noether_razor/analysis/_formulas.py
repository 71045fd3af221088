"""From a space of quantities of degree <= 2 to formulas that a person can read."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import gcd, lcm
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Bool, Float, Int

from ._drift import PairStatistics
from ._monomials import Monomial, monomials

_LARGEST_DENOMINATOR = 12
_NEAR = 3.5
"""How many errors a coefficient may be away from the ratio that it becomes: there are many of them."""
_CHANCE = 0.2
"""How likely an arbitrary number may be to pass for a simple ratio."""
_VISIBLE = 0.05
"""Coefficients below this share of a quantity's largest do not count as terms of it."""
_LARGE, _TIE = 0.43, 0.013
"""What counts as a large coefficient, and an offset before rounding to tenths: simple ratios stay clear of
both, so that rounding errors decide nothing."""
_SMALL = 0.1
"""Coefficients below this are errors, where a combination with another quantity removes them."""
_LEARNED = 0.025
"""Errors of coefficients as learned, for those that no drift constrains."""
_UNCHANGED = 1e-4
"""Relative drift that rounding may add whatever the uncertainty: what no data of float32 resolve."""


def sparse_basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "K monomials"]:
    """A basis of the span of `rows` of as few monomials as can be found, fewest first; largest entry 1.

    For every monomial, the combination with coefficient 1 there that is sparsest, by iteratively reweighted
    least squares; of these, the sparsest that are independent. It depends on the space alone, not on the
    basis given. Entries that errors leave small stay small, they are not removed.
    """
    if not len(rows):
        return rows
    basis = np.linalg.svd(rows, full_matrices=False)[2]
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
    found.sort(key=_complexity)
    chosen: list[np.ndarray] = []
    for least in (0.3, 0.1, 0.01, 1e-6):
        for row in found:
            if len(chosen) == len(basis):
                break
            unit = row / np.linalg.norm(row)
            if chosen:
                spanned = np.linalg.qr(np.array(chosen).T)[0]
                unit = unit - spanned @ (spanned.T @ unit)
            if np.linalg.norm(unit) > least:
                chosen.append(row)
    return np.array(sorted(chosen, key=_complexity))


def _complexity(row: Float[np.ndarray, " monomials"]) -> tuple[object, ...]:
    """How hard a quantity is to read: number of terms, how unequal, and which."""
    size = np.abs(row) / np.abs(row).max()
    terms = size > _VISIBLE
    unequal = round(float(np.sum(np.abs(size[terms] - 1))) + _TIE, 1)
    return int(terms.sum()), unequal, tuple(np.flatnonzero(terms))


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


class Coefficients(NamedTuple):
    """Coefficients of `monomials` (K, monomials) and their errors; `simple` says which are exact ratios."""

    values: Float[np.ndarray, "K monomials"]
    errors: Float[np.ndarray, "K monomials"]
    simple: Bool[np.ndarray, "K monomials"]


def rounded(
    rows: Float[np.ndarray, "K monomials"], at: Int[np.ndarray, " K"], statistics: PairStatistics
) -> Coefficients:
    """Coefficients with the errors that their drift allows, and simple ratios where it allows them.

    `rows` is a sparse basis, `at` the pivot of each row, which becomes 1; `statistics` are those of all
    monomials on the same trajectories and in the same units. The error of a
    coefficient is the change that makes as much drift as was seen (systematic errors) and as noise hides
    (with the number of pairs), other coefficients adapting, pivots fixed. A coefficient becomes the ratio
    with the smallest denominator within 3.5 errors when an arbitrary number would hardly be so close to one
    that simple, and the drift of the quantity does not grow by more than two of its standard errors.
    """
    if not len(rows):
        return Coefficients(rows, np.zeros(rows.shape), np.zeros(rows.shape, dtype=bool))
    values = rows / rows[np.arange(len(rows)), at][:, None]
    free = np.delete(np.arange(rows.shape[1]), at)
    own = statistics.combined(values)
    excess = np.maximum(np.diag(own.drift) - np.diag(own.noise), 0.0)
    unit = 1 / np.sqrt(np.maximum(np.diag(statistics.drift)[free], np.finfo(float).tiny))
    changes = statistics.differences[:, free] * unit
    motion = unit[:, None] * (statistics.drift - statistics.noise)[np.ix_(free, free)] * unit
    inverse = np.linalg.pinv((motion + motion.T) / 2, rcond=1e-6, hermitian=True)
    errors = np.zeros(rows.shape)
    for k, noise in enumerate(own.noise_variances().T):
        # Noise and motion are large at the same points.
        spread = (changes * noise[:, None]).T @ changes / len(changes) ** 2
        variance = np.diag(inverse @ spread @ inverse) + excess[k] * np.maximum(np.diag(inverse), 0.0)
        errors[k, free] = np.sqrt(np.maximum(variance, 0.0)) * unit
    allowance = 2 * own.stderr() + _UNCHANGED**2 * np.diag(own.raw_variance)

    change = statistics.drift - statistics.noise
    simple = np.zeros(rows.shape, dtype=bool)
    for k, pivot in enumerate(at):
        row, limit = values[k].copy(), values[k] @ change @ values[k] + allowance[k]
        simple[k, pivot] = True
        ratios = {
            j: ratio
            for j in np.delete(np.arange(len(row)), pivot)
            if (ratio := simple_ratio(row[j], float(np.clip(errors[k, j], 1e-6, _LEARNED)))) is not None
        }
        # All together, as their errors hang together; else one by one, the surest first.
        together = row.copy()
        for j, ratio in ratios.items():
            together[j] = float(ratio)
        if together @ change @ together <= limit:
            values[k], simple[k, list(ratios)] = together, True
            continue
        for j in sorted(ratios, key=lambda j: abs(row[j] - float(ratios[j]))):
            trial = row.copy()
            trial[j] = float(ratios[j])
            if trial @ change @ trial <= limit:
                row = trial
                simple[k, j] = True
        values[k] = row
    return Coefficients(values, np.where(simple, 0.0, errors), simple)


def simple_ratio(value: float, error: float) -> Fraction | None:
    """The ratio of smallest denominator within 3.5 errors, or None where that could well be chance."""
    ratios = 0
    for denominator in range(1, _LARGEST_DENOMINATOR + 1):
        # Fractions in lowest terms with this denominator, in an interval of length one.
        ratios += sum(gcd(k, denominator) == 1 for k in range(1, denominator + 1))
        if 2 * _NEAR * error * ratios > _CHANCE:
            return None
        ratio = Fraction(round(value * denominator), denominator)
        if abs(value - ratio) <= _NEAR * error:
            return ratio
    return None


@dataclass(frozen=True)
class QuantityFormula:
    """A quantity of degree <= 2 as a formula: coefficients of monomials in the variables `names`.

    `coefficients` {monomial: value} leave out what is zero, `errors` {monomial: error} hold those that are
    not simple ratios.
    """

    coefficients: dict[Monomial, Fraction | float]
    errors: dict[Monomial, float]
    names: tuple[str, ...]
    units: tuple[str, ...]

    @classmethod
    def of(
        cls,
        values: Float[np.ndarray, " monomials"],
        errors: Float[np.ndarray, " monomials"],
        simple: Bool[np.ndarray, " monomials"],
        names: Sequence[str],
        units: Sequence[str],
    ) -> "QuantityFormula":
        """From a row of `Coefficients`; denominators are cleared where all coefficients are simple ratios."""
        dim = len(names)
        every = monomials(dim)
        terms = {
            every[j]: Fraction(values[j]).limit_denominator(_LARGEST_DENOMINATOR)
            if simple[j]
            else float(values[j])
            for j in np.flatnonzero(values)
        }
        terms = {
            monomial: terms[monomial] for monomial in sorted(terms, key=lambda m: _reading_order(m, dim))
        }
        sign = _sign(terms)
        ratios = [value for value in terms.values() if isinstance(value, Fraction)]
        if len(ratios) == len(terms):
            common = lcm(*(ratio.denominator for ratio in ratios))
            factor = Fraction(common, gcd(*(int(ratio * common) for ratio in ratios)) or 1)
        else:
            factor = Fraction(1)
        factor *= sign
        kept = {every[j]: abs(float(errors[j] * factor)) for j in np.flatnonzero(values) if not simple[j]}
        scaled = {m: v * factor if isinstance(v, Fraction) else v * float(factor) for m, v in terms.items()}
        return cls(scaled, kept, tuple(names), tuple(units))

    def row(self) -> Float[np.ndarray, " monomials"]:
        """The coefficients of all monomials, in their order."""
        every = monomials(len(self.names))
        return np.array([float(self.coefficients.get(monomial, 0.0)) for monomial in every])

    @property
    def degree(self) -> int:
        """1 or 2."""
        return max((len(monomial) for monomial in self.coefficients), default=0)

    def text(self) -> str:
        """As q1*p2 - q2*p1; decimals have as many digits as their errors leave."""
        written = ""
        for monomial, value in self.coefficients.items():
            size = self._number(monomial)
            product = "*".join(self._powers(monomial))
            term = product if size == "1" else f"{size}*{product}"
            negative = value < 0
            if written:
                written += f" {'-' if negative else '+'} {term}"
            else:
                written = f"-{term}" if negative else term
        return written or "0"

    def expression(self) -> sympy.Expr:
        """In sympy, over symbols named as the variables."""
        symbols = [sympy.Symbol(name) for name in self.names]
        return sympy.Add(
            *(
                (
                    sympy.Rational(value.numerator, value.denominator)
                    if isinstance(value, Fraction)
                    else sympy.Float(value, max(2, self._digits(monomial)))
                )
                * sympy.Mul(*(symbols[i] for i in monomial))
                for monomial, value in self.coefficients.items()
            )
        )

    def latex(self) -> str:
        """In LaTeX."""
        return sympy.latex(self.expression())

    def unit(self) -> str:
        """The unit of the first term, whose coefficient carries none; empty where the data have no units."""
        first = next(iter(self.coefficients), ())
        parts = [self.units[i] for i in first]
        if not all(parts):
            return ""
        if len(parts) == 2 and parts[0] == parts[1]:
            return f"({parts[0]})^2"
        return " ".join(parts)

    def _powers(self, monomial: Monomial) -> list[str]:
        if len(monomial) == 2 and monomial[0] == monomial[1]:
            return [f"{self.names[monomial[0]]}^2"]
        return [self.names[i] for i in monomial]

    def _digits(self, monomial: Monomial) -> int:
        value, error = abs(float(self.coefficients[monomial])), self.errors.get(monomial, 0.0)
        if error <= 0:
            return 6
        return int(np.clip(np.ceil(np.log10(max(value, 1e-300) / error)) + 1, 2, 6))

    def _number(self, monomial: Monomial) -> str:
        value = self.coefficients[monomial]
        if isinstance(value, Fraction):
            return str(abs(value)) if value.denominator == 1 else f"({abs(value)})"
        return f"{abs(value):.{self._digits(monomial)}g}"


def _reading_order(monomial: Monomial, dim: int) -> tuple[object, ...]:
    """By degree, then by body: q1^2, p1^2, q1*p1, .., q1*p2, q2*p1."""
    dof = dim // 2
    return len(monomial), tuple(sorted(i % dof for i in monomial)), len(set(monomial)), monomial


def _sign(terms: dict[Monomial, Fraction | float]) -> int:
    """So that the first term is positive, or the squares of an energy are."""
    if not terms:
        return 1
    squares = [
        float(value) for monomial, value in terms.items() if len(monomial) == 2 and monomial[0] == monomial[1]
    ]
    if squares and (all(v < 0 for v in squares) or all(v > 0 for v in squares)):
        return 1 if squares[0] > 0 else -1
    return 1 if next(iter(terms.values())) > 0 else -1
