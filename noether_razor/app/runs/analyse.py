"""Say what is conserved in the data of a trained run, what the run learned of it, and the Delta-ELBO."""

import time
from collections.abc import Sequence
from typing import Any

from ...discovery import (
    HypothesisError,
    RunError,
    RunFolder,
    along,
    analysis_of,
    judged_by_data,
    learned_answer,
    named_noise,
    parse_hypothesis,
    reached,
    weigh,
)
from ...discovery.keeping import Tell, say_nothing
from ...quantities import Hypothesis
from ...trajectories import Trajectories
from .configured import config_of
from .held_out import held_out
from .run import TrainedRun, load_run

KEPT = ("hamiltonian", "checks", "hypotheses", "beyond")
"""What stays in symmetry.json when a run is analysed again: of `discover`, and hypotheses until others are
named.
"""


def parsed(quantities: Sequence[str], trajectories: Trajectories) -> list[Hypothesis]:
    """The formulas of --quantity. Raises `RunError` with one line for what cannot be read."""
    names, angles = trajectories.names, trajectories.angles()
    try:
        return [parse_hypothesis(text, names, trajectories.other_names(), angles) for text in quantities]
    except HypothesisError as error:
        raise RunError(f"--quantity: {error}") from None


def analyse_run(
    folder: RunFolder,
    *,
    quantities: Sequence[str] = (),
    repeats: int = 1,
    on_refit: Tell = say_nothing,
) -> dict[str, Any]:
    """Analyse a trained run, write symmetry.json and return its contents.

    Of a run on data of a file, all of its trajectories say what is conserved; the run adds its Hamiltonian.
    Of a run on a simulated system, fresh trajectories of that system test what the run has learned. Refits
    with the found space built in and with none give the Delta-ELBO, `repeats` of each with seeds of their own
    (0: none). `quantities` are formulas whose conservation is to be judged, each for as many refits more.
    `on_refit` is told the name and logged steps of every refit. A refit that fails costs its part of the
    answer, and is named under "failed". Of other families than the quadratic one
    "learned_family" says what was learned; the rest is by the trajectories. Raises `RunError` for a run that
    learned no quantities.
    """
    if repeats < 0:
        raise ValueError(f"repeats must not be negative, got {repeats}")
    if quantities and not repeats:
        raise RunError("--quantity: needs fits for its Delta-ELBO, so --repeats must be at least 1")
    started = time.perf_counter()
    run = _learned_run(folder)
    tested, noise = run.problem.recorded, named_noise(run.problem)
    hypotheses = parsed(quantities, tested)
    if run.problem.truth is not None:
        tested, noise, _ = held_out(run)
    failed: dict[str, str] = {}
    bound = reached(folder.read_summary())
    analysis = analysis_of(run.fitted, tested, noise)
    learned = learned_answer(run.fitted, tested, failed, noise)
    answers = [judged_by_data(hypothesis, tested) for hypothesis in hypotheses]
    evidence, answers = weigh(
        run.fitted, analysis, bound, answers, failed, repeats=repeats, keep=folder.keep, tell=on_refit
    )
    shown = along(analysis, tested)
    symmetry = analysis.to_json() | {
        "evidence": None if evidence is None else evidence.to_json(),
        "learned_family": None if learned is None else learned.to_json(),
        "failed": failed,
        "along": None if shown is None else shown.to_json(),
        "notes": list(run.notes),
    }
    if folder.symmetry.exists():
        before = folder.read_symmetry()
        exact = (before.get("evidence") or {}).get("exact")
        if exact is not None:
            symmetry["evidence"] = (symmetry["evidence"] or {}) | {"exact": exact}
        symmetry |= {key: before[key] for key in KEPT if before.get(key) is not None}
    # Where the fits failed, what earlier ones said of hypotheses stays.
    if hypotheses and (evidence is not None or "hypotheses" not in symmetry):
        symmetry["hypotheses"] = [answer.to_json() for answer in answers]
    symmetry["analysis_seconds"] = time.perf_counter() - started
    folder.write_symmetry(symmetry)
    return symmetry


def _learned_run(folder: RunFolder) -> TrainedRun:
    """The trained run of a folder. Raises `RunError` for one without learned quantities."""
    mode = config_of(folder).symmetry.mode
    if mode != "learned":
        raise RunError(
            f'{folder.path}: symmetry.mode is "{mode}": this run learned no quantities, '
            'train one with mode = "learned"'
        )
    return load_run(folder)
