"""Posterior-predictive rollouts over long and irregular times, and their bands."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..inference import Estimator, Posterior
from ..integrators import transition
from ..phase_space import hamiltonian_field
from ..random import normal
from ..symmetry import Averaging
from ..typing import PRNGKey, States
from .errors import drawn_hamiltonian

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the median, the 50 % band and the 90 % band."""


class Bands(NamedTuple):
    """Mean (batch, time, dim) and quantiles (levels, batch, time, dim) of rollouts at `levels`."""

    mean: Float[np.ndarray, "batch time dim"]
    quantiles: Float[np.ndarray, "levels batch time dim"]
    levels: tuple[float, ...]


@partial(jax.jit, static_argnames=("graph", "averaging", "estimator"))
def _follow(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    initial: Float[Array, "samples batch dim"],
    steps: Float[Array, "time batch"],
    averaging: Averaging,
    estimator: Estimator,
) -> Float[Array, "samples time batch dim"]:
    posterior = nnx.merge(graph, params)

    def one_sample(pair: tuple[PRNGKey, Float[Array, "batch dim"]]) -> Float[Array, "time batch dim"]:
        # Drawn once: weights and group elements hold along the whole trajectory.
        hamiltonian = drawn_hamiltonian(posterior, pair[0], averaging=averaging, estimator=estimator)
        advance = partial(
            transition, hamiltonian_field(hamiltonian), substeps=estimator.substeps, step=estimator.step
        )

        def move(states: States, dt: Float[Array, " batch"]) -> tuple[States, States]:
            states = jax.vmap(advance)(states, dt)
            return states, states

        return jax.lax.scan(move, pair[1], steps)[1]

    return jax.lax.map(one_sample, (jax.random.split(key, initial.shape[0]), initial))


def posterior_rollouts(
    posterior: Posterior,
    key: PRNGKey,
    initial: Float[np.ndarray, "batch dim"],
    times: Float[np.ndarray, "batch time"],
    *,
    averaging: Averaging,
    estimator: Estimator,
    longest_step: float | None = None,
    initial_variance: float | Float[np.ndarray, " dim"] = 0.0,
    noise_variance: float | Float[np.ndarray, " dim"] = 0.0,
    spread_scale: float = 1.0,
) -> Float[np.ndarray, "samples batch time dim"]:
    """Trajectories from `initial` through `times`, one a draw of weights and group elements.

    Like `predict`, compiled as a whole: for few states and many times. Times, which may stand still, are
    refined so that `estimator.substeps` integrator steps are taken at least every `longest_step`, the
    interval that they were chosen for. `initial_variance` is that of noise on the initial states, drawn anew
    for each sample; `noise_variance` that of observation noise to add to all later ones; of all coordinates
    or of each. Before that noise is added, deviations from the mean over samples are multiplied by
    `spread_scale`, such as `rollout_calibration` finds.

    Raises FloatingPointError naming state and time where a trajectory does not stay finite.
    """
    fine, kept = _refined(np.asarray(times, np.float64), longest_step)
    for_paths, for_initial, for_noise = jax.random.split(key, 3)
    count, dim = initial.shape
    shape = (estimator.weight_samples, count, dim)
    starts = np.broadcast_to(np.asarray(initial, np.float32), shape)
    if np.any(initial_variance):
        starts = starts + np.sqrt(initial_variance) * np.asarray(normal(for_initial, shape))
    graph, params = nnx.split(posterior)
    steps = jnp.asarray(np.diff(fine, axis=1).T, jnp.float32)
    moved = np.zeros((len(starts), 0, count, dim), np.float32)
    if steps.shape[0]:
        begin = jnp.asarray(starts, jnp.float32)
        moved = np.asarray(_follow(graph, params, for_paths, begin, steps, averaging, estimator))
    paths = np.concatenate([starts[:, None], moved], axis=1)[:, kept].transpose(0, 2, 1, 3)
    broken = ~np.isfinite(paths).all(axis=(0, 3))
    if broken.any():
        row, column = (int(i) for i in np.argwhere(broken)[0])
        raise FloatingPointError(
            f"the rollout of initial state {row} is not finite at time {times[row, column]:.6g}"
        )
    if spread_scale != 1:
        centre = paths.mean(axis=0)
        paths = centre + spread_scale * (paths - centre)
    if np.any(noise_variance):
        noise = np.asarray(normal(for_noise, paths[:, :, 1:].shape))
        paths = paths.copy()
        paths[:, :, 1:] += np.sqrt(noise_variance) * noise
    return paths


def _refined(
    times: Float[np.ndarray, "batch time"], longest: float | None
) -> tuple[Float[np.ndarray, "batch fine"], list[int]]:
    """Times with equal steps of at most `longest` put between, and where the given ones stand among them."""
    parts, kept = [times[:, :1]], [0]
    for before, after in zip(times.T[:-1], times.T[1:], strict=True):
        pieces = 1 if longest is None else max(1, int(np.ceil((after - before).max() / longest * (1 - 1e-9))))
        share = np.arange(1, pieces + 1) / pieces
        parts.append(before[:, None] + (after - before)[:, None] * share)
        kept.append(kept[-1] + pieces)
    return np.concatenate(parts, axis=1), kept


def bands(samples: Float[np.ndarray, "samples batch time dim"], levels: tuple[float, ...] = LEVELS) -> Bands:
    """Mean and quantiles over the samples."""
    return Bands(samples.mean(axis=0), np.quantile(samples, levels, axis=0), levels)
