"""Naming a measured number: simple ratios and a few surds, where the posterior odds are for them."""

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from math import gcd, log
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Float

_LARGEST_DENOMINATOR = 12
_LONGEST = 1e6
"""The largest number that is written as a whole one."""
NEAR = 3.5
"""How many errors a number may be away from what it is called; no more is asked of where it is."""
_SURE = 0.99
"""The posterior probability from which a number is called by a name."""
_LARGEST = 144
"""The largest product p q of a ratio p / q: of two numbers up to 12, or a whole number."""
_LEVEL = 10**0.5
"""How much rarer the simple numbers of a level are, each, than those of the level before."""
_SURD = 10
"""A surd is rarer than its factor by this times what stands under the root."""
_DECADES = 13.8
"""Over how many decades an arbitrary number is spread, each as likely: what units may do, and tuned so that
one per cent of them get a name at most."""


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
    """The simple numbers above 0, ascending, and how probable they are before anything is measured.

    `below` (numbers + 1,) is the probability of all before each of them.
    """

    numbers: list[SimpleNumber]
    values: Float[np.ndarray, " numbers"]
    masses: Float[np.ndarray, " numbers"]
    below: Float[np.ndarray, " edges"]


def _weight(ratio: Fraction) -> float:
    """1 for 1, and less by a factor of sqrt(10) with every level: 2; 3 and 4; 5 to 8; .. for p + q - 1."""
    return _LEVEL ** -(ratio.numerator + ratio.denominator - 2).bit_length()


def _candidates() -> Iterator[tuple[SimpleNumber, float]]:
    """The simple numbers and what they weigh."""
    for over in range(1, _LARGEST + 1):
        for under in range(1, _LARGEST // over + 1):
            if gcd(over, under) == 1:
                yield Fraction(over, under), _weight(Fraction(over, under))
    for root, factors in _SURDS:
        for factor in map(Fraction, factors):
            weights = [_weight(factor)]
            if not root.ratio:
                weights.append(_weight(1 / (factor * root.radicand)))
            yield _multiple(root, factor), max(weights) / (_SURD * root.radicand)


@cache
def _prior() -> _Prior:
    candidates = sorted(_candidates(), key=lambda pair: float(pair[0]))
    weights = np.array([weight for _, weight in candidates])
    masses = weights / (2 * weights.sum())
    return _Prior(
        [number for number, _ in candidates],
        np.array([float(number) for number, _ in candidates]),
        masses,
        np.concatenate([np.zeros(1), np.cumsum(masses)]),
    )


def simple_number(value: float, error: float) -> SimpleNumber | None:
    """The simple ratio or surd that a number with this error is; None where that is not 99 % sure.

    All that is asked of the number is whether it is within 3.5 errors of s. If so, s has a posterior
    probability: its prior over that of everything there is within 3.5 errors of s. It is 0.99 or more where
    the error is small enough, wherever within 3.5 errors the number is: s gets its name always, or never.

    The prior, of either sign: half of it is that of simple numbers, the ratios p / q with p q <= 144 and the
    surds listed above. A ratio weighs 10^(-level / 2), where level is the logarithm of p + q - 1 to base 2,
    rounded up: 0 for 1; 1 for 2 and 1/2; 2 for 3, 4, 3/2 and their inverses; 3 for 5 to 8, 4/3, 5/2, 5/3, ..
    A surd weighs 1 / (10 r) of the ratio it is a multiple by, r under the root, or of that of its inverse
    where that is more: 1 / sqrt(2) is as simple as sqrt(2). The other half is that of arbitrary numbers,
    log-uniform over 13.8 decades: a to b has ln(b / a) / (13.8 ln(10)) of it.
    """
    size, error = abs(value), max(error, 1e-15 * abs(value), np.finfo(float).tiny)
    prior, reach = _prior(), NEAR * error
    first, last = np.searchsorted(prior.values, [size - reach, size + reach])
    near = slice(int(first), int(last))
    # No two are as near to each other as both to be sure.
    sure = prior.masses[near] >= _SURE * _masses_within(prior.values[near], reach)
    if not sure.any():
        return None
    number = prior.numbers[near.start + int(np.argmax(sure))]
    if value > 0:
        return number
    return _multiple(number, Fraction(-1)) if isinstance(number, Surd) else -number


def _masses_within(centers: Float[np.ndarray, " near"], reach: float) -> Float[np.ndarray, " near"]:
    """The prior probability of everything that is as near to each of `centers`; infinite around 0."""
    prior, low, high = _prior(), centers - reach, centers + reach
    simple = (
        prior.below[np.searchsorted(prior.values, high)] - prior.below[np.searchsorted(prior.values, low)]
    )
    far = low > 0
    arbitrary = np.log(np.divide(high, low, out=np.ones_like(low), where=far)) / (2 * _DECADES * log(10))
    return np.where(far, simple + arbitrary, np.inf)


def nearest_ratio(value: float, within: float) -> Fraction | None:
    """0 where that is as near, else the ratio of smallest denominator that is, by chance or not; None where
    there is none that is short.

    This is no claim: it is for numbers that may be chosen.
    """
    if abs(value) <= within:
        return Fraction(0)
    if abs(value) > _LONGEST:
        return None
    ratios = (Fraction(round(value * d), d) for d in range(1, _LARGEST_DENOMINATOR + 1))
    return next((ratio for ratio in ratios if abs(value - ratio) <= within), None)


def with_error(value: float, error: float) -> str:
    """As 0.501(2): the error, of one digit or of two from 10 to 19, is that of the last digits."""
    if not (np.isfinite(error) and error > 0):
        return f"{value:.6g}"
    places = -int(np.floor(np.log10(error)))
    if round(error * 10.0**places, 1) < 2:
        places += 1
    digits = round(error * 10.0**places)
    if -3 <= places <= 8:
        if places <= 0:
            return f"{round(value, places):.0f}({digits * 10**-places})"
        return f"{value:.{places}f}({digits})"
    power = int(np.floor(np.log10(max(abs(value), error))))
    return f"{value / 10.0**power:.{max(places + power, 0)}f}({digits})e{power}"
