"""Follow the Noether charges of a run inside its optimiser: an optax transformation and what reads it."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int

from .laws import At, Clock, momentum_budget, next_value, turning
from .rules import LearningRule, OptimiserError
from .symmetries import Charged, flat_parameters

BROKEN = 1e-2
"""|<g, xi>| / |g| |xi| above which a symmetry is reported as broken."""

AVERAGES = {
    optax.TraceState: "trace",
    optax.EmaState: "ema",
    optax.ScaleByAdamState: "mu",
    optax.ScaleByLionState: "mu",
}
"""The average of gradients in the state of each part of optax that has one."""


class Memory(NamedTuple):
    """What the laws need of the step before; None where the rule needs none of it."""

    before: Float[Array, " units"]
    lag: Float[Array, " units"] | None
    decayed: Float[Array, " units"] | None
    decayed_before: Float[Array, " units"] | None
    decayed_kinetic: Float[Array, " units"] | None
    turned: Float[Array, " units"] | None


class Charge(NamedTuple):
    """The charges of a family of symmetries, an entry a unit, after the last step.

    predicted: by the law, from the parameters at the start and D alone (adaptive rules have none: nan).
    kinetic: D = Delta^T A Delta of the last step. momentum_predicted: by the law of momenta, from the start.
    These are of every step; the others of the last step that was measured, see `track_charges`. value: of
    the parameters after it. momentum: <pi, xi> of the average pi and the parameters before it. violation: of
    the law of positions, |value - predicted|, or for adaptive rules of that of momenta, as a share of
    `scale`. pull: <g, xi>. breaking: |<g, xi>| / |g| |xi|, g of the members alone. scale: the largest
    |q| |xi(q)| so far, for adaptive rules |pi| |xi(q)|. memory: for the next step.
    """

    value: Float[Array, " units"]
    predicted: Float[Array, " units"]
    kinetic: Float[Array, " units"]
    momentum: Float[Array, " units"]
    momentum_predicted: Float[Array, " units"]
    violation: Float[Array, " units"]
    pull: Float[Array, " units"]
    breaking: Float[Array, " units"]
    scale: Float[Array, " units"]
    memory: Memory


class ChargeState(NamedTuple):
    """The state of `track_charges`: steps taken, the rate of the last one, the charges of each family, and
    the optimiser's own state.
    """

    step: Int[Array, ""]
    rate: Float[Array, ""]
    charges: tuple[Charge, ...]
    inner: Any


class _Step(NamedTuple):
    """Flat trees of step n: q_n, q_{n+1} - q_n, q_{n+1}, the clipped g_n, and pi_n."""

    params: dict[str, Array]
    change: dict[str, Array]
    moved: dict[str, Array]
    gradient: dict[str, Array]
    average: dict[str, Array]


def track_charges(
    optimizer: optax.GradientTransformation, symmetries: Sequence[Charged], *, every: int = 10
) -> optax.GradientTransformationExtraArgs:
    """The same optimiser, which also follows the charges of symmetries in its state (`ChargeState`).

    Updates are those of `optimizer`, bit for bit. Predictions go on at every step; what they are compared
    with is measured at steps 0, `every`, 2 `every`, ... It works under jit, in a scan, on sharded
    parameters, and with any tree of parameters; checkpoints of the state keep everything. Raises
    `OptimiserError` for an optimiser that cannot be read, and at initialisation `SymmetryError` for a
    symmetry that does not fit.
    """
    rule = LearningRule.from_optax(optimizer)
    inner = optax.with_extra_args_support(optimizer)
    families = tuple(symmetries)

    def init(params: Any) -> ChargeState:
        flat = flat_parameters(params)
        for family in families:
            family.check(flat)
        followers = _followers(rule, families, params)
        charges = tuple(follower.start(flat) for follower in followers)
        return ChargeState(jnp.zeros((), jnp.int32), jnp.ones(()), charges, inner.init(params))

    def update(updates: Any, state: ChargeState, params: Any = None, **extra: Any) -> tuple[Any, ChargeState]:
        if params is None:
            raise ValueError("track_charges needs the parameters: call update(gradients, state, params)")
        changes, inner_state = inner.update(updates, state.inner, params, **extra)
        step = _step(rule, updates, changes, params, inner_state)
        clock = Clock(rule.rate(state.step), state.rate, state.step > 0)
        measure = state.step % every == 0
        charges = tuple(
            follower.advance(charge, clock, step, measure)
            for follower, charge in zip(_followers(rule, families, params), state.charges, strict=True)
        )
        return changes, ChargeState(state.step + 1, clock.rate, charges, inner_state)

    return optax.GradientTransformationExtraArgs(init, update)


def _step(rule: LearningRule, gradients: Any, changes: Any, params: Any, state: Any) -> _Step:
    gradient, flat = flat_parameters(gradients), flat_parameters(params)
    if rule.clip is not None:
        factor = rule.clipped(optax.tree.norm(gradients))
        gradient = {path: factor * g for path, g in gradient.items()}
    average = _average(state)
    if average is None:
        decays = decay_of(rule, params)
        average = {path: g + decays[path] * flat[path] for path, g in gradient.items()}
    else:
        average = flat_parameters(average)
    moved = flat_parameters(optax.apply_updates(params, changes))
    return _Step(flat, flat_parameters(changes), moved, gradient, average)


def _average(state: Any) -> Any:
    """The average of gradients somewhere in the state of an optimiser; None where it keeps none."""
    for kind, name in AVERAGES.items():
        if isinstance(state, kind):
            return getattr(state, name)
    if isinstance(state, tuple):
        for part in state:
            if (found := _average(part)) is not None:
                return found
    return None


def decay_of(rule: LearningRule, params: Any) -> dict[str, float]:
    """The weight decay of every array, by its path."""
    mask = rule.decayed(params) if callable(rule.decayed) else rule.decayed
    if mask is None:
        return dict.fromkeys(flat_parameters(params), rule.decay)
    every = jax.tree.map(lambda kept, part: jax.tree.map(lambda _: bool(kept), part), mask, params)
    return {path: rule.decay * kept for path, kept in flat_parameters(every).items()}


def _followers(rule: LearningRule, families: Sequence[Charged], params: Any) -> "list[_Follower]":
    decays = decay_of(rule, params)
    return [_Follower(rule, family, tuple(decays[path] for path in family.paths)) for family in families]


@dataclass(frozen=True)
class _Follower:
    """The recursions of one family, whose parts have these weight decays."""

    rule: LearningRule
    family: Charged
    decays: tuple[float, ...]

    @property
    def measured(self) -> bool:
        """Whether the parts decay differently: what they lose is then measured, not predicted."""
        return len(set(self.decays)) > 1

    def form(self, first: Any, second: Any, decayed: bool = False) -> Float[Array, " units"]:
        weights = np.asarray(self.family.weights)
        return (weights * self.decays if decayed else weights) @ self.family.forms(first, second)

    def charge(self, params: Any, decayed: bool = False) -> Float[Array, " units"]:
        if self.family.quadratic:
            return self.form(params, params, decayed)
        weights = np.asarray(self.family.weights)
        return (weights * self.decays if decayed else weights) @ self.family.sums(params)

    def along(self, first: Any, params: Any) -> Float[Array, " units"]:
        """<first, xi(q)>."""
        if self.family.quadratic:
            return self.form(first, params)
        return np.asarray(self.family.weights) @ self.family.sums(first)

    def size(self, first: Any, params: Any) -> Float[Array, " units"]:
        """|first| |xi(q)|."""
        return jnp.sqrt(self.family.squared(first) * self.family.squared_generator(params))

    def start(self, params: Any) -> Charge:
        value = self.charge(params)
        zero = jnp.zeros_like(value)
        decayed = self.charge(params, decayed=True) if self.measured else None
        memory = Memory(
            before=value,
            lag=zero if self.rule.nesterov else None,
            decayed=decayed,
            decayed_before=decayed,
            decayed_kinetic=None if decayed is None else zero,
            turned=zero if self.rule.adaptive else None,
        )
        predicted = jnp.full_like(value, jnp.nan) if self.rule.adaptive else value
        scale = zero if self.rule.adaptive else self.size(params, params)
        return Charge(value, predicted, zero, zero, zero, zero, zero, zero, scale, memory)

    def advance(self, charge: Charge, clock: Clock, step: _Step, measure: Bool[Array, ""]) -> Charge:
        """The charge after one more step."""
        rule, quadratic, memory = self.rule, self.family.quadratic, charge.memory
        zero = jnp.zeros_like(charge.value)
        at = At(charge.predicted, memory.before, charge.kinetic)
        if memory.decayed is not None:
            decayed = At(memory.decayed, memory.decayed_before, memory.decayed_kinetic)
        elif rule.adaptive:
            lost = self.charge(step.params, decayed=True) if any(self.decays) and not rule.decoupled else zero
            decayed = At(lost, lost, zero)
        else:
            decayed = At(*(self.decays[0] * part for part in at))
        lag = zero if memory.lag is None else memory.lag
        turned = (
            memory.turned if memory.turned is not None else turning(rule, quadratic, clock, at, decayed, lag)
        )
        momentum = charge.momentum_predicted
        momentum = momentum + momentum_budget(rule, momentum, turned, decayed.value).total
        kinetic = self.form(step.change, step.change) if quadratic else zero
        predicted = charge.predicted
        if not rule.adaptive:
            predicted = next_value(rule, quadratic, clock, at, decayed, kinetic, lag)
        charge = charge._replace(
            predicted=predicted,
            kinetic=kinetic,
            momentum_predicted=momentum,
            memory=self.remember(charge, step),
        )
        return jax.lax.cond(measure, self.measure, lambda found, _: found, charge, step)

    def remember(self, charge: Charge, step: _Step) -> Memory:
        """What the next step needs of this one."""
        memory, zero = charge.memory, jnp.zeros_like(charge.value)
        lag = turned = decayed = decayed_kinetic = None
        if memory.lag is not None:
            lag = self.form(step.change, step.gradient) if self.family.quadratic else zero
        if memory.turned is not None:
            turned = self.form(step.average, step.change) if self.family.quadratic else zero
        if memory.decayed is not None:
            decayed = self.charge(step.moved, decayed=True)
            decayed_kinetic = (
                self.form(step.change, step.change, decayed=True) if self.family.quadratic else zero
            )
        return Memory(charge.predicted, lag, decayed, memory.decayed, decayed_kinetic, turned)

    def measure(self, charge: Charge, step: _Step) -> Charge:
        """Compare with what the charges are now."""
        value, momentum = self.charge(step.moved), self.along(step.average, step.params)
        if self.rule.adaptive:
            scale = jnp.maximum(charge.scale, self.size(step.average, step.params))
            error = momentum - charge.momentum_predicted
        else:
            scale = jnp.maximum(charge.scale, self.size(step.moved, step.moved))
            error = value - charge.predicted
        pull, size = self.along(step.gradient, step.params), self.size(step.gradient, step.params)
        tiny = jnp.finfo(value.dtype).tiny
        return charge._replace(
            value=value,
            momentum=momentum,
            violation=jnp.abs(error) / jnp.maximum(scale, tiny),
            pull=pull,
            breaking=jnp.abs(pull) / jnp.maximum(size, tiny),
            scale=scale,
        )


@dataclass(frozen=True)
class Followed:
    """The charges of a family as they stood after a step, as numbers of NumPy."""

    symmetry: Charged
    charge: Charge

    @property
    def broken(self) -> dict[str, float]:
        """The generators that gradients break by more than 1 %, and by how much."""
        found = np.asarray(self.charge.breaking)
        return {self.symmetry.label(int(k)): float(found[k]) for k in np.flatnonzero(found > BROKEN)}

    def __str__(self) -> str:
        value, violation = (np.asarray(part) for part in (self.charge.value, self.charge.violation))
        return (
            f"{self.symmetry.name}: charge {value.min():.4g} to {value.max():.4g}, "
            f"violation up to {violation.max():.1e}"
        )


def read_charges(state: Any, symmetries: Sequence[Charged]) -> list[Followed]:
    """The charges in the state of an optimiser (an `nnx.Optimizer`, or any tree that holds a `ChargeState`).

    Warns, once for each family, where gradients break a symmetry by more than 1 %: the epsilon of a
    normalisation is no longer small against what it normalises. Raises `OptimiserError` without a state.
    """
    found = charge_state(state)
    if len(found.charges) != len(symmetries):
        raise OptimiserError(
            f"the state follows {len(found.charges)} families, got {len(symmetries)} symmetries"
        )
    followed = [
        Followed(family, jax.tree.map(np.asarray, charge))
        for family, charge in zip(symmetries, found.charges, strict=True)
    ]
    for one in followed:
        if broken := one.broken:
            worst = max(broken, key=broken.__getitem__)
            warnings.warn(
                f"gradients break {len(broken)} of {one.symmetry.count} symmetries: {worst} by "
                f"{broken[worst]:.0%}; is the epsilon of its normalisation small against its input?",
                stacklevel=2,
            )
    return followed


def charge_state(state: Any) -> ChargeState:
    """The `ChargeState` somewhere in a state. Raises `OptimiserError` where there is none."""
    tree = getattr(state, "opt_state", state)
    found = [
        part
        for part in jax.tree.leaves(tree, is_leaf=lambda part: isinstance(part, ChargeState))
        if isinstance(part, ChargeState)
    ]
    if not found:
        raise OptimiserError("the optimiser follows no charges: wrap it in track_charges")
    return found[0]
