"""The evidence for conserved quantities of any formula, for a Hamiltonian in the terms of a library."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import numpy as np
from jaxtyping import Float

from ..exact_evidence import Evidence, EvidenceError
from ..exact_evidence import evidence as of_dictionary
from ..exact_evidence.engine import MisfitError
from ..exact_evidence.judge import Judge, Tell
from ..exact_evidence.questions import GeneralQuestion, Question
from ..exact_evidence.shooting import FitError
from ..formula import FormulaError, parse_formula
from ..invariants import Dictionary, FunctionDictionary, noise_estimate
from ..quantities import Hypothesis, HypothesisError
from ..scaling import PhaseScale
from ..threads import on_one_thread
from ..trajectories import Trajectories
from .by_hamiltonian import library_hamiltonian
from .choice import SMOOTH, features_of
from .options import LibraryError, LibraryOptions
from .proposals import libraries
from .shooting import Fitted, library_fits, shot_of
from .user_terms import user_terms

INSTEAD = "no verdict can be given"
"""What is said where no H fits."""
FREEDOMS = 2
"""Degrees of freedom up to which smooth functions are tried where nothing else fits."""


@on_one_thread
def evidence(
    data: Trajectories,
    quantities: Sequence[str] = (),
    *,
    degree: int | None = None,
    features: str | Sequence[str] = (),
    space_degree: int = 2,
    beside: Sequence[Hypothesis] = (),
    apart: Sequence[int] = (),
    progress: Tell | None = None,
) -> Evidence:
    """How much the data support that each of `quantities` is conserved: formulas in the units of the data, or
    several that hold together, "p1, p2"; one may stand alone.

    `features` say what H is a sum of: "polynomials" (of angles trigonometric ones); "library": of 24 to 40
    terms of one, polynomials, waves of angles, functions of distances and of differences; "radial" or
    "fourier": smooth functions beside polynomials of degree 2; and formulas of further terms. By default the
    data say: polynomials where all quantities have degree <= 2 and they fit, else a library with the terms
    that the formulas are sums of, else, in up to two degrees of freedom, radial basis functions.

    The symmetry is built in exactly by polynomials, by averages for smooth functions, and in a library by the
    null space of {C, phi} at states of the data. Of two libraries that fit, that with the largest evidence is
    asked. The other arguments are those of `exact_evidence.evidence`. Raises `HypothesisError` for a formula,
    `EvidenceError` for data of which nothing can be said.
    """
    quantities = [quantities] if isinstance(quantities, str) else quantities
    tell, asked = progress or (lambda _: None), features_of(features, data)
    quadratic = all(of_degree_two(text, data) for text in quantities)
    if not quadratic and asked.word in SMOOTH:
        raise EvidenceError(
            f"{asked.word} features: formulas have to be of degree <= 2; ask a library for others"
        )
    if not quadratic or asked.word == "library" or (asked.terms and asked.word not in SMOOTH):
        if space_degree > 2:
            raise EvidenceError(
                f"space degree: got {space_degree}, expected 2 where H is in a library; ask about it apart"
            )
        return library_evidence(data, quantities, degree=degree, tell=tell, terms=asked.terms)
    by_dictionary = partial(
        of_dictionary,
        data,
        quantities,
        degree=degree,
        space_degree=space_degree,
        beside=beside,
        apart=apart,
        progress=progress,
    )
    if asked.word:
        return by_dictionary(features=asked.builder(data, degree))
    others = [partial(library_evidence, data, quantities, degree=degree, tell=tell)]
    if data.dof <= FREEDOMS and not data.angles() and space_degree == 2:
        others.append(partial(by_dictionary, features="radial"))
    return _first_that_fits(by_dictionary, others if quantities else [])


def _first_that_fits(first: Callable[[], Evidence], others: Sequence[Callable[[], Evidence]]) -> Evidence:
    """What the first says, or another where its Hamiltonian does not fit and that one's does."""
    refused = found = None
    try:
        found = first()
    except MisfitError as error:
        refused = error
    for other in others if found is None or not found.adequate else ():
        try:
            if (instead := other()).adequate:
                return instead
        except (EvidenceError, HypothesisError):
            continue
    if found is None:
        assert refused is not None
        raise refused
    return found


def library_evidence(
    data: Trajectories,
    quantities: Sequence[str],
    *,
    degree: int | None,
    tell: Tell,
    terms: Sequence[str] = (),
) -> Evidence:
    """That of a Hamiltonian in the terms of a library, and others. Raises as `evidence`."""
    made = [formula_terms(text, data) for text in quantities]
    own = [*terms, *(term for text in quantities for term in _terms(text, data))]
    try:
        every = libraries(data, noise_estimate(data).variance, LibraryOptions(tuple(own), degree))
    except LibraryError as error:
        raise EvidenceError(str(error)) from None
    tell("no symmetry")
    fits, why = [], "no library has a term of finite values along the motion"
    for fitted in library_fits(data, every, kin=True):
        if isinstance(fitted, str):
            why = fitted
        else:
            fits.append(fitted)
    fits = [one for one in fits if one.adequacy.adequate] or fits[:1]
    if not fits:
        raise EvidenceError(f"{INSTEAD}: {why}")
    # All were fitted to the same scaled rows.
    questions = [question_of(text, one, fits[0].scale) for text, one in zip(quantities, made, strict=True)]
    best = fits[0] if len(fits) == 1 else max(fits, key=lambda one: _best_evidence(one, questions))
    rival = max(one.comparison.none.log_evidence for one in fits)
    return _said(best, questions, data, tell, rival)


def evidence_of_found(
    fitted: Fitted, functions: Dictionary, rows: Mapping[str, Float[np.ndarray, " M"]], data: Trajectories
) -> Evidence:
    """That of combinations `rows` of terms, by name, where `fitted` is the Hamiltonian's fit to `data`."""
    questions = [question_of(name, functions, fitted.scale, row[None]) for name, row in rows.items()]
    return _said(fitted, questions, data)


def question_of(
    text: str, functions: Dictionary, scale: PhaseScale, rows: Float[np.ndarray, "K M"] | None = None
) -> Question:
    """Whether the terms of a dictionary are all conserved, or combinations of them."""
    scales, weights = scale.scales.tolist(), np.eye(len(functions)) if rows is None else rows

    def gradients(states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "K rows dim"]:
        back = scale.states_back(states)
        slopes = [functions.slopes(back, i) @ weights.T * size for i, size in enumerate(scales)]
        return np.moveaxis(np.stack(slopes, axis=1), 2, 0)

    return GeneralQuestion(text, gradients)


def _best_evidence(fitted: Fitted, questions: Sequence[Question]) -> float:
    """The largest log evidence of a library: without symmetry, or with that of one of the questions."""
    found = [fitted.comparison.none.log_evidence]
    for question in questions:
        try:
            found.append(fitted.comparison.exact(question).log_evidence)
        except FitError:
            continue
    return max(found)


def _said(
    fitted: Fitted,
    questions: Sequence[Question],
    data: Trajectories,
    tell: Tell = lambda _: None,
    rival: float = -np.inf,
) -> Evidence:
    """The answers by the fit of a library, and that fit; gains count from a `rival` log evidence without
    symmetry where that is larger.
    """
    judge = Judge.of(
        fitted.scaled,
        fitted.scale,
        fitted.comparison,
        None,
        instead=INSTEAD,
        tell=tell,
        fitted=fitted.adequacy,
    )
    judge = judge._replace(rival=max(rival, judge.rival))
    none, features = judge.comparison.none, judge.comparison.problem.features
    sizes = np.sqrt(none.point.noise) * fitted.scale.scales
    shot = shot_of(fitted).hamiltonian
    rows, every = int(fitted.scaled.lengths.sum()), int(data.lengths.sum())
    return Evidence(
        quantities=tuple(judge.answer(question) for question in questions),
        logZ_none=none.log_evidence,
        noise=dict(zip(data.names, sizes.tolist(), strict=True)),
        degree=fitted.library.largest,
        dictionary=f"{features.size} of the terms of {fitted.library.label}",
        adequacy=judge.adequacy,
        space=None,
        friction=judge.friction,
        controls=judge.controls,
        withdrawn=judge.withdrawn,
        notes=(f"{rows} of {every} rows are used",) if rows < every else (),
        engine="library",
        formula="" if shot is None else library_hamiltonian(shot).formula,
    )


def of_degree_two(text: str, data: Trajectories) -> bool:
    """Whether all formulas of a text are polynomials of degree <= 2. Raises `HypothesisError`."""
    for part in text.split(","):
        try:
            formula = parse_formula(part, (*data.names, *data.other_names()))
        except FormulaError as error:
            raise HypothesisError(str(error)) from None
        try:
            formula.quadratic()
        except FormulaError:
            return False
    return True


def formula_terms(text: str, data: Trajectories) -> FunctionDictionary:
    """The formulas of a text as functions. Raises `HypothesisError`."""
    try:
        found = user_terms(text.split(","), data, "formula")
    except LibraryError as error:
        raise HypothesisError(str(error)) from None
    assert found is not None
    return found


def _terms(text: str, data: Trajectories) -> list[str]:
    """The terms that formulas are sums of, as far as they serve."""
    found = []
    for part in text.split(","):
        for term in parse_formula(part, (*data.names, *data.other_names())).addends():
            try:
                user_terms([term], data)
            except LibraryError:
                continue
            found.append(term)
    return found
