"""What a trained run is tested on, and the noise on it."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...invariants import noise_estimate
from ...trajectories import Trajectories
from ..config import derived_seed, simulate_data
from .run import TrainedRun

HELD_OUT_TRAJECTORIES, HELD_OUT_TRANSITIONS = 100, 20
"""Fresh trajectories of a simulated system, at least so many and so long."""


class HeldOut(NamedTuple):
    """Trajectories to test on, in their own units, the variance of the noise on their states, of all
    coordinates or of each, and whether the run has not seen them.
    """

    trajectories: Trajectories
    noise_variance: float | Float[np.ndarray, " dim"]
    fresh: bool


def held_out(run: TrainedRun) -> HeldOut:
    """Fresh trajectories of a simulated system, from the distribution and with the noise of its data; those
    kept aside of a file, or of the run itself where none were.
    """
    config, system = run.config, run.problem.system
    if system is None:
        aside = run.problem.held_out
        test = run.problem.measured if aside is None else aside
        return HeldOut(test, _noise_variance(run, test), aside is not None)
    data = config.data.model_copy(
        update={
            "trajectories": max(config.data.trajectories, HELD_OUT_TRAJECTORIES),
            "transitions": max(config.data.transitions, HELD_OUT_TRANSITIONS),
        }
    )
    fresh = config.model_copy(update={"data": data, "seed": derived_seed(config.seed, "held out")})
    noise = config.data.noise_variance if config.data.noise_on == "states" else 0.0
    return HeldOut(simulate_data(fresh, system), noise, True)


def measurement_noise(run: TrainedRun) -> float | Float[np.ndarray, " dim"]:
    """The variance of the noise on what was measured of a run's data, of all coordinates or of each."""
    if run.problem.system is not None:
        return run.config.data.noise_variance
    return _noise_variance(run, run.problem.measured)


def _noise_variance(run: TrainedRun, test: Trajectories) -> float | Float[np.ndarray, " dim"]:
    """Of the states of a file: named, or estimated from neighbouring rows; where these are too far apart for
    that, the learned one, which holds errors of the model too. That of a likelihood of transitions is of
    noise at both ends.
    """
    given = run.config.inference.noise_variance
    if test.targets is not None:
        return 0.0
    if isinstance(given, float):
        return given
    found = noise_estimate(test)
    if found.told.all():
        return found.variance
    ends = 2 if run.problem.likelihood.window_steps is None else 1
    return float(run.posterior.noise_variance()) / ends * run.problem.scale.scales**2
