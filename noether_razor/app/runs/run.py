"""Train a configuration into a run folder, and read it back."""

import time
from dataclasses import replace
from typing import Any, NamedTuple

import jax
from flax import nnx

from ...devices import Device
from ...discovery import (
    Fitted,
    RunError,
    RunFolder,
    kept_aside_sets,
    report_data,
    step_metrics,
    summarise,
    write_run_report,
)
from ...inference import Posterior
from ...modelling import Problem
from ...options import SymmetryOptions
from ...random import stream
from ...training import NotLearnedError, Rates, Report, TrainState, early_check, fit, initial_state
from ...trajectories import DataFile, Trajectories, read_data_file
from ..config import Config, build_problem, read_data, simulate_test_sets
from . import hosts
from .configured import config_of, keep_inputs, require_same
from .listening import SILENT, Listener


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


def train_run(
    config: Config,
    folder: RunFolder,
    *,
    resume: bool = False,
    warm_start: RunFolder | None = None,
    listener: Listener = SILENT,
    devices: tuple[Device, ...] = (),
) -> dict[str, Any]:
    """Train `config` into `folder` and return its summary; everything that was written stays valid at any
    moment.

    A folder that already holds a run is a `RunError` unless `resume`; then the run goes on from its last
    checkpoint as if never stopped, starts over without one, and does nothing when it is finished. A
    configuration with a warm start makes it first, in `warm_start` (default: a folder inside the run's), or
    takes it from there; its seconds count as the run's. `devices` of this process share the work of each step
    (`Training`). Other errors: `ConfigError`, `DataFileError`, `CheckpointError`, `NonFiniteELBOError`.
    """
    if refuse_other_run(config, folder, resume) and folder.summary.exists():
        return folder.read_summary()
    run = train_to_end(config, folder, warm_start=warm_start, listener=listener, devices=devices)
    return evaluated(run, folder)


def train_with_others(
    config: Config, folder: RunFolder, *, resume: bool = False, listener: Listener = SILENT
) -> dict[str, Any] | None:
    """`train_run` on the devices of all processes that JAX has connected, each of which makes this call with
    a `folder` that they share: the summary in the first, which evaluates the run alone; None in the others.

    Raises as `train_run`, and `OtherProcessError` where another process has ended.
    """
    finished = refuse_other_run(config, folder, resume) and folder.summary.exists()
    try:
        # Before the first writes what the others look at.
        finished = hosts.in_any(finished)
        run = None if finished else train_to_end(config, folder, listener=listener, devices=(*jax.devices(),))
        hosts.leave()
    except Exception as error:
        raise hosts.explained(error) from error
    if not hosts.is_first():
        return None
    return folder.read_summary() if run is None else evaluated(run, folder)


def refuse_other_run(config: Config, folder: RunFolder, resume: bool) -> bool:
    """Whether `folder` holds a run. Raises `RunError` where it does and is not to be resumed, `ConfigError`
    where that is of another configuration.
    """
    if not folder.holds_run():
        return False
    if not resume:
        raise RunError(
            f"{folder.path}: already holds a run, use --resume to continue it or choose another --out"
        )
    require_same(config, folder)
    return True


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
    config: Config, folder: RunFolder, listener: Listener, devices: tuple[Device, ...]
) -> TrainedRun:
    if folder.holds_run():
        require_same(config, folder)
        if folder.checkpoint.steps()[-1:] == [config.training.steps]:
            return load_run(folder)
    return train_to_end(config, folder, listener=listener, devices=devices)


class _Session:
    """A fit that is kept in its run folder: logged steps, checkpoints, and seconds over all resumes. Of
    several processes the first keeps it.
    """

    def __init__(self, config: Config, folder: RunFolder, listener: Listener):
        self.training, self.folder, self.listener = config.training, folder, listener
        self.before = {"wall_seconds": 0.0, "compile_seconds": 0.0}
        self.lines: list[dict[str, Any]] = []
        self.saved = time.perf_counter()

    def spent(self, report: Report) -> dict[str, float]:
        """The seconds up to a logged step."""
        own = {"wall_seconds": report.seconds, "compile_seconds": report.compile_seconds}
        return {name: self.before[name] + seconds for name, seconds in own.items()}

    def restore(self, state: TrainState) -> TrainState | None:
        """The state of the last checkpoint, for `fit`; None without one."""
        found = self.folder.checkpoint.restore(state)
        hosts.require_same_step(0 if found is None else int(found[0].step), self.folder)
        if found is None:
            return None
        restored, info = found
        self.before = {name: info[name] for name in self.before}
        self.lines = self.folder.read_metrics(up_to=int(restored.step))
        return restored

    def log(self, report: Report) -> None:
        """Keep a logged step, and at times a checkpoint."""
        spent = self.spent(report)
        line = step_metrics(report, spent["wall_seconds"])
        self.lines.append(line)
        stop, last = hosts.in_any(self.listener.interrupted()), report.step == self.training.steps
        if hosts.is_first():
            self.folder.write_metrics(self.lines)
            if stop or last or time.perf_counter() - self.saved >= self.training.checkpoint_seconds:
                self.folder.checkpoint.save(report.state, spent)
                self.saved = time.perf_counter()
        self.listener.progress(line)
        if stop and not last:
            hosts.leave()
            raise KeyboardInterrupt


def train_to_end(
    config: Config,
    folder: RunFolder,
    *,
    warm_start: RunFolder | None = None,
    listener: Listener = SILENT,
    data: DataFile | None = None,
    early: bool = False,
    devices: tuple[Device, ...] = (),
) -> TrainedRun:
    """Train from the last checkpoint of `folder`, or from the start, to the end.

    `data` are those of the configuration's file where they have been read already. With `early`, a fit that
    has learned nothing is ended after a fifth of its steps, by `NotLearnedError`. The others are as in
    `train_run`. Several processes that JAX has connected train together, each making the same call.
    """
    kept = folder.holds_run() and folder.data.exists()
    if data is None and kept:
        data = read_data_file(folder.data)
    elif data is None and config.data.file is not None:
        data = read_data(config, listener.reading, listener.doing)
    recorded, notes = data or (None, ())
    problem = build_problem(config, recorded)
    hosts.require_alike(problem)
    if hosts.is_first():
        keep_inputs(config, folder, None if kept else DataFile(problem.recorded, notes))

    session = _Session(config, folder, listener)
    before = warm_start_config(config)
    if before is not None and not folder.checkpoint.steps():
        warm = _warm_start(before, warm_start or RunFolder(folder.path / "warm_start"), listener, devices)
        learned = nnx.state(warm.posterior)
        learned.pop("latents", None)  # those of other data
        nnx.update(problem.posterior, learned)
        session.before = warm.spent

    result = fit(
        problem.posterior,
        problem.observations,
        problem.objective,
        replace(problem.training, devices=devices),
        key=stream(config.seed, "training"),
        resume=session.restore,
        callback=session.log,
        should_stop=early_check(problem.posterior, problem.observations, problem.training) if early else None,
    )
    if result.stopped:
        raise NotLearnedError(result.stopped)
    seconds = session.spent(result.history[-1]) if result.history else session.before
    return TrainedRun(config, problem, result.posterior, config.training.steps, seconds, tuple(notes))


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
    return evaluated(load_run(folder), folder)


def evaluated(run: TrainedRun, folder: RunFolder) -> dict[str, Any]:
    """The contents of summary.json of a run, which is written."""
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
    folder.write_summary(summary)
    return summary


def test_sets(run: TrainedRun) -> dict[str, Trajectories]:
    """Simulated test sets, or what was kept aside of a file, in the units of the data."""
    if run.problem.system is not None:
        return simulate_test_sets(run.config, run.problem.system)
    return kept_aside_sets(run.problem)


def report_run(folder: RunFolder) -> str:
    """Write report.md with its figures and report.html for a finished run, and return the former's text."""
    summary, run = folder.read_summary(), load_run(folder)
    data = report_data(
        run.fitted,
        title=folder.path.resolve().name,
        summary=summary,
        metrics=folder.read_metrics(),
        test_sets=test_sets(run),
        symmetry=folder.read_symmetry() if folder.symmetry.exists() else None,
        spread_scale=folder.spread_scale(),
    )
    return write_run_report(folder, data)
