"""Fits to the data of a run with other quantities, for the evidence."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ..analysis import estimate_bound, random_part
from ..config import build_problem, derived_seed, stream
from ..conserved import QuadraticQuantities
from ..inference import Posterior, transition_count
from ..training import Report, fit
from ._run import BOUND_SUBSET, TrainedRun

OnRefit = Callable[[str, int, Report], None]
"""Told the name and number of a refit, and each step that it logs."""

SETTLED = 0.02
"""Share of what a fit gained in all, that its last fifth may still gain when it counts as converged."""
ORBIT_GROWTH = 2 / 3
"""Share of the steps over which the orbits of several built-in quantities grow to their size: an average over
a few points of a wide orbit varies so much that the fit does not recover. Learned quantities grow by
themselves, and on the orbit of a single one the points are spaced equally, which is exact enough at once.
"""


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
    on_refit: OnRefit | None = None,
) -> Refits:
    """The mean total bound of `repeats` fits to the data of a run, its standard error over them, and whether
    all converged.

    `mode` is that of the symmetry table; `quantities`, in the coordinates of training, are built in where it
    is fixed. The k-th repeat has the same seed whatever the mode. The error of a single fit is the Monte
    Carlo error of its estimate alone. `on_refit` is told the name (default: the mode), repeat and logged
    steps.
    """
    symmetry = run.config.symmetry.model_copy(update={"mode": mode})
    several = quantities is not None and quantities.count > 1
    growth = run.config.training.orbit_growth or several * round(ORBIT_GROWTH * run.config.training.steps)
    training = run.config.training.model_copy(update={"orbit_growth": growth})
    totals, errors, settled, posteriors = [], [], [], []
    for repeat in range(repeats):
        config = run.config.model_copy(
            update={
                "symmetry": symmetry,
                "training": training,
                "seed": derived_seed(run.config.seed, f"refit {repeat}"),
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

    def __init__(self, listener: OnRefit, name: str, repeat: int):
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
