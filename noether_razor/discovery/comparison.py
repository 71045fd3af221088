"""Fits to the same data with other quantities, and by how much their ELBOs differ."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from ..inference import ELBOEstimate, Posterior, estimate_elbo, random_part
from ..modelling import Problem
from ..quantities import QuadraticQuantities
from ..random import derived_seed, stream
from ..training import Report, fit
from ..typing import PRNGKey
from .keeping import Keep, Tell, in_memory, say_nothing

BOUND_SUBSET = 2000
"""Transitions from which the ELBO is estimated, at most."""
SETTLED = 0.02
"""Share of what a fit gained in all, that its last fifth may still gain when it counts as converged."""
ORBIT_GROWTH = 2 / 3
"""Share of the steps over which the orbits of several built-in quantities grow to their size: an average over
a few points of a wide orbit varies so much that the fit does not recover. Learned quantities grow by
themselves, and on the orbit of a single one the points are spaced equally, which is exact enough at once.
"""


@dataclass(frozen=True)
class Bound:
    """The total -ELBO in nats of some fits of one kind: the mean over `repeats` seeds and its standard error,
    and whether all have converged. `totals` and `stderrs` are those of each.

    The error of a single fit is the Monte Carlo error of its estimate alone.
    """

    negative_elbo_total: float
    stderr: float
    converged: bool
    repeats: int
    totals: tuple[float, ...]
    stderrs: tuple[float, ...]

    @classmethod
    def over(cls, totals: Sequence[float], stderrs: Sequence[float], converged: bool) -> "Bound":
        """Of fits with these totals and errors."""
        count = len(totals)
        spread = np.std(totals, ddof=1) / np.sqrt(count) if count > 1 else stderrs[0]
        return cls(
            negative_elbo_total=float(np.mean(totals)),
            stderr=float(spread),
            converged=converged,
            repeats=count,
            totals=tuple(totals),
            stderrs=tuple(stderrs),
        )

    def to_json(self) -> dict[str, Any]:
        """As in "evidence" of symmetry.json."""
        return {**vars(self), "totals": list(self.totals), "stderrs": list(self.stderrs)}


class Gain(NamedTuple):
    """By how many nats one total ELBO exceeds another, its standard error, and whether both have converged.

    It is a difference of lower bounds.
    """

    nats: float
    stderr: float
    converged: bool


def gain(before: Bound, after: Bound) -> Gain:
    """By how much the ELBO of `after` exceeds that of `before`; over repeats paired by seed."""
    first, second = before.totals, after.totals
    if len(first) == len(second) > 1:
        differences = np.subtract(first, second)
        nats = float(differences.mean())
        stderr = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    else:
        nats = before.negative_elbo_total - after.negative_elbo_total
        stderr = float(np.hypot(before.stderr, after.stderr))
    return Gain(nats, stderr, before.converged and after.converged)


Mode = Literal["none", "fixed", "learned"]


class Refits(NamedTuple):
    """The bound of some fits of one kind, and the first of them."""

    bound: Bound
    posterior: Posterior


def elbo_estimate(
    problem: Problem, posterior: Posterior, for_subset: PRNGKey, for_bound: PRNGKey
) -> ELBOEstimate:
    """The ELBO of a posterior on all transitions, from a fixed random subset where they are many."""
    objective = replace(problem.objective, estimator=problem.evaluator)
    return estimate_elbo(
        objective,
        posterior,
        for_bound,
        random_part(problem.observations, for_subset, BOUND_SUBSET),
        trained=problem.training.seen(objective.total),
        stderr=problem.options.estimates.nll_stderr,
    )


def refits(
    problem: Problem,
    mode: Mode,
    repeats: int,
    quantities: QuadraticQuantities | None = None,
    *,
    name: str = "",
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> Refits:
    """`repeats` fits to the data of `problem`.

    `mode` is that of the symmetry options; `quantities`, in the coordinates of training, are built in where
    it is fixed. The k-th repeat has the same seed whatever the mode. `tell` is told the name (default: the
    mode), repeat and logged steps. A fit that `keep` has is not done again.
    """
    several = quantities is not None and quantities.count > 1
    steps = problem.options.training.steps
    growth = problem.options.training.orbit_growth or several * round(ORBIT_GROWTH * steps)
    found, posteriors = [], []
    for repeat in range(repeats):
        again = problem.again(
            mode, derived_seed(problem.seed, f"refit {repeat}"), quantities, group_warmup=growth
        )
        total = again.objective.total
        kept = keep(f"{name or mode}-{repeat}", [mode, _listed(quantities), steps])

        def told(report: Report, kept: Any = kept, again: Problem = again, repeat: int = repeat) -> None:
            kept.keep(report, again.training)
            tell(f"{name or mode} {repeat + 1}", report)

        result = fit(
            again.posterior,
            again.observations,
            again.objective,
            again.training,
            key=stream(again.seed, "training"),
            resume=kept.restore,
            callback=told,
        )
        estimate = kept.read()
        if estimate is None:
            keys = jax.random.split(stream(again.seed, "evaluation"))
            bound = elbo_estimate(again, result.posterior, keys[0], keys[1])
            estimate = {
                "total": total * bound.negative_elbo,
                "stderr": total * bound.nll_stderr,
                "converged": converged(kept.history),
            }
            kept.write(estimate)
        posteriors.append(result.posterior)
        found.append(estimate)
    totals, stderrs, settled = ([entry[key] for entry in found] for key in ("total", "stderr", "converged"))
    return Refits(Bound.over(totals, stderrs, all(settled)), posteriors[0])


def _listed(quantities: QuadraticQuantities | None) -> list[Any] | None:
    """The quantities that are built in, as JSON has them."""
    if quantities is None:
        return None
    return [np.asarray(part).tolist() for part in (quantities.symmetric_matrices(), quantities.vectors[...])]


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
