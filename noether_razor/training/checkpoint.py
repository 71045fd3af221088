"""Checkpoints on disk, by orbax."""

import shutil
import threading
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import jax
import numpy as np
import orbax.checkpoint as ocp


@runtime_checkable
class Stepped(Protocol):
    """A tree of arrays that knows how many steps made it, such as `TrainState`."""

    @property
    def step(self) -> Any: ...


State = TypeVar("State", bound=Stepped)

_ORBAX = threading.Lock()
"""Orbax numbers what it does once for the whole process: of two threads that save at once, one takes the
folder of the other for made.
"""


class CheckpointError(ValueError):
    """A checkpoint that cannot be used: which one and why."""


class Checkpoint:
    """The newest state of a run in one folder: `save` replaces it whole, `restore` gives it back bit for bit.

    Orbax writes into a temporary folder and renames it; the state before stays until then, so that a process
    killed at any moment leaves one that is whole. `info` is a small JSON object stored with the state
    (seconds spent, a fingerprint of the configuration).
    """

    def __init__(self, folder: str | Path):
        self.folder = Path(folder).absolute()

    def steps(self) -> list[int]:
        """Steps of the states on disk, oldest first."""
        if not self.folder.is_dir():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdigit())

    def save(self, state: Stepped, info: dict[str, Any]) -> None:
        """Write `state` and `info`, then drop older states."""
        self.folder.mkdir(parents=True, exist_ok=True)
        step = int(state.step)
        target = self.folder / str(step)
        if target.exists():
            return
        leaves = _leaves(state)
        shapes = {name: list(leaf.shape) for name, leaf in leaves.items()}
        with _ORBAX, _checkpointer() as checkpointer:
            arguments = ocp.args.Composite(
                state=ocp.args.PyTreeSave({name: np.asarray(leaf) for name, leaf in leaves.items()}),
                info=ocp.args.JsonSave({"shapes": shapes, "info": info}),
            )
            checkpointer.save(target, args=arguments)
        for old in self.steps():
            if old != step:
                shutil.rmtree(self.folder / str(old))

    def restore(self, like: State) -> tuple[State, dict[str, Any]] | None:
        """The newest state, in the structure of `like`, and its info; None when there is none.

        Raises `CheckpointError` when it is damaged or belongs to another model.
        """
        steps = self.steps()
        if not steps:
            return None
        folder = self.folder / str(steps[-1])
        wanted = _leaves(like)
        as_numbers = {name: ocp.RestoreArgs(restore_type=np.ndarray) for name in wanted}
        try:
            with _ORBAX, _checkpointer() as checkpointer:
                about = checkpointer.restore(folder, args=ocp.args.Composite(info=ocp.args.JsonRestore()))[
                    "info"
                ]
                if about["shapes"] != {name: list(leaf.shape) for name, leaf in wanted.items()}:
                    raise CheckpointError(f"{folder}: the checkpoint belongs to another model or optimiser")
                arguments = ocp.args.PyTreeRestore(wanted, as_numbers)
                leaves = checkpointer.restore(folder, args=ocp.args.Composite(state=arguments))["state"]
        except CheckpointError:
            raise
        except Exception as error:  # orbax and tensorstore raise many kinds on damaged files
            raise CheckpointError(
                f"{folder}: damaged or incomplete checkpoint ({type(error).__name__})"
            ) from error
        placed = [jax.device_put(leaves[name], leaf.sharding) for name, leaf in wanted.items()]
        return jax.tree.unflatten(jax.tree.structure(like), placed), about["info"]


def _leaves(state: Any) -> dict[str, jax.Array]:
    """Leaves by number and path: numbered, so that their order is the tree's."""
    paths = jax.tree_util.tree_flatten_with_path(state)[0]
    return {
        f"{i:04d}{jax.tree_util.keystr(path, simple=True, separator='.')}": leaf
        for i, (path, leaf) in enumerate(paths)
    }


def _checkpointer() -> ocp.Checkpointer:
    """Of this process alone: where several share a run, one of them writes, and waits for no other."""
    me = jax.process_index()
    alone = ocp.options.MultiprocessingOptions(
        primary_host=me, active_processes={me}, barrier_sync_key_prefix=f"process{me}"
    )
    handler = ocp.CompositeCheckpointHandler(
        state=ocp.PyTreeCheckpointHandler(multiprocessing_options=alone),
        info=ocp.JsonCheckpointHandler(multiprocessing_options=alone),
        composite_options=ocp.CompositeOptions(multiprocessing_options=alone),
    )
    return ocp.Checkpointer(handler, multiprocessing_options=alone)
