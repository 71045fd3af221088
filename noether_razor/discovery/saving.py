"""Write a discovery into a run folder, and read it back."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
from flax import nnx
from matplotlib.figure import Figure

from ..beyond import Beyond
from ..diagnostics import Asymmetry, Calibration, SamplingCheck, StructureCheck
from ..exact_evidence import Evidence as ExactEvidence
from ..files import write_whole
from ..invariants import BodyTerms
from ..modelling import Problem, make_problem
from ..options import (
    EstimateOptions,
    InferenceOptions,
    NetworkOptions,
    Options,
    SymmetryOptions,
    TrainingOptions,
)
from ..random import stream
from ..reporting import ANSWER_PICTURES, PICTURES, ReportData, answer_html, elbo_fits, write_report
from ..training import Rates, TrainState, initial_state
from ..trajectories import Trajectories, read_data_file, save_trajectories
from .agreement import Agreement
from .checks import Checks
from .comparison import Bound
from .examination import Evidence, analysis_of, data_answer
from .fitted import Fitted, kept_aside_sets, named_noise
from .folder import RunError, RunFolder
from .hypotheses import HypothesisAnswer
from .learned import Learned
from .result import Discovery


def save(found: Discovery, path: Path) -> Path:
    """See `Discovery.save`."""
    folder = RunFolder(path)
    if folder.holds_run():
        raise FileExistsError(f"{path}: already holds a run, give another folder")
    save_trajectories(folder.data, found.trajectories, found.notes)
    if found.model is not None:
        problem, posterior = found.model
        folder.write_tables(tables_of(problem.options, problem.seed))
        state = initial_state(problem.posterior, problem.training)
        done = jnp.asarray(problem.training.steps, jnp.int32)
        trained = TrainState(nnx.state(posterior), state.optimiser, done)
        seconds = {key: found.summary[key] for key in ("wall_seconds", "compile_seconds")}
        folder.checkpoint.save(trained, seconds)
        folder.write_metrics([dict(line) for line in found.metrics])
        folder.write_summary(dict(found.summary))
    folder.write_symmetry(found.to_json())
    write_reports(found, folder)
    return path


def write_reports(found: Discovery, folder: RunFolder) -> None:
    """Write the reports of a discovery into its folder: report.html, and with a model report.md and its
    figures.
    """
    if found.model is None:
        write_whole(folder.page, answer_html(found.to_json(), folder.path.resolve().name))
    else:
        write_run_report(folder, _report_data(found, folder.path.resolve().name))


def write_run_report(folder: RunFolder, data: ReportData) -> str:
    """Write report.md with its figures and report.html into a folder, and return the former's text."""
    reports = write_report(folder.figures, data)
    write_whole(folder.report, reports.markdown)
    write_whole(folder.page, reports.html)
    return reports.markdown


def figures(found: Discovery) -> dict[str, Figure]:
    """The figures of the reports, by name; without a model those that need none."""
    drawn: dict[str, Figure | None]
    if found.model is None:
        symmetry = found.to_json()
        drawn = {picture.name: picture.draw(symmetry) for picture in ANSWER_PICTURES}
    else:
        data = _report_data(found, "")
        drawn = {picture.name: picture.draw(data) for picture in PICTURES}
    return {name: figure for name, figure in drawn.items() if figure is not None}


def _report_data(found: Discovery, title: str) -> ReportData:
    assert found.model is not None
    calibration = None if found.checks is None else found.checks.calibration
    return report_data(
        found.model,
        title=title,
        summary=found.summary,
        metrics=found.metrics,
        test_sets=kept_aside_sets(found.model.problem),
        symmetry=found.to_json(),
        spread_scale=1.0 if calibration is None else calibration.spread_scale,
    )


def report_data(
    model: Fitted,
    *,
    title: str,
    summary: Mapping[str, Any],
    metrics: Sequence[Mapping[str, Any]],
    test_sets: Mapping[str, Trajectories],
    symmetry: Mapping[str, Any] | None,
    spread_scale: float,
) -> ReportData:
    """What the reports and figures of a trained model are made of: see `ReportData`."""
    problem = model.problem
    return ReportData(
        title=title,
        summary=summary,
        metrics=[dict(line) for line in metrics],
        posterior=model.posterior,
        predictor=problem.predictor,
        data=problem.measured,
        scale=problem.scale,
        test_sets=test_sets,
        system=problem.system,
        key=stream(problem.seed, "report"),
        symmetry=symmetry,
        spread_scale=spread_scale,
    )


def tables_of(options: Options, seed: int) -> dict[str, Any]:
    """Options as the tables of a configuration for the data of its own folder."""
    return {
        "seed": seed,
        "data": {
            "file": "data.npz",
            "scale": options.scale,
            "spread": options.spread,
            "held_out": options.held_out,
        },
        "network": asdict(options.network),
        "symmetry": asdict(options.symmetry),
        "inference": asdict(options.inference),
        "training": asdict(options.training),
        "evaluation": asdict(options.estimates),
    }


def options_of(tables: Mapping[str, Any]) -> Options:
    """The options that the tables of a run's configuration name. Raises KeyError or TypeError for others."""
    # What the command line alone knows, such as when to write a checkpoint, is no option of the library.
    training = {field.name: tables["training"][field.name] for field in fields(TrainingOptions)}
    estimates = {name: tables["evaluation"][name] for name in asdict(EstimateOptions())}
    data = tables["data"]
    return Options(
        network=NetworkOptions(**tables["network"]),
        symmetry=SymmetryOptions(
            **{**tables["symmetry"], "terms": tuple(tables["symmetry"].get("terms", ()))}
        ),
        inference=InferenceOptions(**tables["inference"]),
        training=TrainingOptions(**{**training, "rates": Rates(**training["rates"])}),
        estimates=EstimateOptions(**estimates),
        scale=data["scale"],
        spread=data["spread"],
        held_out=data["held_out"],
        bodies=data.get("bodies"),
    )


def load(path: Path) -> Discovery:
    """See `Discovery.load`."""
    folder = RunFolder(path)
    if not path.is_dir():
        raise RunError(f"{path}: no such run folder")
    trajectories, notes = read_data_file(folder.data)
    symmetry = folder.read_symmetry()
    bodies, family = symmetry.get("bodies"), symmetry.get("family", "quadratic")
    dictionary = BodyTerms.of(trajectories.names, bodies) if bodies else family
    found = Discovery(trajectories, data_answer(trajectories, dictionary=dictionary), notes=tuple(notes))
    try:
        model, problem = None, None
        if folder.holds_run():
            tables = folder.read_tables()
            if tables["data"].get("file") is None:
                raise RunError(f"{path}: a run on simulated data, expected a run of discover")
            options = options_of(tables)
            problem = make_problem(trajectories, options, seed=tables["seed"])
            model = _restored(folder, problem)
        if model is not None:
            noise, space = named_noise(model.problem), found.analysis.space
            found = replace(found, analysis=analysis_of(model, trajectories, noise, space=space))
        return replace(
            found,
            model=model,
            evidence=_evidence(symmetry.get("evidence")),
            exact=_exact(symmetry.get("evidence")),
            agreement=_agreement(symmetry.get("evidence")),
            beyond=_beyond(symmetry.get("beyond")),
            learned=_learned(symmetry.get("learned_family")),
            hypotheses=tuple(HypothesisAnswer.from_json(entry) for entry in symmetry.get("hypotheses", [])),
            checks=_checks(symmetry.get("checks"), problem),
            failed=dict(symmetry.get("failed", {})),
            seconds=float(symmetry.get("analysis_seconds", 0.0)),
            summary=folder.read_summary() if folder.summary.exists() else {},
            metrics=tuple(folder.read_metrics()),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RunError(f"{path}: damaged ({type(error).__name__}: {error})") from None


def _restored(folder: RunFolder, problem: Problem) -> Fitted | None:
    """The trained model of a folder, None where training has not finished."""
    if not folder.summary.exists():
        return None
    found = folder.checkpoint.restore(initial_state(problem.posterior, problem.training))
    if found is None:
        raise RunError(f"{folder.path}: has a summary but no checkpoint")
    graph, _ = nnx.split(problem.posterior)
    return Fitted(problem, nnx.merge(graph, found[0].params))


def _exact(entry: Mapping[str, Any] | None) -> ExactEvidence | None:
    return ExactEvidence.from_json(entry["exact"]) if entry and "exact" in entry else None


def _beyond(entry: Mapping[str, Any] | None) -> Beyond | None:
    return None if entry is None else Beyond.from_json(entry)


def _learned(entry: Mapping[str, Any] | None) -> Learned | None:
    return None if entry is None else Learned.from_json(entry)


def _agreement(entry: Mapping[str, Any] | None) -> Agreement | None:
    compared = ((entry or {}).get("exact") or {}).get("agreement")
    return None if compared is None else Agreement.from_json(compared)


def _evidence(entry: Mapping[str, Any] | None) -> Evidence | None:
    if not elbo_fits(entry):
        return None
    assert entry is not None
    bounds = {
        name: Bound.from_json(entry[name]) if name in entry else None for name in ("none", "found", "learned")
    }
    none, learned = bounds["none"], bounds["learned"]
    assert none is not None and learned is not None
    return Evidence(none, bounds["found"], learned, None)


def _checks(entry: Mapping[str, Any] | None, problem: Problem | None) -> Checks | None:
    if not entry:
        return None

    def made(name: str, kind: Any) -> Any:
        if name not in entry:
            return None
        values = {key: entry[name][key] for key in kind._fields}
        if isinstance(values.get("asymmetry"), Mapping):
            values["asymmetry"] = Asymmetry(**values["asymmetry"])
        missing = {key: math.nan for key, value in values.items() if value is None and key != "asymmetry"}
        return kind(**{**values, **missing})

    return Checks(
        trajectories=entry["trajectories"],
        held_out_trajectories=entry["held_out_trajectories"],
        transitions=entry["transitions"],
        structure=made("structure", StructureCheck),
        sampling=made("sampling", SamplingCheck),
        calibration=made("calibration", Calibration),
        kept_aside=problem is not None and problem.held_out is not None,
    )
