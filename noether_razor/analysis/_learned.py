"""Whether a fit explains the motion that it was trained on."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ..inference import Estimator, Posterior
from ..symmetry import Averaging
from ..typing import PRNGKey
from ._errors import one_step_errors

OF_NOISE = 2.0
"""One-step errors within so many standard deviations of the noise on a state are noise: sqrt 2 of them are at
the two ends of a step.
"""
EXPLAINED, UNEXPLAINED = 0.02, 0.5
"""Shares of the motion, beside noise, that a fit leaves unexplained at most, and at which it has learned
nothing.
"""
STILL_FALLING = 0.02
"""Share of all that the likelihood gained, gained in the last fifth of a fit, above which more steps help."""


class LearningCheck(NamedTuple):
    """How much of the motion a fit explains, in the coordinates of training.

    error: r.m.s. one-step error of a coordinate, of the posterior-predictive mean. motion: r.m.s. change of a
        coordinate in a step, noise included. noise: standard deviation of the noise on a state, None where it
        is not known. last_gain: share of the fall of NLL / N in all that came in the last fifth of the fit;
        None where that is not known.
    """

    error: float
    motion: float
    noise: float | None
    last_gain: float | None

    @property
    def share(self) -> float:
        """The error over the motion, both without the noise at the two ends of a step."""
        noise = 2 * (self.noise or 0.0) ** 2
        left, moved = self.error**2 - noise, self.motion**2 - noise
        if not np.isfinite(left):
            return float("inf")
        return float(np.sqrt(max(left, 0.0) / max(moved, np.finfo(np.float64).eps * self.motion**2, 1e-300)))

    @property
    def verdict(self) -> Literal["explained", "partly explained", "not explained"]:
        """What the fit does to the motion."""
        if self.share <= EXPLAINED or (self.noise is not None and self.error <= OF_NOISE * self.noise):
            return "explained"
        return "partly explained" if self.share < UNEXPLAINED else "not explained"

    @property
    def learned(self) -> bool:
        """False where the fit has learned nothing that conclusions could be drawn from."""
        return self.verdict != "not explained"

    def text(self) -> str:
        """One sentence for a report."""
        size = f"the one-step error {self.error:.2g} is {self.share:.1%} of the motion {self.motion:.2g}"
        if self.noise is not None and self.noise > 0:
            size += f" (noise left out) and {self.error / self.noise:.1f} times the noise {self.noise:.2g}"
        text = (
            f"{'the fit has not learned: ' if not self.learned else ''}the motion is {self.verdict}: {size}"
        )
        if self.verdict != "explained" and (self.last_gain or 0.0) > STILL_FALLING:
            text += (
                f"; the likelihood still rose, {self.last_gain:.0%} of its gain in the last fifth: more "
                "training.steps would help"
            )
        return text


def learning_check(
    posterior: Posterior,
    key: PRNGKey,
    trajectories: Trajectories,
    *,
    averaging: Averaging,
    estimator: Estimator,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    history: Sequence[float] = (),
) -> LearningCheck:
    """Compare the one-step errors of a fit on `trajectories` with their motion in a step and their noise.

    All are in the coordinates of training; `noise_variance` is that on states, of all coordinates or of each.
    `history` are the logged NLL / N of the fit.
    """
    following = trajectories.states[:, 1:] if trajectories.targets is None else trajectories.targets
    squares = np.mean((following - trajectories.states[:, :-1]) ** 2, axis=2)
    present = trajectories.present()[:, 1:]
    motion = np.sum(squares * present, axis=1) / present.sum(axis=1)
    errors = one_step_errors(posterior, key, trajectories, averaging=averaging, estimator=estimator)
    return LearningCheck(
        error=float(np.sqrt(np.mean(errors))),
        motion=float(np.sqrt(np.mean(motion))),
        noise=None if noise_variance is None else float(np.sqrt(np.mean(noise_variance))),
        last_gain=_last_gain(history),
    )


def _last_gain(history: Sequence[float]) -> float | None:
    fifth = len(history) // 5
    if fifth < 1:
        return None
    last, before = np.mean(history[-fifth:]), np.mean(history[-2 * fifth : -fifth])
    return float((before - last) / max(history[0] - last, np.finfo(np.float64).tiny))
