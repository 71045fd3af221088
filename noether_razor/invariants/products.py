"""Products of linear conserved quantities, which are conserved as exactly as these."""

from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations_with_replacement

from .formulas import Part, QuantityFormula

SURE = 4.0
"""Standard errors within which a coefficient may be that of a product."""


def with_products(formulas: Sequence[QuantityFormula]) -> list[QuantityFormula]:
    """The same, with the square or product of linear ones in place of a quadratic one that its errors do not
    tell from it: of p1 + p2 and 0.497 p1^2 + p1 p2 + 0.501 p2^2 the second is the square of the first.
    """
    linear = [one for one in formulas if one.degree == 1 and _rational(one)]
    pairs = list(combinations_with_replacement(linear, 2))
    return [next((made for pair in pairs if (made := _as_product(one, *pair))), one) for one in formulas]


def _rational(formula: QuantityFormula) -> bool:
    return all(isinstance(value, Fraction) for value in formula.coefficients.values())


def _as_product(
    formula: QuantityFormula, first: QuantityFormula, second: QuantityFormula
) -> QuantityFormula | None:
    """The product in the place of a formula that has decimals; None where it is another quantity."""
    if not formula.errors:
        return None
    product: dict[Part, Fraction] = {}
    for one, x in first.coefficients.items():
        for other, y in second.coefficients.items():
            monomial = tuple(sorted((*one, *other)))  # type: ignore[misc]
            product[monomial] = product.get(monomial, Fraction(0)) + x * y  # type: ignore[operator]
    product = {monomial: value for monomial, value in product.items() if value}
    if set(product) != set(formula.coefficients):
        return None
    chosen = [m for m in product if m not in formula.errors]
    if not chosen:
        return None
    ratio = float(product[chosen[0]]) / float(formula.coefficients[chosen[0]])
    measured = {}
    for monomial, value in product.items():
        known = (float(formula.coefficients[monomial]), formula.errors.get(monomial, 0.0))
        found, error = formula.measured.get(monomial, known)
        found, error = found * ratio, error * abs(ratio)
        if abs(found - float(value)) > SURE * error + 1e-9 * abs(float(value)):
            return None
        if error:
            measured[monomial] = (found, error)
    return QuantityFormula.of_terms(product, {}, formula.names, formula.units, measured)
