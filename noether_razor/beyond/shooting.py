"""H as a formula in the terms of a library: chosen by the weak form, fitted by multiple shooting."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ..exact_evidence.built_in import Comparison
from ..exact_evidence.checks import Adequacy, adequacy, expected_noise
from ..exact_evidence.engine import pieces_of
from ..exact_evidence.hamiltonian import covariance_by_map, fit_alone, needed_terms
from ..exact_evidence.prior import covariance_root
from ..exact_evidence.shooting import FitError, Problem
from ..exact_evidence.space import NEEDED, NEEDLESS, pruned
from ..exact_evidence.start import WeakForm, Windows
from ..invariants import Monomials
from ..scaling import PhaseScale
from ..thinning import evenly
from ..trajectories import CanonicalMap, Trajectories, fit_scale, scaled_trajectories
from .features import LibraryFeatures
from .library import Library, Products

MOST_ACTIVE = 24
"""Terms that are fitted by shooting: the weak form leaves out the others."""
MOST_WITH_KIN = 40
"""The same with those that share a prior variance with what is needed."""
MOST_ROWS = 3000
"""Rows that are fitted."""
MOST_NUMBERS = 16_000_000
"""Slopes of terms in memory at a time."""
TRIED = 2
"""Libraries that are fitted, the best by their weak forms first."""
RUBBED = 3.5
"""Standard errors of a friction from which it is one."""
LOST_ENERGY = "energy is lost or gained: a friction is seen"
"""Why there is no H then."""
OVERLAP = 2
"""Windows that share a row."""


@dataclass(frozen=True, eq=False)
class ShotHamiltonian:
    """H = sum_k coefficients_k theta_k up to a constant, in the units of the data, with the covariance of its
    coefficients; the terms theta are those of `library`. `chi2` are squared residuals over the variance of
    the noise, None where that cannot be told. `rows` are those that were fitted.
    """

    library: Library
    coefficients: Float[np.ndarray, " K"]
    covariance: Float[np.ndarray, "K K"]
    chi2: float | None
    log_evidence: float
    rows: int = 1000

    @property
    def errors(self) -> Float[np.ndarray, " K"]:
        """Standard errors of the coefficients."""
        return np.sqrt(np.diag(self.covariance))

    def draws(self, count: int) -> Float[np.ndarray, "count K"]:
        """Coefficients from the posterior."""
        root = covariance_root(self.covariance)
        normal = np.random.default_rng(0).normal(size=(count, len(root)))
        return self.coefficients + normal @ root.T


class Fitted(NamedTuple):
    """A library's terms fitted to scaled trajectories without symmetry, and the tests of that fit; `made`:
    how their coordinates were made of columns, None where they are columns. The terms are some of `choices`.
    runner_up: the library that comes next by its description length, and how much longer it is.
    """

    library: Library
    scaled: Trajectories
    scale: PhaseScale
    comparison: Comparison
    adequacy: Adequacy
    made: CanonicalMap | None
    choices: int
    runner_up: str


class Attempt(NamedTuple):
    """H of the best library with the fit that it is from, or None, and why not: one line, empty with H.

    lost: whether no fit found its way, so that none says anything of the terms.
    """

    hamiltonian: ShotHamiltonian | None
    why: str
    fitted: Fitted | None = None
    lost: bool = False


class _Choice(NamedTuple):
    """Some terms of a library by its weak form, `fewest` of them, with which the description length is the
    shortest, and that length; they were chosen from `choices`.
    """

    active: LibraryFeatures
    fewest: LibraryFeatures
    length: float
    choices: int

    @property
    def names(self) -> list[str]:
        """Of the fewest terms."""
        return [term.name for term in self.fewest.library.terms]


def shot_hamiltonian(data: Trajectories, libraries: Sequence[Library]) -> Attempt:
    """H of the library that describes the motion best, with the terms that it needs.

    The integral form of Hamilton's equations along smoothing splines ranks the libraries by description
    length, and leaves at most 24 terms of each. Multiple shooting with unknown first states and a friction
    then finds the maximum of the posterior, by the engine of the exact evidence; the terms that are more
    probably zero go, and those that stay are fitted again alone. None where H does not explain the motion to
    its noise, and where energy is lost.
    """
    # Of the library that describes the motion best.
    why, lost = "", True
    for fitted in library_fits(data, libraries):
        found = Attempt(None, fitted) if isinstance(fitted, str) else shot_of(fitted)
        if found.hamiltonian is not None:
            return found
        why, lost = why or found.why, lost and not _found(fitted)
    return Attempt(None, why or "no library has a term of finite values along the motion", lost=lost)


def library_fits(
    data: Trajectories, libraries: Sequence[Library], *, kin: bool = False
) -> Iterator[Fitted | str]:
    """The fits of the two libraries that describe the motion best by their weak forms, or why there is none:
    computed as they are asked for. With `kin` beside the terms that the weak form needs those that share a
    prior variance with them, as far as these are at most 40. Where these do not fit, the terms that the weak
    form needs alone: from more, a bad start may not find its way.
    """
    few = data[evenly(len(data), max(4, len(data) * MOST_ROWS // max(1, int(data.lengths.sum()))))]
    pieces, _ = pieces_of(few)
    scale = fit_scale(pieces, rounded=False)
    scaled = scaled_trajectories(pieces, scale)
    windows = Windows.of(scaled.segments(), exact=False)
    choices = [_chosen(library, scale, windows, kin=kin) for library in libraries]
    order = sorted((one for one in choices if one is not None), key=lambda one: one.length)
    for rank, choice in enumerate(order[:TRIED]):
        # Libraries share their polynomials, and may choose the same terms.
        others = (one for one in order[rank + 1 :] if one.names != choice.names)
        own, after = choice.active, next(others, None)
        fitted = _fitted(own, scaled, scale, pieces.canonical, choice, after)
        if len(choice.fewest.library) < len(own.library) and not _found(fitted):
            again = _fitted(choice.fewest, scaled, scale, pieces.canonical, choice, after)
            fitted = again if _found(again) else fitted
        yield fitted


def _fitted(
    features: LibraryFeatures,
    scaled: Trajectories,
    scale: PhaseScale,
    made: CanonicalMap | None,
    choice: _Choice,
    after: _Choice | None,
) -> Fitted | str:
    """The fit of all its terms, or why there is none."""
    library = features.library
    try:
        found = Comparison.of(
            Problem.of(features, scaled, scale.rest), scaled.segments(), expected_noise(scaled)
        )
    except (FitError, np.linalg.LinAlgError) as error:
        return f"no H of {library.label} fits: {error}"
    checked = adequacy(found, scaled)
    return Fitted(library, scaled, scale, found, checked, made, choice.choices, _next(choice, after))


def _next(choice: _Choice, after: _Choice | None) -> str:
    """What is said of the library that comes next; empty for none."""
    if after is None:
        return ""
    terms, longer = len(after.fewest.library), after.length - choice.length
    return f"{after.active.library.label} would take {terms} terms and be {longer:.0f} nats longer"


def _found(fitted: Fitted | str) -> bool:
    """Whether a fit has found its way, to noise or not."""
    return not isinstance(fitted, str) and fitted.comparison.none.converged


def _chosen(library: Library, scale: PhaseScale, windows: Windows, *, kin: bool) -> _Choice | None:
    """The terms of a library that its weak form needs most; None where values are not finite."""
    nodes = windows.spans.shape[1] * library.dim * len(library)
    windows = windows.some(max(len(library), MOST_NUMBERS // nodes))
    with np.errstate(all="ignore"):
        every = LibraryFeatures.of(library, scale, scale.states_back(windows.points))
        form = windows.regression(every)
    usable = np.isfinite(form.design).all(axis=0) & (every.units > 0)
    if not usable.any():
        return None
    at = np.flatnonzero(usable)
    kept, needed, length = _shortest(form._replace(design=form.design[:, at]), _functions(library)[at])
    if kin:
        groups = every.groups[at]
        for group in np.unique(groups[needed]):
            more = np.union1d(kept, np.flatnonzero(groups == group))
            kept = more if len(more) <= MOST_WITH_KIN else kept
    states = scale.states_back(windows.points)
    active, fewest = (
        LibraryFeatures.of(library.chosen(at[some]), scale, states)
        for some in (kept, needed if len(needed) else kept)
    )
    return _Choice(active, fewest, length, len(at))


def _functions(library: Library) -> Bool[np.ndarray, " M"]:
    """Which terms are a function alone, such as 1/r: no monomials, and no products with them."""
    found = []
    for part in library.parts:
        none = np.zeros(len(part), bool)
        found.append(~part.exponents.any(axis=1) if isinstance(part, Products) else none)
        if not isinstance(part, Products | Monomials):
            found[-1] = ~none
    return np.concatenate(found)


def _shortest(
    form: WeakForm, functions: Bool[np.ndarray, " P"]
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " needed"], float]:
    """The terms that are left when there are at most 24, by elimination of the least needed one at a time;
    those that are left where the description length is shortest on the way to none, and that length. Of
    `functions`, which are much alike where the data are, all that fit in stay.
    """
    rows, size = form.design.shape
    normal = form.design.T @ form.design
    inverse = np.linalg.inv(normal + 1e-9 * np.trace(normal) / size * np.eye(size))
    mean = inverse @ (form.design.T @ form.changes)
    squares = float(np.sum((form.changes - form.design @ mean) ** 2))
    kept, active, needed, best = np.arange(size), np.arange(size), np.arange(size), np.inf
    few = functions & (functions.sum() <= MOST_ACTIVE / 2)
    while True:
        if len(kept) <= MOST_ACTIVE < len(active):
            active = kept
        length = (rows * np.log(max(squares, 1e-300) / rows) / OVERLAP + len(kept) * np.log(rows)) / 2
        if length < best:
            needed, best = kept, float(length)
        if not len(kept):
            return active, needed, best
        worth = mean**2 / np.diag(inverse)
        spared = few[kept] & (len(kept) > MOST_ACTIVE)
        out = int(np.where(spared, np.inf, worth).argmin())
        squares += float(worth[out])
        mean = np.delete(mean - inverse[:, out] * mean[out] / inverse[out, out], out)
        inverse = inverse - np.outer(inverse[:, out], inverse[out]) / inverse[out, out]
        inverse = np.delete(np.delete(inverse, out, axis=0), out, axis=1)
        kept = np.delete(kept, out)


def shot_of(fitted: Fitted) -> Attempt:
    """H of one library with the terms that it needs."""
    label, comparison, scale = fitted.library.label, fitted.comparison, fitted.scale
    features, fits = comparison.problem.features, fitted.adequacy
    assert isinstance(features, LibraryFeatures)
    if not fits.adequate:
        return Attempt(None, f"no H of {label} fits: {fits.why}")
    try:
        mean, covariance, prior = pruned(features, comparison.none)
        prior = np.where(prior > NEEDED * prior.max(), prior, 0.0)
        kept = needed_terms(mean, covariance, prior, fitted.choices)
        alone, gain = fit_alone(comparison, kept, friction=True)
    except (FitError, np.linalg.LinAlgError) as error:
        return Attempt(None, f"no H of {label} fits: {error}")
    if alone is None or not kept.any() or gain < -NEEDLESS:
        return Attempt(None, f"no H of {label} with few terms fits")
    rubbing, error = alone.parameters[-1], float(np.sqrt(alone.covariance[-1, -1]))
    if abs(rubbing) > RUBBED * error:
        return Attempt(None, LOST_ENERGY)
    factors = scale.energy / features.units[kept]
    covariance = (alone.covariance + covariance_by_map(alone, scale, fitted.made))[:-1, :-1]
    shot = ShotHamiltonian(
        library=features.library.chosen(np.flatnonzero(kept)),
        coefficients=alone.parameters[:-1][kept] * factors,
        covariance=covariance[np.ix_(kept, kept)] * factors * factors[:, None],
        chi2=fits.chi2,
        log_evidence=alone.log_evidence,
        rows=comparison.problem.count,
    )
    return Attempt(shot, "", fitted)
