"""How combinations of terms move along measured trajectories, and what noise does to them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations_with_replacement, product
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.integrate import cumulative_trapezoid
from scipy.optimize import brentq
from scipy.stats import ncx2

from ..trajectories import UNPAIRED, Trajectories
from .correlated import CorrelatedNoise
from .dictionary import Dictionary, dictionary_of
from .monomials import canonical_scales, spreads
from .noise import NoiseEstimate, noise_correlation, noise_estimate, noise_profile

FLOOR = 1e-4
"""R.m.s. change over the spread that counts as none, however exact the rows: the accuracy of simulated
files."""
UNTOLD_FLOOR = 0.02
"""The same where noise cannot be told from motion: the change, noise and all, must stay below."""
ROUNDING = 1e-6
"""R.m.s. change over the size of its terms that counts as none."""
STANDARD_ERRORS = 3.0
UPPER = 1.645
"""Standard errors of a one-sided limit of 95 %."""
MOST_NUMBERS = 4_000_000
"""Rows times terms that are kept; of longer data, rows at equal distances."""
NEGLIGIBLE = 1e-12
"""Products of entries of a root of correlations that count as none."""
RESOLVED = 1e-5
"""Share of the largest singular value from which integrals of terms count as different."""


class Change(NamedTuple):
    """How much one combination of terms changes along trajectories.

    spread: its standard deviation over all rows, noise taken away. change: its r.m.s. change along a
    trajectory over the spread, noise taken away. limit: the 95 % upper limit of the part of that which the
    state drives (see `Drift`). hidden: the 95 % upper limit of the whole change, of any kind. excess: the
    standard errors by which that part exceeds chance. rate, rate_error: r.m.s. |dC/dt| over the spread, per
    unit of time. decay, decay_error: gamma of dC/dt = -gamma (C - C0). decays: whether that is beyond chance
    and a good part of what the state drives. noise: the standard deviation of its noise over the spread.
    """

    spread: float
    change: float
    limit: float
    hidden: float
    excess: float
    rate: float
    rate_error: float
    decay: float
    decay_error: float
    decays: bool
    noise: float


class Bend(NamedTuple):
    """Second derivatives of some terms by two coordinates, times the standard deviations of the noise of
    both, and sqrt(2) where they differ: the pair stands twice in a Hessian.
    """

    terms: Int[np.ndarray, " some"]
    values: Float[np.ndarray, "rows some"]


@dataclass(frozen=True, eq=False)
class Motion:
    """Values of M terms along trajectories, about their mean and of unit spread.

    Terms are those of `dictionary` that are `used` (all,): those of columns that never move, and polynomials
    of angles, are not. They are terms of x' = (x - `shift`) / `scales` where these are combinations of those
    of x by a matrix, `to_scaled` (all, all) with its inverse `from_scaled`, else of x (None). `unit` (M,) are
    their standard deviations.

    `noise` is that of columns, `profile` its variance at each point, and `correlation` (2n, 2n) that of its
    columns. `slopes` are derivatives of terms by each noisy coordinate times the standard deviation of its
    noise, mixed by the root of `correlation`: what noise does to a combination has the sum of their squares
    as its variance. To second order, twice the variance is tr(H S H S) for a combination of Hessian H and
    noise of covariance S: the form `curvature` (M, M) of the coefficients where both are constant, else the
    squares of the `bends`, second derivatives by pairs of coordinates, each with the terms that depend on
    both. As many rows as `alike` have one value of the noise between them.

    `integrals` (rows, M + 1) are those of 1 and of all terms over time from the first row of each piece.
    `recording` and `piece` (rows,) number what a row is of; pieces of one recording count as one trajectory.
    `row` (rows,) says which of its piece a row is. `floor` is the relative change that counts as
    none.
    """

    trajectories: Trajectories
    dictionary: Dictionary
    noise: NoiseEstimate
    profile: Float[np.ndarray, "points dim"]
    correlation: Float[np.ndarray, "dim dim"]
    used: Bool[np.ndarray, " all"]
    to_scaled: Float[np.ndarray, "all all"] | None
    from_scaled: Float[np.ndarray, "all all"] | None
    scales: Float[np.ndarray, " dim"]
    shift: Float[np.ndarray, " dim"]
    unit: Float[np.ndarray, " M"]
    values: Float[np.ndarray, "rows M"]
    slopes: tuple[Float[np.ndarray, "rows M"], ...]
    curvature: Float[np.ndarray, "M M"]
    bends: tuple["Bend", ...]
    integrals: Float[np.ndarray, "rows more"]
    recording: Int[np.ndarray, " rows"]
    piece: Int[np.ndarray, " rows"]
    row: Int[np.ndarray, " rows"]
    floor: float
    alike: float

    def __repr__(self) -> str:
        rows, terms = self.values.shape
        return f"Motion({terms} terms at {rows} rows, {self.recordings} recordings, floor {self.floor:.2g})"

    @classmethod
    def of(
        cls,
        trajectories: Trajectories,
        noise_variance: float | Float[np.ndarray, " dim"] | None = None,
        dictionary: Dictionary | str | None = None,
        correlated: CorrelatedNoise | None = None,
    ) -> "Motion":
        """The motion of the terms of `dictionary`, or of the family of that name: None, all monomials of
        degree <= 2.

        `noise_variance` of the states, of all coordinates or of each, None: as `noise_estimate` says, and
        zero where the noise is on stored targets only; and `correlated`, where that is more. Raises
        ValueError for a term that is not finite.
        """
        dictionary = dictionary_of(dictionary, trajectories)
        noise, profile, shared = _noise(trajectories, noise_variance, correlated)
        points, periods = trajectories.points(), trajectories.periods
        spread = points.std(axis=0)
        moving = spread > 1e-12 * np.abs(points).max(axis=0, initial=1e-300)
        scales, shift = _scales(trajectories, dictionary), points.mean(axis=0)
        used = dictionary.usable(points, moving, periods)
        to_scaled = dictionary.moved(shift, scales)
        from_scaled = None if to_scaled is None else dictionary.moved(-shift / scales, 1 / scales)
        paths = [
            (times, path if to_scaled is None else (path - shift) / scales)
            for times, path in trajectories.segments()
        ]
        terms, integral, every, number, row = _along(paths, dictionary, used)
        mean, unit = terms.mean(axis=0), terms.std(axis=0)
        unit = np.where(unit > 0, unit, 1.0)
        integral[:, 1:] = (integral[:, 1:] - integral[:, :1] * mean) / unit
        starts = np.cumsum(trajectories.lengths) - trajectories.lengths
        deviation = np.sqrt(profile[starts[number] + row]) / (1.0 if to_scaled is None else scales)
        curvature, bends = _second_order(dictionary, every, deviation, shared, used, unit)
        recordings = np.unique(trajectories.recordings, return_inverse=True)[1]
        return cls(
            trajectories=trajectories,
            dictionary=dictionary,
            row=row,
            noise=noise,
            profile=profile,
            correlation=shared,
            used=used,
            to_scaled=to_scaled,
            from_scaled=from_scaled,
            scales=scales,
            shift=shift,
            unit=unit,
            values=(terms - mean) / unit,
            slopes=_slopes(dictionary, every, deviation, shared, used, unit),
            curvature=curvature,
            bends=bends,
            integrals=integral,
            recording=recordings.reshape(-1)[number],
            piece=number,
            floor=FLOOR if noise.told.all() else UNTOLD_FLOOR,
            alike=1.0 if correlated is None else correlated.alike,
        )

    @property
    def recordings(self) -> int:
        """How many recordings there are."""
        return int(self.recording.max()) + 1

    @property
    def shared(self) -> tuple[str, str, float] | None:
        """The two columns whose noise is most alike, and its correlation; None where each has its own."""
        off = np.abs(np.triu(self.correlation, 1))
        if not off.any():
            return None
        i, j = np.unravel_index(int(off.argmax()), off.shape)
        names = self.trajectories.names
        return names[int(i)], names[int(j)], float(self.correlation[i, j])

    @property
    def still(self) -> tuple[str, ...]:
        """Columns that have one value in the whole file."""
        points = self.trajectories.points()
        return tuple(
            name for name, one in zip(self.trajectories.names, points.T, strict=True) if np.ptp(one) == 0
        )

    @property
    def degrees(self) -> int:
        """Rows less one for each recording."""
        return len(self.values) - self.recordings

    def quantities(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "K all"]:
        """Coefficients of all terms in the units of the data, of combinations of those that are used."""
        every = np.zeros((len(rows), len(self.used)))
        every[:, self.used] = rows / self.unit
        return every if self.from_scaled is None else every @ self.from_scaled

    def rows(self, quantities: Float[np.ndarray, "K all"]) -> Float[np.ndarray, "K M"]:
        """The inverse of `quantities`, up to terms that are not used."""
        every = quantities if self.to_scaled is None else quantities @ self.to_scaled
        return every[:, self.used] * self.unit

    def noise_variances(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "rows K"]:
        """The variance that noise gives to each combination at each row.

        The gradient at a noisy point has the second-order part twice, so it is taken away once.
        """
        total = np.zeros((len(self.values), len(rows)))
        for slope in self.slopes:
            total += (slope @ rows.T) ** 2
        for bend in self.bends:
            total -= (bend.values @ rows[:, bend.terms].T) ** 2 / 2
        bent = np.einsum("ki,ij,kj->k", rows, self.curvature, rows, optimize=True)
        return np.maximum(total - bent / 2, 0.0)

    def noise_matrix(self, weights: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "M M"]:
        """The sum of the covariances that noise gives to the terms at each row, times `weights` >= 0."""
        total = -self.curvature / 2 * weights.sum()
        some = np.flatnonzero(weights)
        root = np.sqrt(weights[some, None])
        for slope in self.slopes:
            own = slope[some] * root
            total += own.T @ own
        for bend in self.bends:
            own = bend.values[some] * root
            total[np.ix_(bend.terms, bend.terms)] -= own.T @ own / 2
        return total

    @cached_property
    def _slope_squares(self) -> Float[np.ndarray, "noisy M M"]:
        """The sums over the rows of products of slopes, for each column with noise."""
        size = self.values.shape[1]
        return np.array([slope.T @ slope for slope in self.slopes]).reshape(len(self.slopes), size, size)

    def noise_errors(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " K"]:
        """The relative errors of the noise variances of combinations."""
        parts = [np.sum((rows @ square) * rows, axis=1) for square in self._slope_squares]
        shares = np.maximum(np.array(parts).reshape(len(self.slopes), len(rows)), 0.0)
        total = shares.sum(axis=0)
        errors = self.noise.relative_error[self.noise.variance > 0]
        return np.sqrt(np.sum((shares / np.where(total > 0, total, 1.0) * errors[:, None]) ** 2, axis=0))

    @cached_property
    def sizes(self) -> Float[np.ndarray, " all"]:
        """What terms of x are times those of x / `scales`; where they are no terms of that, their standard
        deviations.
        """
        return self._sizes(self.scales)

    @cached_property
    def own_sizes(self) -> Float[np.ndarray, " all"]:
        """The same with the spread of each coordinate in place of `scales`: these have one s_q s_p, by which
        pairs in units of their own differ by powers of ten, and errors of what is large then hide what is
        small.
        """
        angles = () if self.dictionary.second_degree else self.trajectories.periods
        return self._sizes(spreads(self.trajectories.points(), angles))

    def _sizes(self, scales: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " all"]:
        scaled = self.dictionary.moved(np.zeros(len(scales)), scales)
        if scaled is not None:
            return np.diag(scaled).copy()
        every = np.ones(len(self.used))
        every[self.used] = self.unit
        return every

    @cached_property
    def covariance(self) -> Float[np.ndarray, "M M"]:
        """Of the terms over all rows, noise and all."""
        return self.values.T @ self.values / len(self.values)

    @cached_property
    def root(self) -> Float[np.ndarray, "M M"]:
        """The root of `covariance`: times it, rows become as long as their combinations spread."""
        values, axes = np.linalg.eigh(self.covariance)
        return (axes * np.sqrt(np.maximum(values, 1e-12 * values.max(initial=1e-300)))) @ axes.T

    def variances(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " K"]:
        """Of combinations over all rows of the data, noise and all."""
        return np.sum((rows @ self.covariance) * rows, axis=1)

    def floors(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " K"]:
        """The mean square change of combinations that counts as none."""
        return self.floor**2 * self.variances(rows) + ROUNDING**2 * np.sum(rows**2, axis=1)

    def deviations(
        self, labels: Int[np.ndarray, " rows"], values: Float[np.ndarray, "rows K"] | None = None
    ) -> Float[np.ndarray, "rows K"]:
        """Terms, or other `values`, about their means over the rows of a label."""
        values = self.values if values is None else values
        return values - means(values, labels)[labels]


class _Along(NamedTuple):
    """Terms, integrals of 1 and of them, and states, at each `row` of a `piece`."""

    terms: Float[np.ndarray, "rows M"]
    integrals: Float[np.ndarray, "rows more"]
    states: Float[np.ndarray, "rows dim"]
    piece: Int[np.ndarray, " rows"]
    row: Int[np.ndarray, " rows"]


def _along(
    paths: Sequence[tuple[np.ndarray, np.ndarray]], dictionary: Dictionary, used: Bool[np.ndarray, " all"]
) -> _Along:
    """The terms that are `used` along `paths`. Raises ValueError for one that is not finite."""
    rows = sum(len(times) for times, _ in paths)
    stride = max(1, int(np.ceil(rows * max(1, used.sum()) / MOST_NUMBERS)))
    parts = []
    for number, (times, path) in enumerate(paths):
        terms = dictionary.values(path)[:, used]
        whole = np.concatenate([np.ones((len(times), 1)), terms], axis=1)
        integral = cumulative_trapezoid(whole, times, axis=0, initial=0)
        kept = np.arange(0, len(times), min(stride, max(1, len(times) // 3)))
        parts.append(_Along(terms[kept], integral[kept], path[kept], np.full(len(kept), number), kept))
    found = _Along(*(np.concatenate(part) for part in zip(*parts, strict=True)))
    if not (finite := np.isfinite(found.terms)).all():
        name = dictionary.terms[np.flatnonzero(used)[int(np.argmin(finite.all(axis=0)))]].name
        raise ValueError(f"term {name} is not finite at {int(np.sum(~finite.all(axis=1)))} rows")
    return found


def _scales(trajectories: Trajectories, dictionary: Dictionary) -> Float[np.ndarray, " dim"]:
    """Units of coordinates in which all spread alike: canonical ones of pairs."""
    measured = spreads if trajectories.bracket == UNPAIRED else canonical_scales
    # No quadratic reads an angle: how far it winds then says how fast the motion is, and no more.
    return measured(trajectories.points(), () if dictionary.second_degree else trajectories.periods)


def _slopes(
    dictionary: Dictionary,
    states: Float[np.ndarray, "rows dim"],
    deviation: Float[np.ndarray, "rows dim"],
    correlation: Float[np.ndarray, "dim dim"],
    used: Bool[np.ndarray, " all"],
    unit: Float[np.ndarray, " M"],
) -> tuple[Float[np.ndarray, "rows M"], ...]:
    """The `slopes` of a motion; `deviation` is that of the noise of states."""
    noisy = np.flatnonzero(deviation.any(axis=0))
    own = [dictionary.slopes(states, i)[:, used] * deviation[:, i, None] / unit for i in noisy.tolist()]
    root = _root(correlation[np.ix_(noisy, noisy)])
    return tuple(own) if root is None else tuple(np.tensordot(root, np.array(own), 1))


def _root(correlation: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "k k"] | None:
    """The symmetric root of correlations, None where there are none: estimates may be slightly indefinite."""
    if not (correlation - np.eye(len(correlation))).any():
        return None
    values, axes = np.linalg.eigh(correlation)
    return (axes * np.sqrt(np.maximum(values, 0.0))) @ axes.T


def _second_order(
    dictionary: Dictionary,
    states: Float[np.ndarray, "rows dim"],
    deviation: Float[np.ndarray, "rows dim"],
    correlation: Float[np.ndarray, "dim dim"],
    used: Bool[np.ndarray, " all"],
    unit: Float[np.ndarray, " M"],
) -> tuple[Float[np.ndarray, "M M"], tuple[Bend, ...]]:
    """The `curvature` and the `bends` of a motion; `deviation` is that of the noise of states."""
    noisy = np.flatnonzero(deviation.any(axis=0)).tolist()
    root = _root(correlation[np.ix_(noisy, noisy)])
    constant = dictionary.second_degree and bool((deviation == deviation[:1]).all())
    states, deviation = (states[:1], deviation[:1]) if constant else (states, deviation)

    def bent(i: int, j: int) -> Float[np.ndarray, "rows M"]:
        size = deviation[:, i, None] * deviation[:, j, None]
        return dictionary.bends(states, i, j)[:, used] * size / unit

    curvature, bends = np.zeros((len(unit), len(unit))), []
    for first, second in combinations_with_replacement(range(len(noisy)), 2):
        if root is None:
            values = bent(noisy[first], noisy[second])
        else:
            values = np.zeros((len(states), len(unit)))
            for a, b in product(range(len(noisy)), repeat=2):
                weight = float(root[first, a] * root[second, b])
                if abs(weight) > NEGLIGIBLE:
                    values += weight * bent(noisy[a], noisy[b])
        values = values * (1.0 if first == second else 2**0.5)
        some = np.flatnonzero(values.any(axis=0))
        if constant:
            curvature[np.ix_(some, some)] += np.outer(values[0, some], values[0, some])
        elif some.size:
            bends.append(Bend(some, values[:, some]))
    return curvature, tuple(bends)


def means(
    values: Float[np.ndarray, "rows K"], labels: Int[np.ndarray, " rows"]
) -> Float[np.ndarray, "labels K"]:
    """The means over the rows of each label."""
    count = np.bincount(labels)
    total = np.zeros((len(count), values.shape[1]))
    np.add.at(total, labels, values)
    return total / count[:, None]


class Drift:
    """The part of changes along trajectories that the state drives.

    Where C is not conserved, dC/dt is a function of the state. C about its mean over each piece is regressed
    on the integrals over time of 1 and of all terms, with `weights` (rows,): what it explains of pure noise
    is chi-squared with `degrees` degrees of freedom, in units of the residual variance, so the size of the
    noise need not be known.
    """

    def __init__(self, motion: Motion, weights: Float[np.ndarray, " rows"]):
        self.motion = motion
        self.root = np.sqrt(weights / weights.mean())
        integrals = self._centred(motion.integrals)
        size = np.linalg.norm(integrals, axis=0)
        left, values, right = np.linalg.svd(integrals / np.where(size > 0, size, 1.0), full_matrices=False)
        kept = values > RESOLVED * values.max(initial=0.0)
        self.basis = left[:, kept]
        drivers = np.concatenate([np.ones((len(motion.values), 1)), motion.values], axis=1)
        self.rates = (drivers / np.where(size > 0, size, 1.0)) @ (right[kept].T / values[kept])
        self.degrees = self.basis.shape[1]
        self.left = max(1, len(motion.values) - int(motion.piece.max()) - 1 - self.degrees)

    def _centred(self, values: Float[np.ndarray, "rows K"]) -> Float[np.ndarray, "rows K"]:
        """Values about their weighted means over pieces, times the roots of the weights."""
        piece, weights = self.motion.piece, self.root**2
        total = np.zeros((int(piece.max()) + 1, values.shape[1]))
        np.add.at(total, piece, values * weights[:, None])
        return (values - (total / np.bincount(piece, weights)[:, None])[piece]) * self.root[:, None]

    def split(
        self, rows: Float[np.ndarray, "K M"]
    ) -> tuple[Float[np.ndarray, "degrees K"], Float[np.ndarray, "K K"]]:
        """What combinations have of the explained directions, and the covariance of what is left."""
        values = self._centred(self.motion.values @ rows.T)
        explained = self.basis.T @ values
        residual = values - self.basis @ explained
        return explained, residual.T @ residual * (self.motion.alike / self.left)

    def unexplained(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "rows K"]:
        """What the state does not drive of the changes of combinations."""
        values = self._centred(self.motion.values @ rows.T)
        return (values - self.basis @ (self.basis.T @ values)) / self.root[:, None]

    def strength(self, row: Float[np.ndarray, " M"]) -> float:
        """The statistic of one combination: chi-squared for pure noise."""
        explained, residual = self.split(row[None])
        return float(np.sum(explained**2) / max(float(residual[0, 0]), np.finfo(float).tiny))

    def change(self, row: Float[np.ndarray, " M"]) -> Change:
        """All that is to say of one combination."""
        motion = self.motion
        explained, residual = self.split(row[None])
        explained, variance = explained[:, 0], max(float(residual[0, 0]), np.finfo(float).tiny)
        total = float(motion.variances(row[None])[0])
        noise = float(motion.noise_variances(row[None]).mean())
        tiny = ROUNDING**2 * float(row @ row)
        spread = float(np.sqrt(max(total - noise, tiny)))
        within = motion.deviations(motion.recording, (motion.values @ row)[:, None])
        share = 1 - (motion.recordings / len(within))
        moved = float(np.mean(within**2)) - share * noise
        statistic, p, count = float(explained @ explained) / variance, self.degrees, len(motion.values)
        excess = (np.cbrt(statistic / p) - (1 - 2 / (9 * p))) / np.sqrt(2 / (9 * p))
        # No less than where chance makes the statistic what it is on average.
        most = _noncentrality(max(statistic, float(p)), p)
        metric = self.rates.T @ self.rates / count
        rate = float(explained @ metric @ explained - variance * np.trace(metric))
        error = np.sqrt(
            4 * variance * float(np.sum((metric @ explained) ** 2)) + 2 * variance**2 * np.sum(metric**2)
        )
        root = np.sqrt(max(rate, 0.0))
        decay, decay_error = self._decay(row)
        uncertain = float(motion.noise_errors(row[None])[0])
        chance = UPPER * np.hypot(np.sqrt(2 * motion.alike / len(within)), uncertain) * noise
        return Change(
            spread=spread,
            change=float(np.sqrt(max(moved, 0.0))) / spread,
            limit=float(np.sqrt(most * variance / count)) / spread,
            hidden=float(np.sqrt(max(moved, 0.0) + chance)) / spread,
            excess=float(excess),
            rate=float(root) / spread,
            rate_error=float(error / (2 * root) if root > np.sqrt(error) / 2 else np.sqrt(error)) / spread,
            decay=decay,
            decay_error=decay_error,
            decays=bool(abs(decay) > decay_error * np.sqrt(max(STANDARD_ERRORS**2, (statistic - p) / 4))),
            noise=float(np.sqrt(max(noise, 0.0))) / spread,
        )

    def _decay(self, row: Float[np.ndarray, " M"]) -> tuple[float, float]:
        motion = self.motion
        own = np.stack([motion.integrals[:, 0], motion.integrals[:, 1:] @ row], axis=1)
        values, drivers = self._centred((motion.values @ row)[:, None])[:, 0], self._centred(own)
        size = np.maximum(np.linalg.norm(drivers, axis=0), np.finfo(float).tiny)
        normal = (drivers / size).T @ (drivers / size)
        if np.linalg.cond(normal) > 1e8:
            return 0.0, float("inf")
        inverse = np.linalg.inv(normal)
        slopes = inverse @ ((drivers / size).T @ values)
        left = values - (drivers / size) @ slopes
        variance = float(left @ left) * self.motion.alike / max(1, self.left)
        rate, error = float(slopes[1] / size[1]), float(np.sqrt(variance * inverse[1, 1]) / size[1])
        # Of few exact rows nothing is left.
        return -rate, max(error, 1e-9 * abs(rate), 1e-100)


def _noncentrality(statistic: float, degrees: int) -> float:
    """The 95 % upper limit of the noncentrality of a chi-squared statistic."""
    if statistic > 1e4:
        return float((np.sqrt(statistic) + 1.645) ** 2 - degrees)
    if ncx2.cdf(statistic, degrees, 1e-9) <= 0.05:
        return 0.0
    high = 10.0 + 4 * statistic
    return float(np.asarray(brentq(lambda size: ncx2.cdf(statistic, degrees, size) - 0.05, 1e-9, high)))


def _noise(
    trajectories: Trajectories,
    variance: float | Float[np.ndarray, " dim"] | None,
    correlated: CorrelatedNoise | None,
) -> tuple[NoiseEstimate, Float[np.ndarray, "points dim"], Float[np.ndarray, "dim dim"]]:
    """The noise of columns, its variance at each point, and its correlations."""
    dim, points = trajectories.states.shape[2], int(trajectories.lengths.sum())
    apart = np.eye(dim)
    exact = NoiseEstimate(np.zeros(dim), np.zeros(dim), np.ones(dim, bool), np.zeros(dim, int))
    if variance is None:
        if trajectories.targets is not None:
            return exact, np.zeros((points, dim)), apart
        found = noise_estimate(trajectories)
        found = found._replace(variance=np.where(found.told, found.variance, 0.0))
        shared = noise_correlation(trajectories, found)
        profile = noise_profile(trajectories, found)
        found = found._replace(variance=profile.mean(axis=0))
        if correlated is not None:
            found, profile = correlated.added(found, profile)
        return found, profile, shared
    given = np.array(np.broadcast_to(np.asarray(variance, dtype=np.float64), (dim,)))
    if not (np.isfinite(given).all() and (given >= 0).all()):
        raise ValueError(f"noise_variance must be finite and not negative, got {variance}")
    return exact._replace(variance=given), np.tile(given, (points, 1)), apart
