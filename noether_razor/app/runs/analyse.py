"""Say what is conserved in the data of a trained run, what the run learned of it, and the evidence."""

import time
from collections.abc import Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np

from ...inference import Posterior
from ...invariants import Analysis, analyse
from ...prediction import learned_hamiltonian
from ...quadratic_forms import Quadratics
from ...quantities import QuadraticQuantities
from ...trajectories import Trajectories
from ..config import stream
from .folder import RunError, RunFolder
from .held_out import held_out
from .hypotheses import compare_hypotheses, parse_hypothesis
from .refits import OnRefit, converged, refits
from .run import TrainedRun, load_run

SHOWN_TRAJECTORIES, SHOWN_POINTS = 4, 100
"""Of the drift that the report draws."""
KEPT = ("hamiltonian", "checks", "hypotheses")
"""What stays in symmetry.json when a run is analysed again: of `discover`, and hypotheses until others are
named.
"""


class Analysed(NamedTuple):
    """A run, the contents of its symmetry.json, and the first fit without symmetry (None: no evidence)."""

    run: TrainedRun
    symmetry: dict[str, Any]
    plain: Posterior | None


def data_answer(trajectories: Trajectories, noise_variance: float | None = None) -> Analysis:
    """What a file of trajectories says is conserved, without any model.

    `noise_variance`, of the states in their units, is estimated where None.
    """
    dim = trajectories.states.shape[2]
    none = np.zeros((0, dim, dim)), np.zeros((0, dim))
    return analyse(*none, trajectories, noise_variance=noise_variance, restrict=False)


def analyse_run(
    folder: RunFolder,
    *,
    quantities: Sequence[str] = (),
    repeats: int = 1,
    on_refit: OnRefit | None = None,
) -> dict[str, Any]:
    """Analyse a trained run and write symmetry.json, whose contents are returned: see `analysed_run`."""
    return analysed_run(folder, quantities=quantities, repeats=repeats, on_refit=on_refit).symmetry


def analysed_run(
    folder: RunFolder,
    *,
    quantities: Sequence[str] = (),
    repeats: int = 1,
    on_refit: OnRefit | None = None,
) -> Analysed:
    """Analyse a trained run and write symmetry.json.

    Of a run on data of a file, all of its trajectories say what is conserved; the run adds its Hamiltonian.
    Of a run on a simulated system, fresh trajectories of that system test what the run has learned. The
    evidence compares refits with the found space built in, with none, and the run itself, `repeats` of each
    refit with seeds of their own (0: no evidence). `quantities` are formulas whose conservation is to be
    judged, see `parse_hypothesis`; each costs as many refits more, see `compare_hypotheses`. `on_refit` is
    told the name, repeat and logged steps of every refit. A refit that fails costs its part of the answer,
    and is named under "failed". Raises `RunError` for a run that learned no quantities of degree <= 2.
    """
    if repeats < 0:
        raise ValueError(f"repeats must not be negative, got {repeats}")
    if quantities and not repeats:
        raise RunError("--quantity: asks for evidence, which needs --repeats of at least 1")
    started = time.perf_counter()
    config = folder.read_config()
    if config.symmetry.mode != "learned":
        raise RunError(
            f'{folder.path}: symmetry.mode is "{config.symmetry.mode}": this run learned no quantities, '
            'train one with mode = "learned"'
        )
    run = load_run(folder)
    recorded = run.problem.recorded
    hypotheses = [
        parse_hypothesis(text, recorded.names, recorded.velocities, recorded.angles()) for text in quantities
    ]
    found, tested = _found(folder, run)
    plain, evidence = None, None
    failed: dict[str, str] = {}
    if repeats:
        try:
            evidence, plain = _evidence(folder, run, found, repeats, failed, on_refit)
        except FloatingPointError as error:
            failed["evidence"] = str(error)
    symmetry = found.to_json() | {
        "evidence": evidence,
        "failed": failed,
        "along": _along(found, tested),
    }
    if folder.symmetry.exists():
        before = folder.read_symmetry()
        symmetry |= {key: before[key] for key in KEPT if before.get(key) is not None}
    if evidence is not None and hypotheses:
        symmetry["hypotheses"] = compare_hypotheses(
            folder, run, hypotheses, evidence, repeats, tested, on_refit=on_refit
        )
    symmetry["analysis_seconds"] = time.perf_counter() - started
    folder.write_symmetry(symmetry)
    return Analysed(run, symmetry, plain)


def _found(folder: RunFolder, run: TrainedRun) -> tuple[Analysis, Trajectories]:
    """What is conserved, what the run learned of it, and the trajectories that say so."""
    trained, problem, config = run.posterior.quantities, run.problem, run.config
    if not isinstance(trained, QuadraticQuantities):
        raise RunError(f"{folder.path}: the quantities are not of degree <= 2, nothing to analyse")
    learned = problem.scale.quantities_back(
        Quadratics(
            np.asarray(trained.symmetric_matrices(), dtype=np.float64),
            np.asarray(trained.vectors[...], dtype=np.float64),
            np.zeros(trained.count),
        )
    )
    hamiltonian = problem.scale.hamiltonian_back(
        learned_hamiltonian(
            run.posterior,
            stream(config.seed, "analysis"),
            averaging=problem.averaging,
            estimator=problem.evaluator,
        )
    )
    simulated = problem.system is not None
    if simulated:
        test = held_out(run)
        trajectories, noise = test.trajectories, test.noise_variance
    else:
        given = config.inference.noise_variance
        trajectories, noise = problem.recorded, given if isinstance(given, float) else None
    found = analyse(
        learned.matrices,
        learned.vectors,
        trajectories,
        noise_variance=noise,
        hamiltonian=hamiltonian,
        restrict=simulated,
    )
    return found, trajectories


def _along(found: Analysis, trajectories: Trajectories) -> dict[str, Any] | None:
    """Times, and (C(t) - C(0)) over the spread of C, of the found quantities on a few trajectories."""
    if not found.rank:
        return None
    matrices, vectors = found.matrices()

    def values(states: np.ndarray) -> np.ndarray:
        return np.einsum("ti,kij,tj->kt", states, matrices, states) / 2 + vectors @ states.T

    spread = np.std(values(trajectories.points()), axis=1)
    segments = trajectories.segments()[:SHOWN_TRAJECTORIES]
    kept = [np.unique(np.linspace(0, len(t) - 1, SHOWN_POINTS).round().astype(int)) for t, _ in segments]
    curves = [values(states[rows]) for (_, states), rows in zip(segments, kept, strict=True)]
    return {
        "times": [times[rows].tolist() for (times, _), rows in zip(segments, kept, strict=True)],
        "values": [
            [((curve[k] - curve[k, 0]) / spread[k]).tolist() for curve in curves] for k in range(found.rank)
        ],
    }


def _evidence(
    folder: RunFolder,
    run: TrainedRun,
    found: Analysis,
    repeats: int,
    failed: dict[str, str],
    on_refit: OnRefit | None,
) -> tuple[dict[str, Any], Posterior]:
    """Total bounds of refits without symmetry and with the found space built in, and that of the run; and the
    first fit without symmetry. A fit with the found space that fails is left out, and named in `failed`.
    """
    none = refits(folder, run, "none", repeats, on_refit=on_refit)
    evidence = {"none": none.bound, "found": none.bound}
    if found.rank:
        space = run.problem.scale.quantities(Quadratics(*found.matrices(), np.zeros(found.rank)))
        built_in = QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))
        try:
            evidence["found"] = refits(
                folder, run, "fixed", repeats, built_in, name="found", on_refit=on_refit
            ).bound
        except FloatingPointError as error:
            failed["found"] = str(error)
            del evidence["found"]
    summary = folder.read_summary()
    total, train = summary["transitions"], summary["train"]
    history = [line["negative_elbo"] for line in folder.read_metrics()]
    evidence["learned"] = {
        "negative_elbo_total": total * train["negative_elbo"],
        "stderr": total * train["nll_stderr"],
        "converged": converged(history),
        "repeats": 1,
    }
    return evidence, none.posterior
