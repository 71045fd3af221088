"""The energy among the found quantities."""

from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from .formulas import Part, QuantityFormula
from .rounding import Measured
from .simple_numbers import SimpleNumber, added, multiplied, simple_expression, simple_number

ENERGY = "the energy H"
_TOLERANCE = 0.05
"""Share of the gradient of H that the quantities may leave."""
_EXACT = 5e-4
"""Relative error of the weights of an energy that the quantities hold whole."""


class Energy(NamedTuple):
    """The energy H as a combination of the found quantities: `weights` (rank,) up to a constant, and the
    r.m.s. of what they leave of its gradient over that of the gradient.
    """

    weights: Float[np.ndarray, " rank"]
    residual: float


def energy_in(
    found: Float[np.ndarray, "rank points dim"], slopes: Float[np.ndarray, "points dim"]
) -> Energy | None:
    """H as a combination of the quantities, of gradients at some states; None where they leave more than a
    twentieth of its gradient. It is the gradient that is learned: values at the far ends of the data add up
    the errors on the way there.
    """
    gradients, wanted = found.reshape(len(found), -1).T, slopes.ravel()
    size, spread = np.sqrt(np.mean(gradients**2, axis=0)), np.sqrt(np.mean(wanted**2))
    used = size > 0
    weights = np.zeros(len(used))
    for _ in range(3):
        weights = np.zeros(len(used))
        weights[used] = np.linalg.lstsq(gradients[:, used] / size[used], wanted, rcond=1e-6)[0] / size[used]
        used = np.abs(weights) * size > _TOLERANCE * spread
        if not used.any():
            return None
    left = np.sqrt(np.mean((wanted - gradients @ weights) ** 2))
    residual = float(left / max(spread, np.finfo(float).tiny))
    return Energy(weights, residual) if residual <= _TOLERANCE else None


def energy_quantity(formulas: Sequence[QuantityFormula], energy: Energy) -> tuple[int, QuantityFormula, str]:
    """Which quantity to replace, by a multiple of the energy, and which multiple that is."""
    used = np.flatnonzero(energy.weights)
    at = int(used[-1])
    error = max(energy.residual / 2, _EXACT)
    reference = float(energy.weights[used[0]])
    terms: dict[Part, SimpleNumber | float] = {}
    measured: dict[Part, list[Measured]] = {}
    sizes: dict[Part, float] = {}
    for k in used.tolist():
        ratio = float(energy.weights[k] / reference)
        weight = Fraction(1) if k == used[0] else simple_number(ratio, error * abs(ratio)) or ratio
        for monomial, value in formulas[k].coefficients.items():
            part = multiplied(weight, value)
            terms[monomial] = added(terms.get(monomial, Fraction(0)), part)
            sizes[monomial] = sizes.get(monomial, 0.0) + abs(float(part))
            own, own_error = formulas[k].measured.get(monomial, (float(value), 0.0))
            off = float(np.hypot(own_error * ratio, 0.0 if k == used[0] else error * ratio * own))
            measured.setdefault(monomial, []).append((ratio * own, off))
    # What cancels is rounding; terms themselves may differ by decades, in the units of the data.
    terms = {m: value for m, value in terms.items() if abs(float(value)) > 1e-9 * sizes[m]}
    errors = {monomial: error * abs(float(value)) for monomial, value in terms.items()}
    sums = {
        m: (sum(v for v, _ in parts), sum(e**2 for _, e in parts) ** 0.5) for m, parts in measured.items()
    }
    formula = QuantityFormula.of_terms(
        terms,
        errors,
        formulas[at].names,
        formulas[at].units,
        {monomial: (value, off) for monomial, (value, off) in sums.items() if off},
        formulas[at].terms,
    )
    first = max(terms, key=lambda monomial: abs(float(terms[monomial])))
    factor = float(formula.coefficients[first]) / (float(terms[first]) * reference)
    return at, formula, energy_multiple(factor, error)


def energy_multiple(factor: float, error: float) -> str:
    """What a quantity is that is `factor`, with a relative error, times the energy: "twice", or "about 2.02"
    where no simple number is sure. How far the scale of a learned energy is off is not in the error.
    """
    ratio = simple_number(factor, error * abs(factor))
    words = {
        1.0: ENERGY,
        2.0: "twice the energy H",
        0.5: "half the energy H",
        -1.0: "minus the energy H",
    }
    if ratio is not None and float(ratio) in words:
        return words[float(ratio)]
    return (
        f"about {factor:.3g} times the energy H"
        if ratio is None
        else f"{simple_expression(ratio)} times the energy H"
    )
