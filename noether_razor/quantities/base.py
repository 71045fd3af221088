"""What every set of conserved quantities offers."""

import abc

from flax import nnx
from jaxtyping import Array, Float

from ..typing import State, VectorField


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

    @abc.abstractmethod
    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        """x -> grad sum_k w_k C_k(x); what does not depend on x is computed once."""
