"""The exact evidence of trajectories for conserved quantities."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np

from ..quantities import Hypothesis, parse_hypothesis
from ..thinning import evenly
from ..trajectories import CanonicalMap, Trajectories, fit_scale, scaled_trajectories
from .choice import Builder, DictionaryError, Kind, chosen, first_dictionary
from .hamiltonian import ReadableHamiltonian, readable_hamiltonian
from .higher import MOST_CANDIDATES, PolynomialSpace, polynomial_space
from .judge import Judge, Tell
from .polynomials import polynomial_count
from .questions import QuadraticQuestion
from .result import Evidence, QuantityEvidence, Space
from .shooting import Fit, FitError, Problem
from .space import Symmetric, space_of_part, space_posterior

MOST_ROWS, LONGEST = 20_000, 100
"""Rows that are used, and the longest piece of a trajectory that is followed from one first state."""
HIGHEST = 4
"""Degree of the space up to which quantities are asked about."""
INSTEAD = "`discover` compares networks instead"


class EvidenceError(ValueError):
    """Data that the exact evidence cannot be computed for; one line says why, and what would help."""


class MisfitError(EvidenceError):
    """No Hamiltonian of the dictionary fits."""


def evidence(
    data: Trajectories,
    quantities: Sequence[str] = (),
    *,
    degree: int | None = None,
    features: Kind | Builder = "polynomials",
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
    polynomial. With `features` "radial" or "fourier" H is a polynomial of degree 2, or `degree`, and a sum of
    radial basis functions or Fourier features of length scales that the evidence chooses; symmetries are
    built in by averages over their flows, which have to be periodic or shifts; a function of the scaled data
    and their scale makes features of your own. With a `space_degree` of 3 or 4, the polynomials of that
    degree that are conserved are found as well, where H fits. `beside` are more quantities, which are asked
    about only where H fits. `apart` are numbers of recordings, which are asked about the space alone as well.
    `progress` is told what is being computed. Raises `HypothesisError` for a formula, `EvidenceError` for
    data that this engine cannot judge, ValueError for velocities without masses.
    """
    data.require_canonical()
    asked = [parse_hypothesis(text, data.names, data.other_names(), data.angles()) for text in quantities]
    tell = progress or (lambda _: None)
    _check_degree(space_degree, data, features)
    pieces, notes = pieces_of(data)
    judge = _judge(pieces, degree, features, tell)
    every = asked if judge.withdrawn else [*asked, *beside]
    answered = [
        judge.answered(QuadraticQuestion(one.formula, judge.scale.quantities(one.quadratics)))
        for one in every
    ]
    tell("the space of quantities")
    none, scale, used = judge.comparison.none, judge.scale, judge.comparison.problem.features
    space = _space(judge, answered)
    wanted = space_degree > 2 and not judge.withdrawn
    sizes = np.sqrt(none.point.noise) * scale.scales
    return Evidence(
        quantities=tuple(one for one, _ in answered),
        logZ_none=none.log_evidence,
        noise=dict(zip(data.names, sizes.tolist(), strict=True)),
        degree=used.degree,
        dictionary=used.name,
        adequacy=judge.adequacy,
        space=space,
        friction=judge.friction,
        controls=judge.controls,
        withdrawn=judge.withdrawn,
        notes=notes,
        apart=_space_of(judge, apart),
        higher=_higher_space(judge, space_degree) if wanted else None,
        hamiltonian=_formula(judge, data.canonical),
    )


def pieces_of(data: Trajectories, most: int = MOST_ROWS) -> tuple[Trajectories, tuple[str, ...]]:
    """Trajectories cut into pieces of at most `LONGEST` rows, and so many of them that there are at most
    `most` rows.
    """
    if data.targets is not None:
        return data, ()
    notes = []
    rows = int(data.lengths.sum())
    if rows > most:
        count = max(2, int(len(data) * most / rows)) if len(data) > 1 else 1
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
    if len(segments) * LONGEST > most:
        kept = evenly(len(segments), most // LONGEST)
        segments, recordings = [segments[k] for k in kept], [recordings[k] for k in kept]
    cut = Trajectories.of_segments(
        segments,
        names=data.names,
        units=data.units,
        time_unit=data.time_unit,
        recordings=np.array(recordings),
        velocities=data.velocities,
        periods=data.periods,
        bracket=data.bracket,
    )
    cut = replace(cut, canonical=data.canonical)
    notes.append(f"trajectories are cut into {len(segments)} pieces of at most {LONGEST} rows")
    return cut, tuple(notes)


def _judge(data: Trajectories, degree: int | None, kind: Kind | Builder, tell: Tell) -> Judge:
    """That of the dictionary which the evidence prefers. Raises `EvidenceError`."""
    # The prior is one of scaled coordinates: rounded scales would move the evidence from file to file.
    scale = fit_scale(data, rounded=False)
    scaled = scaled_trajectories(data, scale)
    try:
        features = first_dictionary(scaled, scale, degree, kind)
    except DictionaryError as error:
        raise EvidenceError(str(error)) from None
    tell("no symmetry")
    try:
        problem = Problem.of(features, scaled, scale.rest)
        comparison, wider = chosen(problem, scaled.segments(), fixed=degree, tell=tell)
    except FitError as error:
        raise MisfitError(f"no Hamiltonian of {features.name} fits: {error}") from None
    return Judge.of(scaled, scale, comparison, wider, instead=INSTEAD, tell=tell)


def _space(judge: Judge, answered: Sequence[tuple[QuantityEvidence, Fit | None]]) -> Space | None:
    """The posterior of the space of quantities, with what was `answered` to be conserved exactly; None for
    features that no symmetry is a condition on. Raises `EvidenceError`.
    """
    # The search for the space may not find what is known.
    known = [
        Symmetric(exact.parameters[:-1], one.gain)
        for one, exact in answered
        if one.verdict == "exact" and exact is not None
    ]
    comparison = judge.comparison
    if comparison.problem.features.averaged:
        return None
    try:
        found = space_posterior(comparison.features, judge.data.points(), comparison.none, known)
    except np.linalg.LinAlgError:
        raise _one_value(2) from None
    return Space.of(found, judge.scale)


def _higher_space(judge: Judge, degree: int) -> PolynomialSpace:
    """The posterior of the space of conserved polynomials. Raises `EvidenceError`."""
    judge.tell(f"polynomials of degree {degree} that are conserved")
    fitted, names = judge.comparison, judge.data.names
    try:
        return polynomial_space(fitted.features, judge.data.points(), fitted.none, degree, names, judge.scale)
    except np.linalg.LinAlgError:
        raise _one_value(degree) from None


def _space_of(judge: Judge, recordings: Sequence[int]) -> Space | None:
    """By some recordings alone; None without any, and where there is no verdict or no fit."""
    part = np.isin(judge.data.recordings, recordings)
    if judge.withdrawn or not part.any() or judge.comparison.problem.features.averaged:
        return None
    try:
        return Space.of(space_of_part(judge.comparison, judge.data, part), judge.scale)
    except FitError:
        return None


def _formula(judge: Judge, made: CanonicalMap | None) -> ReadableHamiltonian | None:
    """H with the terms that the data need; None where it does not fit them."""
    if not judge.adequacy.adequate or judge.comparison.problem.features.averaged:
        return None
    seen = not judge.friction.absent
    return readable_hamiltonian(judge.comparison, judge.scale, judge.data, friction=seen, made=made)


def _check_degree(degree: int, data: Trajectories, kind: Kind | Builder) -> None:
    """Raises `EvidenceError` for a degree of the space that is none, or too high for so many columns."""
    if not 2 <= degree <= HIGHEST:
        raise EvidenceError(f"the degree of the space must be 2 to {HIGHEST}, got {degree}")
    if degree > 2 and kind != "polynomials":
        raise EvidenceError(f"the space of degree {degree} needs polynomials as features")
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
