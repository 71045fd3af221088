"""Quantities that textbook systems are known to conserve, and the notation to write more of them."""

from collections.abc import Mapping, Sequence
from itertools import combinations, combinations_with_replacement

import jax.numpy as jnp
import numpy as np

from .quadratic import QuadraticQuantities

Monomials = Mapping[tuple[int, ...], float]
"""Coefficients of monomials of degree 1 and 2: {(i,): c} for c x_i and {(i, j): c} for c x_i x_j."""


def quadratic_form(dof: int, monomials: Sequence[Monomials]) -> QuadraticQuantities:
    """Quantities written as sums of monomials in x_0..x_{2n-1} (positions first).

    ``quadratic_form(1, [{(0, 0): 0.5, (1, 1): 0.5}])`` is (q^2 + p^2) / 2. Raises ValueError for a degree
    above 2.
    """
    matrices = np.zeros((len(monomials), 2 * dof, 2 * dof))
    vectors = np.zeros((len(monomials), 2 * dof))
    for k, terms in enumerate(monomials):
        for indices, coefficient in terms.items():
            if len(indices) == 1:
                vectors[k, indices[0]] += coefficient
            elif len(indices) == 2:
                i, j = indices
                matrices[k, i, j] += coefficient
                matrices[k, j, i] += coefficient
            else:
                raise ValueError(f"a monomial has 1 or 2 indices, got {indices}")
    return QuadraticQuantities(jnp.asarray(matrices), jnp.asarray(vectors))


def unitary_quantities(dof: int) -> QuadraticQuantities:
    """The n^2 quantities of u(n): q_i q_j + p_i p_j (i <= j) and q_i p_j - q_j p_i (i < j)."""
    real = [{(i, j): 1.0, (i + dof, j + dof): 1.0} for i, j in combinations_with_replacement(range(dof), 2)]
    imaginary = [{(i, j + dof): 1.0, (j, i + dof): -1.0} for i, j in combinations(range(dof), 2)]
    return quadratic_form(dof, [*real, *imaginary])


def linear_momentum(bodies: int, dimension: int) -> QuadraticQuantities:
    """Total momentum, one quantity an axis; bodies are stored one after the other, q = (r_1, r_2, ...)."""
    dof = bodies * dimension
    return quadratic_form(
        dof, [{(dof + body * dimension + axis,): 1.0 for body in range(bodies)} for axis in range(dimension)]
    )


def angular_momentum(bodies: int, dimension: int) -> QuadraticQuantities:
    """Total angular momentum about the origin, one quantity a pair of axes."""
    dof = bodies * dimension

    def component(a: int, b: int) -> Monomials:
        terms: dict[tuple[int, ...], float] = {}
        for start in range(0, dof, dimension):
            terms[(start + a, dof + start + b)] = 1.0
            terms[(start + b, dof + start + a)] = -1.0
        return terms

    return quadratic_form(dof, [component(a, b) for a, b in combinations(range(dimension), 2)])
