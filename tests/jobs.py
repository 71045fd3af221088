"""Jobs for worker processes. Nothing heavy is imported: each of these processes imports this file."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

AFFINITY = hasattr(os, "sched_setaffinity")
"""Whether the cores of a process are known here."""


def work(
    number: int,
    wait_for: Path | None,
    folder: Path,
    *,
    on_progress: Callable[[str, dict[str, Any]], None],
    interrupted: Callable[[], bool],
) -> tuple[int, tuple[int, ...]]:
    """Its process and cores. It leaves a file, waits for another's, reports, and fails as number 0 or 9."""
    (folder / str(number)).touch()
    deadline = time.monotonic() + 60
    while wait_for is not None and not wait_for.exists():
        if interrupted():
            raise KeyboardInterrupt
        assert time.monotonic() < deadline
        time.sleep(0.01)
    on_progress(f"job {number}", {"step": 1})
    if number == 0:
        from noether_razor.training import NonFiniteELBOError

        raise NonFiniteELBOError(3, "the likelihood")
    if number == 9:
        from noether_razor.app.config import ConfigError

        raise ConfigError("wrong key")
    return os.getpid(), tuple(sorted(os.sched_getaffinity(0))) if AFFINITY else ()


def until_unwanted(
    folder: Path,
    *,
    on_progress: Callable[[str, dict[str, Any]], None],
    interrupted: Callable[[], bool],
) -> None:
    """Work for ever, until told to stop."""
    del on_progress
    (folder / "begun").touch()
    while not interrupted():
        time.sleep(0.01)
    (folder / "ended").touch()
    raise KeyboardInterrupt


def climb(folder: Path, *, on_progress: Callable[[str, dict[str, Any]], None], interrupted: object) -> int:
    """Log one step more than the last time, and die, until step 3."""
    step = 1 + len(list(folder.iterdir()))
    (folder / str(step)).touch()
    on_progress("climbing", {"step": step})
    time.sleep(0.3)  # it is told by another thread
    if step < 3:
        os._exit(7)
    return step


def die(*, on_progress: object, interrupted: object) -> None:
    os._exit(7)
