"""Whether a named quantity is conserved: what the data, the exact evidence and the bound say, and which
of them decides.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ..exact_evidence import Evidence as ExactEvidence
from ..invariants import conserved_space
from ..invariants.monomials import coefficients
from ..modelling import Problem
from ..quantities import Hypothesis
from ..symmetry import CannotBuildInError
from ..trajectories import Trajectories
from .comparison import Bound, Gain, Judgement, Refits, gain, judgement, settled_gain
from .keeping import Keep, Tell, in_memory, say_nothing

ANSWERS = {"accepted": "supported", "exact": "supported"}
"""What verdicts of the engines mean as an answer; the others mean what they say."""
Engine = Literal["data", "exact", "bound"]


@dataclass(frozen=True)
class HypothesisAnswer:
    """What is said of a hypothesis.

    data_verdict: what the trajectories say of it, "conserved", "the same everywhere", "slowly drifting" or
    "not conserved"; drift and limit: its r.m.s. change over its spread, and the 95 % upper limit of that, of
    the quantity that changes most. exact: the verdict of the exact evidence, None where that gives none. fit:
    the bound with it built in, None where there is no such fit. against: by how many nats that exceeds the
    bound with no symmetry and with learned quantities. failed: why there is no fit, empty otherwise.
    """

    hypothesis: Hypothesis
    data_verdict: str
    drift: float
    limit: float
    exact: str | None = None
    fit: Bound | None = None
    against: Mapping[str, Gain] = field(default_factory=dict)
    failed: str = ""

    @property
    def bound(self) -> Judgement | None:
        """What the bound says; None without a fit."""
        return None if self.fit is None else judgement(self.fit, self.against["none"])

    @property
    def engine(self) -> Engine:
        """What decides: the data where they reject it, or cannot tell it from a constant; else the exact
        evidence where it gives a verdict; else the bound.
        """
        if self.data_verdict != "conserved":
            return "data"
        if self.exact is not None:
            return "exact"
        return "data" if self.fit is None else "bound"

    @property
    def answer(self) -> str:
        """ "supported", "approximate", "rejected" or "undecided", as the engine says."""
        if self.data_verdict in ("not conserved", "slowly drifting"):
            return "rejected"
        verdicts = {"exact": self.exact, "bound": None if self.bound is None else self.bound.verdict}
        verdict = verdicts.get(self.engine) or "undecided"
        return ANSWERS.get(verdict, verdict)

    def to_json(self) -> dict[str, Any]:
        """An entry of "hypotheses" in symmetry.json."""
        said = {
            "formula": self.hypothesis.formula,
            "A": self.hypothesis.matrices.tolist(),
            "b": self.hypothesis.vectors.tolist(),
            "drift": self.drift,
            "limit": self.limit,
            "data_verdict": self.data_verdict,
            "exact": self.exact,
            "fit": None if self.fit is None else self.fit.to_json(),
            "against": {name: part._asdict() for name, part in self.against.items()},
            "bound": None if self.bound is None else self.bound._asdict(),
            "engine": self.engine,
            "answer": self.answer,
        }
        return said | ({"failed": self.failed} if self.failed else {})

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "HypothesisAnswer":
        """From what `to_json` gives."""
        return cls(
            hypothesis=Hypothesis(entry["formula"], np.array(entry["A"]), np.array(entry["b"])),
            data_verdict=entry["data_verdict"],
            drift=entry["drift"],
            limit=entry["limit"],
            exact=entry["exact"],
            fit=None if entry["fit"] is None else Bound.from_json(entry["fit"]),
            against={name: Gain(**part) for name, part in entry["against"].items()},
            failed=entry.get("failed", ""),
        )


def compare_hypotheses(
    problem: Problem,
    answers: Sequence[HypothesisAnswer],
    none: Refits,
    model: Bound,
    *,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> tuple[HypothesisAnswer, ...]:
    """Adds to what is said of each hypothesis the bound with it built in, and by how many nats that exceeds
    the bounds with no symmetry and with learned quantities.

    As many fits each as `none` has, on the same schedule. Of a single one the learned quantities are those of
    the run itself, whose bound is `model`. A fit that fails, or that there cannot be, is named.
    """
    seeds = len(none.problems)
    learned = None if seeds == 1 else Refits(problem, "learned", seeds, keep=keep, tell=tell)
    compared = []
    for number, said in enumerate(answers, start=1):
        space = problem.scale.quantities(said.hypothesis.quadratics)
        try:
            built_in = Refits(
                problem, "fixed", seeds, space, name=f"hypothesis {number}", keep=keep, tell=tell
            )
            against = {"none": settled_gain(none, built_in)}
            fit = built_in.bound()
            other = model if learned is None else learned.train(len(built_in.rounds)).bound()
        except (FloatingPointError, CannotBuildInError) as error:
            compared.append(replace(said, failed=str(error)))
            continue
        compared.append(replace(said, fit=fit, against=against | {"learned": gain(other, fit)}))
    return tuple(compared)


def judged_by_exact(
    answers: Sequence[HypothesisAnswer], evidence: ExactEvidence | None
) -> tuple[HypothesisAnswer, ...]:
    """Adds the verdicts of the exact evidence, where it gives any."""
    if evidence is None or evidence.withdrawn:
        return tuple(answers)
    verdicts = {one.quantity: one.verdict for one in evidence}
    return tuple(replace(said, exact=verdicts.get(said.hypothesis.formula)) for said in answers)


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
    )
