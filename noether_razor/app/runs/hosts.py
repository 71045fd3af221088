"""Train one run in several processes, on one host or on many that share a disk.

Every process reads the data and builds the same problem; its devices hold its share of the rows. All take the
same steps, and the first process alone writes the run folder.
"""

import zlib

import jax
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils

from ...discovery import RunError, RunFolder
from ...modelling import Problem


class OtherProcessError(RuntimeError):
    """A process that shares this run has ended, or cannot be reached."""


GONE = "another process of this run has ended or cannot be reached; start all again with --resume"
LOST = ("gloo", "nccl", "mpi", "connection", "coordination", "barrier", "peer")
"""Words by which errors of communication are known: their classes are those of any other error."""


def alone() -> bool:
    """Whether this process has a run to itself."""
    return jax.process_count() == 1


def is_first() -> bool:
    """Whether this is the process that writes."""
    return jax.process_index() == 0


def in_any(flag: bool) -> bool:
    """Whether `flag` is true in any process; all must ask."""
    return flag if alone() else bool(np.any(multihost_utils.process_allgather(np.asarray(flag))))


def require_alike(problem: Problem) -> None:
    """Raise `RunError` where the processes have different data or start from different models."""
    if alone():
        return
    arrays = jax.tree.leaves((problem.observations, nnx.state(problem.posterior)))
    check = 0
    for array in arrays:
        check = zlib.crc32(np.ascontiguousarray(array).tobytes(), check)
    if len(np.unique(multihost_utils.process_allgather(np.asarray(check, np.uint32)))) > 1:
        raise RunError(
            "the processes of this run have different data or start from different models: all must see the "
            "same files and have the same versions and processors of one kind"
        )


def require_same_step(step: int, folder: RunFolder) -> None:
    """Raise `RunError` where the processes would go on from different checkpoints."""
    if alone():
        return
    steps = np.unique(multihost_utils.process_allgather(np.asarray(step, np.int32)))
    if len(steps) > 1:
        raise RunError(
            f"{folder.path}: the processes of this run see checkpoints of different steps "
            f"({', '.join(map(str, steps))}): the folder must be on a disk that all of them share"
        )


def leave() -> None:
    """End the exchange with the other processes, once all of them come here."""
    if not alone():
        jax.distributed.shutdown()


def explained(error: Exception) -> Exception:
    """`OtherProcessError` in place of an error that says that a process is gone; any other as it is."""
    text = str(error).lower()
    if alone() or isinstance(error, RunError) or not any(word in text for word in LOST):
        return error
    return OtherProcessError(GONE)
