"""Say what a trained run found: its conserved quantities, their algebra, and the evidence for them."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..analysis import (
    Analysis,
    BoundChange,
    analyse,
    bound_change,
    learned_hamiltonian,
    nearest_quantities,
    random_part,
)
from ..config import stream
from ..conserved import QuadraticQuantities
from ..data import Trajectories
from ..inference import Posterior, transition_count
from ..phase_space import Quadratics
from ._folder import RunError, RunFolder
from ._held_out import held_out
from ._hypotheses import compare_hypotheses, parse_hypothesis
from ._refits import OnRefit, converged, refits
from ._run import BOUND_SUBSET, TrainedRun, load_run

SHOWN_TRAJECTORIES, SHOWN_POINTS = 4, 100
"""Of the drift that the report draws."""
STRONG, STANDARD_ERRORS = 3.0, 3.0
"""Nats of evidence that count as strong (Kass and Raftery 1995), and by how many standard errors."""
KEPT = ("hamiltonian", "checks", "hypotheses")
"""What stays in symmetry.json when a run is analysed again: of `discover`, and hypotheses until others are
named.
"""


class Analysed(NamedTuple):
    """A run, the contents of its symmetry.json, and the first fit without symmetry (None: no evidence)."""

    run: TrainedRun
    symmetry: dict[str, Any]
    plain: Posterior | None


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

    The quantities are tested on held-out trajectories; the evidence compares refits with the found space
    built in, with none, and the run itself, `repeats` of each refit with seeds of their own (0: no evidence).
    `quantities` are formulas whose conservation is to be judged, see `parse_hypothesis`; each costs as many
    refits more, see `compare_hypotheses`.
    `on_refit` is told the name, repeat and logged steps of every refit. Raises `RunError` for a run that
    learned no quantities of degree <= 2, or whose data are too few to test them.
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
    trained, problem = run.posterior.quantities, run.problem
    if not isinstance(trained, QuadraticQuantities):
        raise RunError(f"{folder.path}: the quantities are not of degree <= 2, nothing to analyse")
    recorded = problem.recorded
    hypotheses = [parse_hypothesis(text, recorded.names, recorded.velocities) for text in quantities]
    learned = problem.scale.quantities_back(
        Quadratics(
            np.asarray(trained.symmetric_matrices(), dtype=np.float64),
            np.asarray(trained.vectors[...], dtype=np.float64),
            np.zeros(trained.count),
        )
    )
    test = held_out(run)
    hamiltonian = problem.scale.hamiltonian_back(
        learned_hamiltonian(
            run.posterior,
            stream(config.seed, "analysis"),
            averaging=problem.averaging,
            estimator=problem.evaluator,
        )
    )
    read = partial(
        analyse,
        learned.matrices,
        learned.vectors,
        test.trajectories,
        noise_variance=test.noise_variance,
        hamiltonian=hamiltonian,
    )
    try:
        found = read()
    except ValueError as error:
        raise RunError(f"{folder.path}: {error}") from None
    plain, evidence, rounding = None, None, None
    if repeats:
        evidence, plain, built_in = _evidence(folder, run, found, repeats, on_refit)
        if built_in is not None:
            measured = read(simplify=False)
            change = rounding_change(run, built_in, measured)
            rounding = {"nats": change.nats, "stderr": change.stderr, "kept": not costs_bound(change)}
            if not rounding["kept"]:
                found = measured
    symmetry = found.to_json() | {
        "evidence": evidence,
        "rounding": rounding,
        "held_out": test.fresh,
        "along": _along(found, test.trajectories),
    }
    if folder.symmetry.exists():
        before = folder.read_symmetry()
        symmetry |= {key: before[key] for key in KEPT if key in before}
    if evidence is not None and hypotheses:
        symmetry["hypotheses"] = compare_hypotheses(run, hypotheses, evidence, repeats, on_refit=on_refit)
    symmetry["analysis_seconds"] = time.perf_counter() - started
    folder.write_symmetry(symmetry)
    return Analysed(run, symmetry, plain)


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
    on_refit: OnRefit | None,
) -> tuple[dict[str, Any], Posterior, Posterior | None]:
    """Total bounds of refits without symmetry and with the found space built in, and that of the run; and the
    first of either kind (None where nothing was found).
    """
    none = refits(run, "none", repeats, on_refit=on_refit)
    evidence, with_found = {"none": none.bound}, None
    if found.rank:
        built_in = _in_training_units(run, found)
        found_in = refits(run, "fixed", repeats, built_in, name="found", on_refit=on_refit)
        evidence["found"], with_found = found_in.bound, found_in.posterior
    else:
        evidence["found"] = evidence["none"]
    summary = folder.read_summary()
    total, train = summary["transitions"], summary["train"]
    history = [line["negative_elbo"] for line in folder.read_metrics()]
    evidence["learned"] = {
        "negative_elbo_total": total * train["negative_elbo"],
        "stderr": total * train["nll_stderr"],
        "converged": converged(history),
        "repeats": 1,
    }
    return evidence, none.posterior, with_found


def _in_training_units(run: TrainedRun, found: Analysis) -> QuadraticQuantities:
    """The found quantities in the coordinates in which the run was trained."""
    space = run.problem.scale.quantities(Quadratics(*found.matrices(), np.zeros(found.rank)))
    return QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))


def rounding_change(run: TrainedRun, built_in: Posterior, measured: Analysis) -> BoundChange:
    """By how much the total -ELBO of a refit with the found space built in changes where its quantities are
    replaced by their nearest in the space as `measured`, without simple numbers.

    The network stays: it is one of those that a refit with `measured` quantities could have learned, so a
    fall is the least by which simple numbers lowered the bound.
    """
    quantities = built_in.quantities
    assert isinstance(quantities, QuadraticQuantities)
    moved = nnx.clone(built_in)
    moved.quantities = nearest_quantities(quantities, _in_training_units(run, measured))
    observations, config = run.problem.observations, run.config
    for_subset, for_bound = jax.random.split(stream(config.seed, "rounding"))
    return bound_change(
        built_in,
        moved,
        for_bound,
        random_part(observations, for_subset, BOUND_SUBSET),
        transition_count(observations),
        prior_precision=config.inference.prior_precision,
        averaging=run.problem.averaging,
        estimator=run.problem.evaluator,
    )


def costs_bound(change: BoundChange) -> bool:
    """Whether a fall of -ELBO is strong evidence that what was there before was wrong."""
    return -change.nats > max(STRONG, STANDARD_ERRORS * change.stderr)
