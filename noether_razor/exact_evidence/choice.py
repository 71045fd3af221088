"""Which dictionary H is written in: the one that the evidence prefers, as far as it can be afforded."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from ..scaling import PhaseScale
from ..trajectories import Trajectories
from .built_in import Comparison, staged, widened
from .features import LinearFeatures
from .polynomials import Polynomials, polynomial_count
from .proposals import scattered_features
from .scattered import Fourier, Radial
from .shooting import FitError, Problem
from .trigonometric import Trigonometric, trigonometric_count

Kind = Literal["polynomials", "fourier", "radial"]
"""What H is a sum of: polynomials, which are trigonometric ones of angles, or these and smooth functions."""
Builder = Callable[[Trajectories, PhaseScale], LinearFeatures]
"""Makes features of scaled states, from scaled trajectories and their scale."""
DEGREES = (4, 3, 2)
"""Degrees of polynomials; the first with few enough terms is taken to begin with."""
WITH_ANGLES = ((2, 2), (2, 1), (1, 1))
"""The same where there are angles: degrees of the other coordinates, and orders of the angles."""
SCATTERED = {"fourier": Fourier, "radial": Radial}
MOST_TERMS = 300
"""Terms of a dictionary."""
WORTH = 10.0
"""Nats of a richer dictionary from which it is taken."""


class DictionaryError(ValueError):
    """No dictionary for such coordinates is small enough; one line says why."""


class Choice(NamedTuple):
    """The fit with the dictionary that is chosen, and that with the best richer one, None where that is too
    large.
    """

    comparison: Comparison
    wider: Comparison | None


def first_dictionary(
    data: Trajectories, scale: PhaseScale, degree: int | None, kind: Kind | Builder
) -> LinearFeatures:
    """The one to begin with, for scaled trajectories. Raises `DictionaryError`."""
    periods = data.periods or (None,) * data.states.shape[2]
    dim, angles = len(periods), sum(period is not None for period in periods)
    if degree is not None and degree < 1:
        raise DictionaryError(f"degree: got {degree}, expected at least 1")
    if callable(kind):
        return kind(data, scale)
    if kind != "polynomials":
        if angles:
            raise DictionaryError(f"{kind} features are for coordinates that are no angles; leave them out")
        return scattered_features(SCATTERED[kind], data, degree, MOST_TERMS)
    if not angles:
        return _polynomials(dim, degree)
    most = MOST_TERMS if degree is None else 2 * MOST_TERMS
    for power, order in WITH_ANGLES:
        if trigonometric_count(periods, degree or power, order) <= most:
            return Trigonometric.of(periods, degree or power, order)
    count = trigonometric_count(periods, degree or 1, 1)
    raise DictionaryError(
        f"cosines and sines of {angles} angles times polynomials of degree {degree or 1} in {dim - angles} "
        f"coordinates are {count} terms, at most {most} are fitted"
    )


def _polynomials(dim: int, degree: int | None) -> Polynomials:
    if degree is None:
        few = [d for d in DEGREES if polynomial_count(dim, d) <= MOST_TERMS]
        if not few:
            raise DictionaryError(
                f"polynomials of degree {DEGREES[-1]} in {dim} coordinates have "
                f"{polynomial_count(dim, DEGREES[-1])} terms, at most {MOST_TERMS} are fitted"
            )
        degree = few[0]
    if (count := polynomial_count(dim, degree)) > 2 * MOST_TERMS:
        raise DictionaryError(
            f"polynomials of degree {degree} in {dim} coordinates have {count} terms; "
            f"at most {2 * MOST_TERMS} are fitted"
        )
    return Polynomials(dim, degree)


def chosen(
    problem: Problem,
    segments: Sequence[tuple[np.ndarray, np.ndarray]],
    *,
    fixed: int | None,
    tell: Callable[[str], None],
) -> Choice:
    """From the dictionary of `problem` on, richer ones while they gain more than 10 nats; `fixed` is a degree
    to stay with. Raises `FitError` where the first does not fit.
    """
    comparison = Comparison.of(problem, segments)
    while True:
        wider = _richest(comparison, tell)
        if wider is None or wider.none.log_evidence < comparison.none.log_evidence + WORTH:
            return Choice(comparison, wider)
        if fixed is not None and wider.problem.features.degree != fixed:
            return Choice(comparison, wider)
        comparison = staged(wider)


def _richest(comparison: Comparison, tell: Callable[[str], None]) -> Comparison | None:
    """That of the richer dictionaries which gains most for each feature more: it leaves room for what is
    still missing. Where none gains enough, that with the largest evidence.
    """
    found = []
    for richer in comparison.problem.features.richer(_needed(comparison), MOST_TERMS):
        tell(richer.features.name)
        try:
            found.append(widened(comparison, richer))
        except FitError:
            continue
    if not found:
        return None
    before, size = comparison.none.log_evidence, comparison.problem.features.size
    gains = np.array([one.none.log_evidence - before for one in found])
    added = np.array([one.problem.features.size - size for one in found])
    worth = gains / added if gains.max() >= WORTH else gains
    worth[gains < min(WORTH, gains.max())] = -np.inf
    return found[int(worth.argmax())]


def _needed(comparison: Comparison) -> Float[np.ndarray, " P"]:
    """Squares of the coefficients over their variances."""
    none = comparison.none
    return none.parameters[:-1] ** 2 / np.diag(none.covariance)[:-1]
