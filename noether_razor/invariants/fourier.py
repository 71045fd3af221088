"""Waves of angles beside the monomials of everything else."""

from fractions import Fraction
from math import prod
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Array

from ..scaling import Periods
from ..typing import State
from .dictionary import Dictionary, FunctionDictionary, Term, register_dictionary
from .monomials import monomials

WAVES = 2
"""The waves of an angle of period P are cos(2 pi k q / P) and sin(2 pi k q / P) up to this k."""


@register_dictionary("fourier")
def fourier(names: tuple[str, ...], periods: Periods) -> Dictionary:
    """Waves of each angle, alone and times its momentum, and all monomials of degree <= 2 of the coordinates
    that are no angles. `names` (2n,) are those of positions, then momenta, `periods` (2n,) as many.
    """
    periods = periods or (None,) * len(names)

    def terms(state: Any, cos: Any, sin: Any, frequency: Any) -> list[Any]:
        """All terms at a state, of numbers or of symbols."""
        plain = [x for x, period in zip(state, periods, strict=True) if period is None]
        found = [prod((plain[i] for i in m[1:]), start=plain[m[0]]) for m in monomials(len(plain))]
        for k, period in enumerate(periods):
            if period is not None:
                angles = [frequency(count, period) * state[k] for count in range(1, WAVES + 1)]
                waves = [wave(angle) for angle in angles for wave in (cos, sin)]
                found += [*waves, *(wave * state[(k + len(names) // 2) % len(names)] for wave in waves)]
        return found

    def function(state: State) -> Array:
        return jnp.stack(terms(list(state), jnp.cos, jnp.sin, _frequency))

    symbols = [sympy.Symbol(name) for name in names]
    expressions = terms(symbols, sympy.cos, sympy.sin, _readable)
    return FunctionDictionary(
        family="fourier",
        variables=names,
        terms=tuple(Term.of(expression) for expression in expressions),
        function=function,
    )


def _frequency(count: int, period: float) -> float:
    return 2 * np.pi * count / period


def _readable(count: int, period: float) -> sympy.Expr:
    """The same in sympy, exact where the period is a simple number or a simple share of 2 pi."""
    for unit, whole in ((2 * np.pi, sympy.Integer(1)), (1.0, 2 * sympy.pi)):
        ratio = Fraction(period / unit).limit_denominator(1000)
        if abs(float(ratio) * unit / period - 1) < 1e-12:
            return whole * count * sympy.Rational(ratio.denominator, ratio.numerator)
    return sympy.Float(_frequency(count, period))
