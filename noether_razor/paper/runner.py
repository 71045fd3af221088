"""Trains the rows of tables and figures, each seed in a run folder of its own, and takes up what is there."""

import zlib
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from ..app.config import Config
from ..app.runs import Listener, require_same, train_run, warm_start_config
from ..discovery import RunFolder
from ..workers import Progress, makespan, share_out
from .targets import Budget, Row, row_config


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
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[dict[str, Any]]:
    """The summary of each run; finished ones are read, the others trained from where they were stopped.

    They run side by side, see `share_out`. A run whose bound is not finite does not keep the others from
    going on; its error is raised at the end. Raises `ConfigError` before anything is trained where a folder
    holds a run of another configuration, and whatever else `train_run` raises.
    """
    for run in runs:
        if run.folder.holds_run():
            require_same(run.config, run.folder)
    for group in _groups(runs):
        unfinished = [run for run in group if not run.folder.summary.exists()]
        share_out(
            [partial(_train, run) for run in unfinished],
            scheduler=scheduler,
            on_progress=on_progress,
            interrupted=interrupted,
        )
    return [run.folder.read_summary() for run in runs]


def _train(run: Run, *, on_progress: Progress, interrupted: Callable[[], bool]) -> None:
    train_run(
        run.config,
        run.folder,
        resume=True,
        warm_start=run.warm_start,
        listener=Listener(progress=partial(on_progress, run.folder.path.name), interrupted=interrupted),
    )


def _groups(runs: Sequence[Run]) -> tuple[list[Run], list[Run]]:
    """Runs that make the warm starts or need none, and those that share one of these and come after."""
    first: list[Run] = []
    seen: set[Path] = set()
    for run in runs:
        if run.warm_start is None or run.warm_start.path not in seen:
            first.append(run)
            seen |= set() if run.warm_start is None else {run.warm_start.path}
    return first, [run for run in runs if run not in first]


def wall_seconds(runs: Sequence[Run], summaries: Sequence[dict[str, Any]], workers: int) -> float:
    """How long training and evaluation of all runs take on so many workers, what runs share counted once."""
    spent = {
        run.folder.path: s["wall_seconds"] + s["evaluation_seconds"]
        for run, s in zip(runs, summaries, strict=True)
    }
    first, after = _groups(runs)
    shared = [_seconds(run.warm_start) if run.warm_start else 0.0 for run in after]
    return makespan([spent[run.folder.path] for run in first], workers) + makespan(
        [spent[run.folder.path] - before for run, before in zip(after, shared, strict=True)], workers
    )


def _seconds(folder: RunFolder) -> float:
    return folder.read_metrics()[-1]["wall_seconds"]
