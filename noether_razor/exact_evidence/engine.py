"""The exact evidence of trajectories for conserved quantities."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from ..quadratic_forms import Quadratics
from ..quantities import Hypothesis, parse_hypothesis
from ..scaling import PhaseScale
from ..thinning import evenly
from ..trajectories import Trajectories, fit_scale, scaled_trajectories
from .breaking import Breaking, breaking
from .built_in import Comparison
from .checks import Adequacy, Friction, adequacy, controls, friction
from .choice import DictionaryError, chosen, first_dictionary
from .hamiltonian import ReadableHamiltonian, readable_hamiltonian
from .higher import MOST_CANDIDATES, PolynomialSpace, polynomial_space
from .polynomials import polynomial_count
from .result import Evidence, QuantityEvidence, Space, Verdict
from .shooting import Fit, FitError, Problem
from .space import space_of_part, space_posterior

MOST_ROWS, LONGEST = 20_000, 100
"""Rows that are used, and the longest piece of a trajectory that is followed from one first state."""
SUPPORTED = 10.0
"""Nats from which a gain counts."""
PREFERRED = 3.0
"""Nats by which the approximate symmetry must beat the exact one: chance alone gives up to about one."""
SMALL = 0.1
"""Breaking up to which a symmetry may be called approximate."""
SEEN = 0.005
"""Breaking that the data must exclude before a symmetry is called exact: simplicity alone gains nats too."""
HIGHEST = 4
"""Degree of the space up to which quantities are asked about."""
NEAR = 50.0
"""Nats below which the wider dictionary is not asked."""

Tell = Callable[[str], None]


class EvidenceError(ValueError):
    """Data that the exact evidence cannot be computed for; one line says why, and what would help."""


def evidence(
    data: Trajectories,
    quantities: Sequence[str] = (),
    *,
    degree: int | None = None,
    space_degree: int = 2,
    beside: Sequence[Hypothesis] = (),
    apart: Sequence[int] = (),
    progress: Tell | None = None,
) -> Evidence:
    """How much the data support that each of `quantities` is conserved, by the exact evidence of
    Hamiltonians with the symmetry built in and without; and the posterior of the space of such quantities.

    `quantities` are formulas of degree <= 2 in the coordinates that are no angles, in the units of the data:
    "q1*p2 - q2*p1", or several that hold together, "p1, p2". `degree` is that of the polynomials, by default
    4 or more where the evidence prefers it and these are at most 300 terms; of angles H is a trigonometric
    polynomial. With a `space_degree` of 3 or 4, the polynomials of that degree that are conserved are found
    as well, where H fits. `beside` are more quantities, which are asked about only where H fits. `apart` are
    numbers of recordings, which are asked about the space alone as well. `progress` is told what is being
    computed. Raises `HypothesisError` for a formula, `EvidenceError` for data that this engine cannot judge.
    """
    asked = [parse_hypothesis(text, data.names, data.velocities, data.angles()) for text in quantities]
    tell = progress or (lambda _: None)
    _check_degree(space_degree, data)
    pieces, notes = pieces_of(data)
    judge = _Judge.of(pieces, degree, tell)
    answers = [judge.answer(one) for one in (asked if judge.withdrawn else [*asked, *beside])]
    tell("the space of quantities")
    none, scale, features = judge.comparison.none, judge.scale, judge.comparison.features
    space = judge.space()
    higher = judge.higher_space(space_degree) if space_degree > 2 and not judge.withdrawn else None
    sizes = np.sqrt(none.point.noise) * scale.scales
    return Evidence(
        quantities=tuple(answers),
        logZ_none=none.log_evidence,
        noise=dict(zip(data.names, sizes.tolist(), strict=True)),
        degree=features.degree,
        dictionary=features.name,
        adequacy=judge.adequacy,
        space=space,
        friction=judge.friction,
        controls=judge.controls,
        withdrawn=judge.withdrawn,
        notes=notes,
        apart=judge.space_of(apart),
        higher=higher,
        hamiltonian=judge.formula(),
    )


def pieces_of(data: Trajectories) -> tuple[Trajectories, tuple[str, ...]]:
    """Trajectories cut into pieces of at most `LONGEST` rows, and so many of them that there are at most
    `MOST_ROWS` rows.
    """
    if data.targets is not None:
        return data, ()
    notes = []
    rows = int(data.lengths.sum())
    if rows > MOST_ROWS:
        count = max(2, int(len(data) * MOST_ROWS / rows)) if len(data) > 1 else 1
        data = data[evenly(len(data), count)]
        notes.append(f"{int(data.lengths.sum())} of {rows} rows are used, those of {len(data)} trajectories")
    if int(data.lengths.max()) <= LONGEST:
        return data, tuple(notes)
    segments, recordings = [], []
    for (times, states), recording in zip(data.segments(), data.recordings.tolist(), strict=True):
        parts = -(-len(times) // LONGEST)
        edges = np.linspace(0, len(times), parts + 1).round().astype(int)
        for begin, end in pairwise(edges):
            segments.append((times[begin:end], states[begin:end]))
            recordings.append(recording)
    if len(segments) * LONGEST > MOST_ROWS:
        kept = evenly(len(segments), MOST_ROWS // LONGEST)
        segments, recordings = [segments[k] for k in kept], [recordings[k] for k in kept]
    cut = Trajectories.of_segments(
        segments,
        names=data.names,
        units=data.units,
        time_unit=data.time_unit,
        recordings=np.array(recordings),
        velocities=data.velocities,
        periods=data.periods,
    )
    notes.append(f"trajectories are cut into {len(segments)} pieces of at most {LONGEST} rows")
    return cut, tuple(notes)


class _Judge(NamedTuple):
    """Everything that all quantities share."""

    data: Trajectories
    scale: PhaseScale
    comparison: Comparison
    wider: Comparison | None
    adequacy: Adequacy
    friction: Friction
    controls: dict[str, float]
    withdrawn: str
    again: float
    tell: Tell

    @classmethod
    def of(cls, data: Trajectories, degree: int | None, tell: Tell) -> "_Judge":
        scale = fit_scale(data)
        scaled = scaled_trajectories(data, scale)
        rest = np.array(scale.shifts[data.dof :]) / np.array(scale.momenta)
        try:
            features = first_dictionary(scaled.periods, degree)
        except DictionaryError as error:
            raise EvidenceError(str(error)) from None
        tell("no symmetry")
        try:
            problem = Problem.of(features, scaled, rest)
            comparison, wider = chosen(problem, scaled.segments(), fixed=degree, tell=tell)
        except FitError as error:
            raise EvidenceError(f"no Hamiltonian of {features.name} fits: {error}") from None
        fitted = adequacy(comparison, scaled)
        rubbed = friction(comparison, scale.time)
        tell("controls")
        gains = {
            one.name: _gain(comparison, one.quantity)[0]
            for one in controls(comparison.problem, comparison.none, data.names)
        }
        supported = [name for name, gain in gains.items() if gain > 0]
        withdrawn = _misfit(comparison, fitted)
        if supported:
            withdrawn = f"it would also support {', '.join(supported)}, which the data show to change"
        again = _off(comparison, comparison.none)
        return cls(scaled, scale, comparison, wider, fitted, rubbed, gains, withdrawn, again, tell)

    def answer(self, hypothesis: Hypothesis) -> QuantityEvidence:
        """What is said of one hypothesis."""
        self.tell(hypothesis.formula)
        quantities = self.scale.quantities(hypothesis.quadratics)
        gain, exact = _gain(self.comparison, quantities)
        removed = self.comparison.problem.size - len(exact.point.z) if exact is not None else 0
        none = self.comparison.none.log_evidence
        try:
            approximate = self.comparison.approximate(quantities)
            relaxed = approximate.log_evidence - none
        except FitError:
            approximate, relaxed = None, -np.inf
        moved, error = None, self.again
        if exact is not None and gain > -NEAR:
            error = float(np.hypot(error, _off(self.comparison, exact)))
            if self.wider is not None:
                moved = _gain(self.wider, quantities)[0] - gain
                error = float(np.hypot(error, moved))
        # Where nothing is seen of it, its own prior variances are 0, and would claim that nothing can be.
        seen = approximate if relaxed - gain > PREFERRED else None
        broken = breaking(quantities, seen or self.comparison.none)
        verdict, why = self.verdict(gain, relaxed, moved, broken)
        return QuantityEvidence(
            quantity=hypothesis.formula,
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

    def space(self) -> Space:
        """The posterior of the space of quantities. Raises `EvidenceError`."""
        comparison = self.comparison
        try:
            found = space_posterior(comparison.features, self.data.points(), comparison.none)
        except np.linalg.LinAlgError:
            raise _one_value(2) from None
        return Space.of(found, self.scale)

    def higher_space(self, degree: int) -> PolynomialSpace:
        """The posterior of the space of conserved polynomials. Raises `EvidenceError`."""
        self.tell(f"polynomials of degree {degree} that are conserved")
        fitted, names = self.comparison, self.data.names
        try:
            return polynomial_space(
                fitted.features, self.data.points(), fitted.none, degree, names, self.scale
            )
        except np.linalg.LinAlgError:
            raise _one_value(degree) from None

    def space_of(self, recordings: Sequence[int]) -> Space | None:
        """By some recordings alone; None without any, and where there is no verdict or no fit."""
        part = np.isin(self.data.recordings, recordings)
        if self.withdrawn or not part.any():
            return None
        try:
            return Space.of(space_of_part(self.comparison, self.data, part), self.scale)
        except FitError:
            return None

    def formula(self) -> ReadableHamiltonian | None:
        """H with the terms that the data need; None where it does not fit them."""
        if not self.adequacy.adequate:
            return None
        seen = not self.friction.absent
        return readable_hamiltonian(self.comparison, self.scale, self.data, friction=seen)

    def verdict(
        self, gain: float, relaxed: float, moved: float | None, broken: Breaking
    ) -> tuple[Verdict, str]:
        """Exact, approximate, rejected or undecided, and why; `relaxed` is the gain of the approximate
        symmetry.
        """
        if self.withdrawn:
            return "undecided", self.withdrawn
        near = broken.hi <= SMALL and relaxed >= SUPPORTED
        if gain <= -SUPPORTED:
            return ("approximate", "") if near else ("rejected", "")
        if gain < SUPPORTED:
            return "undecided", "the data say too little"
        if moved is not None and gain + moved <= 0:
            return "undecided", "a richer dictionary says otherwise"
        if relaxed - gain > PREFERRED:
            return ("approximate", "") if near else ("undecided", "a broken symmetry fits better")
        if not self.friction.absent:
            return "approximate", "friction breaks it"
        if broken.hi > SEEN:
            return "undecided", f"a breaking of up to {100 * broken.hi:.2g} % cannot be excluded"
        return "exact", ""


def _check_degree(degree: int, data: Trajectories) -> None:
    """Raises `EvidenceError` for a degree of the space that is none, or too high for so many columns."""
    if not 2 <= degree <= HIGHEST:
        raise EvidenceError(f"the degree of the space must be 2 to {HIGHEST}, got {degree}")
    count = polynomial_count(2 * data.dof - len(data.angles()), degree)
    if degree > 2 and count > MOST_CANDIDATES:
        raise EvidenceError(
            f"there are {count} terms of degree <= {degree} in so many columns, and at most "
            f"{MOST_CANDIDATES} can be asked about: lower the degree of the space"
        )


def _one_value(degree: int) -> EvidenceError:
    return EvidenceError(
        f"a combination of terms of degree <= {degree} has one value in the whole file (a column that does "
        "not move, copies of one trajectory): more different trajectories are needed"
    )


def _gain(comparison: Comparison, quantities: Quadratics) -> tuple[float, Fit | None]:
    """The gain of what is built in, and its fit."""
    try:
        found = comparison.exact(quantities)
    except FitError as error:
        return -error.behind, None
    return found.log_evidence - comparison.none.log_evidence, found


def _off(comparison: Comparison, found: Fit) -> float:
    """By how much the evidence differs when it is searched for from elsewhere."""
    try:
        return abs(comparison.again(found, 1).log_evidence - found.log_evidence)
    except FitError:
        return np.inf


def _misfit(comparison: Comparison, fitted: Adequacy) -> str:
    """Why gains mean nothing, and what else there is; empty where all is well."""
    if fitted.adequate:
        return ""
    return f"{comparison.features.name} do not fit ({fitted.why}); `discover` compares networks instead"
