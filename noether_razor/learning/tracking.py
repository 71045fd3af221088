"""Follow the Noether charges of a run inside its optimiser: an optax transformation and what reads it."""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float, Int

from .laws import At, Clock, momentum_budget, next_value, turning
from .rules import LearningRule, OptimiserError
from .symmetries import Charged, SymmetryError, flat_parameters, require_real

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
    """What the laws of some rules need of the step before; None where the rule needs none of it."""

    lag: Float[Array, "*steps units"] | None
    turned: Float[Array, "*steps units"] | None
    decayed: Float[Array, "*steps units"] | None
    decayed_before: Float[Array, "*steps units"] | None
    decayed_kinetic: Float[Array, "*steps units"] | None


class Charge(NamedTuple):
    """Charges of a family after the last step: an entry for each unit.

    predicted: by the law, from the parameters at the start and D alone (adaptive rules have none: nan).
    kinetic: D = Delta^T A Delta of the last step. momentum_predicted: by the law of momenta, from the start.
    These are of every step; the others of the last step that was measured, see `track_charges`. value: of
    the parameters after it. momentum: <pi, xi> of the average pi and the parameters before it. violation: of
    the law of positions, |value - predicted|, or for adaptive rules of that of momenta, as a share of
    `scale`. pull: <g, xi>. breaking: |<g, xi>| / |g| |xi|, g of the members alone. scale: the largest
    |q| |xi(q)| so far, for adaptive rules |pi| |xi(q)|. memory: for the next step.
    """

    value: Float[Array, "*steps units"]
    predicted: Float[Array, "*steps units"]
    kinetic: Float[Array, "*steps units"]
    momentum: Float[Array, "*steps units"]
    momentum_predicted: Float[Array, "*steps units"]
    violation: Float[Array, "*steps units"]
    pull: Float[Array, "*steps units"]
    breaking: Float[Array, "*steps units"]
    scale: Float[Array, "*steps units"]
    memory: Memory


class Charges(NamedTuple):
    """The charges of all families, the quadratic ones first: rows of `_Running`, then of `_Measured`.

    One array, since a step that a program calls pays for each array of its state; `charges_of` takes it
    apart.
    """

    rows: Float[Array, "*steps 10 units"]
    memory: Memory


class ChargeState(NamedTuple):
    """The state of `track_charges`: steps taken, the charges, and the optimiser's own state."""

    step: Int[Array, ""]
    charges: Charges
    inner: Any


class _Running(NamedTuple):
    """What is predicted at every step. before: `predicted` of the step before."""

    predicted: Any
    before: Any
    kinetic: Any
    momentum: Any


class _Measured(NamedTuple):
    """What is measured at some steps; see `Charge`."""

    value: Any
    momentum: Any
    violation: Any
    pull: Any
    breaking: Any
    scale: Any


class _Step(NamedTuple):
    """Flat trees of step n: q_n, q_{n+1} - q_n, q_{n+1}, the clipped g_n, and pi_n."""

    params: dict[str, Array]
    change: dict[str, Array]
    moved: dict[str, Array]
    gradient: dict[str, Array]
    average: dict[str, Array]


def track_charges(
    optimizer: optax.GradientTransformation, symmetries: Sequence[Charged], *, every: int = 100
) -> optax.GradientTransformationExtraArgs:
    """The same optimiser, which also follows the charges of symmetries in its state (`ChargeState`).

    Updates are those of `optimizer`: on a CPU bit for bit, though a compiler may round what it sees together
    with more operations otherwise. Wrap all of a chain: a decay or a factor outside is taken for a part of
    the gradients. Predictions go on at every step; what they are compared with is measured at steps 0,
    `every`, 2 `every`, ... It works under jit, in a scan, on sharded parameters, and with any tree of
    parameters; checkpoints of the state keep everything. Raises `OptimiserError` for an optimiser that cannot
    be read, `SymmetryError` for what is no symmetry, and at initialisation for one that does not fit.
    """
    rule = LearningRule.from_optax(optimizer)
    inner = optax.with_extra_args_support(optimizer)
    families = tuple(symmetries) if isinstance(symmetries, Iterable) else (symmetries,)
    if not all(isinstance(one, Charged) for one in families):
        raise SymmetryError("expected a list of symmetries, such as find_symmetries(...).charges")
    if every < 1 or every != int(every):
        raise ValueError(f"every must be a whole number of steps, got {every}")

    def init(params: Any) -> ChargeState:
        flat = flat_parameters(params)
        for family in families:
            family.check(flat)
            require_real({path: flat[path] for path in family.paths})
        running, measured, memory = _joined([group.start(flat) for group in _groups(rule, families, params)])
        charges = Charges(jnp.stack([*running, *measured]), memory)
        return ChargeState(jnp.zeros((), jnp.int32), charges, inner.init(params))

    def update(updates: Any, state: Any, params: Any = None, **extra: Any) -> tuple[Any, ChargeState]:
        if params is None:
            raise ValueError("track_charges needs the parameters: call update(gradients, state, params)")
        changes, inner_state = inner.update(updates, state.inner, params, **extra)
        step, old = _step(rule, updates, changes, params, inner_state), state.charges
        clock = Clock.of(rule, state.step)
        groups = _groups(rule, families, params)
        before = old.rows[: len(_Running._fields)], old.rows[len(_Running._fields) :]
        parts = _parts((_Running(*before[0]), old.memory), groups)
        advanced = [
            group.advance(now, memory, clock, step)
            for group, (now, memory) in zip(groups, parts, strict=True)
        ]
        running, memory = _joined(advanced)

        def measure(measured: Float[Array, "6 units"]) -> Float[Array, "6 units"]:
            parts = _parts(_Measured(*measured), groups)
            found = [
                group.measure(part, running, step)
                for group, part, (running, _) in zip(groups, parts, advanced, strict=True)
            ]
            return jnp.stack(_joined(found)).astype(measured.dtype)

        measured = jax.lax.cond(state.step % every == 0, measure, lambda kept: kept, before[1])
        rows = jnp.concatenate([jnp.stack(running).astype(old.rows.dtype), measured])
        charges = Charges(rows, memory)
        return changes, ChargeState(state.step + 1, charges, inner_state)

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


def _groups(rule: LearningRule, families: Sequence[Charged], params: Any) -> "list[_Group]":
    """Quadratic families, then linear ones."""
    decay = decay_of(rule, params)
    groups = []
    for quadratic in (True, False):
        some = _sorted(families, quadratic)
        groups.append(
            _Group(rule, quadratic, some, tuple(tuple(decay[p] for p in one.paths) for one in some))
        )
    mixed = any(group.mixed for group in groups)
    return [replace(group, remembers_decay=mixed) for group in groups]


def _sorted(families: Sequence[Charged], quadratic: bool) -> tuple[Charged, ...]:
    return tuple(one for one in families if one.quadratic is quadratic)


def _joined(parts: Sequence[Any]) -> Any:
    """Trees of the numbers of groups as one tree, one group after the other."""
    return jax.tree.map(lambda *some: jnp.concatenate(some, axis=-1), *parts)


def _parts(tree: Any, groups: "Sequence[_Group]") -> list[Any]:
    """The other way round."""
    ends = np.cumsum([group.count for group in groups])
    return [
        jax.tree.map(lambda part, a=end - group.count, b=end: part[..., a:b], tree)
        for group, end in zip(groups, ends, strict=True)
    ]


@dataclass(frozen=True)
class _Group:
    """The recursions of families of one kind, whose parts have these weight decays."""

    rule: LearningRule
    quadratic: bool
    families: tuple[Charged, ...]
    decays: tuple[tuple[float, ...], ...]
    remembers_decay: bool = False

    @property
    def count(self) -> int:
        return sum(one.count for one in self.families)

    def joined(self, of: Callable[[Charged], Any]) -> Float[Array, " units"]:
        """Every family's numbers, one after the other."""
        return jnp.concatenate([jnp.zeros(0, jnp.float32), *map(of, self.families)])

    @property
    def uniform(self) -> np.ndarray:
        """The weight decay of each unit; nan where parts of it decay differently: it is then measured what
        they lose, not predicted.
        """
        found = [decays[0] if len(set(decays)) == 1 else np.nan for decays in self.decays]
        return np.repeat(np.asarray(found, float), [one.count for one in self.families])

    @property
    def mixed(self) -> bool:
        return bool(np.isnan(self.uniform).any())

    def form(self, first: Any, second: Any) -> Float[Array, " units"]:
        """<first, A second>."""
        return self.joined(lambda one: _weighted(one.weights, one.forms(first, second)))

    def charge(self, params: Any) -> Float[Array, " units"]:
        if self.quadratic:
            return self.form(params, params)
        return self.joined(lambda one: _weighted(one.weights, one.sums(params)))

    def decayed(self, params: Any, kinetic: bool = False) -> Float[Array, " units"]:
        """The charge, or the form D, with every weight times its decay, of units of mixed decay; 0 of
        others.
        """
        found = [jnp.zeros(0, jnp.float32)]
        for one, decays in zip(self.families, self.decays, strict=True):
            if len(set(decays)) == 1 or (kinetic and not self.quadratic):
                found.append(jnp.zeros(one.count, jnp.float32))
            else:
                parts = one.forms(params, params) if self.quadratic else one.sums(params)
                found.append(_weighted([w * k for w, k in zip(one.weights, decays, strict=True)], parts))
        return jnp.concatenate(found)

    def along(self, first: Any, params: Any) -> Float[Array, " units"]:
        """<first, xi(q)>."""
        if self.quadratic:
            return self.form(first, params)
        return self.joined(lambda one: _weighted(one.weights, one.sums(first)))

    def size(self, first: Any, params: Any) -> Float[Array, " units"]:
        """|first| |xi(q)|."""
        return self.joined(lambda one: jnp.sqrt(one.squared(first) * one.squared_generator(params)))

    def start(self, params: Any) -> tuple[_Running, _Measured, Memory]:
        value = self.charge(params)
        zero = jnp.zeros_like(value)
        predicted = jnp.full_like(value, jnp.nan) if self.rule.adaptive else value
        scale = zero if self.rule.adaptive else self.size(params, params)
        decayed = self.decayed(params).astype(value.dtype) if self.remembers_decay else None
        memory = Memory(
            lag=zero if self.rule.nesterov else None,
            turned=zero if self.rule.adaptive else None,
            decayed=decayed,
            decayed_before=decayed,
            decayed_kinetic=None if decayed is None else zero,
        )
        running = _Running(predicted, value, zero, zero)
        return running, _Measured(value, zero, zero, zero, zero, scale), memory

    def lost(self, at: At, memory: Memory, params: Any) -> At:
        """The charges with every weight times its decay: predicted where parts decay alike."""
        uniform = self.uniform
        known = np.nan_to_num(uniform).astype(at.value.dtype)
        if self.rule.adaptive:
            if self.rule.decoupled or not self.rule.decay:
                return At(*(jnp.zeros_like(part) for part in at))
            value = known * self.charge(params)
            at = At(value, value, jnp.zeros_like(value))
        else:
            at = At(*(known * part for part in at))
        if memory.decayed is None:
            return at
        measured = At(memory.decayed, memory.decayed_before, memory.decayed_kinetic)
        return At(*(jnp.where(np.isnan(uniform), m, p) for m, p in zip(measured, at, strict=True)))

    def advance(
        self, running: _Running, memory: Memory, clock: Clock, step: _Step
    ) -> tuple[_Running, Memory]:
        """What is predicted after one more step."""
        rule = self.rule
        at = At(running.predicted, running.before, running.kinetic)
        decayed = self.lost(at, memory, step.params)
        lag = jnp.zeros_like(at.value) if memory.lag is None else memory.lag
        turned = memory.turned
        if turned is None:
            turned = turning(rule, self.quadratic, clock, at, decayed, lag)
        momentum = running.momentum + momentum_budget(rule, running.momentum, turned, decayed.value).total
        kinetic = self.form(step.change, step.change) if self.quadratic else running.kinetic
        predicted = running.predicted
        if not rule.adaptive:
            predicted = next_value(rule, self.quadratic, clock, at.value, kinetic, momentum, decayed.value)
        return _Running(predicted, running.predicted, kinetic, momentum), self.remember(memory, step)

    def remember(self, memory: Memory, step: _Step) -> Memory:
        """What the next step needs of this one."""
        zero = jnp.zeros(self.count, jnp.float32)
        found = dict.fromkeys(Memory._fields)
        if memory.lag is not None:
            found["lag"] = self.form(step.change, step.gradient) if self.quadratic else zero
        if memory.turned is not None:
            found["turned"] = self.form(step.average, step.change) if self.quadratic else zero
        if memory.decayed is not None:
            found["decayed"], found["decayed_before"] = self.decayed(step.moved), memory.decayed
            found["decayed_kinetic"] = self.decayed(step.change, kinetic=True)
        return Memory(**found)

    def measure(self, measured: _Measured, running: _Running, step: _Step) -> _Measured:
        """Compare what is predicted with what the charges are now."""
        if not self.families:
            return measured
        adaptive, params, moved = self.rule.adaptive, step.params, step.moved
        value, momentum, pull = jax.vmap(self.along)(
            self.stacked(moved, step.average, step.gradient), self.stacked(moved, params, params)
        )
        size, pulled = jax.vmap(self.size)(
            self.stacked(step.average if adaptive else moved, step.gradient),
            self.stacked(params if adaptive else moved, params),
        )
        scale = jnp.maximum(measured.scale, size)
        error = momentum - running.momentum if adaptive else value - running.predicted
        tiny = jnp.finfo(value.dtype).tiny
        violation = jnp.abs(error) / jnp.maximum(scale, tiny)
        return _Measured(value, momentum, violation, pull, jnp.abs(pull) / jnp.maximum(pulled, tiny), scale)

    def stacked(self, *trees: dict[str, Array]) -> dict[str, Array]:
        """The arrays that families move, of several trees at once: a program pays for each sum that it holds,
        even in a branch that it does not take.
        """
        paths = {path for one in self.families for path in one.paths}
        return {path: jnp.stack([tree[path] for tree in trees]) for path in sorted(paths)}


def _weighted(weights: Sequence[float], parts: Float[Array, "parts units"]) -> Float[Array, " units"]:
    """The sum of parts with weights, as one reduction: small products of matrices cost more on a CPU, and
    parts of sharded parameters cannot be taken one by one.
    """
    return jnp.sum(jnp.asarray(weights, parts.dtype)[:, None] * parts, axis=0)


def charges_of(state: Any, symmetries: Sequence[Charged]) -> list[Charge]:
    """The charges of each family in the state of an optimiser, units on the last axis; states of many steps,
    as a scan stacks them, will do.

    Raises `OptimiserError` without a state, or where it follows other symmetries.
    """
    rows, memory = charge_state(state).charges
    ordered = [*_sorted(symmetries, True), *_sorted(symmetries, False)]
    if rows.shape[-1] != sum(one.count for one in ordered):
        raise OptimiserError("the state of the optimiser follows other symmetries")
    numbers = [rows[..., k, :] for k in range(rows.shape[-2])]
    now, found = _Running(*numbers[: len(_Running._fields)]), _Measured(*numbers[len(_Running._fields) :])
    whole = Charge(
        predicted=now.predicted,
        kinetic=now.kinetic,
        momentum_predicted=now.momentum,
        memory=memory,
        **found._asdict(),
    )
    parts: dict[int, Charge] = {}
    start = 0
    for one in ordered:
        stop = start + one.count
        # By identity: equal families may come twice.
        parts[id(one)] = jax.tree.map(lambda part, a=start, b=stop: part[..., a:b], whole)
        start = stop
    return [parts[id(one)] for one in symmetries]


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

    Warns, once for each family, where a charge is not finite, and where gradients break a symmetry by more
    than 1 %: of a scale, the epsilon of a normalisation is no longer small against what it normalises. Raises
    `OptimiserError` without a state.
    """
    followed = [
        Followed(family, jax.tree.map(np.asarray, charge))
        for family, charge in zip(symmetries, charges_of(state, symmetries), strict=True)
    ]
    for one in followed:
        lost = ~np.isfinite(one.charge.value)
        if lost.any():
            label = one.symmetry.label(int(lost.argmax()))
            warnings.warn(f"training has diverged: the charge of {label} is not finite", stacklevel=2)
        if broken := one.broken:
            worst = max(broken, key=broken.__getitem__)
            warnings.warn(
                f"gradients break {len(broken)} of {one.symmetry.count} symmetries: {worst} by "
                f"{broken[worst]:.0%}; {why_broken(one.symmetry)}",
                stacklevel=2,
            )
    return followed


def why_broken(family: Charged) -> str:
    """What may break a symmetry of its kind."""
    if getattr(family, "kind", "") == "scale":
        return "the epsilon of its normalisation is not small against its input"
    return "it is no symmetry of this loss, or its gradients have come down to rounding"


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
