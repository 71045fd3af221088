"""What is said of one question: exact, approximate, rejected or undecided, by how many nats, and why."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ..invariants.resolution import FEWEST_PER_PERIOD, rows_per_period, too_far_apart
from ..scaling import PhaseScale
from ..trajectories import Trajectories
from .breaking import Breaking, breaking
from .built_in import NEITHER, Comparison
from .checks import Adequacy, Friction, adequacy, controls, friction
from .questions import QuadraticQuestion, Question
from .result import QuantityEvidence, Verdict
from .shooting import Fit, FitError

SUPPORTED = 10.0
"""Nats from which a gain counts."""
PREFERRED, FEW, BY_CHANCE = 3.0, 4, 0.5
"""Nats by which the approximate symmetry must beat the exact one: chance alone gives up to about one for few
variances of what is broken, and so much more for each further one.
"""
BROKEN = 6.0
"""Nats from which it is called broken: chance gives as much in one of 2000 files."""
SEEN = 0.005
"""Breaking that the data must exclude before a symmetry is called exact: simplicity alone gains nats too."""
NEAR = 50.0
"""Nats below which the wider dictionary is not asked."""

APART = (3.0, 1.0, 0.3)
"""Posterior standard deviations by which a second search begins elsewhere."""

Tell = Callable[[str], None]


class Judge(NamedTuple):
    """Everything that all questions about one dictionary share: scaled trajectories, the fit without symmetry
    and that with a richer dictionary, the tests of the fit, gains of false controls, why no verdict is given
    (empty where one is), by how much the evidence differs when it is searched for again, and the log evidence
    without symmetry that gains are counted from.
    """

    data: Trajectories
    scale: PhaseScale
    comparison: Comparison
    wider: Comparison | None
    adequacy: Adequacy
    friction: Friction
    controls: dict[str, float]
    withdrawn: str
    again: float
    rival: float
    tell: Tell

    @classmethod
    def of(
        cls,
        scaled: Trajectories,
        scale: PhaseScale,
        comparison: Comparison,
        wider: Comparison | None,
        *,
        instead: str,
        tell: Tell,
        fitted: Adequacy | None = None,
    ) -> "Judge":
        """From fits of scaled trajectories, and the test of the first where that is known; `instead` is what
        else there is where it does not fit. The fit without symmetry is searched for from elsewhere too, and
        the better one counts.
        """
        fitted = fitted or adequacy(comparison, scaled)
        before = comparison.none
        if (other := _again(comparison, before)) and other.log_evidence > before.log_evidence:
            comparison = Comparison(comparison.problem, other._replace(stages=before.stages))
        again = abs(other.log_evidence - before.log_evidence) if other else np.inf
        rubbed = friction(comparison, scale.time)
        tell("controls")
        none = comparison.none.log_evidence
        gains = {
            one.name: _gain(comparison, QuadraticQuestion(one.name, one.quantity), none)[0]
            for one in controls(comparison.problem, comparison.none, scaled.names)
        }
        supported = [name for name, gain in gains.items() if gain > 0]
        features = comparison.problem.features
        withdrawn = "" if fitted.adequate else f"{features.name} do not fit ({fitted.why}); {instead}"
        if (rows := rows_per_period(scaled)) < FEWEST_PER_PERIOD:
            withdrawn = too_far_apart(rows)
        elif supported:
            withdrawn = f"it would also support {', '.join(supported)}, which the data show to change"
        return cls(scaled, scale, comparison, wider, fitted, rubbed, gains, withdrawn, again, none, tell)

    def gain(self, question: Question) -> tuple[float, Fit | None]:
        """The gain of what is built in, and its fit."""
        return _gain(self.comparison, question, self.rival)

    def answer(self, question: Question) -> QuantityEvidence:
        """What is said of one question."""
        return self.answered(question)[0]

    def answered(self, question: Question) -> tuple[QuantityEvidence, Fit | None]:
        """What is said of one question, and the fit with what is built in."""
        self.tell(question.formula)
        if not self.comparison.builds_in(question):
            return self._not_built_in(question), None
        gain, exact = self.gain(question)
        removed = self.comparison.removed(question)
        try:
            approximate = self.comparison.approximate(question)
            relaxed = approximate.log_evidence - self.rival
        except FitError:
            approximate, relaxed = None, -np.inf
        moved, error = None, self.again
        if exact is not None and gain > -NEAR:
            error = float(np.hypot(error, _off(self.comparison, exact)))
            if self.wider is not None:
                moved = _gain(self.wider, question, self.wider.none.log_evidence)[0] - gain
                error = float(np.hypot(error, moved))
        preferred = PREFERRED
        if approximate is not None:
            own = sum(part > 0 for _, part in approximate.model.prior.labels)
            preferred += BY_CHANCE * max(own - FEW, 0)
        # Where nothing is seen of it, its own prior variances are 0, and would claim that nothing can be.
        seen = approximate if relaxed - gain > preferred else None
        broken = breaking(question, seen or self.comparison.none)
        near = broken.hi <= question.small and relaxed >= SUPPORTED
        by = relaxed - gain if seen else 0.0
        verdict, why = self.verdict(gain, moved, broken, near=near, beaten=by)
        answer = QuantityEvidence(
            quantity=question.formula,
            gain=gain,
            approximate=relaxed - gain,
            dims_removed=removed,
            breaking=broken,
            verdict=verdict,
            why=why,
            basis_sensitivity=moved,
            stderr=error,
            converged=exact is not None and exact.converged,
        )
        return answer, exact

    def _not_built_in(self, question: Question) -> QuantityEvidence:
        """What is said of a symmetry for which only the breaking is known."""
        broken = breaking(question, self.comparison.none)
        why = self.withdrawn or NEITHER
        return QuantityEvidence(
            question.formula, np.nan, np.nan, 0, broken, "undecided", why, None, np.inf, False
        )

    def verdict(
        self, gain: float, moved: float | None, broken: Breaking, *, near: bool, beaten: float
    ) -> tuple[Verdict, str]:
        """Exact, approximate, rejected or undecided, and why; `near`: whether an approximate symmetry is
        supported, and `beaten`, by how many nats it beats the exact one, 0 where chance would do as well.
        """
        if self.withdrawn:
            return "undecided", self.withdrawn
        if np.isneginf(gain) and broken.lo == 0:
            return "undecided", "no motion with it built in was found, though no breaking is seen"
        if near and beaten >= BROKEN:
            return "approximate", ""
        if gain <= -SUPPORTED:
            return "rejected", ""
        if gain < SUPPORTED:
            return "undecided", "the data say too little"
        if moved is not None and gain + moved <= 0:
            return "undecided", "a richer dictionary says otherwise"
        if beaten:
            return "undecided", f"a broken symmetry fits better by {beaten:.2g} nats"
        if not self.friction.absent:
            return "approximate", "friction breaks it"
        if broken.hi > SEEN:
            return "undecided", f"a breaking of up to {100 * broken.hi:.2g} % cannot be excluded"
        return "exact", ""


def _gain(comparison: Comparison, question: Question, rival: float) -> tuple[float, Fit | None]:
    """The log evidence with what is built in less that of a rival, and its fit."""
    try:
        found = comparison.exact(question)
    except FitError as error:
        return comparison.none.log_evidence - error.behind - rival, None
    return found.log_evidence - rival, found


def _off(comparison: Comparison, found: Fit) -> float:
    """By how much the evidence differs when it is searched for from elsewhere."""
    other = _again(comparison, found)
    return np.inf if other is None else abs(other.log_evidence - found.log_evidence)


def _again(comparison: Comparison, found: Fit) -> Fit | None:
    """The same, searched for from as far away as motions stay finite."""
    for apart in APART:
        try:
            return comparison.again(found, 1, apart)
        except FitError:
            continue
    return None
