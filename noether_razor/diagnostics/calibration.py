"""Whether the bands of rollouts hold what they promise."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Bool, Float

from ..inference import Estimator, Posterior
from ..prediction import Noise, posterior_rollouts
from ..random import normal
from ..trajectories import Trajectories
from ..typing import PRNGKey

HALF, MOST = (0.25, 0.75), (0.05, 0.95)
SPREAD_SCALES = np.geomspace(0.1, 10, 81)
"""Factors of the spread that are tried."""


class Calibration(NamedTuple):
    """What bands of rollouts from the first states of held-out trajectories hold.

    spread_scale: the smallest factor of the spread between samples with which the 90 % bands hold 90 % of
        the values (`posterior_rollouts` takes it), 1 for a single trajectory. half, most: the shares of
        values, of all coordinates at all times after the first, inside the 50 % and 90 % bands of each
        trajectory scaled so that *the other* trajectories have 90 % in theirs. half_stderr, most_stderr:
        their standard errors over trajectories (nan for one). first_most, last_most: the second share in the
        first and last third of each trajectory, where one-step and accumulated errors show. unscaled_half,
        unscaled_most: the shares in the bands as they were learned. values: how many there were.
    """

    spread_scale: float
    half: float
    half_stderr: float
    most: float
    most_stderr: float
    first_most: float
    last_most: float
    unscaled_half: float
    unscaled_most: float
    values: int

    def text(self, *, held_out: bool = True) -> str:
        """One sentence for a report; `held_out`: the trajectories were not trained on."""
        half, most = f"{100 * self.half:.0f}", f"{100 * self.most:.0f}"
        if np.isfinite(self.half_stderr):
            half, most = (
                f"{half} ± {100 * self.half_stderr:.0f}",
                f"{most} ± {100 * self.most_stderr:.0f}",
            )
        values = "held-out values" if held_out else "training values (none were held out)"
        said = (
            f"rollouts: {half} % of {self.values} {values} lie in the 50 % band, {most} % in the 90 % band "
            f"({100 * self.first_most:.0f} % in the first third, {100 * self.last_most:.0f} % in the last)"
        )
        if self.spread_scale == 1:
            return said
        return (
            f"{said}; spread rescaled on the other trajectories, by {self.spread_scale:.2g} overall "
            f"(unscaled {100 * self.unscaled_half:.0f} % and {100 * self.unscaled_most:.0f} %)"
        )


def rollout_calibration(
    posterior: Posterior,
    key: PRNGKey,
    trajectories: Trajectories,
    *,
    estimator: Estimator,
    samples: int = 100,
    noise_variance: float | Float[np.ndarray, " dim"] = 0.0,
    longest_step: float | None = None,
) -> Calibration:
    """Coverage of rollouts on `trajectories`, best such that were not trained on, in the coordinates of
    `posterior`, and the factor of their spread that makes it right.

    Bands are quantiles over `samples` draws of weights, group elements, and measurement noise on the first
    states and on the values, of `noise_variance` (0: exact), of all coordinates or of each. A variational
    posterior that has not contracted is too wide, one of independent weights too narrow; one factor on
    held-out data mends both in the mean (recalibration: Kuleshov, Fenner & Ermon, ICML 2018).

    Raises ValueError for fewer than 20 samples, which have no 90 % band, and FloatingPointError as
    `posterior_rollouts` does.
    """
    if samples < 20:
        raise ValueError(f"samples must be at least 20, got {samples}")
    for_paths, for_noise = jax.random.split(key)
    paths = posterior_rollouts(
        posterior,
        for_paths,
        trajectories.states[:, 0],
        trajectories.times,
        estimator=replace(estimator, weight_samples=samples),
        longest_step=longest_step,
        noise=Noise(initial=noise_variance),
    )[:, :, 1:]
    noise = np.sqrt(noise_variance) * np.asarray(normal(for_noise, paths.shape))
    present = trajectories.present()[:, 1:]
    counts = present.sum(axis=1)
    inside = partial(_inside, paths, noise, trajectories.states[:, 1:], present)
    total = counts.sum()
    spread_scale, scales = 1.0, [1.0]
    if len(trajectories) > 1:
        held = np.array([inside(scale)[1].sum(axis=1) for scale in SPREAD_SCALES])  # (scales, trajectories)
        by_others = (held.sum(axis=1, keepdims=True) - held) / (total - counts)
        spread_scale = _smallest(held.sum(axis=1) / total)
        scales = [_smallest(shares) for shares in by_others.T]
    by_scale = {scale: inside(scale) for scale in {1.0, *scales}}
    half, most = (np.array([by_scale[s][band][k] for k, s in enumerate(scales)]) for band in (0, 1))
    early = present & (np.arange(present.shape[1]) < np.ceil(counts[:, None] / 3))
    late = present & (np.arange(present.shape[1]) >= np.floor(2 * counts[:, None] / 3))
    return Calibration(
        spread_scale=spread_scale,
        half=float(half.sum() / total),
        half_stderr=standard_error(half.sum(axis=1) / counts),
        most=float(most.sum() / total),
        most_stderr=standard_error(most.sum(axis=1) / counts),
        first_most=float(most[early].mean()),
        last_most=float(most[late].mean()),
        unscaled_half=float(by_scale[1.0][0].sum() / total),
        unscaled_most=float(by_scale[1.0][1].sum() / total),
        values=int(total * trajectories.states.shape[2]),
    )


def _inside(
    paths: Float[np.ndarray, "samples batch time dim"],
    noise: Float[np.ndarray, "samples batch time dim"],
    values: Float[np.ndarray, "batch time dim"],
    present: Bool[np.ndarray, "batch time"],
    scale: float,
) -> tuple[Float[np.ndarray, "batch time"], Float[np.ndarray, "batch time"]]:
    """The shares of coordinates of `values` inside the 50 % and the 90 % band, of `paths` with their spread
    times `scale` and with `noise`; 0 where no value is `present`.
    """
    centre = paths.mean(axis=0)
    sampled = centre + scale * (paths - centre) + noise
    outer_low, low, high, outer_high = np.quantile(sampled, [MOST[0], *HALF, MOST[1]], axis=0)
    half = (low <= values) & (values <= high)
    most = (outer_low <= values) & (values <= outer_high)
    return half.mean(axis=2) * present, most.mean(axis=2) * present


def _smallest(shares: Float[np.ndarray, " scales"]) -> float:
    """The smallest factor that holds 90 %; the largest where none does."""
    enough = shares >= MOST[1] - MOST[0]
    return float(SPREAD_SCALES[np.argmax(enough) if enough.any() else -1])


def standard_error(values: np.ndarray) -> float:
    """Of a mean; nan for a single value."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
