"""Train a classifier with tracked charges, and keep what they did at every step."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jaxtyping import Array, Float, Int

from .classification import Labelled
from .networks import cross_entropy
from .symmetries import Charged
from .tracking import Charge, Charges, ChargeState, charge_state, charges_of, track_charges

CHUNK = 60
"""Steps that are compiled as one loop."""


class DivergedError(ValueError):
    """Training that is no longer finite: the step and the charge that first broke."""


class TrainedState(NamedTuple):
    """Steps taken, parameters, what else the model keeps, and the state of the optimiser with its charges."""

    step: Int[Array, ""]
    params: Any
    rest: Any
    optimizer: Any


class Recorded(NamedTuple):
    """Loss and charges (see `Charges`) after each of some steps."""

    loss: Float[Array, " steps"]
    charges: Charges


@dataclass(frozen=True)
class TrackedTraining:
    """A model, its data and its optimiser, whose charges of `symmetries` are followed at every step."""

    model: nnx.Module
    data: Labelled
    optimizer: optax.GradientTransformation
    symmetries: Sequence[Charged]
    batches: Int[np.ndarray, "steps size"]

    @cached_property
    def tracked(self) -> optax.GradientTransformationExtraArgs:
        return track_charges(self.optimizer, self.symmetries, every=1)

    @cached_property
    def graph(self) -> Any:
        return nnx.split(self.model, nnx.Param, ...)[0]

    def start(self, model: nnx.Module | None = None) -> TrainedState:
        """The state before the first step; another `model` of the same shape may be where it starts."""
        _, params, rest = nnx.split(self.model if model is None else model, nnx.Param, ...)
        params, rest = jax.tree.map(jnp.array, (params, rest))
        return TrainedState(jnp.zeros((), jnp.int32), params, rest, self.tracked.init(params))

    @cached_property
    def _compiled(self) -> tuple[Any, Any]:
        """One step, and many of them."""
        inputs, labels = jnp.asarray(self.data.inputs), jnp.asarray(self.data.labels)

        def step(state: TrainedState, rows: Any) -> tuple[TrainedState, Recorded]:
            return self._step(state, (inputs[rows], labels[rows]))

        return jax.jit(step), jax.jit(lambda state, rows: jax.lax.scan(step, state, rows))

    def run(self, state: TrainedState, batches: Any = None) -> Iterator[tuple[TrainedState, Recorded]]:
        """From `state` to the last step: the state after each chunk and what was recorded in it.

        Raises `DivergedError`.
        """
        batches = self.batches if batches is None else batches
        one, many = self._compiled
        # A CPU takes several times as long for convolutions inside a compiled loop.
        convolves = any(jnp.ndim(leaf) > 3 for leaf in jax.tree.leaves(state.params))
        at = int(state.step)
        while at < len(batches):
            rows = jnp.asarray(batches[at : at + CHUNK])
            if convolves:
                lines = []
                for row in rows:
                    state, line = one(state, row)
                    lines.append(line)
                recorded = jax.tree.map(lambda *parts: jnp.stack(parts), *lines)
            else:
                state, recorded = many(state, rows)
            recorded = jax.tree.map(np.asarray, recorded)
            self._require_finite(recorded, at)
            at += len(rows)
            yield state, recorded

    def _step(self, state: TrainedState, batch: Any) -> tuple[TrainedState, Recorded]:
        def objective(params: Any) -> tuple[Array, Any]:
            # A copy: what a normalisation keeps must not be written through a loop that is compiled.
            model = nnx.merge(self.graph, params, state.rest, copy=True)
            value = cross_entropy(model, batch)
            return value, nnx.split(model, nnx.Param, ...)[2]

        (value, rest), gradients = jax.value_and_grad(objective, has_aux=True)(state.params)
        updates, optimizer = self.tracked.update(gradients, state.optimizer, state.params)
        params = optax.apply_updates(state.params, updates)
        charges = charge_state(optimizer).charges
        return TrainedState(state.step + 1, params, rest, optimizer), Recorded(value, charges)

    def _require_finite(self, recorded: Recorded, start: int) -> None:
        first: tuple[int, str] | None = None
        charges = charges_of(_as_state(recorded.charges), self.symmetries)
        for symmetry, charge in zip(self.symmetries, charges, strict=True):
            broken = ~np.isfinite(np.asarray(charge.value))
            if broken.any():
                step = int(broken.any(axis=1).argmax())
                if first is None or step < first[0]:
                    first = (step, symmetry.label(int(broken[step].argmax())))
        lost = ~np.isfinite(np.asarray(recorded.loss))
        if lost.any() and (first is None or int(lost.argmax()) <= first[0]):
            step = int(lost.argmax())
            rest = "" if first is None else f"; the first charge to break is {first[1]}"
            raise DivergedError(f"the loss is not finite at step {start + step}{rest}")
        if first is not None:
            raise DivergedError(
                f"training is not finite at step {start + first[0]}: first the charge {first[1]}"
            )

    def accuracy(self, state: TrainedState) -> float:
        """Of the test rows, with the running statistics of batch normalisations."""
        model = nnx.merge(self.graph, state.params, state.rest, copy=True)
        model.eval()
        predicted = np.asarray(model(jnp.asarray(self.data.test_inputs))).argmax(axis=1)
        return float(np.mean(predicted == self.data.test_labels))


def _as_state(charges: Charges) -> ChargeState:
    """What `charges_of` looks for."""
    return ChargeState(jnp.zeros((), jnp.int32), charges, None)


class Series(NamedTuple):
    """A whole run: the loss of each step, and for each family its charge at the start and after each step."""

    loss: Float[np.ndarray, " steps"]
    start: list[Charge]
    charges: list[Charge]

    def values(self, family: int) -> Float[np.ndarray, "points units"]:
        """The charges of a family from the start on."""
        return np.concatenate([self.start[family].value[None], self.charges[family].value]).astype(float)

    def predicted(self, family: int) -> Float[np.ndarray, "points units"]:
        """What the law predicts from the start, of the same."""
        return np.concatenate([self.start[family].predicted[None], self.charges[family].predicted]).astype(
            float
        )

    def kinetic(self, family: int) -> Float[np.ndarray, "steps units"]:
        """D of each step."""
        return np.asarray(self.charges[family].kinetic, float)


def series_of(start: TrainedState, recorded: Sequence[Recorded], symmetries: Sequence[Charged]) -> Series:
    """A run from the records of its chunks."""
    joined = jax.tree.map(lambda *parts: np.concatenate([np.asarray(p) for p in parts]), *recorded)
    return Series(
        np.asarray(joined.loss),
        [jax.tree.map(np.asarray, charge) for charge in charges_of(start.optimizer, symmetries)],
        charges_of(_as_state(joined.charges), symmetries),
    )


def train_tracked(
    training: TrackedTraining, model: nnx.Module | None = None, batches: Any = None
) -> tuple[TrainedState, Series]:
    """The whole run; with another start or other batches nothing is compiled again."""
    start = training.start(model)
    state, recorded = start, []
    for after, part in training.run(start, batches):
        state = after
        recorded.append(part)
    return state, series_of(start, recorded, training.symmetries)


def make_optimizer(
    kind: str,
    learning_rate: float,
    *,
    momentum: float = 0.0,
    decay: float = 0.0,
    cosine_steps: int = 0,
    clip: float | None = None,
) -> optax.GradientTransformation:
    """An optax optimiser by the name of its kind: sgd, momentum, nesterov, sgdw, adam, adamw or lion.

    `decay` is added to the gradients for sgd, momentum, nesterov and adam, and beside the step for the
    others. With `cosine_steps` the rate falls to a hundredth as a cosine.
    """
    rate: Any = learning_rate
    if cosine_steps:
        rate = optax.cosine_decay_schedule(learning_rate, cosine_steps, alpha=0.01)
    coupled = [optax.add_decayed_weights(decay)] if decay else []
    parts: list[optax.GradientTransformation] = [optax.clip_by_global_norm(clip)] if clip else []
    if kind in ("sgd", "momentum", "nesterov"):
        parts += [*coupled, optax.sgd(rate, momentum or None, nesterov=kind == "nesterov")]
    elif kind == "sgdw":
        parts += [optax.trace(momentum), *coupled, optax.scale_by_learning_rate(rate)]
    elif kind == "adam":
        parts += [*coupled, optax.adam(rate)]
    elif kind == "adamw":
        parts.append(optax.adamw(rate, weight_decay=decay))
    elif kind == "lion":
        parts.append(optax.lion(rate, weight_decay=decay))
    else:
        raise ValueError(f"expected one of sgd, momentum, nesterov, sgdw, adam, adamw, lion, got {kind!r}")
    return optax.chain(*parts)
