"""Which likelihood suits the noise of the data."""

from typing import Literal, NamedTuple

import numpy as np

from ..invariants import noise_estimate
from ..options import InferenceOptions, OptionError
from ..trajectories import Trajectories

LARGE_NOISE = 0.3
"""Standard deviation of the noise over the r.m.s. step, above which windows learn more than single
transitions do in as many steps (docs/noise.md).
"""


class Likelihood(NamedTuple):
    """Which likelihood a run is of, and why.

    window_steps: of a window; None for single transitions. noise_to_step: the standard deviation of the noise
    over the r.m.s. step from row to row, in the coordinates of training; None where states are exact or it
    cannot be told. text: the reason in a line, empty where there was nothing to choose.
    """

    kind: Literal["transitions", "windows"]
    window_steps: int | None
    noise_to_step: float | None
    text: str


def noise_of_states(data: Trajectories) -> float | None:
    """The mean variance of the noise on states, estimated from neighbouring rows; None where these are too
    far apart for that.
    """
    found = noise_estimate(data)
    return float(np.mean(found.variance)) if found.told.all() else None


def choose_likelihood(options: InferenceOptions, data: Trajectories, variance: float | None) -> Likelihood:
    """The likelihood that `options` asks for, or that suits `data`, in the coordinates of training.

    `variance` is that of the noise on all states; 0 where they are exact, None where it is not known.

    Raises `OptionError` for windows of data that have targets beside exact states.
    """
    if options.likelihood == "windows" and data.targets is not None:
        raise OptionError(
            "inference.likelihood: windows (multiple shooting) is for noise on all states, but these data "
            'have noisy targets and exact inputs; use likelihood = "transitions"'
        )
    ratio, kind = None, "transitions"
    if variance == 0:
        reason = ""
    elif variance is None:
        reason = "rows are too far apart to separate noise from motion"
    else:
        moves = np.concatenate([np.diff(path, axis=0) for _, path in data.segments()])
        step, noise = float(np.sqrt(np.mean(moves**2))), float(np.sqrt(variance))
        ratio = noise / max(step, np.finfo(np.float64).tiny)
        kind = "windows" if ratio > LARGE_NOISE else "transitions"
        reason = (
            f"noise {noise:.2g} is {ratio:.2f} of the r.m.s. step {step:.2g} in scaled coordinates, "
            f"{'above' if ratio > LARGE_NOISE else 'not above'} the threshold {LARGE_NOISE}"
        )
    if options.likelihood != "auto":
        kind = options.likelihood
        reason = f"as requested; {reason}" if reason else ""
    named = f"multiple shooting over {options.window_steps} steps" if kind == "windows" else "transitions"
    steps = options.window_steps if kind == "windows" else None
    return Likelihood(kind, steps, ratio, f"{named} ({reason})" if reason else "")
