"""Networks of a configuration: dense and convolutional ones for classification."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import jax
import jax.numpy as jnp
import optax
from flax import nnx

Norm = Literal["none", "batch", "layer"]
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "relu": nnx.relu,
    "leaky_relu": nnx.leaky_relu,
    "gelu": nnx.gelu,
    "tanh": jnp.tanh,
    "linear": lambda x: x,
}


@dataclass(frozen=True)
class NetworkShape:
    """A network: kind mlp (widths of its hidden layers) or cnn (channels of its 3x3 convolutions, each
    followed by a mean over 2x2 pixels, then one dense layer). norms: the normalisation after each of them,
    before the activation. epsilon: of the normalisations.
    """

    kind: Literal["mlp", "cnn"] = "mlp"
    layers: tuple[int, ...] = (64, 64, 32, 32)
    norms: tuple[Norm, ...] = ("batch", "batch", "none", "none")
    activation: str = "relu"
    epsilon: float = 1e-5
    bias: bool = True


class Classifier(nnx.Module):
    """The logits of a network for inputs of `features` numbers."""

    def __init__(self, shape: NetworkShape, features: int, classes: int, *, rngs: nnx.Rngs):
        self.side = round(features**0.5)
        if shape.kind == "cnn" and self.side**2 != features:
            raise ValueError(f"a cnn needs square images, got {features} features")
        widths = [features if shape.kind == "mlp" else 1, *shape.layers]
        bias = shape.bias
        if shape.kind == "mlp":
            layers = [nnx.Linear(a, b, use_bias=bias, rngs=rngs) for a, b in pairwise(widths)]
            last = widths[-1]
        else:
            layers = [nnx.Conv(a, b, (3, 3), use_bias=bias, rngs=rngs) for a, b in pairwise(widths)]
            last = widths[-1] * (self.side // 2 ** len(shape.layers)) ** 2
            if not last:
                raise ValueError(f"images of {self.side} pixels are too small for {len(shape.layers)} means")
        self.layers = nnx.List([*layers, nnx.Linear(last, classes, use_bias=bias, rngs=rngs)])
        self.norms = nnx.List(
            [
                _norm(kind, width, shape.epsilon, rngs)
                for kind, width in zip(shape.norms, shape.layers, strict=True)
            ]
        )
        self.activation, self.convolves = ACTIVATIONS[shape.activation], shape.kind == "cnn"

    def __call__(self, x: jax.Array) -> jax.Array:
        if self.convolves:
            x = x.reshape(-1, self.side, self.side, 1)
        *hidden, last = self.layers
        for layer, norm in zip(hidden, self.norms, strict=True):
            x = layer(x)
            x = self.activation(x if norm is None else norm(x))
            if self.convolves:
                x = nnx.avg_pool(x, (2, 2), (2, 2))
        return last(x.reshape(len(x), -1))


def _norm(kind: Norm, width: int, epsilon: float, rngs: nnx.Rngs) -> Any:
    if kind == "none":
        return None
    if kind == "layer":
        return nnx.LayerNorm(width, epsilon=epsilon, rngs=rngs)
    # Running statistics serve the test alone; flax forgets them slowly for runs of a few hundred steps.
    return nnx.BatchNorm(width, epsilon=epsilon, momentum=0.9, use_running_average=False, rngs=rngs)


def cross_entropy(model: Any, batch: Any) -> jax.Array:
    """The mean cross entropy of a model's logits on (inputs, labels)."""
    return optax.softmax_cross_entropy_with_integer_labels(model(batch[0]), batch[1]).mean()


def norms_of(count: int, norms: Sequence[Norm] | Norm) -> tuple[Norm, ...]:
    """One normalisation for each of `count` layers. Raises ValueError for another number of them."""
    found = (norms,) * count if isinstance(norms, str) else tuple(norms)
    if len(found) != count:
        raise ValueError(f"expected one normalisation for each of {count} layers, got {len(found)}")
    return found
