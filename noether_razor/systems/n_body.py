"""Gravitating bodies with softened pair potentials."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations, combinations_with_replacement
from typing import Any, ClassVar

import jax.numpy as jnp
import numpy as np

from ..quantities import QuadraticQuantities, quadratic_form
from ..typing import Scalar, State
from .base import register_system


@register_system
@dataclass(frozen=True)
class NBody:
    """N bodies in d dimensions, H = sum_i p_i^2 / (2 m_i) - g sum_{i<j} m_i m_j / sqrt(r_ij^2 + softening^2).

    Positions are stored body by body, q = (r_1, .., r_N), momenta likewise; d = `dimension`, g = `coupling`.
    """

    kind: ClassVar[str] = "n_body"

    masses: tuple[float, ...] = (1.0, 1.0, 1.0)
    dimension: int = 2
    softening: float = 1.0
    coupling: float = 1.0

    def __post_init__(self) -> None:
        if len(self.masses) < 2:
            raise ValueError(f"masses must be at least two, one a body, got {list(self.masses)}")
        for k, mass in enumerate(self.masses):
            if not 0 < mass < math.inf:
                raise ValueError(
                    f"masses must be positive and finite, got {mass:g} for body {k + 1}"
                    + (": a massless body has no momentum, give it a small mass" if mass == 0 else "")
                )
        if self.dimension < 1 or not 0 <= self.softening < math.inf or not math.isfinite(self.coupling):
            raise ValueError(
                "dimension must be at least 1, softening not negative and coupling finite, "
                f"got {self.dimension}, {self.softening} and {self.coupling}"
            )

    @staticmethod
    def of_dof(dof: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Unit masses where none are given, as many as `dof` allows in the dimension."""
        dimension = parameters.get("dimension", 2)
        if not isinstance(dimension, int) or dimension < 1 or dof % dimension or dof < 2 * dimension:
            raise ValueError(f"got {dof}, expected a multiple (2 or more) of the dimension {dimension}")
        return {"masses": (1.0,) * (dof // dimension), **parameters}

    @property
    def dof(self) -> int:
        return len(self.masses) * self.dimension

    def hamiltonian(self, state: State) -> Scalar:
        q, p = state.reshape(2, len(self.masses), self.dimension)
        masses = jnp.asarray(self.masses, state.dtype)
        i, j = np.triu_indices(len(self.masses), k=1)
        distance = jnp.sqrt(jnp.sum((q[i] - q[j]) ** 2, axis=-1) + self.softening**2)
        kinetic = jnp.sum(jnp.sum(p**2, axis=-1) / (2 * masses))
        return kinetic - self.coupling * jnp.sum(masses[i] * masses[j] / distance)

    def known_quantities(self) -> QuadraticQuantities:
        """Momentum P, its products P_a P_b, and angular momentum about the origin and of the centre of mass.

        In d dimensions d + d (d + 1) / 2 + 2 d (d - 1) / 2: 7 in the plane, 15 in space. With R the
        mass-weighted sum of positions, R_a P_b - R_b P_a is (total mass times) the angular momentum of the
        centre of mass.
        """
        d, n = self.dimension, self.dof
        masses = np.asarray(self.masses) / np.sum(self.masses)

        def position(body: int, axis: int) -> int:
            return body * d + axis

        def momentum(body: int, axis: int) -> int:
            return n + body * d + axis

        bodies = range(len(self.masses))
        forms: list[dict[tuple[int, ...], float]] = []
        forms += [{(momentum(k, a),): 1.0 for k in bodies} for a in range(d)]
        for a, b in combinations_with_replacement(range(d), 2):
            forms.append({(momentum(k, a), momentum(l, b)): 1.0 for k in bodies for l in bodies})
        for a, b in combinations(range(d), 2):
            own: dict[tuple[int, ...], float] = {}
            centre: dict[tuple[int, ...], float] = {}
            for k in bodies:
                own[position(k, a), momentum(k, b)] = 1.0
                own[position(k, b), momentum(k, a)] = -1.0
                for l in bodies:
                    centre[position(k, a), momentum(l, b)] = masses[k]
                    centre[position(k, b), momentum(l, a)] = -masses[k]
            forms += [own, centre]
        return quadratic_form(n, forms)
