"""Naming a measured number: simple ratios and a few surds, where chance does not explain them."""

from fractions import Fraction
from math import gcd
from typing import NamedTuple

import sympy

_LARGEST_DENOMINATOR = 12
NEAR = 3.5
"""How many errors a number may be away from what it is called: there are many of them."""
_CHANCE = 0.2
"""How likely an arbitrary number may be to pass for a simple ratio."""
_SURD_CHANCE = 0.1
"""The same for a surd: fewer coefficients are one."""
_PLAIN, _SIMPLER = 2, 4
"""Ratios of denominators up to the first win over a surd as near; up to the second they count with surds."""
_RIVAL = 8
"""No ratio of denominators up to this may be as near as a surd."""


class Surd(NamedTuple):
    """The number `ratio` + `factor` sqrt(`radicand`)."""

    ratio: Fraction
    factor: Fraction
    radicand: int

    def __float__(self) -> float:
        return float(self.ratio) + float(self.factor) * self.radicand**0.5


SimpleNumber = Fraction | Surd


def multiplied(first: SimpleNumber | float, second: SimpleNumber | float) -> SimpleNumber | float:
    """The product, exact where it is a ratio or a multiple of a surd."""
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first * second
    for one, other in ((first, second), (second, first)):
        if isinstance(one, Surd) and isinstance(other, Fraction):
            return _multiple(one, other)
    return float(first) * float(second)


def added(first: SimpleNumber | float, second: SimpleNumber | float) -> SimpleNumber | float:
    """The sum, exact where both are ratios or one is 0."""
    if not float(first) or not float(second):
        return second if not float(first) else first
    if isinstance(first, Fraction) and isinstance(second, Fraction):
        return first + second
    return float(first) + float(second)


def ratios_of(number: SimpleNumber) -> list[Fraction]:
    """The ratios that a simple number is made of."""
    return [number.ratio, number.factor] if isinstance(number, Surd) else [number]


def simple_expression(number: SimpleNumber) -> sympy.Expr:
    """A simple number in sympy."""
    if isinstance(number, Surd):
        return _rational(number.ratio) + _rational(number.factor) * sympy.sqrt(number.radicand)
    return _rational(number)


def _rational(ratio: Fraction) -> sympy.Expr:
    return sympy.Rational(ratio.numerator, ratio.denominator)


def _multiple(root: Surd, factor: Fraction) -> Surd:
    return Surd(root.ratio * factor, root.factor * factor, root.radicand)


def _multiples(root: Surd, *factors: str) -> list[Surd]:
    return [_multiple(root, Fraction(factor)) for factor in factors]


_GOLDEN = Surd(Fraction(1, 2), Fraction(1, 2), 5)
_SURDS = (
    *_multiples(Surd(Fraction(0), Fraction(1), 2), "1", "2", "3", "4", "1/2", "3/2", "5/2"),
    *_multiples(Surd(Fraction(0), Fraction(1), 3), "1", "2", "3", "4", "1/2", "3/2", "1/3", "2/3", "4/3"),
    *_multiples(_GOLDEN, "1", "2", "1/2"),
    # 1 / golden, and the squares of both.
    *_multiples(Surd(Fraction(-1, 2), Fraction(1, 2), 5), "1", "2", "1/2"),
    Surd(Fraction(3, 2), Fraction(1, 2), 5),
    Surd(Fraction(3, 2), Fraction(-1, 2), 5),
)
"""The candidates of either sign: multiples that frequencies and their squares have, no more."""


def simple_ratio(value: float, error: float) -> Fraction | None:
    """The ratio of smallest denominator within 3.5 errors, or None where that could well be chance.

    Of a number above 1 the inverse may be named: which of two coefficients is called 1 does not matter.
    """
    ratio = _ratio(value, error)
    if ratio is None and abs(value) > 1:
        inverse = _ratio(1 / value, error / value**2)
        return 1 / inverse if inverse else None
    return ratio


def _ratio(value: float, error: float) -> Fraction | None:
    for denominator in range(1, _LARGEST_DENOMINATOR + 1):
        if 2 * NEAR * error * _ratios(denominator) > _CHANCE:
            return None
        ratio = Fraction(round(value * denominator), denominator)
        if abs(value - ratio) <= NEAR * error:
            return ratio
    return None


def simple_number(value: float, error: float) -> SimpleNumber | None:
    """The simple ratio or surd that a number with this error is, None where it could well be another.

    A ratio as in `simple_ratio`, where no surd is as near or it is a whole or half number. A surd where it is
    the only one within 3.5 errors, no ratio of denominator up to 8 is, and an arbitrary number would hardly
    be so near to one of the surds about it, or of the ratios of denominators up to 4 (counted in an interval
    of length one). Where a ratio and a surd are as near there is no name.
    """
    ratio = simple_ratio(value, error)
    if ratio is not None and ratio.denominator <= _PLAIN:
        return ratio
    size, sign = abs(value), -1 if value < 0 else 1
    near = [surd for surd in _SURDS if abs(size - float(surd)) <= NEAR * error]
    if not near:
        return ratio
    around = sum(abs(size - float(surd)) <= 0.5 for surd in _SURDS) + _ratios(_SIMPLER)
    if len(near) > 1 or _ratio_within(size, NEAR * error) or 2 * NEAR * error * around > _SURD_CHANCE:
        return None
    return _multiple(near[0], Fraction(sign))


def nearest_ratio(value: float, within: float) -> Fraction | None:
    """The ratio of smallest denominator that is as near, by chance or not; None where there is none."""
    ratios = (Fraction(round(value * d), d) for d in range(1, _LARGEST_DENOMINATOR + 1))
    return next((ratio for ratio in ratios if abs(value - ratio) <= within), None)


def _ratios(largest: int) -> int:
    """How many fractions of denominators up to `largest` an interval of length one holds."""
    return sum(gcd(k, d) == 1 for d in range(1, largest + 1) for k in range(1, d + 1))


def _ratio_within(value: float, distance: float) -> bool:
    ratio = nearest_ratio(value, distance)
    return ratio is not None and ratio.denominator <= _RIVAL
