"""From a file of trajectories to conservation laws, and to what the data cannot tell."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ..analysis import (
    fit_vector_field,
    learned_hamiltonian,
    pairs_needed,
    phase_space_coverage,
    rollout_calibration,
    sampling_check,
    structure_check,
)
from ..config import Config, load_recipe, read_data, stream
from ..data import DataFile, DataFileError, Trajectories, read_data_file, scaled_trajectories
from ..symmetry import NoAveraging
from ..training import Report
from ._analyse import Analysed, analysed_run
from ._folder import RunError, RunFolder, require_same
from ._held_out import HeldOut, held_out
from ._hypotheses import parse_hypothesis
from ._refits import OnRefit
from ._run import TrainedRun, report_run, train_run

RECIPE = "systems/base.toml"
HELD_OUT = 0.25
"""Share of the trajectories that is kept aside."""
CHECKED_TRAJECTORIES, CHECKED_POINTS, CHECKED_TRANSITIONS = 50, 10_000, 1000
"""Held-out trajectories, their points and transitions for comparing the learned Hamiltonian, at most."""
CALIBRATED_POINTS, CALIBRATED_LENGTH = 500, 100
"""Points of held-out trajectories that rollouts pass, at most, and of one trajectory."""
ENERGY_SAMPLES = 4
"""Draws of weights for the energy along trajectories."""


def discover_config(
    data: Path, mapping: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The default recipe for a data file: noise learned, a quarter of the trajectories kept aside. `mapping`
    are keys of the data table. Raises `ConfigError`.
    """
    table = {"file": str(data), "held_out": HELD_OUT, **(mapping or {})}
    return load_recipe(RECIPE, table, overrides, source="discover")


def discover_run(
    config: Config,
    folder: RunFolder,
    *,
    quantities: Sequence[str] = (),
    repeats: int = 1,
    resume: bool = False,
    on_progress: Callable[[dict[str, Any]], None] | None = None,
    on_refit: OnRefit | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_reading: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Learn from the data file of `config` into `folder`, analyse what was learned, check what the data can
    tell, write symmetry.json and report.md, and return the contents of the former.

    `quantities` are formulas whose conservation is to be judged: each costs `repeats` (at least 1) fits. With
    `resume` training goes on from its checkpoint; what follows it is done again. The other options are those
    of `train_run` and `analysed_run`. Nothing is written before data and formulas have been read. Raises as
    these do, and `DataFileError` for fewer than 2 trajectories.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if config.symmetry.mode != "learned":
        raise RunError(f'symmetry.mode: got "{config.symmetry.mode}", discover learns: expected "learned"')
    data = _data(config, folder, resume, on_reading)
    trajectories = data.trajectories
    if len(trajectories) < 2:
        raise DataFileError(
            Path(str(config.data.file)),
            "",
            "holds 1 trajectory, at least 2 are needed (20 are better): along a single one no spread tells "
            "what is conserved",
        )
    for text in quantities:
        parse_hypothesis(text, trajectories.names)  # a wrong one is said before anything is trained
    train_run(config, folder, resume=resume, on_progress=on_progress, interrupted=interrupted, data=data)

    def told(name: str, repeat: int, report: Report) -> None:
        if on_refit is not None:
            on_refit(name, repeat, report)
        if interrupted():
            raise KeyboardInterrupt

    analysed = analysed_run(folder, quantities=quantities, repeats=repeats, on_refit=told)
    symmetry = analysed.symmetry
    checks = _checks(analysed, told)
    symmetry |= {
        "hamiltonian": checks["structure"]["hamiltonian"],
        "checks": checks,
    }
    folder.write_symmetry(symmetry)
    report_run(folder)
    return symmetry


def _data(
    config: Config, folder: RunFolder, resume: bool, on_reading: Callable[[int, int], None] | None
) -> DataFile:
    """The data of the file, or those that a run to be resumed has kept."""
    if folder.holds_run():
        if not resume:
            raise RunError(
                f"{folder.path}: already holds a run, give --resume to continue it or another --out"
            )
        require_same(config, folder.read_config(), folder.config)
        if folder.data.exists():
            return read_data_file(folder.data)
    return read_data(config, on_reading)


def _checks(analysed: Analysed, on_refit: OnRefit) -> dict[str, Any]:
    """What the data can tell, each with its numbers and a sentence.

    Whether there is a Hamiltonian is asked of the fit without symmetry, which differs from the unstructured
    field in nothing else.
    """
    run, symmetry, plain = analysed
    assert plain is not None
    problem = run.problem
    test = held_out(run)
    scaled = scaled_trajectories(test.trajectories, problem.scale)
    for_field, for_structure, for_energy, for_bands = jax.random.split(stream(run.config.seed, "checks"), 4)
    # Means over weight samples need no more group samples each than training had.
    predictor = replace(problem.evaluator, group_samples=problem.estimator.group_samples)
    hamiltonian = learned_hamiltonian(
        plain,
        for_energy,
        averaging=NoAveraging(),
        estimator=replace(predictor, weight_samples=ENERGY_SAMPLES),
    )
    sampling = sampling_check(
        hamiltonian,
        problem.data,
        noise_variance=float(plain.noise_variance()),
        estimator=problem.estimator,
    )
    field = fit_vector_field(
        problem.observations,
        problem.training,
        key=for_field,
        layers=run.config.network.layers,
        width=run.config.network.width,
        alpha=run.config.network.elu_alpha,
        noise_variance=float(problem.posterior.noise_variance()),
        relative_scale=run.config.inference.relative_scale,
        periods=problem.data.periods,
        estimator=problem.estimator,
        callback=lambda report: on_refit("unstructured field", 0, report),
    )
    few = scaled[:CHECKED_TRAJECTORIES]
    every = scaled_trajectories(problem.recorded[:CHECKED_TRAJECTORIES], problem.scale)
    structure = structure_check(
        plain,
        field,
        for_structure,
        few.first(max(2, CHECKED_POINTS // len(few))),
        hamiltonian=hamiltonian,
        averaging=NoAveraging(),
        estimator=predictor,
        along=every.first(max(2, CHECKED_POINTS // len(every))),
        most_transitions=CHECKED_TRANSITIONS,
    )
    coverage = phase_space_coverage(problem.recorded, noise_variance=test.noise_variance)
    return {
        "trajectories": len(problem.measured),
        "held_out_trajectories": len(problem.recorded) - len(problem.measured),
        "transitions": problem.data.transitions().size,
        "structure": _entry(structure, hamiltonian=structure.hamiltonian),
        "coverage": _entry(coverage, enough=coverage.enough),
        "sampling": _entry(sampling, fine_enough=sampling.fine_enough),
        "amount": _amount(test, symmetry),
        "calibration": _calibration(run, scaled, test.noise_variance, for_bands),
    }


def _amount(test: HeldOut, symmetry: Mapping[str, Any]) -> dict[str, Any]:
    """Whether there are enough held-out points to test what may be conserved."""
    pairs = int((test.trajectories.lengths // 2).sum())
    needed = pairs_needed(test.trajectories.dof)
    untested = symmetry["candidates"]["verdicts"].count("untested")
    where = f"{len(test.trajectories)} held-out trajectories" if test.fresh else "the data of the run"
    text = f"{pairs} pairs of points of {where}, {needed} are needed to test all quantities of degree <= 2"
    if pairs < needed:
        text = f"too little data: {text}"
    if untested:
        text += f"; {untested} candidates could not be tested, for noise or too few points"
    if not test.fresh:
        text += (
            "; fewer than 4 trajectories, so none were kept aside and the test is on what was learned from"
        )
    return {
        "pairs": pairs,
        "needed": needed,
        "untested": untested,
        "enough": pairs >= needed and test.fresh,
        "text": text,
    }


def _calibration(
    run: TrainedRun, trajectories: Trajectories, noise: float | Float[np.ndarray, " dim"], key: Any
) -> dict[str, Any]:
    """Coverage of rollouts on held-out `trajectories`, in scaled coordinates; their `noise` is a variance in
    the units of the data.
    """
    problem = run.problem
    followed = trajectories.first(CALIBRATED_LENGTH)
    try:
        found = rollout_calibration(
            run.posterior,
            key,
            followed,
            most_trajectories=max(2, CALIBRATED_POINTS // followed.times.shape[1]),
            averaging=problem.averaging,
            estimator=problem.evaluator,
            longest_step=float(np.quantile(problem.data.transitions().dt, 0.95)),
            noise_variance=noise / problem.scale.scales**2,
        )
    except FloatingPointError as error:
        return {"text": f"no rollouts to calibrate: {error}"}
    return _entry(found)


def _entry(check: Any, **verdicts: bool) -> dict[str, Any]:
    """A check as it stands in symmetry.json: its numbers, verdicts and sentence."""
    numbers = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in check._asdict().items()
    }
    return {**numbers, **verdicts, "text": check.text()}
