"""Trains the rows of tables and figures, each seed in a run folder of its own, and takes up what is there."""

import queue
import zlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, TypeVar

import jax

from ..config import Config
from ..runs import RunFolder, require_same, train_run, warm_start_config
from ._targets import Budget, Row, row_config

Result = TypeVar("Result")

Progress = Callable[[str, dict[str, Any]], None]
"""Told the name of a run and each step that it logs."""


class Run(NamedTuple):
    """One seed of a row: its configuration, its folder and the folder of its warm start, if it has one."""

    row: str
    seed: int
    config: Config
    folder: RunFolder
    warm_start: RunFolder | None


def plan(
    rows: Sequence[Row], *, seeds: int, budget: Budget, out: Path, paper: tuple[str, ...] = ()
) -> list[Run]:
    """The runs of `rows` for seeds 0 to `seeds` - 1, seed by seed, under ``out/runs/<budget>``.

    Rows with the same configuration file share a run, whatever table or figure they belong to; runs with the
    same warm start share that.
    """
    root = out / "runs" / budget
    runs = []
    for seed in range(seeds):
        for row in rows:
            config = row_config(row, seed=seed, budget=budget, paper=paper)
            name = "-".join(PurePosixPath(row.config).with_suffix("").parts[1:])
            before = warm_start_config(config)
            warm_start = None
            if before is not None:
                fingerprint = zlib.crc32(before.model_dump_json().encode())
                warm_start = RunFolder(root / f"warm_start-{fingerprint:08x}-{seed}")
            runs.append(Run(row.name, seed, config, RunFolder(root / f"{name}-{seed}"), warm_start))
    return runs


def run_all(
    runs: Sequence[Run],
    *,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
    devices: Sequence[Any] | None = None,
) -> list[dict[str, Any]]:
    """The summary of each run; finished ones are read, the others trained from where they were stopped.

    They are spread over `devices` (default: all). A run whose bound is not finite does not keep the others
    from going on; its error is raised at the end. Raises `ConfigError` before anything is trained where a
    folder holds a run of another configuration, and whatever else `train_run` raises.
    """
    for run in runs:
        if run.folder.holds_run():
            require_same(run.config, run.folder.read_config(), run.folder.config)

    def job(run: Run) -> Callable[[], dict[str, Any]]:
        def train() -> dict[str, Any]:
            return train_run(
                run.config,
                run.folder,
                resume=True,
                warm_start=run.warm_start,
                on_progress=partial(on_progress, run.folder.path.name),
                interrupted=interrupted,
            )

        return train

    # The first run of each warm start makes it; those that share it come after.
    first: list[int] = []
    seen: set[Path] = set()
    for index, run in enumerate(runs):
        if run.warm_start is None or run.warm_start.path not in seen:
            first.append(index)
            seen |= set() if run.warm_start is None else {run.warm_start.path}
    summaries: dict[int, dict[str, Any]] = {}
    for group in (first, [index for index in range(len(runs)) if index not in first]):
        results = spread([job(runs[index]) for index in group], devices or jax.local_devices())
        summaries |= dict(zip(group, results, strict=True))
    return [summaries[index] for index in range(len(runs))]


def spread(jobs: Sequence[Callable[[], Result]], devices: Sequence[Any]) -> list[Result]:
    """The result of each job, in order; one thread a device takes them one after the other.

    A FloatingPointError of a job is raised after all others are done, any other error as soon as the jobs
    that are running have ended.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for index in range(len(jobs)):
        waiting.put(index)
    results: dict[int, Result] = {}
    failures: list[FloatingPointError] = []
    stopped = False

    def work() -> None:
        nonlocal stopped
        while not stopped:
            try:
                index = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[index] = jobs[index]()
            except FloatingPointError as error:
                failures.append(error)
            except BaseException:
                stopped = True
                raise

    def work_on(device: Any) -> None:
        with jax.default_device(device):
            work()

    if len(devices) == 1 or len(jobs) == 1:
        work()
    else:
        with ThreadPoolExecutor(len(devices)) as pool:
            for future in [pool.submit(work_on, device) for device in devices]:
                future.result()
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(jobs))]


def wall_seconds(runs: Sequence[Run], summaries: Sequence[dict[str, Any]]) -> float:
    """Seconds of training and evaluation of all runs, what they share counted once."""
    shared = [run.warm_start for run in runs if run.warm_start is not None]
    again = sum(_seconds(folder) for k, folder in enumerate(shared) if _seen(shared[:k], folder))
    return sum(s["wall_seconds"] + s["evaluation_seconds"] for s in summaries) - again


def _seen(folders: Sequence[RunFolder], folder: RunFolder) -> bool:
    return any(other.path == folder.path for other in folders)


def _seconds(folder: RunFolder) -> float:
    return folder.read_metrics()[-1]["wall_seconds"]
