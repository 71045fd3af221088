"""The Lie algebra of the quantities that are listed."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from ..lie import LieAlgebra, lie_algebra
from ..quadratic_forms import Quadratics
from .dictionary import Dictionary
from .found import FoundQuantity
from .monomials import quadratic_parts
from .spans import monomial_units, span_basis

NOT_COMPUTED = "not computed for this family"
"""The name of an algebra of quantities that are not quadratic."""
UNPAIRED_STATES = "not computed, as the columns are no pairs"
"""The name where coordinates are no positions and momenta."""
CONSTRAINED = "not computed, as columns are bound to each other"
"""The name where a combination of coordinates has one value in the whole file."""
CLOSED = 0.05
"""The closure error up to which a space closes under the Poisson bracket."""


def algebra_of(
    dictionary: Dictionary,
    quantities: Sequence[FoundQuantity],
    found: Float[np.ndarray, "rank terms"],
    scales: Float[np.ndarray, " dim"],
) -> tuple[LieAlgebra, bool]:
    """The algebra of the formulas, in the units of the data, and whether it closes within its errors.

    Where these have decimals whose errors blur its name, that of the space before simple numbers. None where
    terms are not of degree <= 2. `found` are coefficients of the terms of a basis.
    """
    if not dictionary.second_degree:
        return no_algebra(dictionary.dim, NOT_COMPUTED)
    dim, units = len(scales), monomial_units(scales)
    errors = [_relative_error(quantity, units) for quantity in quantities]
    allowed = max([CLOSED, *(4 * error for error in errors)])
    found = span_basis(dictionary.expanded(found) * units)
    algebra = lie_algebra(*quadratic_parts(found, dim), tolerance=allowed)
    if not quantities:
        return algebra, algebra.closure_error <= allowed
    matrices = np.array([quantity.matrix for quantity in quantities]) * scales[:, None] * scales
    vectors = np.array([quantity.vector for quantity in quantities]) * scales
    of_formulas = lie_algebra(matrices, vectors, tolerance=allowed)
    exact = not any(quantity.formula.errors for quantity in quantities)
    # Partly rounded, small entries no longer tell how large errors are.
    if not algebra.named or (exact and of_formulas.named):
        algebra = of_formulas
    # {f, g} in x is {f, g} in y over the constant s_q s_p.
    product = scales[0] * scales[dim // 2]
    basis = Quadratics(
        algebra.basis.matrices / (scales[:, None] * scales),
        algebra.basis.vectors / scales,
        algebra.basis.constants,
    )
    constants = algebra.structure_constants / product
    return replace(algebra, basis=basis, structure_constants=constants), algebra.closure_error <= allowed


def no_algebra(dim: int, why: str) -> tuple[LieAlgebra, bool]:
    """What stands for an algebra that is not computed."""
    none = Quadratics(np.zeros((0, dim, dim)), np.zeros((0, dim)), np.zeros(0))
    return LieAlgebra(none, np.zeros((0, 0, 0)), 0.0, False, why, named=False), True


def _relative_error(quantity: FoundQuantity, units: Float[np.ndarray, " monomials"]) -> float:
    """The error of the coefficients over their size, in scaled coordinates."""
    formula, expanded = quantity.formula, quantity.dictionary.expanded
    errors = {**{part: error for part, (_, error) in formula.measured.items()}, **formula.errors}
    size = np.linalg.norm(expanded(formula.row()[None]) * units)
    off = np.array([errors.get(part, 0.0) for part in formula.parts()])
    return float(np.linalg.norm(expanded(off[None]) * units) / max(size, 1e-300))
