"""Who is told what happens during a run."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...discovery import Discovery, Tell
from ...discovery.keeping import say_nothing


@dataclass(frozen=True)
class Listener:
    """What is told of a run while it goes on, and asked whether it should stop.

    progress: each step that training logs, a line of metrics.jsonl. refit: the name and the logged steps of
    every other fit. answer: what the data alone say. exact: the same with the exact evidence. reading: the
    bytes of a data file read, and its size. interrupted: where true, a checkpoint is written and
    KeyboardInterrupt raised. doing: what is being done before training.
    """

    progress: Callable[[dict[str, Any]], None] = lambda line: None
    refit: Tell = say_nothing
    answer: Callable[[Discovery], None] = lambda found: None
    exact: Callable[[Discovery], None] = lambda found: None
    reading: Callable[[int, int], None] = lambda done, size: None
    interrupted: Callable[[], bool] = lambda: False
    doing: Callable[[str], None] = lambda text: None


SILENT = Listener()
"""Tells nobody."""
