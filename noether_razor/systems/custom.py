"""A system given by the formula of its Hamiltonian."""

from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from itertools import combinations_with_replacement
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..formula import parse_formula
from ..formula.parse import Formula, canonical_names
from ..null_space import null_space
from ..phase_space import symplectic_gradient
from ..quantities import QuadraticQuantities, quadratic_form
from ..typing import Scalar, State

# Singular values relative to the largest: a combination of monomials commutes with H below the first
# (rounding in float64), does not above the second, and cannot be judged between them.
_CONSERVED, _NOT_CONSERVED = 1e-12, 1e-9


@dataclass(frozen=True)
class CustomSystem:
    """A system of `dof` degrees of freedom with H(x) = `formula` in q1, .., qn, p1, .., pn, see `Formula`.

    `parameters` names the constants of the formula, as a mapping or as pairs. Raises FormulaError for a
    formula that cannot be read, ValueError for a `dof` below 1.
    """

    # A config gives its formula and no parameters only, so it is not registered as others are.
    kind: ClassVar[str] = "custom"

    dof: int
    formula: str
    parameters: Mapping[str, float] | tuple[tuple[str, float], ...] = ()

    def __post_init__(self) -> None:
        if self.dof < 1:
            raise ValueError(f"dof must be at least 1, got {self.dof}")
        # Pairs hash where a mapping does not.
        object.__setattr__(self, "parameters", tuple(sorted(dict(self.parameters).items())))
        _ = self.parsed

    @cached_property
    def parsed(self) -> Formula:
        """The formula as a function and in sympy."""
        return parse_formula(self.formula, canonical_names(self.dof), dict(self.parameters))

    def hamiltonian(self, state: State) -> Scalar:
        return self.parsed(state)

    def known_quantities(self) -> QuadraticQuantities | None:
        """A sparse basis of all C of degree at most two with {C, H} = 0, or None, found from the formula.

        With m_i the monomials of degree 1 and 2, sum_i c_i m_i is conserved where sum_i c_i {m_i, H}(x) = 0
        at all x: a null space over random states, in float64. Raises ValueError where H is not finite on too
        many of them, or when its terms differ so much in size that float64 cannot tell whether a combination
        is conserved.
        """
        dim = 2 * self.dof
        monomials: list[tuple[int, ...]] = [(i,) for i in range(dim)]
        monomials += combinations_with_replacement(range(dim), 2)
        states, velocities = self._sampled_field(3 * len(monomials))
        # {m, H} = grad m . J grad H. Rows may be scaled: however steep H is, no state outweighs another.
        sizes = np.linalg.norm(velocities, axis=1, keepdims=True)
        velocities = velocities / np.where(sizes > 0, sizes, 1.0)
        first, second = np.triu_indices(dim)
        products = states[:, first] * velocities[:, second] + states[:, second] * velocities[:, first]
        free, relative, _ = null_space(np.hstack([velocities, products]), _CONSERVED)
        speeds = np.abs(velocities).max(axis=0)
        tiny_speed = (speeds > 0) & (speeds < _NOT_CONSERVED)
        if tiny_speed.any() or ((relative > _CONSERVED) & (relative < _NOT_CONSERVED)).any():
            raise ValueError(
                f"the Hamiltonian {self.formula!r} has terms of too different sizes, or that cancel: float64"
                " cannot tell what it conserves; choose units in which its terms are comparable and leave out"
                " terms that cancel"
            )
        basis = _sparse_basis(free)
        forms: list[Mapping[tuple[int, ...], float]] = [
            {monomials[i]: float(row[i]) for i in np.flatnonzero(row)} for row in basis
        ]
        return quadratic_form(self.dof, forms) if forms else None

    def _sampled_field(
        self, count: int
    ) -> tuple[Float[np.ndarray, "count dim"], Float[np.ndarray, "count dim"]]:
        """Random states where H and its gradient are finite, and J grad H there."""
        draws = np.random.default_rng(0)
        # Sizes from 0.1 to 3, for formulas that are defined only near the origin or only away from it.
        sizes = 10 ** draws.uniform(-1, 0.5, (8 * count, 1))
        states = sizes * draws.standard_normal((8 * count, 2 * self.dof))
        with jax.enable_x64(True):
            energies, gradients = jax.jit(jax.vmap(jax.value_and_grad(self.parsed)))(jnp.asarray(states))
            velocities = np.asarray(jax.vmap(symplectic_gradient)(gradients))
        finite = np.isfinite(np.asarray(energies)) & np.isfinite(velocities).all(axis=1)
        if finite.sum() < count:
            where = int(np.argmin(finite))
            coordinates = zip(self.parsed.names, states[where], strict=True)
            place = ", ".join(f"{name} = {value:.3g}" for name, value in coordinates)
            raise ValueError(
                f"the Hamiltonian {self.formula!r} or its gradient is finite at only {finite.sum()} of"
                f" {len(states)} random states around the origin (expected {count}), for instance not at"
                f" {place}"
            )
        return states[finite][:count], velocities[finite][:count]


def _sparse_basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "K monomials"]:
    """The reduced row echelon basis of the span of `rows`: K monomials are in one row each, coefficient 1.

    Rounding is removed: entries within 1e-9 of a ratio with a denominator up to 12 are that ratio.
    """
    rows = rows.copy()
    for k in range(len(rows)):
        # The first monomial whose coefficient is not small: a small pivot would magnify rounding.
        remaining = np.abs(rows[k:])
        column = int(np.argmax(remaining.max(axis=0) > 1e-3 * remaining.max()))
        pivot = k + int(np.argmax(remaining[:, column]))
        rows[[k, pivot]] = rows[[pivot, k]]
        rows[k] /= rows[k, column]
        others = np.arange(len(rows)) != k
        rows[others] -= np.outer(rows[others, column], rows[k])
    simple = np.vectorize(lambda entry: float(Fraction(entry).limit_denominator(12)), otypes=[float])(rows)
    return np.where(np.abs(rows - simple) < 1e-9, simple, rows)
