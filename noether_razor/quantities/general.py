"""Any Flax module as a set of conserved quantities."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..typing import Scalar, State, VectorField
from .base import ConservedQuantities


class GeneralQuantities(ConservedQuantities):
    """Conserved quantities given by `function`: a Flax module (or plain callable) state -> scalar or (K,)
    values.

    Its flow has no closed form and is integrated wherever it is needed. Raises ValueError when `function`
    returns neither.
    """

    def __init__(self, function: Callable[[State], Scalar | Float[Array, " K"]], *, dof: int):
        self.function = function
        values = jax.eval_shape(function, jax.ShapeDtypeStruct((2 * dof,), jnp.float32))
        if values.ndim > 1:
            raise ValueError(f"conserved quantities must be a scalar or a vector, got shape {values.shape}")
        self._count = values.shape[0] if values.shape else 1

    def __repr__(self) -> str:
        name = getattr(self.function, "__name__", type(self.function).__name__)
        return f"GeneralQuantities({self.count} of {name})"

    @property
    def count(self) -> int:
        return self._count

    def __call__(self, state: State) -> Float[Array, " K"]:
        return jnp.atleast_1d(self.function(state))

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        return jax.grad(lambda state: jnp.dot(weights, self(state)))
