"""Fits to the same data with other quantities built in, and what the differences of their ELBOs say."""

from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import jax
import numpy as np
from scipy.stats import t as student

from ..inference import ELBOEstimate, Posterior, estimate_elbo, random_part
from ..modelling import Problem
from ..quadratic_forms import Quadratics
from ..quantities import QuadraticQuantities
from ..random import derived_seed, stream
from ..symmetry import BuiltIn
from ..training import Report, fit
from ..typing import PRNGKey
from .invariance import INVARIANT, learned_bracket
from .keeping import Keep, Tell, in_memory, say_nothing

BOUND_SUBSET = 2000
"""Transitions from which the ELBO is estimated, at most."""
MOST_ROUNDS = 4
"""Rounds of training, at most, in which a difference may settle."""
CHANCE = 0.01
"""With which a difference of nothing is taken for one, in either direction."""
ORBIT_GROWTH = 2 / 3
"""Share of the first round over which the orbits of several built-in quantities grow to their size: an
average over a few points of a wide orbit varies so much that the fit does not recover. Learned quantities
grow by themselves, and on the orbit of a single one the points are spaced equally, which is exact at once.
"""


@dataclass(frozen=True)
class Bound:
    """The total -ELBO in nats of some fits of one kind, one a seed: the mean over seeds and its standard
    error.

    rounds: the totals of all seeds after each round of training. stderrs: Monte Carlo errors of the last
    ones; that of a single fit is all the error that it has. bracket: the largest r.m.s. of {C, H} of what is
    built in over that of |grad C||grad H|, None where nothing is.
    """

    rounds: tuple[tuple[float, ...], ...]
    stderrs: tuple[float, ...]
    bracket: float | None = None

    @property
    def totals(self) -> tuple[float, ...]:
        """Those of the last round."""
        return self.rounds[-1]

    @property
    def repeats(self) -> int:
        """The number of seeds."""
        return len(self.totals)

    @property
    def negative_elbo_total(self) -> float:
        """The mean over seeds."""
        return float(np.mean(self.totals))

    @property
    def stderr(self) -> float:
        """Of that mean."""
        if self.repeats == 1:
            return self.stderrs[0]
        return float(np.std(self.totals, ddof=1) / np.sqrt(self.repeats))

    @property
    def invariant(self) -> bool:
        """Whether H is invariant under the flows of what is built in."""
        return self.bracket is None or self.bracket <= INVARIANT

    def to_json(self) -> dict[str, Any]:
        """As in "evidence" of symmetry.json."""
        return {
            "negative_elbo_total": self.negative_elbo_total,
            "stderr": self.stderr,
            "repeats": self.repeats,
            "rounds": [list(totals) for totals in self.rounds],
            "stderrs": list(self.stderrs),
            "bracket": self.bracket,
            "invariant": self.invariant,
        }

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> "Bound":
        """From what `to_json` gives."""
        rounds = tuple(tuple(totals) for totals in entry["rounds"])
        return cls(rounds, tuple(entry["stderrs"]), entry["bracket"])


class Gain(NamedTuple):
    """By how many nats one total ELBO exceeds another: a difference of lower bounds.

    stderr: of the mean of the differences between fits of one seed; None where there are fewer than two such
    pairs. seeds: fits of each kind. settled: whether the last round of training changed the difference by no
    more than its error.
    """

    nats: float
    stderr: float | None
    seeds: int
    settled: bool


def gain(before: Bound, after: Bound) -> Gain:
    """By how much the ELBO of `after` exceeds that of `before`, after as many rounds as both have."""
    seeds = min(before.repeats, after.repeats)
    if before.repeats != after.repeats or seeds < 2:
        return Gain(before.negative_elbo_total - after.negative_elbo_total, None, seeds, False)
    both = min(len(before.rounds), len(after.rounds))
    differences = np.subtract(before.rounds[:both], after.rounds[:both])
    nats = differences.mean(axis=1)
    error = float(differences[-1].std(ddof=1) / np.sqrt(seeds))
    settled = both > 1 and bool(abs(nats[-1] - nats[-2]) <= error)
    return Gain(float(nats[-1]), error, seeds, settled)


class Judgement(NamedTuple):
    """What the bound says of quantities as a symmetry: "accepted", "rejected" or "undecided", and why it is
    no evidence, empty otherwise.
    """

    verdict: Literal["accepted", "rejected", "undecided"]
    why: str = ""


def judgement(fit: Bound, against_none: Gain) -> Judgement:
    """What the `fit` with quantities built in says of them, and by how many nats it exceeds that without.

    Nothing is claimed from a fit whose H is not invariant, from one pair of seeds, or from a difference that
    has not settled. That of n pairs is compared with its error by Student's t of n - 1 degrees of freedom.
    """
    nats, error, seeds, settled = against_none
    if not fit.invariant:
        share = f"{100 * (fit.bracket or 0.0):.2g} %"
        return Judgement("undecided", f"the refit's H is not invariant ({{C, H}} is {share})")
    if error is None:
        return Judgement("undecided", "one fit of each kind has no error")
    if not settled:
        return Judgement("undecided", "not settled")
    if abs(nats) <= error * student.ppf(1 - CHANCE / 2, seeds - 1):
        return Judgement("undecided", f"{seeds} seeds differ too much")
    return Judgement("accepted" if nats > 0 else "rejected")


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


Mode = Literal["none", "fixed", "learned"]


class Refits:
    """Fits of one kind to the data of `problem`, one for each of `seeds` seeds, trained in rounds.

    `mode` is that of the symmetry options; `quantities`, in the coordinates of training, are built in where
    it is fixed. Whatever the kind, the k-th fit has the same seed, and so the same initial network and
    batches, and a round the same steps and step sizes; a later one goes on from where the one before ended.
    A single seed has one round of all steps; several have rounds of half as many, two at least.

    `tell` is told the name (default: the mode), seed and logged steps. A fit that `keep` has is not done
    again. Raises `CannotBuildInError` where `quantities` cannot be built in.
    """

    def __init__(
        self,
        problem: Problem,
        mode: Mode,
        seeds: int,
        quantities: Quadratics | None = None,
        *,
        name: str = "",
        keep: Keep = in_memory,
        tell: Tell = say_nothing,
    ):
        self.mode: Mode = mode
        self.name, self.quantities = name or mode, quantities
        self.keep, self.tell = keep, tell
        steps = problem.options.training.steps
        self.steps = steps if seeds == 1 else -(-steps // 2)
        self.problems = [self._start(problem, repeat) for repeat in range(seeds)]
        self.rounds: list[list[dict[str, Any]]] = []

    def _start(self, problem: Problem, repeat: int) -> Problem:
        quantities = None
        if self.quantities is not None:
            matrices, vectors, _ = self.quantities
            quantities = QuadraticQuantities(jax.numpy.asarray(matrices), jax.numpy.asarray(vectors))
        seed = derived_seed(problem.seed, f"refit {repeat}")
        again = problem.again(self.mode, seed, quantities, steps=self.steps)
        built_in = again.posterior.quantities
        if isinstance(built_in, BuiltIn) and built_in.averaged is not None and built_in.averaged.count > 1:
            growth = again.training.group_warmup or round(ORBIT_GROWTH * self.steps)
            return again._replace(training=replace(again.training, group_warmup=growth))
        return again

    @property
    def least_rounds(self) -> int:
        """Below which a difference cannot have settled."""
        return 1 if len(self.problems) == 1 else 2

    @property
    def posterior(self) -> Posterior:
        """The first fit, as it is now."""
        return self.problems[0].posterior

    def bound(self) -> Bound:
        """What was reached."""
        brackets = [entry["bracket"] for entry in self.rounds[-1]]
        return Bound(
            rounds=tuple(tuple(entry["total"] for entry in entries) for entries in self.rounds),
            stderrs=tuple(entry["stderr"] for entry in self.rounds[-1]),
            bracket=None if self.quantities is None else max(brackets),
        )

    def train(self, rounds: int) -> "Refits":
        """Train until there are so many `rounds`."""
        while len(self.rounds) < rounds:
            if self.rounds:
                # Everything is faded in by now.
                self.problems = [
                    each._replace(training=replace(each.training, group_warmup=0, kl_warmup=0))
                    for each in self.problems
                ]
            entries = [self._round(repeat) for repeat in range(len(self.problems))]
            self.rounds.append(entries)
        return self

    def _round(self, repeat: int) -> dict[str, Any]:
        """One more round of one seed, and what it reached."""
        problem, number = self.problems[repeat], len(self.rounds)
        label = f"{self.name}-{repeat}" + (f"-{number + 1}" if number else "")
        kept = self.keep(label, [self.mode, _listed(self.quantities), self.steps, number])

        def told(report: Report) -> None:
            kept.keep(report, problem.training)
            self.tell(f"{self.name} {repeat + 1}" + (f", round {number + 1}" if number else ""), report)

        result = fit(
            problem.posterior,
            problem.observations,
            problem.objective,
            problem.training,
            key=stream(problem.seed, "training" + (f" {number + 1}" if number else "")),
            resume=kept.restore,
            callback=told,
        )
        self.problems[repeat] = problem._replace(posterior=result.posterior)
        estimate = kept.read()
        if estimate is None:
            estimate = self._estimate(self.problems[repeat])
            kept.write(estimate)
        return estimate

    def _estimate(self, problem: Problem) -> dict[str, Any]:
        total = problem.objective.total
        key = stream(problem.seed, "evaluation")
        bound = elbo_estimate(problem, problem.posterior, *jax.random.split(key))
        bracket = None
        if self.quantities is not None:
            for_bracket = stream(problem.seed, "invariance")
            bracket = learned_bracket(problem, problem.posterior, self.quantities, for_bracket)
        return {
            "total": total * bound.negative_elbo,
            "stderr": total * bound.nll_stderr,
            "bracket": bracket,
        }


def settled_gain(before: Refits, after: Refits) -> Gain:
    """The gain of `after` over `before`, both trained until it has settled, for `MOST_ROUNDS` rounds at most;
    not longer than a difference takes to settle where it would be no evidence.
    """
    rounds = before.least_rounds
    while True:
        reached = after.train(rounds).bound()
        found = gain(before.train(rounds).bound(), reached)
        if found.settled or found.stderr is None or not reached.invariant or rounds >= MOST_ROUNDS:
            return found
        rounds += 1


def _listed(quantities: Quadratics | None) -> list[Any] | None:
    """The quantities that are built in, as JSON has them."""
    if quantities is None:
        return None
    return [np.asarray(part).tolist() for part in (quantities.matrices, quantities.vectors)]
