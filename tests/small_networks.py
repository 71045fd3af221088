"""A small normalised network with known symmetries, trained in a scan by any optimiser."""

from itertools import pairwise
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from noether_razor.learning import Charge, Member, Symmetry, charges_of, track_charges

WIDTHS = (6, 5, 4, 3)


class Network(nnx.Module):
    """6-5(BN)-4-3; the normalisation has no epsilon."""

    def __init__(self, dtype: Any, epsilon: float = 0.0, activation: Any = nnx.relu):
        rngs = nnx.Rngs(0)
        self.layers = nnx.List(nnx.Linear(a, b, rngs=rngs, param_dtype=dtype) for a, b in pairwise(WIDTHS))
        # Parameters alone: statistics that run along have their own precision.
        self.scale = nnx.Param(jnp.ones(5, dtype))
        self.shift = nnx.Param(jnp.zeros(5, dtype))
        self.epsilon, self.activation = epsilon, activation

    def __call__(self, x: jax.Array) -> jax.Array:
        x = self.layers[0](x)
        x = (x - x.mean(axis=0)) / jnp.sqrt(x.var(axis=0) + self.epsilon)
        x = self.activation(x * self.scale[...] + self.shift[...])
        return self.layers[2](self.activation(self.layers[1](x)))


def loss(model: Network, batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()


SCALE = Symmetry("scale", "scale of layer 0", (Member("layers.0.kernel", (1,)),), 5)
NORMALISED = Symmetry(
    "rescale",
    "rescaling between the normalisation and layer 1",
    (Member("scale", (0,)), Member("shift", (0,)), Member("layers.1.kernel", (0,), -1.0)),
    5,
)
RESCALE = Symmetry(
    "rescale",
    "rescaling between layers 1 and 2",
    (Member("layers.1.kernel", (1,)), Member("layers.1.bias", (0,)), Member("layers.2.kernel", (0,), -1.0)),
    4,
)
LOGITS = Symmetry("translation", "shift of the logits", (Member("layers.2.kernel", (0,)),), 4)
SYMMETRIES = (SCALE, NORMALISED, RESCALE, LOGITS)


class Trained(NamedTuple):
    """The charges of each family after each step, step first, and those at the start."""

    charges: list[Charge]
    start: list[Charge]

    def values(self, family: int) -> jax.Array:
        """The charges of a family from the start on."""
        return jnp.concatenate([self.start[family].value[None], self.charges[family].value])


def batches(steps: int, dtype: Any = float) -> tuple[jax.Array, jax.Array]:
    x = jax.random.normal(jax.random.key(1), (steps, 16, WIDTHS[0]), dtype)
    noise = jax.random.normal(jax.random.key(2), (steps, 16), dtype)
    return x, jnp.clip(jnp.round(x[..., 0] * x[..., 1] + 0.5 * noise + 1), 0, 2).astype(jnp.int32)


def train(
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    model: Network | None = None,
    dtype: Any = float,
    every: int = 1,
    penalty: Any = lambda model: 0.0,
) -> Trained:
    """Train with tracked charges on batches that are mostly noise."""
    tracked = track_charges(optimizer, SYMMETRIES, every=every)
    graph, params, rest = nnx.split(model or Network(dtype), nnx.Param, ...)

    def objective(params: Any, batch: Any) -> jax.Array:
        model = nnx.merge(graph, params, rest, copy=True)
        return loss(model, batch) + penalty(model)

    def step(carry: Any, batch: Any) -> Any:
        params, state = carry
        updates, state = tracked.update(jax.grad(objective)(params, batch), state, params)
        return (optax.apply_updates(params, updates), state), state

    start = tracked.init(params)
    states = jax.jit(lambda carry, data: jax.lax.scan(step, carry, data)[1])(
        (params, start), batches(steps, dtype)
    )
    return Trained(charges_of(states, SYMMETRIES), charges_of(start, SYMMETRIES))
