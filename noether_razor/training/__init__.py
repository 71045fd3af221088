"""Maximising the ELBO: optimiser groups, the compiled loop, checkpoints."""

from .checkpoint import Checkpoint, CheckpointError
from .cost import StepCost, step_cost
from .early import NotLearnedError, early_check, no_motion_nll
from .fitting import CompiledLoop, FitResult, NonFiniteELBOError, Report, fit, initial_state
from .loop import Progress, TrainState, make_loop
from .optimiser import Rates, Training

__all__ = [
    "Checkpoint",
    "CheckpointError",
    "CompiledLoop",
    "FitResult",
    "NonFiniteELBOError",
    "NotLearnedError",
    "Progress",
    "Rates",
    "Report",
    "StepCost",
    "TrainState",
    "Training",
    "early_check",
    "fit",
    "initial_state",
    "make_loop",
    "no_motion_nll",
    "step_cost",
]
