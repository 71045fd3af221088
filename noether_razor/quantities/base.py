"""What every set of conserved quantities offers."""

import abc

from flax import nnx
from jaxtyping import Array, Float

from ..typing import State


class ConservedQuantities(nnx.Module):
    """K scalar functions C_1..C_K on phase space, evaluated together.

    The flow of sum_k w_k C_k is the symmetry that they generate (Noether). Subclasses say how to follow it:
    exactly where a closed form is known, by an ODE solver otherwise.
    """

    @property
    @abc.abstractmethod
    def count(self) -> int:
        """The number K of quantities."""

    @abc.abstractmethod
    def __call__(self, state: State) -> Float[Array, " K"]:
        """The values C_1(x)..C_K(x)."""
