"""Fit a posterior to transitions, or to windows of trajectories."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from ..inference import Estimator, Observations, Posterior, Windows, in_single_precision, transition_count
from ..symmetry import Averaging
from ..typing import PRNGKey
from .loop import Progress, TrainState, make_loop
from .optimiser import Training


class Report(NamedTuple):
    """What a callback is told after each call of the loop: means over its steps, in nats per transition."""

    step: int
    seconds: float
    compile_seconds: float
    nll: float
    kl: float
    gradient_norm: float
    noise_variance: float
    state: TrainState

    @property
    def negative_elbo(self) -> float:
        """-ELBO / N."""
        return self.nll + self.kl


class FitResult(NamedTuple):
    """The trained posterior, the state to continue from, one report a call of the loop, and why it ended
    before its last step (empty: it did not).
    """

    posterior: Posterior
    state: TrainState
    history: list[Report]
    stopped: str = ""

    def __repr__(self) -> str:
        last = f", -ELBO {self.history[-1].negative_elbo:.4g} a transition" if self.history else ""
        why = f", stopped: {self.stopped}" if self.stopped else ""
        return f"FitResult({int(self.state.step)} steps{last}{why}, {self.posterior!r})"


class NonFiniteBoundError(FloatingPointError):
    """The bound or its gradient stopped being finite: at which step, and which part of it first."""

    def __init__(self, step: int, site: str):
        self.step, self.site = step, site
        super().__init__(f"the ELBO is not finite at step {step}, first at {site}")

    def __reduce__(self) -> tuple[type, tuple[int, str]]:
        return type(self), (self.step, self.site)


def initial_state(posterior: Posterior, training: Training) -> TrainState:
    """The state before the first step."""
    params = nnx.state(posterior)
    # The number of transitions scales updates; it has no part in the state.
    return TrainState(params, training.optimiser(total=1).init(params), jnp.zeros((), jnp.int32))


def fit(
    posterior: Posterior,
    data: Observations,
    training: Training,
    *,
    key: PRNGKey,
    averaging: Averaging,
    estimator: Estimator,
    resume: Callable[[TrainState], TrainState | None] | None = None,
    callback: Callable[[Report], None] | None = None,
    should_stop: Callable[[Report], str] | None = None,
) -> FitResult:
    """Maximise the bound over posterior, quantities and hyper-parameters together, in float32.

    `data` say which likelihood: that of transitions from exact states, or that of windows of noisy ones, for
    each of which `posterior` needs an initial state. `resume` is given the initial state and returns the one
    to continue from, if any. `callback` is called every `training.log_every` steps, after compiled code has
    returned, so it may write, print or raise. `should_stop` is asked after it, and a reason, not empty, ends
    the fit there; `early_check` makes one. `posterior` itself is not changed.

    Raises ValueError for a batch that does not fit the estimator or windows that do not fit the posterior,
    and `NonFiniteBoundError` when a bound or gradient is not finite; what the callback has seen before stays
    good.
    """
    _require_initial_states(posterior, data)
    graph, _ = nnx.split(posterior)
    state = initial_state(posterior, training)
    if resume is not None:
        state = resume(state) or state
        if int(state.step) >= training.steps:
            return FitResult(nnx.merge(graph, state.params), state, [])
    total, data = transition_count(data), in_single_precision(data)

    started = time.perf_counter()
    arguments = (state, data, key, jnp.zeros((), jnp.int32))
    leaves, structure = jax.tree.flatten(arguments)
    shapes = tuple(jax.ShapeDtypeStruct(leaf.shape, leaf.dtype) for leaf in leaves)
    compiled = _compiled(graph, training, total, averaging, estimator, shapes, structure, _default_device())
    compile_seconds = time.perf_counter() - started

    history: list[Report] = []
    stopped = ""
    while not stopped and (step := int(state.step)) < training.steps:
        stop = min(training.steps, (step // training.log_every + 1) * training.log_every)
        state, progress, finite = compiled(state, data, key, jnp.asarray(stop, jnp.int32))
        if not bool(finite):
            raise NonFiniteBoundError(int(state.step), _broken_part(graph, state, progress, averaging, data))
        noise = jnp.exp(state.params["log_noise_variance"][...])
        report = Report(
            step=stop,
            seconds=time.perf_counter() - started,
            compile_seconds=compile_seconds,
            nll=float(progress.terms.nll),
            kl=float(progress.terms.total_kl()),
            gradient_norm=float(progress.gradient_norm),
            noise_variance=float(noise),
            state=state,
        )
        history.append(report)
        if callback is not None:
            callback(report)
        if should_stop is not None and stop < training.steps:
            stopped = should_stop(report)
    return FitResult(nnx.merge(graph, state.params), state, history, stopped)


def _require_initial_states(posterior: Posterior, data: Observations) -> None:
    if not isinstance(data, Windows):
        return
    initial = posterior.initial_states
    if initial is None or initial.count != data.size:
        got = "none" if initial is None else f"those of {initial.count}"
        raise ValueError(f"the posterior needs initial_states of {data.size} windows, got {got}")


@lru_cache(maxsize=8)
def _compiled(
    graph: nnx.GraphDef[Posterior],
    training: Training,
    total: int,
    averaging: Averaging,
    estimator: Estimator,
    shapes: tuple[jax.ShapeDtypeStruct, ...],
    structure: Any,
    device: str,
) -> Any:
    """The loop, compiled ahead of time: any later change of shape or type is an error, never a silent second
    compilation. Runs of one shape, such as the seeds of a table, share it.
    """
    loop = jax.jit(make_loop(graph, training, total, averaging=averaging, estimator=estimator))
    return loop.lower(*jax.tree.unflatten(structure, shapes)).compile()


def _default_device() -> str:
    """The device that new computations go to; each has an executable of its own."""
    return str(jax.config.jax_default_device)  # type: ignore[attr-defined]


def _broken_part(
    graph: nnx.GraphDef[Posterior],
    state: TrainState,
    progress: Progress,
    averaging: Averaging,
    data: Observations,
) -> str:
    """The first part of the bound that is not finite, in the order in which it is computed."""
    posterior = nnx.merge(graph, state.params)
    orbit = averaging.orbit(jax.random.key(0), posterior.quantities, 64)
    origin = jnp.zeros(data.states.shape[-1])
    if not bool(jnp.isfinite(orbit(origin)).all()):
        return "the flow of the quantities"
    for site, value in progress.terms.kl.items():
        if not bool(jnp.isfinite(value)):
            return f"the KL divergence of {site}"
    return "the gradient" if bool(jnp.isfinite(progress.terms.nll)) else "the likelihood"
