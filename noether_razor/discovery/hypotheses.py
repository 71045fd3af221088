"""Whether a named quantity is conserved: what the data say, and fits with it built in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import jax.numpy as jnp

from ..invariants import conserved_space
from ..invariants.monomials import coefficients
from ..modelling import Problem
from ..quantities import Hypothesis, QuadraticQuantities
from ..trajectories import Trajectories
from .comparison import Bound, Gain, gain, refits
from .keeping import Keep, Tell, in_memory, say_nothing

SIGNIFICANT = 3.0
"""Standard errors by which the ELBO must differ."""


@dataclass(frozen=True)
class HypothesisAnswer:
    """What is said of a hypothesis.

    answer: "supported", "rejected" or "undecided". data_verdict: what the trajectories say of it,
    "conserved", "the same everywhere", "slowly drifting" or "not conserved"; drift and limit: its r.m.s.
    change over its spread, and the 95 % upper limit of that, of the quantity that changes most. fit: the
    bound with it built in, None where there is no such fit. against: by how many nats that exceeds the bound
    with no symmetry and with learned quantities. failed: why the fit failed, empty otherwise.
    """

    hypothesis: Hypothesis
    answer: str
    data_verdict: str
    drift: float
    limit: float
    fit: Bound | None = None
    against: Mapping[str, Gain] = field(default_factory=dict)
    failed: str = ""

    def to_json(self) -> dict[str, Any]:
        """An entry of "hypotheses" in symmetry.json."""
        said = {
            "formula": self.hypothesis.formula,
            "A": self.hypothesis.matrices.tolist(),
            "b": self.hypothesis.vectors.tolist(),
            "drift": self.drift,
            "limit": self.limit,
            "data_verdict": self.data_verdict,
            "fit": None if self.fit is None else self.fit.to_json(),
            "against": {name: part._asdict() for name, part in self.against.items()},
            "answer": self.answer,
        }
        return said | ({"failed": self.failed} if self.failed else {})


def compare_hypotheses(
    problem: Problem,
    answers: Sequence[HypothesisAnswer],
    none: Bound,
    learned: Bound,
    *,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> tuple[HypothesisAnswer, ...]:
    """Adds to what the data say the bound with each hypothesis built in, and by how many nats that exceeds
    the bounds with no symmetry and with learned quantities.

    As many fits each as `none` has. With one repeat the run itself is the fit with `learned` quantities, with
    more there are as many of it. A fit that fails leaves what the data say.
    """
    if answers and none.repeats > 1:
        learned = refits(problem, "learned", none.repeats, keep=keep, tell=tell).bound
    compared = []
    for number, said in enumerate(answers, start=1):
        space = problem.scale.quantities(said.hypothesis.quadratics)
        built_in = QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))
        name = f"hypothesis {number}"
        try:
            fit = refits(problem, "fixed", none.repeats, built_in, name=name, keep=keep, tell=tell).bound
        except FloatingPointError as error:
            compared.append(replace(said, failed=str(error)))
            continue
        against = {"none": gain(none, fit), "learned": gain(learned, fit)}
        answer = _answer(said.data_verdict, against["none"])
        compared.append(replace(said, fit=fit, against=against, answer=answer))
    return tuple(compared)


def judged_by_data(hypothesis: Hypothesis, trajectories: Trajectories) -> HypothesisAnswer:
    """What trajectories alone say of a hypothesis: of several quantities, of the one that changes most."""
    rows = coefficients(hypothesis.matrices, hypothesis.vectors)
    space = conserved_space(trajectories, rows)
    verdict = "not conserved"
    if space.staying == len(rows):
        verdict = "conserved" if not len(space.same) else "the same everywhere"
    elif space.staying + len(space.drifting) == len(rows):
        verdict = "slowly drifting"
    changes = [space.drift.change(row) for row in space.motion.rows(rows)]
    return HypothesisAnswer(
        hypothesis=hypothesis,
        data_verdict=verdict,
        drift=max(change.change for change in changes),
        limit=max(change.hidden for change in changes),
        answer=_answer(verdict, None),
    )


def _answer(verdict: str, against_none: Gain | None) -> str:
    """The data decide; the bound has a say in what they do not reject."""
    if verdict in ("not conserved", "slowly drifting"):
        return "rejected"
    if verdict == "the same everywhere" or against_none is None:
        return "undecided"
    return answer(against_none)


def answer(against_none: Gain) -> str:
    """What the difference from no symmetry says: "supported", "rejected" or "undecided"."""
    nats, margin = against_none.nats, SIGNIFICANT * against_none.stderr
    if not against_none.converged or abs(nats) <= margin:
        return "undecided"
    return "supported" if nats > 0 else "rejected"
