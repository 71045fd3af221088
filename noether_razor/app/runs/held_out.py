"""What a trained run is tested on."""

from ...discovery import HeldOut, kept_aside
from ...random import derived_seed
from ..config import simulate_data
from .run import TrainedRun

HELD_OUT_TRAJECTORIES, HELD_OUT_TRANSITIONS = 100, 20
"""Fresh trajectories of a simulated system, at least so many and so long."""


def held_out(run: TrainedRun) -> HeldOut:
    """Fresh trajectories of a simulated system, from the distribution and with the noise of its data; those
    kept aside of a file, or of the run itself where none were.
    """
    config, system = run.config, run.problem.system
    if system is None:
        return kept_aside(run.problem, run.posterior)
    data = config.data.model_copy(
        update={
            "trajectories": max(config.data.trajectories, HELD_OUT_TRAJECTORIES),
            "transitions": max(config.data.transitions, HELD_OUT_TRANSITIONS),
        }
    )
    fresh = config.model_copy(update={"data": data, "seed": derived_seed(config.seed, "held out")})
    noise = config.data.noise_variance if config.data.noise_on == "states" else 0.0
    return HeldOut(simulate_data(fresh, system), noise, True)
