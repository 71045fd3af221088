"""The plane pendulum."""

import math
from dataclasses import dataclass
from typing import ClassVar

import jax.numpy as jnp

from ..typing import Scalar, State
from .base import register_system


@register_system
@dataclass(frozen=True)
class Pendulum:
    """A plane pendulum, H = p^2 / 2 - frequency^2 cos q; it conserves nothing of degree two: a negative
    control.
    """

    kind: ClassVar[str] = "pendulum"

    frequency: float = 1.0

    def __post_init__(self) -> None:
        if not 0 < self.frequency < math.inf:
            raise ValueError(f"frequency must be positive and finite, got {self.frequency}")

    @property
    def dof(self) -> int:
        return 1

    def hamiltonian(self, state: State) -> Scalar:
        return state[1] ** 2 / 2 - self.frequency**2 * jnp.cos(state[0])

    def known_quantities(self) -> None:
        return None
