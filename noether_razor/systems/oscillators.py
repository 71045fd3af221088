"""Harmonic oscillators of any frequencies."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any, ClassVar

import jax.numpy as jnp

from ..quantities import QuadraticQuantities, quadratic_form
from ..typing import Scalar, State
from .base import register_system


@register_system
@dataclass(frozen=True)
class Oscillators:
    """n uncoupled oscillators, H = sum_i f_i (q_i^2 + p_i^2) / 2 with angular frequencies f_i of either sign.

    Equal frequencies f_i = f_j (u(2)) or opposite ones (u(1,1)) add two quantities a pair to the n energies.
    """

    kind: ClassVar[str] = "oscillators"

    frequencies: tuple[float, ...] = (1.0,)

    def __post_init__(self) -> None:
        if not self.frequencies or not all(f != 0 and math.isfinite(f) for f in self.frequencies):
            raise ValueError(f"frequencies must be finite and not zero, got {self.frequencies}")

    @staticmethod
    def of_dof(dof: int, parameters: Mapping[str, Any]) -> dict[str, Any]:
        """Equal oscillators where no frequencies are given."""
        return {"frequencies": (1.0,) * dof, **parameters}

    @property
    def dof(self) -> int:
        return len(self.frequencies)

    def hamiltonian(self, state: State) -> Scalar:
        q, p = jnp.split(state, 2)
        return jnp.dot(jnp.asarray(self.frequencies, state.dtype), q**2 + p**2) / 2

    def known_quantities(self) -> QuadraticQuantities:
        n, f = self.dof, self.frequencies
        forms: list[dict[tuple[int, ...], float]] = [{(i, i): 0.5, (i + n, i + n): 0.5} for i in range(n)]
        for i, j in combinations(range(n), 2):
            for sign in (1.0, -1.0):
                if f[i] == sign * f[j]:
                    forms.append({(i, j): 1.0, (i + n, j + n): sign})
                    forms.append({(i, j + n): 1.0, (j, i + n): -sign})
        return quadratic_form(n, forms)
