"""The posterior of the space of conserved quantities: its dimension, and its directions with their errors."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..invariants.monomials import Monomial, Monomials, monomials, quadratic_parts
from ..null_space import null_space
from ..quadratic_forms import Quadratics
from ..thinning import evenly
from ..trajectories import Trajectories
from .breaking import breaking
from .built_in import Comparison, no_symmetry
from .features import Features, LinearFeatures
from .prior import covariance_root, log_determinant
from .questions import QuadraticQuestion
from .shooting import Begin, Fit, fit

STEPS = 15
"""Steps of sequential quadratic programming."""
MOST_POINTS = 1000
"""States at which brackets are taken."""
REDUNDANT = 1e-4
"""Singular values of constraints below this share of the largest belong to identities."""
NEEDLESS = 3.0
"""Nats that a group of coefficients must gain to be kept."""
NEEDED = 1e-12
"""Prior variances below this share of the largest are of groups that the data do not need."""
NULL = 1e-5
"""Singular values of brackets below this share of the largest are zero."""
DECIDED = 8.0
"""Nats between two dimensions below which neither is certain."""
GIVEN_UP = 300.0
"""Nats behind the best dimension from which larger ones are not tried."""
DRAWS = 200


class Nearest(NamedTuple):
    """The nearest H with `rank` conserved quantities: its coefficients, the log evidence against no quantity,
    and the quantities (rank, M) as rows of monomials.
    """

    rank: int
    coefficients: Float[np.ndarray, " P"]
    log_evidence: float
    rows: Float[np.ndarray, "rank M"]


class Symmetric(NamedTuple):
    """Coefficients of an H with quantities built in, and its log evidence against none."""

    coefficients: Float[np.ndarray, " P"]
    gain: float


class NearestSpaces(NamedTuple):
    """The search for the dimension of the space: the brackets of its candidates, the best dimension with its
    H, the posterior covariance of c, the log evidence by dimension, and the nats between the best two.
    """

    brackets: "Brackets"
    best: Nearest
    covariance: Float[np.ndarray, "P P"]
    log_evidence: tuple[float, ...]
    margin: float

    def turned(self) -> Float[np.ndarray, "draws rest rank"]:
        """By how much of the other candidates (orthonormal over the data) each of the quantities (likewise)
        changes under draws of the posterior; first order.
        """
        quantities = self.quantities()
        bracket = self.brackets.at(self.best.coefficients)
        back = np.linalg.pinv(bracket @ _split(bracket, self.best.rank)[1])
        root = covariance_root(self.covariance)
        draws = np.random.default_rng(0).normal(size=(DRAWS, len(root))) @ root.T
        return np.stack([-back @ self.brackets.at(draw) @ quantities for draw in draws])

    def quantities(self) -> Float[np.ndarray, "M rank"]:
        """The quantities in candidates that are orthonormal over the data, orthonormal."""
        return np.linalg.qr(np.linalg.solve(self.brackets.units, self.best.rows.T))[0]

    def others(self) -> Float[np.ndarray, "M rest"]:
        """The other candidates of `turned`."""
        return _split(self.brackets.at(self.best.coefficients), self.best.rank)[1]


@dataclass(frozen=True)
class SpacePosterior:
    """What the posterior of H says of the space of quantities of degree <= 2.

    rank: its dimension; log_evidence: of dimensions 0, 1, .., against that of the fitted H, -inf where not
    tried or where no such H was found; margin: nats between the best two; rows (rank, M): a basis, of scaled
    coordinates, without terms in angles; angle: the 95 % bound in degrees of its largest principal angle to
    the truth; broken: that of {C, H} over |grad C| |grad H| for the quantity of the basis that is known
    worst.
    """

    rank: int
    log_evidence: tuple[float, ...]
    margin: float
    rows: Float[np.ndarray, "rank M"]
    angle: float
    broken: float

    def quantities(self) -> Quadratics:
        """The basis, in scaled coordinates."""
        return _quadratics(self.rows)


class Brackets:
    """M(c): candidates -> {C, H_c} at the data, in units where both candidates and points are orthonormal.

    The candidates are the monomials of degree <= `degree` without angles; `units` (M, M) are combinations of
    them that are orthonormal over the data. Raises `numpy.linalg.LinAlgError` where the data do not tell the
    candidates apart.
    """

    def __init__(
        self,
        features: Features,
        states: Float[np.ndarray, "rows dim"],
        used: Bool[np.ndarray, " P"],
        degree: int = 2,
    ):
        some = states[evenly(len(states), MOST_POINTS)]
        names = [f"x{i + 1}" for i in range(features.dim)]
        dictionary, every = Monomials.of(names, degree), monomials(features.dim, degree)
        free = np.array([not set(m) & set(features.angles) for m in every])
        self.candidates: list[Monomial] = [m for m, is_free in zip(every, free, strict=True) if is_free]
        slopes = np.stack([dictionary.slopes(some, i)[:, free] for i in range(features.dim)], axis=1)
        of_position, of_momentum = np.split(slopes, 2, axis=1)
        fields = np.concatenate([-of_momentum, of_position], axis=1)
        maps = np.einsum("rik,rip->krp", fields, features.gradients(some)[:, :, used], optimize=True)
        maps /= np.sqrt(len(some))
        if degree == 2 and (landing := features.landing_at(some)).shape[1] < len(some):
            # All brackets lie in the span of these columns: fewer rows say the same.
            maps = np.tensordot(np.linalg.qr(landing)[0], maps, ((0,), (1,))).swapaxes(0, 1)
        covariance = np.cov(dictionary.values(some)[:, free].T)
        self.units = np.linalg.inv(np.linalg.cholesky(covariance)).T
        self.maps = np.tensordot(self.units, maps, ((0,), (0,)))

    def at(self, coefficients: Float[np.ndarray, " P"]) -> Float[np.ndarray, "points M"]:
        """M(c)."""
        return (self.maps @ coefficients).T


def space_posterior(
    features: Features, states: Float[np.ndarray, "rows dim"], none: Fit, known: Sequence[Symmetric] = ()
) -> SpacePosterior:
    """That of the quantities of degree <= 2, of scaled `states` and the fit without symmetry; `known` as in
    `nearest_spaces`.
    """
    found = nearest_spaces(features, states, none, known=known)
    best, every = found.best, monomials(features.dim)
    angle = _angle(found) if best.rank else 0.0
    rows = np.zeros((best.rank, len(every)))
    rows[:, [every.index(m) for m in found.brackets.candidates]] = best.rows
    limits = [breaking(QuadraticQuestion("", _quadratics(row[None])), none).hi for row in rows]
    return SpacePosterior(best.rank, found.log_evidence, found.margin, rows, angle, max(limits, default=0.0))


def _quadratics(rows: Float[np.ndarray, "rank M"]) -> Quadratics:
    dim = round((np.sqrt(9 + 8 * rows.shape[1]) - 3) / 2)
    return Quadratics(*quadratic_parts(rows, dim), np.zeros(len(rows)))


def nearest_spaces(
    features: Features,
    states: Float[np.ndarray, "rows dim"],
    none: Fit,
    degree: int = 2,
    known: Sequence[Symmetric] = (),
) -> NearestSpaces:
    """The space of the quantities of degree <= `degree`, of scaled `states` and the fit without symmetry.
    Spaces of H that are `known` to have some stand in where the search for larger ones does not settle.

    For each dimension r the nearest c (in the metric of the posterior) such that {C, H_c} = 0 for r
    quantities, and the ratio of posterior to prior density on the directions normal to the variety of such c
    (Savage and Dickey). Groups of coefficients that the data do not need are left out first. Raises
    `numpy.linalg.LinAlgError` where the data do not tell the quantities apart.
    """
    mean, covariance, prior = pruned(features, none)
    used = prior > NEEDED * prior.max()
    mean, covariance, prior = mean[used], covariance[np.ix_(used, used)], prior[used]
    brackets = Brackets(features, states, used, degree)
    count = brackets.units.shape[0]
    free, left = _nullity(brackets.at(mean))
    found = {free: Nearest(free, mean, 0.0, (brackets.units @ left).T)}

    def add(nearest: Nearest) -> None:
        before = found.get(nearest.rank)
        if before is None or nearest.log_evidence > before.log_evidence:
            found[nearest.rank] = nearest

    for rank in range(free + 1, count + 1):
        nearest = _nearest(brackets, rank, mean, covariance, prior)
        if nearest is None:
            continue
        add(nearest)
        best = max(one.log_evidence for one in found.values())
        if nearest.log_evidence < best - GIVEN_UP:
            break
    # Formulas that were chosen after the data gain more than a dimension does: only without any other.
    for one in known if len(found) == 1 else ():
        coefficients = one.coefficients[used]
        rank, left = _nullity(brackets.at(coefficients))
        if rank > free:
            add(Nearest(rank, coefficients, one.gain, (brackets.units @ left).T))
    order = sorted(found.values(), key=lambda one: -one.log_evidence)
    evidence = np.full(max(found) + 1, -np.inf)
    for rank, one in found.items():
        evidence[rank] = one.log_evidence
    margin = order[0].log_evidence - order[1].log_evidence if len(order) > 1 else np.inf
    return NearestSpaces(brackets, order[0], covariance, tuple(evidence.tolist()), float(margin))


def space_of_part(
    comparison: Comparison, data: Trajectories, part: Bool[np.ndarray, " traj"]
) -> SpacePosterior:
    """The same by some of the scaled trajectories alone; the fit to all of them is only where the search
    begins. Raises `FitError`.
    """
    problem, none = comparison.problem, comparison.none
    rows = np.repeat(part, data.lengths - 1) if problem.exact else part
    begin = Begin(none.parameters, none.states, none.point.variances, none.point.noise)
    seen = problem.seen * rows[:, None]
    found = fit(problem, no_symmetry(problem), begin, lengths=[problem.times.shape[1]], seen=seen)
    return space_posterior(comparison.features, data[np.flatnonzero(part)].points(), found)


def pruned(
    features: LinearFeatures, none: Fit
) -> tuple[Float[np.ndarray, " P"], Float[np.ndarray, "P P"], Float[np.ndarray, " P"]]:
    """Mean, covariance and prior variances of c where groups that gain little have none."""
    prior, point = none.model.prior, none.point
    pull = (none.information + prior.precision(point.variances)) @ point.z
    variances = prior.pruned(point.variances, none.information, pull, NEEDLESS)
    covariance = np.linalg.inv(none.information + prior.precision(variances))
    return (covariance @ pull)[:-1], covariance[:-1, :-1], variances[:-1][features.groups]


def _nearest(
    brackets: Brackets,
    rank: int,
    mean: Float[np.ndarray, " P"],
    covariance: Float[np.ndarray, "P P"],
    prior: Float[np.ndarray, " P"],
) -> Nearest | None:
    """By sequential quadratic programming over c and the quantities; None where c does not settle."""
    current = mean
    for _ in range(STEPS):
        normal = _normal(brackets, current, *_split(brackets.at(current), rank))
        own = covariance @ normal.T
        after = mean - own @ np.linalg.solve(normal @ own, normal @ mean)
        if not np.linalg.norm(after) > 1e-6 * np.linalg.norm(mean):
            return None
        moved = np.linalg.norm(after - current)
        current = after
        if moved < 1e-10 * np.linalg.norm(current):
            break
    dimension = _nullity(brackets.at(current))[0]
    if dimension < rank:
        return None
    quantities, others = _split(brackets.at(current), dimension)
    normal = _normal(brackets, current, quantities, others)
    # log of the posterior density over the prior density of normal . c = 0.
    own, off = normal @ covariance @ normal.T, normal @ mean
    before = log_determinant((normal * prior) @ normal.T) if len(normal) else 0.0
    after = log_determinant(own) if len(normal) else 0.0
    value = float(before - after - off @ np.linalg.solve(own, off)) / 2
    return Nearest(dimension, current, value, (brackets.units @ quantities).T)


def _split(
    bracket: Float[np.ndarray, "points M"], rank: int
) -> tuple[Float[np.ndarray, "M rank"], Float[np.ndarray, "M rest"]]:
    """The candidates that come nearest to vanishing brackets, and the others."""
    right = np.linalg.svd(bracket, full_matrices=True)[2]
    return right[len(right) - rank :].T, right[: len(right) - rank].T


def _nullity(bracket: Float[np.ndarray, "points M"]) -> tuple[int, Float[np.ndarray, "M rank"]]:
    """The dimension of the candidates with vanishing brackets, and a basis of them."""
    free = null_space(bracket, NULL).basis
    return len(free), free.T


def _normal(
    brackets: Brackets,
    coefficients: Float[np.ndarray, " P"],
    quantities: Float[np.ndarray, "M rank"],
    others: Float[np.ndarray, "M rest"],
) -> Float[np.ndarray, "codimension P"]:
    """Orthonormal rows a with a . c = 0 for all c near by that have such quantities, to first order.

    {C, H_c} = 0 up to what a change of the quantities makes good; what holds for every c, such as C = H, is
    left out.
    """
    basis = np.linalg.qr(brackets.at(coefficients) @ others)[0]
    maps = np.einsum("kap,kr->rap", brackets.maps, quantities)
    size = np.linalg.norm(maps.reshape(-1, maps.shape[2]), 2)
    rows = (maps - basis @ (basis.T @ maps)).reshape(-1, maps.shape[2])
    values, right = np.linalg.svd(rows, full_matrices=False)[1:]
    return right[values > REDUNDANT * size]


def _angle(found: NearestSpaces) -> float:
    """The 95 % quantile of the largest angle by which the space turns under draws of the posterior, in
    degrees and in units of the spread of the data.
    """
    turned = [np.linalg.norm(one, 2) for one in found.turned()]
    return float(np.degrees(np.arctan(np.quantile(turned, 0.95))))
