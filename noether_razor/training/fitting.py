"""Fit a model to rows of data."""

import time
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool

from ..devices import mesh_of, on_every_device, on_one_device, rows_on_devices
from ..inference import Estimator, Objective, Posterior, Rows, batch_axes, in_single_precision, likelihood_of
from ..symmetry import GroupDraws, NoAveraging
from ..typing import PRNGKey
from .loop import Progress, TrainState, make_loop, rows_a_step
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


class NonFiniteELBOError(FloatingPointError):
    """The ELBO or its gradient stopped being finite: at which step, and which part of it first."""

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
    data: Rows,
    objective: Objective,
    training: Training,
    *,
    key: PRNGKey,
    resume: Callable[[TrainState], TrainState | None] | None = None,
    callback: Callable[[Report], None] | None = None,
    should_stop: Callable[[Report], str] | None = None,
) -> FitResult:
    """Minimise `objective`, such as `ELBO.of(data, estimator)`, over weights, quantities and hyper-parameters
    together, in float32.

    `data` are rows of a likelihood; where they have latent variables, so must `posterior`. `resume` is given
    the initial state and returns the one to continue from, if any. `callback` is called every
    `training.log_every` steps, after compiled code has returned, so it may write, print or raise.
    `should_stop` is asked after it, and a reason, not empty, ends the fit there; `early_check` makes one.
    `posterior` itself is not changed. Where `training.devices` share the work, of one process or several
    that all make the same call, what is reported and returned is on the first device of the process.

    Raises ValueError for a batch that does not fit the estimator or rows that do not fit the posterior, and
    `NonFiniteELBOError` when the objective or a gradient is not finite; what the callback has seen before
    stays good.
    """
    _require_latents(posterior, data)
    graph, _ = nnx.split(posterior)
    state = initial_state(posterior, training)
    if resume is not None:
        state = resume(state) or state
        if int(state.step) >= training.steps:
            return FitResult(nnx.merge(graph, state.params), state, [])
    started = time.perf_counter()
    run = CompiledLoop(posterior, data, objective, training, key)
    compile_seconds = time.perf_counter() - started

    history: list[Report] = []
    stopped = ""
    while not stopped and (step := int(state.step)) < training.steps:
        stop = min(training.steps, (step // training.log_every + 1) * training.log_every)
        state, progress, finite = run(state, stop)
        if not bool(finite):
            broken = _broken_part(nnx.merge(graph, state.params), progress, data.states.shape[-1])
            raise NonFiniteELBOError(int(state.step), broken)
        report = Report(
            step=stop,
            seconds=time.perf_counter() - started,
            compile_seconds=compile_seconds,
            nll=float(progress.terms.nll),
            kl=float(progress.terms.total_kl()),
            gradient_norm=float(progress.gradient_norm),
            noise_variance=float(jnp.exp(state.params["log_noise_variance"][...])),  # type: ignore[arg-type]
            state=state,
        )
        history.append(report)
        if callback is not None:
            callback(report)
        if should_stop is not None and stop < training.steps:
            stopped = should_stop(report)
    return FitResult(nnx.merge(graph, state.params), state, history, stopped)


def _require_latents(posterior: Posterior, data: Rows) -> None:
    needed = likelihood_of(data).latents(data)
    if needed is None:
        return
    rows = [leaf.shape[0] for leaf in jax.tree.leaves(nnx.state(posterior.latents))]
    if type(posterior.latents) is not type(needed) or set(rows) != {data.size}:
        got = "none" if posterior.latents is None else f"{type(posterior.latents).__name__} of {rows[0]}"
        raise ValueError(
            f"the posterior needs latents {type(needed).__name__} of {data.size} rows, got {got}"
        )


class CompiledLoop:
    """The training loop on its data, compiled ahead of time for the devices of `training`: (state, step to
    stop at) -> (state, progress, whether all was finite), all on one device of this process.

    Any later change of shape or type is an error, never a silent second compilation. Runs of one shape, such
    as the seeds of a table, share a compilation. `program` is the executable.
    """

    def __init__(
        self, posterior: Posterior, data: Rows, objective: Objective, training: Training, key: PRNGKey
    ):
        graph, _ = nnx.split(posterior)
        self.mesh = mesh_of_fit(posterior, data, objective, training)
        self.key = self._placed(key)
        self.data = in_single_precision(data) if self.mesh is None else rows_on_devices(data, self.mesh)
        state = self._placed(initial_state(posterior, training))
        arguments = state, self.data, self.key, self._placed(jnp.zeros((), jnp.int32))
        leaves, structure = jax.tree.flatten(arguments)
        where = [None if self.mesh is None else leaf.sharding for leaf in leaves]
        shapes = tuple(
            jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place)
            for leaf, place in zip(leaves, where, strict=True)
        )
        # Each device has an executable of its own.
        device = str(jax.config.jax_default_device)  # type: ignore[attr-defined]
        loop = _Loop(graph, training.compiled_as(), objective, data.size, self.mesh)
        self.program = _compiled(loop, shapes, structure, device)

    def __call__(self, state: TrainState, stop: int) -> tuple[TrainState, Progress, Bool[Array, ""]]:
        end = self._placed(jnp.asarray(stop, jnp.int32))
        found = self.program(self._placed(state), self.data, self.key, end)
        return found if self.mesh is None else on_one_device(found)

    def _placed(self, tree: Any) -> Any:
        return tree if self.mesh is None else on_every_device(tree, self.mesh)


class _Loop(NamedTuple):
    """What a compiled loop depends on, besides shapes."""

    graph: nnx.GraphDef[Posterior]
    training: Training
    objective: Objective
    rows: int
    mesh: Mesh | None


@lru_cache(maxsize=8)
def _compiled(loop: _Loop, shapes: tuple[jax.ShapeDtypeStruct, ...], structure: Any, device: str) -> Any:
    del device
    function = make_loop(loop.graph, loop.training, loop.objective, loop.rows)
    arguments = jax.tree.unflatten(structure, shapes)
    if loop.mesh is None:
        return jax.jit(function).lower(*arguments).compile()
    everywhere = NamedSharding(loop.mesh, PartitionSpec())
    with jax.set_mesh(loop.mesh):
        return jax.jit(function, out_shardings=everywhere).lower(*arguments).compile()


def mesh_of_fit(posterior: Posterior, data: Rows, objective: Objective, training: Training) -> Mesh | None:
    """The mesh of the devices of `training`; None where there is one device."""
    if len(training.devices) < 2:
        return None
    estimator = objective.estimator
    batch = rows_a_step(data, training.batch, estimator)
    samples = 1 if estimator.chunk is not None else group_samples_of(posterior, estimator)
    return mesh_of(training.devices, list(batch_axes(batch, estimator).values()), samples)


def group_samples_of(posterior: Posterior, estimator: Estimator) -> int:
    """Images of a state in the average that makes H."""
    return 1 if isinstance(posterior.averaging, NoAveraging) else estimator.group_samples


def _broken_part(posterior: Posterior, progress: Progress, dim: int) -> str:
    """The first part of the ELBO that is not finite, in the order in which it is computed."""
    samples = posterior.averaging.sample(jax.random.key(0), posterior.quantities, GroupDraws(64))
    if not bool(jnp.isfinite(samples(jnp.zeros(dim))).all()):
        return "the flow of the quantities"
    for site, value in progress.terms.kl.items():
        if not bool(jnp.isfinite(value)):
            return f"the KL divergence of {site}"
    return "the gradient" if bool(jnp.isfinite(progress.terms.nll)) else "the likelihood"
