"""Where fits are kept while they run, so that none is done twice."""

import json
import time
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..files import write_whole
from ..training import Checkpoint, Report, Training, TrainState

CHECKPOINT_SECONDS = 15.0
"""Between checkpoints of a fit."""


class NotKept:
    """A fit that is kept in memory only: there is nothing to go on from."""

    def restore(self, state: TrainState) -> TrainState | None:
        """The state to go on from, for `fit`."""
        del state
        return None

    def keep(self, report: Report, training: Training) -> None:
        """Take note of a logged step."""
        del report, training

    def read(self) -> dict[str, Any] | None:
        """What was estimated of the finished fit, None where it is not finished."""
        return None

    def write(self, result: dict[str, Any]) -> None:
        """Keep what was estimated."""


class KeptFit(NotKept):
    """One fit in a folder of its own below `folder`: a checkpoint to go on from, and what was estimated of
    it.

    `about` says what the fit depends on beside the data: of another kind nothing is taken.
    """

    def __init__(self, folder: Path, name: str, about: Any):
        digest = zlib.crc32(json.dumps(about, sort_keys=True).encode())
        self.path = folder / f"{name}-{digest:08x}".replace(" ", "-")
        self.checkpoint = Checkpoint(self.path / "checkpoint")
        self.result = self.path / "result.json"
        self.saved = time.perf_counter()

    def restore(self, state: TrainState) -> TrainState | None:
        found = self.checkpoint.restore(state)
        return None if found is None else found[0]

    def keep(self, report: Report, training: Training) -> None:
        if report.step == training.steps or time.perf_counter() - self.saved >= CHECKPOINT_SECONDS:
            self.checkpoint.save(report.state, {})
            self.saved = time.perf_counter()

    def read(self) -> dict[str, Any] | None:
        try:
            value = json.loads(self.result.read_text(encoding="utf-8"))
            return value if isinstance(value, dict) else None
        except (OSError, ValueError):
            return None

    def write(self, result: dict[str, Any]) -> None:
        write_whole(self.result, json.dumps(result) + "\n")


Keep = Callable[[str, Any], NotKept]
"""Where a fit is kept, by its name and what it depends on."""
Tell = Callable[[str, Report], None]
"""Told the name of a fit and each step that it logs; may raise."""


def in_memory(name: str, about: Any) -> NotKept:
    """Keep nothing."""
    del name, about
    return NotKept()


def say_nothing(name: str, what: object) -> None:
    """Tell nobody."""
    del name, what
