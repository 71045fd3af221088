"""The network F whose average over an orbit is the learned Hamiltonian."""

from itertools import pairwise

import jax
import jax.numpy as jnp
from flax import nnx

from .typing import Scalar, State


class HamiltonianNetwork(nnx.Module):
    """A fully connected network R^dim -> R with ELU(alpha) activations.

    `layers` counts weight matrices (dim -> width -> ... -> 1), as the paper does; the last one has no bias,
    which would only shift the energy. ELU is once continuously differentiable, so the Hamiltonian field is
    continuous.
    """

    def __init__(self, dim: int, *, layers: int, width: int, alpha: float = 1.0, rngs: nnx.Rngs):
        if layers < 2 or width < 1 or dim < 1:
            raise ValueError(
                "a network needs dim >= 1, layers >= 2 and width >= 1, "
                f"got dim={dim}, layers={layers}, width={width}"
            )
        sizes = [dim, *[width] * (layers - 1)]
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.readout = nnx.Linear(width, 1, use_bias=False, rngs=rngs)
        self.alpha = alpha

    def __call__(self, state: State) -> Scalar:
        features = state
        for layer in self.hidden:
            features = jax.nn.elu(layer(features), self.alpha)
        return jnp.squeeze(self.readout(features), -1)


class VectorFieldNetwork(nnx.Module):
    """An unstructured vector field R^dim -> R^dim of the same hidden layers: what data are fitted by when no
    Hamiltonian is assumed, to see what the assumption costs.

    In a `Posterior` it takes the place of the gradient of a Hamiltonian; it goes with no averaging.
    """

    def __init__(self, dim: int, *, layers: int, width: int, alpha: float = 1.0, rngs: nnx.Rngs):
        if layers < 2 or width < 1 or dim < 1:
            raise ValueError(
                "a network needs dim >= 1, layers >= 2 and width >= 1, "
                f"got dim={dim}, layers={layers}, width={width}"
            )
        sizes = [dim, *[width] * (layers - 1)]
        self.hidden = nnx.List([nnx.Linear(a, b, rngs=rngs) for a, b in pairwise(sizes)])
        self.readout = nnx.Linear(width, dim, rngs=rngs)
        self.alpha = alpha

    def __call__(self, state: State) -> State:
        features = state
        for layer in self.hidden:
            features = jax.nn.elu(layer(features), self.alpha)
        return self.readout(features)
