"""Say what a trained run found: its conserved quantities, their algebra, and the evidence for them."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..analysis import Analysis, analyse, estimate_bound, learned_hamiltonian
from ..config import build_problem, simulate_data, stream
from ..conserved import QuadraticQuantities
from ..data import Trajectories
from ..phase_space import Quadratics
from ..training import Report, fit
from ._folder import RunError, RunFolder
from ._run import BOUND_SUBSET, TrainedRun, load_run

HELD_OUT_TRAJECTORIES, HELD_OUT_TRANSITIONS = 100, 20
"""Fresh trajectories of a simulated system, at least so many and so long."""
SHOWN_TRAJECTORIES, SHOWN_POINTS = 4, 100
"""Of the drift that the report draws."""
SETTLED = 0.02
"""Share of what a fit gained in all, that its last fifth may still gain when it counts as converged."""


class HeldOut(NamedTuple):
    """Trajectories to test on, in their own units, the variance of the noise on their states (None: not
    known), and whether the run has not seen them.
    """

    trajectories: Trajectories
    noise_variance: float | None
    fresh: bool


def held_out(run: TrainedRun) -> HeldOut:
    """Fresh trajectories of a simulated system, from the distribution and with the noise of its data; those
    of the run itself where its data came from a file.
    """
    config, system = run.config, run.problem.system
    if system is None:
        measured = run.problem.measured
        given = config.inference.noise_variance
        known = 0.0 if measured.targets is not None else given if isinstance(given, float) else None
        return HeldOut(measured, known, False)
    data = config.data.model_copy(
        update={
            "trajectories": max(config.data.trajectories, HELD_OUT_TRAJECTORIES),
            "transitions": max(config.data.transitions, HELD_OUT_TRANSITIONS),
        }
    )
    fresh = config.model_copy(update={"data": data, "seed": _derived_seed(config.seed, "held out")})
    noise = config.data.noise_variance if config.data.noise_on == "states" else 0.0
    return HeldOut(simulate_data(fresh, system), noise, True)


def analyse_run(
    folder: RunFolder,
    *,
    repeats: int = 1,
    on_refit: Callable[[str, int, Report], None] | None = None,
) -> dict[str, Any]:
    """Analyse a trained run and write symmetry.json, whose contents are returned.

    The quantities are tested on held-out trajectories; the evidence compares refits with the found space
    built in, with none, and the run itself, `repeats` of each refit with seeds of their own (0: no evidence).
    `on_refit` is told the name, repeat and logged steps of every refit. Raises `RunError` for a run that
    learned no quantities of degree <= 2, or whose data are too few to test them.
    """
    if repeats < 0:
        raise ValueError(f"repeats must not be negative, got {repeats}")
    config = folder.read_config()
    if config.symmetry.mode != "learned":
        raise RunError(
            f'{folder.path}: symmetry.mode is "{config.symmetry.mode}": this run learned no quantities, '
            'train one with mode = "learned"'
        )
    run = load_run(folder)
    quantities, problem = run.posterior.quantities, run.problem
    if not isinstance(quantities, QuadraticQuantities):
        raise RunError(f"{folder.path}: the quantities are not of degree <= 2, nothing to analyse")
    learned = problem.scale.quantities_back(
        Quadratics(
            np.asarray(quantities.symmetric_matrices(), dtype=np.float64),
            np.asarray(quantities.vectors[...], dtype=np.float64),
            np.zeros(quantities.count),
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
    try:
        found = analyse(
            learned.matrices,
            learned.vectors,
            test.trajectories,
            noise_variance=test.noise_variance,
            hamiltonian=hamiltonian,
        )
    except ValueError as error:
        raise RunError(f"{folder.path}: {error}") from None
    symmetry = found.to_json() | {"held_out": test.fresh, "along": _along(found, test.trajectories)}
    if repeats:
        symmetry["evidence"] = _evidence(folder, run, found, repeats, on_refit)
    folder.write_symmetry(symmetry)
    return symmetry


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
    on_refit: Callable[[str, int, Report], None] | None,
) -> dict[str, Any]:
    """Total bounds of refits without symmetry and with the found space built in, and that of the run."""
    evidence = {"none": _refits(run, None, "none", repeats, on_refit)}
    if found.rank:
        space = run.problem.scale.quantities(Quadratics(*found.matrices(), np.zeros(found.rank)))
        built_in = QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))
        evidence["found"] = _refits(run, built_in, "found", repeats, on_refit)
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
    return evidence


def _refits(
    run: TrainedRun,
    quantities: QuadraticQuantities | None,
    name: str,
    repeats: int,
    on_refit: Callable[[str, int, Report], None] | None,
) -> dict[str, Any]:
    """The mean total bound of `repeats` fits, its standard error over them, and whether all converged.

    The error of a single fit is the Monte Carlo error of its estimate alone.
    """
    symmetry = run.config.symmetry.model_copy(update={"mode": "none" if quantities is None else "fixed"})
    totals, errors, settled = [], [], []
    for repeat in range(repeats):
        config = run.config.model_copy(
            update={"symmetry": symmetry, "seed": _derived_seed(run.config.seed, f"refit {repeat}")}
        )
        problem = build_problem(config, run.problem.measured, quantities=quantities)
        transitions = problem.data.transitions()
        told = None if on_refit is None else _Told(on_refit, name, repeat)
        result = fit(
            problem.posterior,
            transitions,
            problem.training,
            key=stream(config.seed, "training"),
            averaging=problem.averaging,
            estimator=problem.estimator,
            callback=told,
        )
        for_subset, for_bound = jax.random.split(stream(config.seed, "evaluation"))
        subset = np.sort(np.asarray(jax.random.permutation(for_subset, transitions.size))[:BOUND_SUBSET])
        bound = estimate_bound(
            result.posterior,
            for_bound,
            jax.tree.map(lambda x, rows=subset: np.asarray(x)[rows], transitions),
            transitions.size,
            prior_precision=config.inference.prior_precision,
            averaging=problem.averaging,
            estimator=problem.evaluator,
            stderr=config.evaluation.nll_stderr,
        )
        totals.append(transitions.size * bound.negative_elbo)
        errors.append(transitions.size * bound.nll_stderr)
        settled.append(converged([report.negative_elbo for report in result.history]))
    spread = np.std(totals, ddof=1) / np.sqrt(repeats) if repeats > 1 else errors[0]
    return {
        "negative_elbo_total": float(np.mean(totals)),
        "stderr": float(spread),
        "converged": all(settled),
        "repeats": repeats,
    }


class _Told:
    """Passes the reports of one refit on, with its name and number."""

    def __init__(self, listener: Callable[[str, int, Report], None], name: str, repeat: int):
        self.listener, self.name, self.repeat = listener, name, repeat

    def __call__(self, report: Report) -> None:
        self.listener(self.name, self.repeat, report)


def converged(history: Sequence[float]) -> bool:
    """Whether a logged -ELBO / N has settled: its last fifth gained at most 2 % of what was gained in all, or
    no more than it fluctuates.
    """
    values = np.asarray(history, dtype=np.float64)
    fifth = len(values) // 5
    if fifth < 1:
        return False
    last, before = values[-fifth:], values[-2 * fifth : -fifth]
    gain = before.mean() - last.mean()
    fluctuation = float(np.hypot(np.std(last), np.std(before)) / np.sqrt(fifth)) if fifth > 2 else 0.0
    return bool(gain <= max(SETTLED * (values[0] - last.mean()), 2 * fluctuation))


def _derived_seed(seed: int, purpose: str) -> int:
    """A seed of its own for one purpose, which the run's seed determines."""
    return int(jax.random.bits(stream(seed, purpose)))
