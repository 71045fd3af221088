"""What training is asked to do, and the optimiser that does it."""

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Annotated, Any

import jax
import jax.numpy as jnp
import optax
from annotated_types import Gt
from flax import nnx

from ..devices import Device
from .whitening import whitened_coefficients, whitened_quadratic

PositiveFloat = Annotated[float, Gt(0)]
STRICT: Mapping[str, Any] = {"extra": "forbid", "allow_inf_nan": False}
"""How configurations read options: no unknown keys, no infinite numbers."""


@dataclass(frozen=True)
class Rates:
    """Peak step sizes, all decayed to 0 by a cosine over the run; Adam's, reached by a linear warm-up over
    its first tenth, for every group but `scales`.

    weights: means and biases of the network. scales: logarithms of the posterior's row and column scales, as
        a fraction of the natural-gradient step. correlations: the posterior's off-diagonal factors.
        quantities: the conserved quantities. hyper: learned noise variance and prior precisions.
        initial_states: of segments, in standard deviations of the noise.
    """

    weights: PositiveFloat = 2e-2
    scales: PositiveFloat = 3e-2
    correlations: PositiveFloat = 1e-3
    quantities: PositiveFloat = 1e-2
    hyper: PositiveFloat = 1e-2
    initial_states: PositiveFloat = 0.1

    __pydantic_config__ = STRICT


@dataclass(frozen=True)
class Training:
    """How to maximise the ELBO.

    steps: gradient steps.
    batch: transitions per step, None for all; of segments as many as hold no more, at least one per weight
        sample.
    rates: step sizes.
    second_moment: Adam's beta_2; the gradients fall by orders of magnitude within a hundred steps, so its
        memory must be short.
    clip: global norm to which gradients are clipped.
    learn_quantities, learn_noise_variance, learn_prior_precision: whether these move; the last where the
        objective takes them from the model (`PriorPrecision`).
    noise_floor: what a learned noise variance is kept at or above. Data without noise, or a network that
        passes through every point, would drive it towards 0, and the ELBO to what rounding makes of it.
    kl_warmup: steps over which the KL divergence is faded in.
    spreads: sizes of the coordinates (2n,), in which the steps of quantities are measured; None: all 1.
    quantities_after: steps before quantities begin to move; where their flows only smooth, an untrained
        network bends to any of them.
    group_warmup: steps, from there, over which the group coordinates grow from 0 to their size; quantities
        that are given rather than learned would average the untrained network to almost nothing.
    log_every: steps between reports.
    devices: that divide the work of each step, and hold the rows between them; empty: the default device does
        all. What a step computes depends on them by rounding alone.
    """

    steps: int
    batch: int | None = None
    rates: Rates = field(default_factory=Rates)
    second_moment: float = 0.95
    clip: float | None = None
    learn_quantities: bool = True
    learn_noise_variance: bool = False
    learn_prior_precision: bool = False
    noise_floor: float = 0.0
    kl_warmup: int = 0
    quantities_after: int = 0
    group_warmup: int = 0
    spreads: tuple[float, ...] | None = None
    log_every: int = 100
    devices: tuple[Device, ...] = ()

    def __post_init__(self) -> None:
        for name in ("steps", "log_every", "batch"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, got {value}")
        if not self.noise_floor >= 0:
            raise ValueError(f"noise_floor must not be negative, got {self.noise_floor}")

    def seen(self, total: int) -> int:
        """Transitions that all steps together see, of `total` in the data."""
        return self.steps * min(self.batch or total, total)

    def compiled_as(self) -> "Training":
        """These options without what no compiled step depends on: the devices are in its arguments, and
        numbers of the data in the state of the optimiser. Fits of one shape share a program where these
        agree.
        """
        return replace(self, devices=(), spreads=None, noise_floor=0.0)

    def optimiser(self, total: int) -> optax.GradientTransformation:
        """One update rule for each group of ``nnx.state(posterior)``, from gradients per transition of
        `total`.

        Adam, with two exceptions. Quantities that are linear in coefficients: see `whitened`. Logarithmic
        scales take natural-gradient steps (momentum 0.9, at most 0.1 each): the KL divergence of a layer
        costs d/2 times the variance of its log scales, so Adam, which moves every scale by its step size
        however small the gradient, would pay a hundred nats for its jitter. What is not learned stays as it
        is.
        """

        def schedule(rate: float, after: int = 0) -> optax.Schedule:
            # The warm-up keeps the first, enormous gradients from throwing the means out of reach.
            steps = max(self.steps - after, 1)
            moving = optax.warmup_cosine_decay_schedule(0.0, rate, steps // 10, steps)
            return optax.join_schedules([optax.constant_schedule(0.0), moving], [after]) if after else moving

        def adam(rate: float, learned: bool = True, after: int = 0) -> optax.GradientTransformation:
            moving = schedule(rate, after)
            return optax.adam(moving, b2=self.second_moment) if learned else optax.set_to_zero()

        quadratic = linear = optax.set_to_zero()
        if self.learn_quantities:
            moving = schedule(self.rates.quantities, self.quantities_after)
            quadratic = whitened_quadratic(moving, self.spreads)
            linear = whitened_coefficients(moving)
        noise_variance = adam(self.rates.hyper, self.learn_noise_variance)
        if self.learn_noise_variance:
            least = math.log(self.noise_floor) if self.noise_floor else -math.inf
            noise_variance = optax.chain(noise_variance, _kept_above(least))
        groups: dict[Hashable, optax.GradientTransformation] = {
            "weights": adam(self.rates.weights),
            "scales": optax.chain(
                optax.ema(0.9),
                optax.scale_by_schedule(optax.cosine_decay_schedule(self.rates.scales, self.steps)),
                optax.clip(0.1),
                optax.scale(-1.0),
            ),
            "correlations": adam(self.rates.correlations),
            "quantities": adam(self.rates.quantities, self.learn_quantities, self.quantities_after),
            "quadratic quantities": quadratic,
            "coefficients": linear,
            "noise_variance": noise_variance,
            "prior_precision": adam(self.rates.hyper, self.learn_prior_precision),
            "initial states": _where_present(adam(self.rates.initial_states)),
        }
        clip = optax.identity() if self.clip is None else optax.clip_by_global_norm(self.clip)
        return optax.chain(
            clip, _natural_scales(total), optax.multi_transform(groups, _groups), _balanced_scales()
        )


def _where_present(transform: optax.GradientTransformation) -> optax.GradientTransformation:
    """`transform`, without a state of its own for models that have no such parameters."""

    def init(params: Any) -> optax.OptState:
        return transform.init(params) if jax.tree.leaves(params) else optax.EmptyState()

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        if isinstance(state, optax.EmptyState):
            return updates, state
        return transform.update(updates, state, params)

    return optax.GradientTransformation(init, update)


def _kept_above(least: float) -> optax.GradientTransformation:
    """Shorten updates that would take a parameter below `least`, which is the state: it depends on the data,
    and programs must not.
    """

    def init(params: Any) -> Any:
        del params
        return jnp.asarray(least, jnp.float32)

    def update(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
        return jax.tree.map(lambda u, p: jnp.maximum(u, state - p), updates, params), state

    return optax.GradientTransformation(init, update)


ROWS, COLUMNS = "log_row_scales", "log_column_scales"


def _natural_scales(total: int) -> optax.GradientTransformation:
    """Divide gradients of log scales by their Fisher information: 2 a for a row of a entries, 2 o for a
    column of o.
    """

    other = {ROWS: COLUMNS, COLUMNS: ROWS}

    def precondition(gradient: nnx.State, params: Any) -> nnx.State:
        def scaled(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
            kind = path[0].key
            if kind not in other:
                return leaf
            entries = params[other[kind]][path[1].key].size
            return total / (2 * entries) * leaf

        return jax.tree_util.tree_map_with_path(scaled, gradient)

    return optax.stateless(precondition)  # type: ignore[arg-type]


def _balanced_scales() -> optax.GradientTransformation:
    """Take out of the steps of log scales what moves rows against columns: a constant added to the ones and
    subtracted from the others changes no weight. Steps cut short on one side only would let it grow until
    float32 overflows.
    """

    def balance(updates: Any, params: Any) -> Any:
        del params
        excess = {
            site: (jnp.mean(updates[ROWS][site][...]) - jnp.mean(updates[COLUMNS][site][...])) / 2
            for site in updates[ROWS]
        }
        sign = {ROWS: 1.0, COLUMNS: -1.0}

        def balanced(path: tuple[Any, ...], leaf: jax.Array) -> jax.Array:
            kind = path[0].key
            return leaf - sign[kind] * excess[path[1].key] if kind in sign else leaf

        return jax.tree_util.tree_map_with_path(balanced, updates)

    return optax.stateless(balance)  # type: ignore[arg-type]


_GROUP_OF_FIELD = {
    "network": "weights",
    ROWS: "scales",
    COLUMNS: "scales",
    "row_factors": "correlations",
    "column_factors": "correlations",
    "quantities": "quantities",
    "log_noise_variance": "noise_variance",
    "log_prior_precisions": "prior_precision",
    "latents": "initial states",
}


def _groups(params: nnx.State) -> nnx.State:
    """The group of each parameter, by the field of `Posterior` that it belongs to."""
    quantities = params.get("quantities", {})
    groups = _GROUP_OF_FIELD
    whitened = {frozenset({"matrices", "vectors"}): "quadratic quantities"}
    whitened[frozenset({"coefficients"})] = "coefficients"
    if (group := whitened.get(frozenset(quantities))) is not None:
        groups = groups | {"quantities": group}
    return jax.tree_util.tree_map_with_path(lambda path, _: groups[path[0].key], params)
