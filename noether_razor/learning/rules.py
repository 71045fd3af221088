"""What an optimiser does to an average of gradients, read from optax: all that the laws of charges need."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from ..typing import Scalar

Rate: TypeAlias = float | Callable[[Any], Any]
"""A learning rate, or a schedule: the number of a step, from 0, to its rate."""


class OptimiserError(ValueError):
    """An optimiser whose law is not known; the message says what cannot be read."""


@dataclass(frozen=True)
class LearningRule:
    """How gradients g_n move parameters q_n at learning rate eta_n.

    The average is pi_n = beta pi_{n-1} + (1 - d) (g_n + k q_n) for coupled weight decay k, and the step
    -eta_n pi_n. momentum: beta. dampening: d (EMA: d = beta). decay: k; `decoupled` adds it to the step, as
    -eta_n k q_n, instead of to the average. nesterov: the step is -eta_n (g~_n + beta pi_n), g~_n what enters
    the average. adaptive: what is done to the average breaks the law of positions (Adam, Lion); that of
    momenta holds. debias: the average is divided by 1 - beta^{n+1} (not with `adaptive`, where it does not
    matter). clip: the global norm to which gradients are clipped before anything else. decayed: which
    parameters decay, a tree of booleans or a function of the parameters that returns one; None: all.
    """

    learning_rate: Rate
    momentum: float = 0.0
    dampening: float = 0.0
    decay: float = 0.0
    decoupled: bool = False
    nesterov: bool = False
    adaptive: bool = False
    debias: bool = False
    clip: float | None = None
    decayed: Any = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if not 0 <= self.momentum < 1:
            raise OptimiserError(f"momentum must be in [0, 1), got {self.momentum}")

    @property
    def constant(self) -> bool:
        """Whether the rate of all steps is the same."""
        return not callable(self.learning_rate) and not self.debias

    def rate(self, step: Any) -> Float[Array, "*n"]:
        """The rate eta_n of steps, with the correction of a debiased average."""
        rate = self.learning_rate(step) if callable(self.learning_rate) else self.learning_rate
        return jnp.broadcast_to(jnp.asarray(rate, dtype=float), jnp.shape(step)) / self.share(step)

    def share(self, step: Any) -> Float[Array, "*n"] | float:
        """The learning rate without the correction of a debiased average, as a share of that with it."""
        if self.debias and not self.adaptive:
            return 1 - self.momentum ** (jnp.asarray(step, dtype=float) + 1)
        return 1.0

    def clipped(self, norm: Scalar) -> Scalar:
        """The factor of gradients of global norm `norm`."""
        return jnp.ones_like(norm) if self.clip is None else jnp.minimum(1.0, self.clip / norm)

    @classmethod
    def from_optax(cls, optimizer: optax.GradientTransformation) -> "LearningRule":
        """Read an optax optimiser: sgd with any momentum, ema, adam, adamw, lion and chains of their parts,
        with weight decay before or after the average, masks on it, schedules, and clipping by the global
        norm.

        Optax keeps the options of an optimiser in closures, which this looks into. Raises `OptimiserError`,
        in one sentence, for any other part.
        """
        return _Reading().of(optimizer.update)


@dataclass
class _Reading:
    """The parts of a chain in their order; what was read so far."""

    before: float = 1.0
    after: float = 1.0
    schedule: Callable[[Any], Any] | None = None
    average: dict[str, Any] = field(default_factory=dict)
    decay: dict[str, Any] = field(default_factory=dict)
    clip: float | None = None

    def of(self, update: Callable[..., Any]) -> LearningRule:
        self.part(update)
        average, decay = dict(self.average), dict(self.decay)
        before = self.before
        if average:
            average["dampening"] = 1 - (1 - average.get("dampening", 0.0)) * before
        else:
            self.after *= before
        scale = -self.after
        if self.schedule is None and not scale > 0:
            raise OptimiserError("the optimiser does not step against the gradient")
        schedule = self.schedule
        rate: Rate = scale if schedule is None else (lambda step: scale * schedule(step))
        return LearningRule(rate, clip=self.clip, **average, **decay)

    def part(self, update: Callable[..., Any]) -> None:
        name = f"{update.__module__}.{update.__qualname__}".removesuffix(".update_fn").removesuffix(".update")
        name = name.removesuffix(".<locals>").rsplit(".", 1)[-1]
        name = "inject_hyperparams" if name == "wrapped_transform" else name
        reader = READERS.get(name)
        # Only optax's own parts: a function of the same name may do anything.
        if reader is None or not update.__module__.startswith("optax."):
            raise OptimiserError(
                f"the law of {name} is not known: take sgd, ema, adam, adamw, lion or their parts"
            )
        try:
            reader(self, inspect.getclosurevars(update).nonlocals)
        except KeyError as missing:
            raise OptimiserError(f"this release of optax keeps no {missing} in {name}") from None

    def averaged(self, **options: Any) -> None:
        if self.average or self.schedule is not None or self.after != 1.0:
            raise OptimiserError("an average of gradients comes after another average or after the rate")
        self.average = options

    def decayed(self, amount: Any, mask: Any = None) -> None:
        if callable(amount):
            raise OptimiserError("the law for a schedule of the weight decay is not known")
        if not amount:
            return
        if self.decay or self.schedule is not None or self.after != 1.0:
            raise OptimiserError("weight decay comes twice, or after the learning rate")
        after = bool(self.average)
        # What scales the gradients alone makes decay count for more.
        amount = float(amount) if after else float(amount) / self.before
        self.decay = {"decay": amount, "decoupled": after, "decayed": mask}

    def scaled(self, factor: Any) -> None:
        if self.average:
            self.after *= float(factor)
        else:
            self.before *= float(factor)

    def scheduled(self, schedule: Callable[[Any], Any]) -> None:
        if self.schedule is not None:
            raise OptimiserError("two schedules of the learning rate follow each other")
        self.schedule = schedule

    def clips(self, norm: Any) -> None:
        if self.average or self.schedule is not None or self.decay or self.before != 1.0:
            raise OptimiserError("gradients must be clipped before they are scaled, decayed or averaged")
        self.clip = float(norm)


Closure: TypeAlias = Mapping[str, Any]


def _chain(read: _Reading, kept: Closure) -> None:
    for update in kept["update_fns"]:
        read.part(update)


def _masked(read: _Reading, kept: Closure) -> None:
    inside = kept["inner"].update
    while inside.__qualname__.startswith("with_extra_args_support."):
        inside = inspect.getclosurevars(inside).nonlocals["tx"].update
    if not inside.__qualname__.startswith("add_decayed_weights."):
        raise OptimiserError("only weight decay can have a mask")
    read.decayed(inspect.getclosurevars(inside).nonlocals["weight_decay"], kept["mask"])


def _adam(read: _Reading, kept: Closure) -> None:
    read.averaged(momentum=float(kept["b1"]), dampening=float(kept["b1"]), adaptive=True)


READERS: Mapping[str, Callable[[_Reading, Closure], None]] = {
    "identity": lambda read, kept: None,
    "chain": _chain,
    "with_extra_args_support": lambda read, kept: read.part(kept["tx"].update),
    "clip_by_global_norm": lambda read, kept: read.clips(kept["max_norm"]),
    "add_decayed_weights": lambda read, kept: read.decayed(kept["weight_decay"]),
    "masked": _masked,
    "scale": lambda read, kept: read.scaled(kept["step_size"]),
    "scale_by_schedule": lambda read, kept: read.scheduled(kept["step_size_fn"]),
    "trace": lambda read, kept: read.averaged(
        momentum=float(kept["decay"]), nesterov=bool(kept["nesterov"]) and float(kept["decay"]) > 0
    ),
    "ema": lambda read, kept: read.averaged(
        momentum=float(kept["decay"]), dampening=float(kept["decay"]), debias=bool(kept["debias"])
    ),
    "scale_by_adam": _adam,
    # The sign is taken of another average; this is the one that is kept.
    "scale_by_lion": lambda read, kept: read.averaged(
        momentum=float(kept["b2"]), dampening=float(kept["b2"]), adaptive=True
    ),
}
"""What is read of each part of optax, by the name of the function that makes it."""
