"""Train a configuration into a run folder, and read it back."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from flax import nnx

from ...discovery import Fitted, RunError, RunFolder, kept_aside_sets, step_metrics, summarise
from ...files import write_whole
from ...inference import Posterior
from ...modelling import Problem
from ...options import SymmetryOptions
from ...random import stream
from ...reporting import ReportData, write_report
from ...training import NotLearnedError, Rates, Report, TrainState, early_check, fit, initial_state
from ...trajectories import DataFile, Trajectories, read_data_file, save_trajectories
from ..config import Config, build_problem, read_data, simulate_test_sets
from .configured import config_of, require_same


class TrainedRun(NamedTuple):
    """A trained run, or one read back from its folder; `notes` are what the reader of its data has to say."""

    config: Config
    problem: Problem
    posterior: Posterior
    step: int
    spent: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def fitted(self) -> Fitted:
        """Its model."""
        return Fitted(self.problem, self.posterior)


class _Spent:
    """Wall-clock seconds of a run, summed over resumes."""

    def __init__(self, wall: float = 0.0, compile_: float = 0.0):
        self.before = {"wall_seconds": wall, "compile_seconds": compile_}

    def after(self, report: Report) -> dict[str, float]:
        return {
            "wall_seconds": self.before["wall_seconds"] + report.seconds,
            "compile_seconds": self.before["compile_seconds"] + report.compile_seconds,
        }


def train_run(
    config: Config,
    folder: RunFolder,
    *,
    resume: bool = False,
    warm_start: RunFolder | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_reading: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Train `config` into `folder` and return its summary; everything that was written stays valid at any
    moment.

    A folder that already holds a run is a `RunError` unless `resume`; then the run goes on from its last
    checkpoint as if never stopped, starts over without one, and does nothing when it is finished. A
    configuration with a warm start makes it first, in `warm_start` (default: a folder inside the run's), or
    takes it from there; its seconds count as the run's. `on_progress` is told each logged step, `on_reading`
    the bytes of a data file read and its size. When `interrupted()` turns true, a checkpoint is written and
    KeyboardInterrupt raised. Other errors: `ConfigError`, `DataFileError`, `CheckpointError`,
    `NonFiniteELBOError`.
    """
    if folder.holds_run():
        if not resume:
            raise RunError(
                f"{folder.path}: already holds a run, use --resume to continue it or choose another --out"
            )
        require_same(config, folder)
        if folder.summary.exists():
            return folder.read_summary()
    run = train_to_end(
        config,
        folder,
        warm_start=warm_start,
        on_progress=on_progress,
        interrupted=interrupted,
        on_reading=on_reading,
    )
    return _evaluate(folder, run)


def warm_start_config(config: Config) -> Config | None:
    """The fit that a run starts from, without symmetry and on data of its own dt; None where there is none.
    It may have a warm start in turn.
    """
    if not config.training.warm_start:
        return None
    *before, table = config.training.warm_start
    training = replace(
        config.training,
        steps=table.steps,
        batch=table.batch,
        rates=replace(table.rates or config.training.rates, quantities=Rates().quantities),
        orbit_growth=0,
        warm_start=tuple(before),
    )
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"dt": table.dt}),
            # The same whatever the run averages over, so that the rows of a table can share it.
            "symmetry": SymmetryOptions(mode="none"),
            "inference": replace(config.inference, group_samples=None, chunk=None),
            "training": training,
        }
    )


def _warm_start(
    config: Config,
    folder: RunFolder,
    on_progress: Callable[[dict[str, Any]], None] | None,
    interrupted: Callable[[], bool],
) -> TrainedRun:
    if folder.holds_run():
        require_same(config, folder)
        if folder.checkpoint.steps()[-1:] == [config.training.steps]:
            return load_run(folder)
    return train_to_end(config, folder, on_progress=on_progress, interrupted=interrupted)


def train_to_end(
    config: Config,
    folder: RunFolder,
    *,
    warm_start: RunFolder | None = None,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_reading: Callable[[int, int], None] | None = None,
    data: DataFile | None = None,
    early: bool = False,
) -> TrainedRun:
    """Train from the last checkpoint of `folder`, or from the start, to the end.

    `data` are those of the configuration's file where they have been read already. With `early`, a fit that
    has learned nothing is ended after a fifth of its steps, by `NotLearnedError`. The others are as in
    `train_run`.
    """
    kept = folder.holds_run() and folder.data.exists()
    if data is None:
        data = _data(config, folder if kept else None, on_reading)
    recorded, notes = data or (None, ())
    problem = build_problem(config, recorded)
    # Write data before the config: config.json marks a valid run.
    if not kept:
        save_trajectories(folder.data, problem.recorded, notes)
    folder.write_tables(config.model_dump(mode="json"))

    spent, lines = _Spent(), []
    before = warm_start_config(config)
    if before is not None and not folder.checkpoint.steps():
        warm = _warm_start(
            before, warm_start or RunFolder(folder.path / "warm_start"), on_progress, interrupted
        )
        learned = nnx.state(warm.posterior)
        learned.pop("latents", None)  # those of other data
        nnx.update(problem.posterior, learned)
        spent = _Spent(warm.spent["wall_seconds"], warm.spent["compile_seconds"])

    def restore(state: TrainState) -> TrainState | None:
        nonlocal spent, lines
        found = folder.checkpoint.restore(state)
        if found is None:
            return None
        restored, info = found
        spent = _Spent(info["wall_seconds"], info["compile_seconds"])
        lines = folder.read_metrics(up_to=int(restored.step))
        return restored

    saved = time.perf_counter()

    def after_chunk(report: Report) -> None:
        nonlocal saved
        line = step_metrics(report, spent.after(report)["wall_seconds"])
        lines.append(line)
        folder.write_metrics(lines)
        stop = interrupted()
        due = time.perf_counter() - saved >= config.training.checkpoint_seconds
        if stop or due or report.step == config.training.steps:
            folder.checkpoint.save(report.state, spent.after(report))
            saved = time.perf_counter()
        if on_progress is not None:
            on_progress(line)
        if stop and report.step < config.training.steps:
            raise KeyboardInterrupt

    result = fit(
        problem.posterior,
        problem.observations,
        problem.objective,
        problem.training,
        key=stream(config.seed, "training"),
        resume=restore,
        callback=after_chunk,
        should_stop=early_check(problem.posterior, problem.observations, problem.training) if early else None,
    )
    if result.stopped:
        raise NotLearnedError(result.stopped)
    seconds = spent.after(result.history[-1]) if result.history else spent.before
    return TrainedRun(config, problem, result.posterior, config.training.steps, seconds, tuple(notes))


def _data(
    config: Config, kept: RunFolder | None, on_reading: Callable[[int, int], None] | None
) -> DataFile | None:
    """The data that a run has kept, or of the configuration's file; None where they are simulated."""
    if kept is not None:
        return read_data_file(kept.data)
    return None if config.data.file is None else read_data(config, on_reading)


def load_run(folder: RunFolder) -> TrainedRun:
    """Read a run back: its configuration, its data and the posterior of its last checkpoint. Raises
    `RunError` without one.
    """
    config = config_of(folder)
    recorded, notes = read_data_file(folder.data)
    problem = build_problem(config, recorded)
    graph, _ = nnx.split(problem.posterior)
    found = folder.checkpoint.restore(initial_state(problem.posterior, problem.training))
    if found is None:
        raise RunError(f"{folder.path}: has no checkpoint yet, train it first")
    state, info = found
    return TrainedRun(config, problem, nnx.merge(graph, state.params), int(state.step), info, tuple(notes))


def evaluate_run(folder: RunFolder) -> dict[str, Any]:
    """Estimate the ELBO and the errors of a run's last checkpoint, and write them to summary.json."""
    return _evaluate(folder, load_run(folder))


def _evaluate(folder: RunFolder, run: TrainedRun) -> dict[str, Any]:
    summary = evaluated(run)
    folder.write_summary(summary)
    return summary


def evaluated(run: TrainedRun) -> dict[str, Any]:
    """The contents of summary.json of a run."""
    started = time.perf_counter()
    summary = summarise(
        run.fitted,
        test_sets(run),
        steps=run.step,
        seconds=run.spent,
        file=run.config.data.file,
        notes=run.notes,
    )
    summary["evaluation_seconds"] = time.perf_counter() - started
    return summary


def test_sets(run: TrainedRun) -> dict[str, Trajectories]:
    """Simulated test sets, or what was kept aside of a file, in the units of the data."""
    if run.problem.system is not None:
        return simulate_test_sets(run.config, run.problem.system)
    return kept_aside_sets(run.problem)


def report_run(folder: RunFolder) -> str:
    """Write report.md with its figures and report.html for a finished run, and return the former's text."""
    summary = folder.read_summary()
    run = load_run(folder)
    reports = write_report(
        folder.figures,
        ReportData(
            title=folder.path.resolve().name,
            summary=summary,
            metrics=folder.read_metrics(),
            posterior=run.posterior,
            evaluator=run.problem.evaluator,
            data=run.problem.measured,
            scale=run.problem.scale,
            test_sets=test_sets(run),
            system=run.problem.system,
            key=stream(run.config.seed, "report"),
            symmetry=folder.read_symmetry() if folder.symmetry.exists() else None,
            spread_scale=folder.spread_scale(),
        ),
    )
    write_whole(folder.report, reports.markdown)
    write_whole(folder.page, reports.html)
    return reports.markdown
