"""Which likelihood suits the noise of the data."""

from typing import NamedTuple

import numpy as np

from ..inference import LIKELIHOODS
from ..invariants import noise_estimate
from ..options import InferenceOptions, OptionError
from ..trajectories import Trajectories

LARGE_NOISE = 0.3
"""Standard deviation of the noise over the r.m.s. step, above which multiple shooting learns more than single
transitions do in as many steps (docs/noise.md).
"""


class LikelihoodChoice(NamedTuple):
    """Which of `LIKELIHOODS` a run is of, and why.

    window_steps: of a segment; None where rows are single steps. noise_to_step: the standard deviation of the
    noise over the r.m.s. step from row to row, in the coordinates of training; None where states are exact or
    it cannot be told. text: the reason in a line, empty where there was nothing to choose.
    """

    kind: str
    window_steps: int | None
    noise_to_step: float | None
    text: str


def noise_of_states(data: Trajectories) -> float | None:
    """The mean variance of the noise on states, estimated from neighbouring rows; None where these are too
    far apart for that.
    """
    found = noise_estimate(data)
    return float(np.mean(found.variance)) if found.told.all() else None


def choose_likelihood(
    options: InferenceOptions, data: Trajectories, variance: float | None
) -> LikelihoodChoice:
    """The likelihood that `options` ask for, or that suits `data`, in the coordinates of training.

    `variance` is that of the noise on all states; 0 where they are exact, None where it is not known.

    Raises `OptionError` for one that is not known, and for noise on all states of data that have targets
    beside exact states.
    """
    asked = options.likelihood
    if asked != "auto" and asked not in LIKELIHOODS:
        raise OptionError(
            f"inference.likelihood: got {asked!r}, expected one of {', '.join(['auto', *LIKELIHOODS])}"
        )
    if asked != "auto" and LIKELIHOODS[asked].noisy_inputs and data.targets is not None:
        text = LIKELIHOODS[asked].text(options.window_steps)
        raise OptionError(
            f"inference.likelihood: {asked} ({text}) is for noise on all states, but these data have noisy "
            'targets and exact inputs; use likelihood = "transitions"'
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
    if asked != "auto":
        kind, reason = asked, f"as requested; {reason}" if reason else ""
    chosen = LIKELIHOODS[kind]
    steps = options.window_steps if chosen.several_steps else None
    text = f"{chosen.text(options.window_steps)} ({reason})" if reason else ""
    return LikelihoodChoice(kind, steps, ratio, text)
