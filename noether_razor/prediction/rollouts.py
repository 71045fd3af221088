"""Posterior-predictive rollouts over long and irregular times, and their bands."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..inference import Estimator, Posterior
from ..random import normal
from ..typing import PRNGKey
from .predictive import BLOCK, follow

LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
"""Quantiles of the median, the 50 % band and the 90 % band."""


class Bands(NamedTuple):
    """Mean (batch, time, dim) and quantiles (levels, batch, time, dim) of rollouts at `levels`."""

    mean: Float[np.ndarray, "batch time dim"]
    quantiles: Float[np.ndarray, "levels batch time dim"]
    levels: tuple[float, ...]


class Noise(NamedTuple):
    """Variances of noise, of all coordinates or of each.

    initial: on the initial states, drawn anew for each sample. observed: of the observation of later states.
    """

    initial: float | Float[np.ndarray, " dim"] = 0.0
    observed: float | Float[np.ndarray, " dim"] = 0.0


NO_NOISE = Noise()


def posterior_rollouts(
    posterior: Posterior,
    key: PRNGKey,
    initial: Float[np.ndarray, "batch dim"],
    times: Float[np.ndarray, "batch time"],
    *,
    estimator: Estimator,
    longest_step: float | None = None,
    noise: Noise = NO_NOISE,
    spread_scale: float = 1.0,
) -> Float[np.ndarray, "samples batch time dim"]:
    """Trajectories of `predict` through long and irregular times, with noise.

    Times, which may stand still, are refined so that `estimator.substeps` integrator steps are taken at least
    every `longest_step`, the interval that they were chosen for. Before noise of observation is added,
    deviations from the mean over samples are multiplied by `spread_scale`, such as `rollout_calibration`
    finds.

    Raises FloatingPointError naming state and time where a trajectory does not stay finite.
    """
    fine, kept = _refined(np.asarray(times, np.float64), longest_step)
    for_paths, for_initial, for_noise = jax.random.split(key, 3)
    shape = (estimator.weight_samples, *initial.shape)
    starts = np.broadcast_to(np.asarray(initial, np.float32), shape)
    if np.any(noise.initial):
        starts = starts + np.sqrt(noise.initial) * np.asarray(normal(for_initial, shape))
    # Few states are common here, and padding to many would multiply the time.
    block = min(BLOCK, 1 << (len(initial) - 1).bit_length())
    paths = follow(posterior, for_paths, starts, fine, estimator=estimator, block=block)[:, :, kept]
    broken = ~np.isfinite(paths).all(axis=(0, 3))
    if broken.any():
        row, column = (int(i) for i in np.argwhere(broken)[0])
        raise FloatingPointError(
            f"the rollout of initial state {row} is not finite at time {times[row, column]:.6g}"
        )
    if spread_scale != 1:
        centre = paths.mean(axis=0)
        paths = centre + spread_scale * (paths - centre)
    if np.any(noise.observed):
        paths = paths.copy()
        paths[:, :, 1:] += np.sqrt(noise.observed) * np.asarray(normal(for_noise, paths[:, :, 1:].shape))
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
