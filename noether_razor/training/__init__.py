"""Maximising the bound: optimiser groups, the compiled loop, checkpoints."""

from ._checkpoint import Checkpoint as Checkpoint
from ._checkpoint import CheckpointError as CheckpointError
from ._early import NotLearnedError as NotLearnedError
from ._early import early_check as early_check
from ._early import no_motion_nll as no_motion_nll
from ._fit import FitResult as FitResult
from ._fit import NonFiniteBoundError as NonFiniteBoundError
from ._fit import Report as Report
from ._fit import fit as fit
from ._fit import initial_state as initial_state
from ._loop import Progress as Progress
from ._loop import TrainState as TrainState
from ._loop import make_loop as make_loop
from ._optimiser import Rates as Rates
from ._optimiser import Training as Training
