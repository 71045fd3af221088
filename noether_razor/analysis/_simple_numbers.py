"""Naming a measured number: simple ratios and a few surds, where the posterior odds are for them."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import gcd, log, pi
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Float

_LARGEST_DENOMINATOR = 12
NEAR = 3.5
"""How many errors a number may be away from what it is called: there are many of them."""
_SURE = 0.99
"""The posterior probability from which a number is called by a name."""
_STEEPNESS = 1.25
"""The prior of a simple number falls as this power of its complexity."""
_COMPLEX = 144
"""The largest complexity of a ratio: of two numbers up to 12, or a whole number."""
_SURD = 8
"""The complexity of a surd, that of the ratio before it comes on top."""
_DECADES = 13
"""Over how many decades an arbitrary number is spread, each as likely: what units may do."""


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


_GOLDEN = Surd(Fraction(1, 2), Fraction(1, 2), 5)
_SURDS = (
    (Surd(Fraction(0), Fraction(1), 2), ("1", "2", "3", "4", "1/2", "3/2", "5/2")),
    (Surd(Fraction(0), Fraction(1), 3), ("1", "2", "3", "4", "1/2", "3/2", "1/3", "2/3", "4/3")),
    (_GOLDEN, ("1", "2", "1/2")),
    # 1 / golden, and the squares of both.
    (Surd(Fraction(-1, 2), Fraction(1, 2), 5), ("1", "2", "1/2")),
    (Surd(Fraction(3, 2), Fraction(1, 2), 5), ("1",)),
    (Surd(Fraction(3, 2), Fraction(-1, 2), 5), ("1",)),
)
"""The surds and their multiples that frequencies and their squares have, no more."""


class _Prior(NamedTuple):
    """The simple numbers above 0, what they are worth, and the logarithms of their prior probabilities."""

    numbers: list[SimpleNumber]
    values: Float[np.ndarray, " numbers"]
    logarithms: Float[np.ndarray, " numbers"]


def _candidates() -> Iterator[tuple[SimpleNumber, int]]:
    """The simple numbers and their complexity."""
    for over in range(1, _COMPLEX + 1):
        for under in range(1, _COMPLEX // over + 1):
            if gcd(over, under) == 1:
                yield Fraction(over, under), over * under
    for root, factors in _SURDS:
        for factor in map(Fraction, factors):
            surd = _multiple(root, factor)
            sizes = [factor.numerator * factor.denominator]
            if not root.ratio:
                inverse = 1 / (factor * root.radicand)
                sizes.append(inverse.numerator * inverse.denominator)
            yield surd, _SURD * min(sizes)


@cache
def _prior() -> _Prior:
    numbers, complexities = zip(*_candidates(), strict=True)
    logarithms = -_STEEPNESS * np.log(complexities)
    return _Prior(
        list(numbers),
        np.array([float(number) for number in numbers]),
        logarithms - np.logaddexp.reduce(logarithms) - log(2),
    )


def simple_number(value: float, error: float) -> SimpleNumber | None:
    """The simple ratio or surd that a number with this normal error is; None where that is not 99 % sure.

    A Bayesian decision between the simple numbers, each of them, and an arbitrary number. Of either sign,
    half of the prior is that of simple numbers: the ratios p / q with p q <= 144 and the surds listed above,
    in proportion to 1 / complexity^(5/4). The complexity is p q for a ratio, and 8 p q for a surd with the
    factor p / q, or 8 times that of its inverse where that is less: 1 / sqrt(2) is as simple as sqrt(2). The
    other half is that of arbitrary numbers, log-uniform over 13 decades: their density at x is
    1 / (13 ln(10) |x|). A name has a posterior probability of 0.99 at least and is within 3.5 errors.
    """
    size, error = abs(value), max(error, 1e-15 * abs(value), np.finfo(float).tiny)
    prior = _prior()
    away = (size - prior.values) / error
    evidence = prior.logarithms - away**2 / 2 - log(error * (2 * pi) ** 0.5)
    arbitrary = -log(2 * _DECADES * log(10) * max(size, error))
    likeliest = int(np.argmax(evidence))
    everything = np.logaddexp(np.logaddexp.reduce(evidence), arbitrary)
    if abs(away[likeliest]) > NEAR or evidence[likeliest] - everything < log(_SURE):
        return None
    number = prior.numbers[likeliest]
    if value > 0:
        return number
    return _multiple(number, Fraction(-1)) if isinstance(number, Surd) else -number


def nearest_ratio(value: float, within: float) -> Fraction | None:
    """The ratio of smallest denominator that is as near, by chance or not; None where there is none.

    This is no claim: it is for numbers that may be chosen.
    """
    ratios = (Fraction(round(value * d), d) for d in range(1, _LARGEST_DENOMINATOR + 1))
    return next((ratio for ratio in ratios if abs(value - ratio) <= within), None)
