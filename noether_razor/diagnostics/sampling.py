"""Whether data are sampled finely enough for what they show."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..trajectories import Trajectories

MOST_SUBSTEPS = 16
FEWEST_POINTS = 4.0
"""Time steps per period below which the motion between them is ambiguous (aliasing)."""


class SamplingCheck(NamedTuple):
    """Whether integrator steps between rows follow the dynamics.

    substeps: the fewest integrator steps a transition whose error, against twice as many, stays below
        `limit`, a tenth of the noise's standard deviation; None where `most_substeps` do not.
    error: that error, or that of the most sub-steps tried. points_a_turn: see `points_a_turn`.
    """

    substeps: int | None
    error: float
    limit: float
    points_a_turn: float

    @property
    def fine_enough(self) -> bool:
        """Whether the rule can be met, and rows are close enough to show where motion turns."""
        return self.substeps is not None and self.points_a_turn >= FEWEST_POINTS

    def text(self) -> str:
        """One sentence for a report."""
        period = f"{self.points_a_turn:.1f} time steps per period"
        if np.isinf(self.points_a_turn):
            period = "the motion does not turn"
        elif np.isnan(self.points_a_turn):
            period = "time steps per period unknown"
        if self.substeps is None:
            return (
                f"sampling is too coarse: with the most integrator steps allowed the error of a time step is "
                f"{self.error:.2g}, {self.error / self.limit:.1f} times the limit of a tenth of the noise; "
                f"{period}"
            )
        if not self.fine_enough:
            return f"sampling is too coarse: {period}, at least {FEWEST_POINTS:.0f} are needed"
        steps = "1 integrator step" if self.substeps == 1 else f"{self.substeps} integrator steps"
        return f"sampling is fine enough: {period}, {steps} per time step"


def points_a_turn(trajectories: Trajectories) -> float:
    """How many rows there are in a full turn of the direction of motion: 2 pi over the median angle between
    neighbouring displacements of scaled states; inf for straight motion, 2 at worst (motion back and forth),
    nan where no trajectory has three points.
    """
    deviation = trajectories.spreads()
    scale = np.where(deviation > 0, deviation, 1.0)
    angles = []
    for _, states in trajectories.segments():
        moves = np.diff(states / scale, axis=0)
        before, after = moves[:-1], moves[1:]
        lengths = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        cosine = np.sum(before * after, axis=1)[lengths > 0] / lengths[lengths > 0]
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    together = np.concatenate(angles)
    if not together.size:
        return float("nan")
    middle = float(np.median(together))
    return 2 * np.pi / middle if middle > 0 else float("inf")


def sampling_check(
    error: Callable[[int], float],
    trajectories: Trajectories,
    *,
    noise_variance: float,
    most_substeps: int = MOST_SUBSTEPS,
) -> SamplingCheck:
    """The sub-step rule on a true or learned Hamiltonian, in the coordinates that it works in.

    `error` is that of so many sub-steps a transition, such as `prediction.substep_error`. They are doubled
    from 1 until the rule is met, then halved back. Raises ValueError for a noise variance that is not
    positive.
    """
    if not noise_variance > 0:
        raise ValueError(f"noise_variance must be positive, got {noise_variance}")
    limit = float(np.sqrt(noise_variance)) / 10

    turn = points_a_turn(trajectories)
    failed, substeps = 0, 1
    # `not <=`: an error that is not finite is too large.
    while not (found := error(substeps)) <= limit:
        if substeps >= most_substeps:
            return SamplingCheck(None, found, limit, turn)
        failed, substeps = substeps, min(2 * substeps, most_substeps)
    while substeps - failed > 1:
        middle = (failed + substeps) // 2
        between = error(middle)
        if between <= limit:
            substeps, found = middle, between
        else:
            failed = middle
    return SamplingCheck(substeps, found, limit, turn)
