"""From a file of trajectories to conservation laws, and to what the data cannot tell."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

from ...diagnostics import fit_vector_field, rollout_calibration, sampling_check, structure_check
from ...inference import Posterior
from ...prediction import learned_hamiltonian
from ...symmetry import NoAveraging
from ...training import Report
from ...trajectories import DataFile, Trajectories, read_data_file, scaled_trajectories
from ..config import Config, load_recipe, read_data, stream
from .analyse import Analysed, analysed_run, data_answer
from .folder import RunError, RunFolder, require_same
from .held_out import held_out
from .hypotheses import of_data, parse_hypothesis
from .refits import KeptFit, OnRefit
from .run import TrainedRun, report_run, train_run

RECIPE = "systems/base.toml"
HELD_OUT = 0.25
"""Share of the trajectories that is kept aside to test the model's predictions on."""
CHECKED_TRAJECTORIES, CHECKED_POINTS = 50, 10_000
"""Held-out trajectories and their points for comparing the learned Hamiltonian, at most."""
CALIBRATED_POINTS, CALIBRATED_LENGTH = 500, 100
"""Points of held-out trajectories that rollouts pass, at most, and of one trajectory."""
WINDS = 3
"""Turns that a position covers in the file, from which it may be an angle."""
ENERGY_SAMPLES = 4
"""Draws of weights for the energy along trajectories."""


def discover_config(
    data: Path, mapping: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The default recipe for a data file: noise learned, a quarter of the trajectories kept aside from
    training. `mapping` are keys of the data table. Raises `ConfigError`.
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
    on_answer: Callable[[dict[str, Any]], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
    on_reading: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Say what the data file of `config` conserves; learn its dynamics into `folder`, check what was learned,
    write symmetry.json and report.md, and return the contents of the former.

    All trajectories say what is conserved, before anything is learned: that answer is written first and told
    `on_answer`. What the model adds comes on top; where its training or a part after it fails, that part is
    left out and named under "failed". `quantities` are formulas whose conservation is to be judged: each
    costs `repeats` (at least 1) fits. With `resume` training and refits go on from their checkpoints. The
    other options are those of `train_run` and `analysed_run`. Nothing is written before data and formulas
    have been read. Raises as these do.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    if config.symmetry.mode != "learned":
        raise RunError(f'symmetry.mode: got "{config.symmetry.mode}", discover learns: expected "learned"')
    data = _data(config, folder, resume, on_reading)
    trajectories = data.trajectories
    # A wrong formula is said before anything is trained.
    hypotheses = [
        parse_hypothesis(text, trajectories.names, trajectories.velocities, trajectories.angles())
        for text in quantities
    ]
    given = config.inference.noise_variance
    found = data_answer(trajectories, given if isinstance(given, float) else None)
    symmetry: dict[str, Any] = found.to_json() | {"notes": list(data.notes), "failed": {}}
    if hypotheses:
        symmetry["hypotheses"] = [
            {
                "formula": h.formula,
                "A": h.matrices.tolist(),
                "b": h.vectors.tolist(),
                "fit": None,
                "against": {},
            }
            | of_data(h, trajectories)
            for h in hypotheses
        ]
    folder.write_symmetry(symmetry)
    if on_answer is not None:
        on_answer(symmetry)

    def told(name: str, repeat: int, report: Report) -> None:
        if on_refit is not None:
            on_refit(name, repeat, report)
        if interrupted():
            raise KeyboardInterrupt

    try:
        train_run(
            config,
            folder,
            resume=resume,
            on_progress=on_progress,
            interrupted=interrupted,
            data=data,
            early=True,
        )
    except FloatingPointError as error:
        symmetry["failed"]["model"] = f"{error}; what the data alone say stands{_winding(trajectories)}"
        folder.write_symmetry(symmetry)
        return symmetry
    analysed = analysed_run(folder, quantities=quantities, repeats=repeats, on_refit=told)
    symmetry = analysed.symmetry | {"notes": list(data.notes)}
    checks = _checks(folder, analysed, told)
    symmetry |= {"hamiltonian": checks.get("structure", {}).get("hamiltonian"), "checks": checks}
    folder.write_symmetry(symmetry)
    try:
        report_run(folder)
    except Exception as error:  # whatever a picture fails of costs the report alone
        symmetry["failed"] = {**analysed.symmetry["failed"], "report": f"{type(error).__name__}: {error}"}
        folder.write_symmetry(symmetry)
    return symmetry


def _winding(trajectories: Trajectories) -> str:
    """A hint where a position winds and was not said to be an angle."""
    points, angles = trajectories.points(), trajectories.angles()
    for k in range(trajectories.dof):
        turns = float(np.ptp(points[:, k])) / (2 * np.pi)
        if k not in angles and not trajectories.units[k] and turns > WINDS:
            name = trajectories.names[k]
            return f"; {name} covers {turns:.0f} times 2 pi: if it is an angle, say --periodic {name}"
    return ""


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


def _checks(folder: RunFolder, analysed: Analysed, on_refit: OnRefit) -> dict[str, Any]:
    """What the model can tell, each with its numbers and a sentence; what fails is named in the answer.

    Whether there is a Hamiltonian is asked of the fit without symmetry, which differs from the unstructured
    field in nothing else.
    """
    run, symmetry, plain = analysed
    problem, failed = run.problem, symmetry["failed"]
    test = held_out(run)
    scaled = scaled_trajectories(test.trajectories, problem.scale)
    noise = np.broadcast_to(test.noise_variance, problem.scale.scales.shape) / problem.scale.scales**2
    for_field, for_structure, for_energy, for_bands = jax.random.split(stream(run.config.seed, "checks"), 4)
    # Means over weight samples need no more group samples each than training had.
    predictor = replace(problem.evaluator, group_samples=problem.estimator.group_samples)
    model, averaging = (run.posterior, problem.averaging) if plain is None else (plain, NoAveraging())
    hamiltonian = learned_hamiltonian(
        model, for_energy, averaging=averaging, estimator=replace(predictor, weight_samples=ENERGY_SAMPLES)
    )
    checks: dict[str, Any] = {
        "trajectories": len(problem.measured),
        "held_out_trajectories": len(problem.recorded) - len(problem.measured),
        "transitions": problem.data.transitions().size,
    }

    def check(name: str, make: Callable[[], dict[str, Any]]) -> None:
        try:
            checks[name] = make()
        except Exception as error:  # whatever a check fails of costs that check alone
            failed[name] = f"{type(error).__name__}: {error}"

    def structure() -> dict[str, Any]:
        few = scaled[:CHECKED_TRAJECTORIES]
        every = scaled_trajectories(problem.recorded[:CHECKED_TRAJECTORIES], problem.scale)
        found = structure_check(
            model,
            _field(folder, run, for_field, on_refit, failed),
            for_structure,
            few.first(max(2, CHECKED_POINTS // len(few))),
            noise_variance=noise,
            hamiltonian=hamiltonian,
            averaging=averaging,
            estimator=predictor,
            along=every.first(max(2, CHECKED_POINTS // len(every))),
        )
        asymmetry = None if found.asymmetry is None else found.asymmetry._asdict()
        return _entry(
            found._replace(asymmetry=None),
            asymmetry=asymmetry,
            hamiltonian=found.hamiltonian,
            verdict=found.verdict,
            unexplained=found.unexplained if math.isfinite(found.unexplained) else None,
            reason=found.reason,
        ) | {"text": found.text()}

    def sampling() -> dict[str, Any]:
        variance = float(model.noise_variance())
        found = sampling_check(
            hamiltonian, problem.data, noise_variance=variance, estimator=problem.estimator
        )
        return _entry(found, fine_enough=found.fine_enough)

    check("structure", structure)
    check("sampling", sampling)
    check(
        "calibration", lambda: _calibration(run, scaled, test.noise_variance, for_bands, held_out=test.fresh)
    )
    return checks


def _field(
    folder: RunFolder, run: TrainedRun, key: Any, on_refit: OnRefit, failed: dict[str, str]
) -> Posterior | None:
    """The unstructured field fitted to the data of a run, from its folder where it is there; None where it
    fails.
    """
    problem, config = run.problem, run.config
    kept = KeptFit(folder, "field", [config.network.layers, config.network.width, problem.training.steps])

    def told(report: Report) -> None:
        kept.keep(report, problem.training)
        on_refit("field without structure", 0, report)

    try:
        return fit_vector_field(
            problem.observations,
            problem.training,
            key=key,
            layers=config.network.layers,
            width=config.network.width,
            alpha=config.network.elu_alpha,
            noise_variance=float(problem.posterior.noise_variance()),
            relative_scale=config.inference.relative_scale,
            periods=problem.data.periods,
            estimator=problem.estimator,
            resume=kept.restore,
            callback=told,
        )
    except FloatingPointError as error:
        failed["field without structure"] = str(error)
        return None


def _calibration(
    run: TrainedRun,
    trajectories: Trajectories,
    noise: float | Float[np.ndarray, " dim"],
    key: Any,
    *,
    held_out: bool,
) -> dict[str, Any]:
    """Coverage of rollouts on `trajectories`, in scaled coordinates, of which `held_out` says whether the run
    has not seen them; their `noise` is a variance in the units of the data.
    """
    problem = run.problem
    followed = trajectories.first(CALIBRATED_LENGTH)
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
    return _entry(found) | {"text": found.text(held_out=held_out)}


def _entry(check: Any, **verdicts: Any) -> dict[str, Any]:
    """A check as it stands in symmetry.json: its numbers, verdicts and sentence."""
    numbers = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in check._asdict().items()
    }
    return {**numbers, **verdicts, "text": check.text()}
