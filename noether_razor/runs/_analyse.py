"""Say what a trained run found: its conserved quantities, their algebra, and the evidence for them."""

import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ..analysis import (
    Analysis,
    BoundChange,
    analyse,
    bound_change,
    estimate_bound,
    estimate_noise,
    learned_hamiltonian,
    nearest_quantities,
    random_part,
)
from ..config import build_problem, simulate_data, stream
from ..conserved import QuadraticQuantities
from ..data import Trajectories
from ..inference import Posterior, transition_count
from ..phase_space import Quadratics
from ..training import Report, fit
from ._folder import RunError, RunFolder
from ._run import BOUND_SUBSET, TrainedRun, load_run

HELD_OUT_TRAJECTORIES, HELD_OUT_TRANSITIONS = 100, 20
"""Fresh trajectories of a simulated system, at least so many and so long."""
SHOWN_TRAJECTORIES, SHOWN_POINTS = 4, 100
"""Of the drift that the report draws."""
STRONG, STANDARD_ERRORS = 3.0, 3.0
"""Nats of evidence that count as strong (Kass and Raftery 1995), and by how many standard errors."""
SETTLED = 0.02
"""Share of what a fit gained in all, that its last fifth may still gain when it counts as converged."""
ORBIT_GROWTH = 2 / 3
"""Share of the steps over which the orbits of built-in quantities grow to their size: an average over a few
points of a wide orbit varies so much that the fit does not recover. Learned quantities grow by themselves.
"""

DISCOVERED = ("hamiltonian", "checks", "hypotheses")
"""What `discover` adds to symmetry.json, kept when a run is analysed again."""


class HeldOut(NamedTuple):
    """Trajectories to test on, in their own units, the variance of the noise on their states, of all
    coordinates or of each, and whether the run has not seen them.
    """

    trajectories: Trajectories
    noise_variance: float | Float[np.ndarray, " dim"]
    fresh: bool


def held_out(run: TrainedRun) -> HeldOut:
    """Fresh trajectories of a simulated system, from the distribution and with the noise of its data; those
    kept aside of a file, or of the run itself where none were.
    """
    config, system = run.config, run.problem.system
    if system is None:
        aside = run.problem.held_out
        test = run.problem.measured if aside is None else aside
        return HeldOut(test, _noise_variance(run, test), aside is not None)
    data = config.data.model_copy(
        update={
            "trajectories": max(config.data.trajectories, HELD_OUT_TRAJECTORIES),
            "transitions": max(config.data.transitions, HELD_OUT_TRANSITIONS),
        }
    )
    fresh = config.model_copy(update={"data": data, "seed": _derived_seed(config.seed, "held out")})
    noise = config.data.noise_variance if config.data.noise_on == "states" else 0.0
    return HeldOut(simulate_data(fresh, system), noise, True)


def measurement_noise(run: TrainedRun) -> float | Float[np.ndarray, " dim"]:
    """The variance of the noise on what was measured of a run's data, of all coordinates or of each."""
    if run.problem.system is not None:
        return run.config.data.noise_variance
    return _noise_variance(run, run.problem.measured)


def _noise_variance(run: TrainedRun, test: Trajectories) -> float | Float[np.ndarray, " dim"]:
    """Of the states of a file: named, or estimated from neighbouring rows; where these are too far apart for
    that, the learned one, which holds errors of the model too. That of a likelihood of transitions is of
    noise at both ends.
    """
    given = run.config.inference.noise_variance
    if test.targets is not None:
        return 0.0
    if isinstance(given, float):
        return given
    try:
        return estimate_noise(test)
    except ValueError:
        ends = 2 if run.problem.likelihood.window_steps is None else 1
        return float(run.posterior.noise_variance()) / ends * run.problem.scale.scales**2


class Analysed(NamedTuple):
    """A run, the contents of its symmetry.json, and the first fit without symmetry (None: no evidence)."""

    run: TrainedRun
    symmetry: dict[str, Any]
    plain: Posterior | None


def analyse_run(
    folder: RunFolder,
    *,
    repeats: int = 1,
    on_refit: Callable[[str, int, Report], None] | None = None,
) -> dict[str, Any]:
    """Analyse a trained run and write symmetry.json, whose contents are returned: see `analysed_run`."""
    return analysed_run(folder, repeats=repeats, on_refit=on_refit).symmetry


def analysed_run(
    folder: RunFolder,
    *,
    repeats: int = 1,
    on_refit: Callable[[str, int, Report], None] | None = None,
) -> Analysed:
    """Analyse a trained run and write symmetry.json.

    The quantities are tested on held-out trajectories; the evidence compares refits with the found space
    built in, with none, and the run itself, `repeats` of each refit with seeds of their own (0: no evidence).
    `on_refit` is told the name, repeat and logged steps of every refit. Raises `RunError` for a run that
    learned no quantities of degree <= 2, or whose data are too few to test them.
    """
    if repeats < 0:
        raise ValueError(f"repeats must not be negative, got {repeats}")
    started = time.perf_counter()
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
    symmetry["analysis_seconds"] = time.perf_counter() - started
    if folder.symmetry.exists():
        before = folder.read_symmetry()
        symmetry |= {key: before[key] for key in DISCOVERED if key in before}
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
    on_refit: Callable[[str, int, Report], None] | None,
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


class Refits(NamedTuple):
    """The bound of some fits of one kind, as in symmetry.json, and the first of them."""

    bound: dict[str, Any]
    posterior: Posterior


def refits(
    run: TrainedRun,
    mode: str,
    repeats: int,
    quantities: QuadraticQuantities | None = None,
    *,
    name: str = "",
    on_refit: Callable[[str, int, Report], None] | None = None,
) -> Refits:
    """The mean total bound of `repeats` fits to the data of a run, its standard error over them, and whether
    all converged.

    `mode` is that of the symmetry table; `quantities`, in the coordinates of training, are built in where it
    is fixed. The k-th repeat has the same seed whatever the mode. The error of a single fit is the Monte
    Carlo error of its estimate alone. `on_refit` is told the name (default: the mode), repeat and logged
    steps.
    """
    symmetry = run.config.symmetry.model_copy(update={"mode": mode})
    growth = run.config.training.orbit_growth or round(ORBIT_GROWTH * run.config.training.steps)
    training = run.config.training.model_copy(update={"orbit_growth": growth})
    totals, errors, settled, posteriors = [], [], [], []
    for repeat in range(repeats):
        config = run.config.model_copy(
            update={
                "symmetry": symmetry,
                "training": training,
                "seed": _derived_seed(run.config.seed, f"refit {repeat}"),
            }
        )
        problem = build_problem(config, run.problem.recorded, quantities=quantities)
        total = transition_count(problem.observations)
        told = None if on_refit is None else _Told(on_refit, name or mode, repeat)
        result = fit(
            problem.posterior,
            problem.observations,
            problem.training,
            key=stream(config.seed, "training"),
            averaging=problem.averaging,
            estimator=problem.estimator,
            callback=told,
        )
        for_subset, for_bound = jax.random.split(stream(config.seed, "evaluation"))
        bound = estimate_bound(
            result.posterior,
            for_bound,
            random_part(problem.observations, for_subset, BOUND_SUBSET),
            total,
            trained=problem.training.seen(total),
            prior_precision=config.inference.prior_precision,
            averaging=problem.averaging,
            estimator=problem.evaluator,
            stderr=config.evaluation.nll_stderr,
        )
        posteriors.append(result.posterior)
        totals.append(total * bound.negative_elbo)
        errors.append(total * bound.nll_stderr)
        settled.append(converged([report.negative_elbo for report in result.history]))
    spread = np.std(totals, ddof=1) / np.sqrt(repeats) if repeats > 1 else errors[0]
    bound = {
        "negative_elbo_total": float(np.mean(totals)),
        "stderr": float(spread),
        "converged": all(settled),
        "repeats": repeats,
        "totals": totals,
        "stderrs": errors,
    }
    return Refits(bound, posteriors[0])


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
