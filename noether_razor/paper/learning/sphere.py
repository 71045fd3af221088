"""A network with normalised filters and its training, with or without their norms."""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...learning import Classifier, NetworkShape, cross_entropy, digits

FREE = NetworkShape("mlp", (64, 64), ("batch", "batch"), epsilon=1e-8, bias=False)


class Sphere:
    """Heavy-ball SGD of the free network, whose normalised filters may be kept at their norms; one
    compilation serves all rates, momenta and decays.
    """

    def __init__(self, seed: int):
        self.data = digits()
        model = Classifier(FREE, self.data.features, self.data.classes, rngs=nnx.Rngs(seed))
        self.graph, self.params, self.rest = nnx.split(model, nnx.Param, ...)
        self.inputs = jnp.asarray(self.data.inputs)
        self.relabel(self.data.labels)

    def relabel(self, labels: Any) -> None:
        """Train on other labels from now on; they are part of what is compiled."""
        self.labels = jnp.asarray(labels)
        self.run = jax.jit(self._run, static_argnames=("fixed",))

    def loss(self, params: Any, rows: Any) -> Any:
        model = nnx.merge(self.graph, params, self.rest, copy=True)
        return cross_entropy(model, (self.inputs[rows], self.labels[rows]))

    def _run(
        self, params: Any, batches: Any, rate: Any, beta: Any, decay: Any, *, fixed: bool = False
    ) -> Any:
        first = filters(params)

        def step(carry: Any, rows: Any) -> tuple[Any, Any]:
            params, average = carry
            value, gradients = jax.value_and_grad(self.loss)(params, rows)
            average = jax.tree.map(lambda a, g, q: beta * a + g + decay * q, average, gradients, params)
            moved = jax.tree.map(lambda q, a: q - rate * a, params, average)
            if fixed:
                moved = with_norms(moved, first)
            pull = [
                jnp.sum(g**2, axis=0) * jnp.sum(q**2, axis=0)
                for g, q in zip(filters(gradients), filters(params), strict=True)
            ]
            line = (value, jnp.concatenate(pull), step_angles(params, moved), filter_norms(moved))
            return (moved, average), line

        zero = jax.tree.map(jnp.zeros_like, params)
        (params, _), lines = jax.lax.scan(step, (params, zero), batches)
        return params, lines

    def accuracy(self, params: Any) -> float:
        """With the statistics of the test set, which is one batch."""
        model = nnx.merge(self.graph, params, self.rest, copy=True)
        found = np.asarray(model(jnp.asarray(self.data.test_inputs))).argmax(axis=1)
        return float(np.mean(found == self.data.test_labels))


def filters(params: Any) -> list[Any]:
    """The weights of the normalised layers, a column a filter."""
    return [params["layers"][k]["kernel"][...] for k in (0, 1)]


def filter_norms(params: Any) -> Any:
    """The norm of each filter."""
    return jnp.concatenate([jnp.sqrt(jnp.sum(w**2, axis=0)) for w in filters(params)])


def step_angles(before: Any, after: Any) -> Any:
    """The angle by which each filter turns."""
    found = []
    for a, b in zip(filters(before), filters(after), strict=True):
        unit = [w / jnp.sqrt(jnp.sum(w**2, axis=0)) for w in (a, b)]
        found.append(2 * jnp.arcsin(jnp.sqrt(jnp.sum((unit[1] - unit[0]) ** 2, axis=0)) / 2))
    return jnp.concatenate(found)


def with_norms(params: Any, like: Sequence[Any]) -> Any:
    """The same with the norms of the filters `like`."""
    params = jax.tree.map(lambda leaf: leaf, params)
    for k, old in enumerate(like):
        weight = params["layers"][k]["kernel"]
        new = weight[...] * jnp.sqrt(jnp.sum(old**2, axis=0) / jnp.sum(weight[...] ** 2, axis=0))
        params["layers"][k]["kernel"] = weight.replace(new)
    return params
