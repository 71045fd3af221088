"""Train a configuration into a run folder, and read it back."""

import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

from ...inference import BoundEstimate, Posterior, estimate_bound, random_part
from ...prediction import learned_substep_error, one_step_errors, prediction_errors
from ...quantities import (
    QuadraticQuantities,
    direction_quantities,
    nearest_generators,
    parallelness,
    principal_cosines,
    singular_directions,
)
from ...reporting import ReportData, write_report
from ...training import NotLearnedError, Report, TrainState, early_check, fit, initial_state
from ...trajectories import DataFile, Trajectories, read_data_file, save_trajectories, scaled_trajectories
from ...typing import PRNGKey
from ..config import Config, Problem, RatesTable, SymmetryTable, build_problem, simulate_test_sets, stream
from .folder import RunError, RunFolder, require_same, write_whole

BOUND_SUBSET = 2000


class TrainedRun(NamedTuple):
    """A trained run read back from its folder."""

    config: Config
    problem: Problem
    posterior: Posterior
    step: int
    spent: dict[str, float]


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
    data: DataFile | None = None,
    early: bool = False,
) -> dict[str, Any]:
    """Train `config` into `folder` and return its summary; everything that was written stays valid at any
    moment.

    A folder that already holds a run is a `RunError` unless `resume`; then the run goes on from its last
    checkpoint as if never stopped, starts over without one, and does nothing when it is finished. A
    configuration with a warm start makes it first, in `warm_start` (default: a folder inside the run's), or
    takes it from there; its seconds count as the run's. `data` are those of the configuration's file where
    they have been read already. With `early`, a fit that has learned nothing is ended after a fifth of its
    steps. `on_progress` is told each logged step, `on_reading` the bytes of a data file read and its size.
    When `interrupted()` turns true, a checkpoint is written and KeyboardInterrupt raised. Other errors:
    `ConfigError`, `DataFileError`, `CheckpointError`, `NonFiniteBoundError`, `NotLearnedError`.
    """
    if folder.holds_run():
        if not resume:
            raise RunError(
                f"{folder.path}: already holds a run, give --resume to continue it or another --out"
            )
        require_same(config, folder.read_config(), folder.config)
        if folder.summary.exists():
            return folder.read_summary()
    return _evaluate(
        folder, _train(config, folder, warm_start, on_progress, interrupted, on_reading, data, early)
    )


def warm_start_config(config: Config) -> Config | None:
    """The fit that a run starts from, without symmetry and on data of its own dt; None where there is none.
    It may have a warm start in turn.
    """
    if not config.training.warm_start:
        return None
    *before, table = config.training.warm_start
    rates = table.rates or config.training.rates
    training = {
        "steps": table.steps,
        "batch": table.batch,
        "rates": rates.model_copy(update={"quantities": RatesTable().quantities}),
        "orbit_growth": 0,
        "warm_start": tuple(before),
    }
    return config.model_copy(
        update={
            "data": config.data.model_copy(update={"dt": table.dt}),
            # The same whatever the run averages over, so that the rows of a table can share it.
            "symmetry": SymmetryTable(mode="none"),
            "inference": config.inference.model_copy(update={"group_samples": None, "chunk": None}),
            "training": config.training.model_copy(update=training),
        }
    )


def _warm_start(
    config: Config,
    folder: RunFolder,
    on_progress: Callable[[dict[str, Any]], None] | None,
    interrupted: Callable[[], bool],
) -> TrainedRun:
    if folder.holds_run():
        require_same(config, folder.read_config(), folder.config)
        if folder.checkpoint.steps()[-1:] == [config.training.steps]:
            return load_run(folder)
    return _train(config, folder, None, on_progress, interrupted)


def _train(
    config: Config,
    folder: RunFolder,
    warm_start: RunFolder | None,
    on_progress: Callable[[dict[str, Any]], None] | None,
    interrupted: Callable[[], bool],
    on_reading: Callable[[int, int], None] | None = None,
    data: DataFile | None = None,
    early: bool = False,
) -> TrainedRun:
    """Train from the last checkpoint of `folder`, or from the start, to the end."""
    kept = folder.holds_run() and folder.data.exists()
    recorded, notes = read_data_file(folder.data) if kept else data or (None, ())
    problem = build_problem(config, recorded, notes, on_reading=on_reading)
    # The data first: a folder with a configuration is a run, and a run has its data.
    if not kept:
        save_trajectories(folder.data, problem.recorded, problem.notes)
    folder.write_config(config)

    spent, lines = _Spent(), []
    before = warm_start_config(config)
    if before is not None and not folder.checkpoint.steps():
        warm = _warm_start(
            before, warm_start or RunFolder(folder.path / "warm_start"), on_progress, interrupted
        )
        learned = nnx.state(warm.posterior)
        learned.pop("initial_states", None)  # those of other data
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
        line = {
            "step": report.step,
            "negative_elbo": report.negative_elbo,
            "nll": report.nll,
            "kl": report.kl,
            "gradient_norm": report.gradient_norm,
            "noise_variance": report.noise_variance,
            "wall_seconds": spent.after(report)["wall_seconds"],
        }
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
        problem.training,
        key=stream(config.seed, "training"),
        averaging=problem.averaging,
        estimator=problem.estimator,
        resume=restore,
        callback=after_chunk,
        should_stop=early_check(problem.posterior, problem.observations, problem.training) if early else None,
    )
    if result.stopped:
        raise NotLearnedError(result.stopped)
    seconds = spent.after(result.history[-1]) if result.history else spent.before
    return TrainedRun(config, problem, result.posterior, config.training.steps, seconds)


def load_run(folder: RunFolder) -> TrainedRun:
    """Read a run back: its configuration, its data and the posterior of its last checkpoint. Raises
    `RunError` without one.
    """
    config = folder.read_config()
    problem = build_problem(config, *read_data_file(folder.data))
    graph, _ = nnx.split(problem.posterior)
    like = initial_state(problem.posterior, problem.training)
    found = folder.checkpoint.restore(like)
    if found is None:
        raise RunError(f"{folder.path}: has no checkpoint yet, train it first")
    state, info = found
    return TrainedRun(config, problem, nnx.merge(graph, state.params), int(state.step), info)


def evaluate_run(folder: RunFolder) -> dict[str, Any]:
    """Estimate the bound and the errors of a run's last checkpoint, and write them to summary.json."""
    return _evaluate(folder, load_run(folder))


def _evaluate(folder: RunFolder, run: TrainedRun) -> dict[str, Any]:
    started = time.perf_counter()
    summary = _summary(run)
    summary["evaluation_seconds"] = time.perf_counter() - started
    folder.write_summary(summary)
    return summary


def _summary(run: TrainedRun) -> dict[str, Any]:
    config, problem, posterior = run.config, run.problem, run.posterior
    key = stream(config.seed, "evaluation")
    for_subset, for_bound, for_errors, for_substeps = jax.random.split(key, 4)
    # Means over weight samples need no more group samples each than training had.
    predictor = replace(problem.evaluator, group_samples=problem.estimator.group_samples)
    common: dict[str, Any] = {"averaging": problem.averaging, "estimator": predictor}
    transitions = problem.data.transitions()
    device = jax.config.jax_default_device  # type: ignore[attr-defined]

    def errors() -> tuple[float, dict[str, Any], float]:
        with jax.default_device(device):
            refined = learned_substep_error(posterior, for_substeps, transitions, **common)
            return *_errors(run, for_errors, common), refined

    # Small products leave half of the cores idle: bound and errors share them.
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(errors)
        bound = _bound(run, for_subset, for_bound)
        train_mse, test, substep_error = waiting.result()
    about_file = {} if problem.system else {"data": _data_of_file(run)}
    return {
        **about_file,
        "seed": config.seed,
        "steps": run.step,
        "wall_seconds": run.spent["wall_seconds"],
        "compile_seconds": run.spent["compile_seconds"],
        "evaluation_seconds": 0.0,
        "device": jax.devices()[0].platform,
        "transitions": transitions.size,
        "likelihood": problem.likelihood._asdict(),
        "train": {**bound._asdict(), "mse": train_mse},
        "test": test,
        "symmetry": _symmetry(run),
        "integrator": {
            "substeps": problem.estimator.substeps,
            "error": substep_error,
            "limit": float(np.sqrt(posterior.noise_variance())) / 10,
        },
    }


def _bound(run: TrainedRun, for_subset: PRNGKey, for_bound: PRNGKey) -> BoundEstimate:
    """The bound on all transitions, from a fixed random subset where they are many."""
    problem = run.problem
    total = problem.data.transitions().size
    return estimate_bound(
        run.posterior,
        for_bound,
        random_part(problem.observations, for_subset, BOUND_SUBSET),
        total,
        trained=problem.training.seen(total),
        prior_precision=run.config.inference.prior_precision,
        stderr=run.config.evaluation.nll_stderr,
        averaging=problem.averaging,
        estimator=problem.evaluator,
    )


def _errors(run: TrainedRun, key: PRNGKey, common: Mapping[str, Any]) -> tuple[float, dict[str, Any]]:
    """The mean squared error on the training data, and all errors on each test set."""
    problem, posterior = run.problem, run.posterior
    hamiltonian = problem.system.hamiltonian if problem.system else None
    test_sets = _test_sets(run)
    keys = jax.random.split(key, 1 + len(test_sets))
    train_errors = one_step_errors(posterior, keys[0], problem.data, scale=problem.scale, **common)
    test = {
        name: prediction_errors(
            posterior,
            key,
            scaled_trajectories(trajectories, problem.scale),
            hamiltonian=hamiltonian,
            scale=problem.scale,
            **common,
        )._asdict()
        for key, (name, trajectories) in zip(keys[1:], test_sets.items(), strict=True)
    }
    return float(train_errors.mean()), test


def _test_sets(run: TrainedRun) -> dict[str, Trajectories]:
    """Simulated test sets, or what was kept aside of a file, in the units of the data."""
    if run.problem.system is not None:
        return simulate_test_sets(run.config, run.problem.system)
    return {} if run.problem.held_out is None else {"held out": run.problem.held_out}


def _data_of_file(run: TrainedRun) -> dict[str, Any]:
    """What connects the coordinates of training with the user's: scales, and the noise in his units."""
    data, scale = run.problem.measured, run.problem.scale
    noise = np.sqrt(float(run.posterior.noise_variance())) * scale.scales
    return {
        "file": run.config.data.file,
        "trajectories": len(data),
        "held_out_trajectories": len(run.problem.recorded) - len(data),
        "names": list(data.names),
        "units": list(data.units),
        "time_unit": data.time_unit,
        "scales": scale.scales.tolist(),
        "shifts": list(scale.shifts),
        "time_scale": scale.time,
        "noise_standard_deviations": noise.tolist(),
        "notes": list(run.problem.notes),
    }


def _symmetry(run: TrainedRun) -> dict[str, Any]:
    quantities = run.posterior.quantities
    if not isinstance(quantities, QuadraticQuantities):
        return {"quantities": 0, "singular_values": []}
    values, directions = singular_directions(quantities)
    result: dict[str, Any] = {"quantities": quantities.count, "singular_values": values.tolist()}
    known = run.problem.system.known_quantities() if run.problem.system else None
    if known is not None:
        result["parallelness"] = parallelness(directions, known).tolist()
        result["principal_cosines"] = principal_cosines(directions, known).tolist()
    if run.problem.system is None:
        mapped = run.problem.scale.quantities_back(direction_quantities(directions))
        parts = zip(mapped.matrices, mapped.vectors, strict=True)
        result["in_units"] = [{"A": a.tolist(), "b": b.tolist()} for a, b in parts]
    strongest = nearest_generators(quantities, known)[0]
    result["strongest"] = {
        "names": list(run.problem.data.names),
        "learned": strongest.learned.tolist(),
        "true": None if strongest.known is None else strongest.known.tolist(),
    }
    return result


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
            averaging=run.problem.averaging,
            evaluator=run.problem.evaluator,
            data=run.problem.measured,
            scale=run.problem.scale,
            test_sets=_test_sets(run),
            system=run.problem.system,
            key=stream(run.config.seed, "report"),
            symmetry=folder.read_symmetry() if folder.symmetry.exists() else None,
            spread_scale=folder.spread_scale(),
        ),
    )
    write_whole(folder.report, reports.markdown)
    write_whole(folder.report.with_suffix(".html"), reports.html)
    return reports.markdown
