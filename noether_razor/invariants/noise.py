"""The noise of measured states, from the rows alone."""

from collections.abc import Sequence
from itertools import groupby
from math import comb
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.lib.stride_tricks import sliding_window_view
from scipy.optimize import nnls

from ..trajectories import Trajectories

MOST_ORDER = 10
"""The highest order of differences along a trajectory that noise is estimated from."""
FEWEST_WINDOWS = 10
"""Windows of neighbouring rows below which an order of differences says nothing."""
WIDTHS, DEGREES = (31, 21, 15), (4, 6)
"""Rows of a window, widest first, and degrees of the polynomials that take the motion out of it."""
AGREE = 1.1
"""Ratio of what two degrees leave of a window, up to which the lower one has taken all motion out."""
FEWEST_LONG, FAST_MOTION = 5, 0.7
"""Trajectories of ten windows or more from which their median is asked, and its share of the mean up to
which it is taken."""
SLOWEST = 10.0
"""Variance in windows over that of differences from which it is motion."""
SLOW_ERROR = 0.1
"""Relative error of a variance that rests on windows: how alike neighbours are is not known."""
STANDARD_ERRORS = 3.0
VISIBLE = 0.01
"""Share of a column's variance below which it does not matter whether it is noise or motion."""

LEAST = 1e-4
"""Noise over the spread from which it matters how it varies; what is less may be motion or rounding."""
CLEARLY_GROWS, ROUNDS = 20.0, 8
"""Log-likelihood ratio from which noise grows with the value, and rounds of weighted least squares."""
FARTHEST, MEDIAN = 9.0, 0.455
"""Square over its mean from which it is motion or a glitch, and the median of that of a normal value."""
SCATTERED, FEWEST_DEGREES, HIGHER = 2.0, 5.0, 4
"""Scatter between recordings over that of chance from which their noise differs, squares that one needs for
its own, and by how much higher the order of the differences is that must agree.
"""

SHARED, CERTAIN = 0.1, 5.0
"""Correlation of the noise of two columns from which it counts, and standard errors that it must exceed."""
SAME_SIZE = 1.5
"""Ratio of what windows leave and the variance of the noise, within which that is the noise."""

AT_ONCE = 20_000
"""Rows of which differences are taken at once, about."""

ALTERNATING = 1.5
"""Mean squared difference of neighbouring rows over twice the variance along trajectories, from which motion
turns by more than a third of a period between rows: differences then raise it more than they do noise."""


class NoiseEstimate(NamedTuple):
    """The variance of the noise of every column (2n,), its relative standard error, whether it can be told
    from the motion between rows, and the order of the differences that show it, 0 for none.
    """

    variance: Float[np.ndarray, " dim"]
    relative_error: Float[np.ndarray, " dim"]
    told: Bool[np.ndarray, " dim"]
    order: Int[np.ndarray, " dim"]


def noise_estimate(trajectories: Trajectories) -> NoiseEstimate:
    """The noise of every column, from the rows alone.

    Divided differences of order k over k + 1 neighbouring times, scaled to keep the variance of independent
    noise, remove polynomials of degree k - 1 from the motion. What the motion leaves only adds, so the
    estimates fall with the order until they are noise alone: the lowest order whose estimate is the least, to
    two standard errors, is taken. Where that is still the highest order possible and a visible part of the
    spread, or where the motion alternates from row to row, noise and motion cannot be told apart. No rows to
    take differences of: no noise is seen, and none can be told.

    Noise of neighbours that are alike (smoothed rows, velocities made of differences of positions) is hardly
    in these differences. So polynomials are also fitted in windows of 15 to 31 rows: where what they leave is
    up to ten times larger, and the same for degrees 4 and 6, that is the noise.
    """
    segments = trajectories.segments()
    spread = np.var(trajectories.points(), axis=0)
    variances, errors = [], []
    for order in range(1, MOST_ORDER + 1):
        squares = [part**2 for part in differences(segments, order)]
        windows = sum(len(part) for part in squares)
        if windows < FEWEST_WINDOWS:
            break
        variances.append(_typical(squares, _overlap(order)))
        errors.append(np.sqrt(2 * _overlap(order) / windows))
    if not variances:
        none = np.zeros(spread.shape)
        return NoiseEstimate(none, np.ones(spread.shape), none.astype(bool), none.astype(int))
    estimates, relative = np.array(variances), np.array(errors)[:, None]
    least = estimates.argmin(axis=0)
    low = estimates.min(axis=0) * (1 + 2 * relative[least, 0])
    order = np.argmax(estimates * (1 - 2 * relative) <= low, axis=0)
    columns = np.arange(len(spread))
    variance, error = estimates[order, columns], relative[order, 0]
    told = (order < len(estimates) - 1) | (variance <= VISIBLE * spread)
    told = np.asarray(told & (estimates[0] <= ALTERNATING * within_variance(segments)))
    return _with_slow_noise(NoiseEstimate(variance, error, told, order + 1), segments)


def noise_profile(trajectories: Trajectories, noise: NoiseEstimate) -> Float[np.ndarray, "points dim"]:
    """The variance of the noise of every column at every row: that of `noise`, or another one where the
    squares of differences clearly have it so.

    They may grow with the square of the value, as multiplicative noise does, and then be of another size in
    each recording, as from another sensor. A recording in which differences of a higher order are smaller
    moves too fast for its own noise to be told; it keeps that of the others.
    """
    points, segments = trajectories.points(), trajectories.segments()
    owner = np.unique(trajectories.recordings, return_inverse=True)[1].reshape(-1)
    lengths = np.array([len(times) for times, _ in segments])
    profile = np.tile(noise.variance, (len(points), 1))
    usable = noise.told & (noise.order > 0) & (noise.variance > LEAST**2 * np.var(points, axis=0))
    for order in np.unique(noise.order[usable & (noise.order + HIGHER <= MOST_ORDER)]).tolist():
        low, high = (_Squares.of(segments, owner, k) for k in (order, order + HIGHER))
        for i in np.flatnonzero(usable & (noise.order == order)).tolist():
            own = high.of_column(i, high.agree(low, i))
            if not own.squares.any():
                continue
            # Noise that is alike in neighbours is more than differences have of it.
            lift = max(float(noise.variance[i] / own.squares.mean()), 1.0)
            base, slope = own.growth(float(noise.variance[i]) / lift)
            factors = own.factors(base, slope, int(owner.max()) + 1)
            profile[:, i] = lift * (base + slope * points[:, i] ** 2) * np.repeat(factors[owner], lengths)
    return profile


def noise_correlation(trajectories: Trajectories, noise: NoiseEstimate) -> Float[np.ndarray, "dim dim"]:
    """The correlations of the noise of columns in one row: a camera that shakes moves all points alike.

    By what polynomials of time leave in windows, where that is noise alone, else by differences of rows. What
    may be chance is 0. Columns without noise, and those where it cannot be told, have none.
    """
    dim = len(noise.variance)
    usable = noise.told & (noise.variance > LEAST**2 * np.var(trajectories.points(), axis=0))
    found, asked = np.eye(dim), usable[:, None] & usable & ~np.eye(dim, dtype=bool)
    if trajectories.targets is not None:
        return found
    segments = trajectories.segments()
    for width in WIDTHS:
        times, states = _windows(segments, width)
        if len(times) * width < FEWEST_WINDOWS * max(WIDTHS):
            continue
        low, high = (_residuals(times, states, degree) for degree in DEGREES)
        left = len(times) * (width - np.array(DEGREES) - 1)
        fewer, sizes = (np.sum(part**2, axis=0) / n for part, n in zip((low, high), left, strict=True))
        alike = np.abs(np.log(np.maximum(sizes, 1e-300) / np.maximum(noise.variance, 1e-300)))
        settled = (fewer <= AGREE * sizes) & (alike < np.log(SAME_SIZE))
        pairs = asked & settled[:, None] & settled
        found[pairs] = _certain(high, float(left[1]))[pairs]
        asked &= ~pairs
    for order in np.unique(noise.order[asked.any(axis=0)]).tolist():
        pairs = asked & (np.maximum(noise.order[:, None], noise.order) == order)
        every = [
            _certain(np.concatenate(values), sum(map(len, values)) / _overlap(k))
            for k in (order, order + HIGHER)
            if k <= MOST_ORDER and (values := differences(segments, k))
        ]
        if every:
            # What is left of motion falls with the order.
            least = np.min(np.abs(every), axis=0) * (np.ptp(np.sign(every), axis=0) == 0)
            found[pairs] = (np.sign(every[0]) * least)[pairs]
    return found


def _certain(values: Float[np.ndarray, "rows dim"], degrees: float) -> Float[np.ndarray, "dim dim"]:
    """Correlations of normal values of so many degrees of freedom by their signs, 0 where they may be chance.

    Motion that is too fast in a few places makes large values there, and few signs.
    """
    signs = np.sign(values)
    found = np.sin(np.pi / 2 * (signs.T @ signs) / max(1, len(signs)))
    error = np.pi / 2 * np.sqrt(np.maximum(1 - found**2, 0.0) / degrees)
    return np.where(np.abs(found) > np.maximum(SHARED, CERTAIN * error), found, 0.0)


class _Squares(NamedTuple):
    """Squared differences of one order of every column, the mean squares of the values that they are of, the
    recording of each, and by how much they overlap.
    """

    squares: Float[np.ndarray, "windows dim"]
    sizes: Float[np.ndarray, "windows dim"]
    owner: Int[np.ndarray, " windows"]
    overlap: float

    @classmethod
    def of(
        cls,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        owner: Int[np.ndarray, " segments"],
        order: int,
    ) -> "_Squares":
        long = [(t, x, k) for (t, x), k in zip(segments, owner.tolist(), strict=True) if len(t) > order]
        squares = [part**2 for part in differences(segments, order)]
        shares = np.array([comb(order, j) ** 2 for j in range(order + 1)]) / comb(2 * order, order)
        sizes = [sliding_window_view(x**2, order + 1, axis=0) @ shares for _, x, _ in long]
        counts = [len(part) for part in squares]
        dim = segments[0][1].shape[1]
        return cls(
            np.concatenate([np.zeros((0, dim)), *squares]),
            np.concatenate([np.zeros((0, dim)), *sizes]),
            np.repeat([k for _, _, k in long], counts).astype(int),
            _overlap(order),
        )

    def agree(self, other: "_Squares", column: int) -> Bool[np.ndarray, " recordings"]:
        """The recordings whose mean squares are those of another order, but for chance."""
        count = int(max(self.owner.max(initial=-1), other.owner.max(initial=-1))) + 1
        sizes, degrees = [], []
        for part in (self, other):
            number = np.bincount(part.owner, minlength=count)
            total = np.bincount(part.owner, part.squares[:, column], minlength=count)
            sizes.append(total / np.maximum(number, 1))
            degrees.append(number / part.overlap)
        enough = (np.minimum(*degrees) >= FEWEST_DEGREES) & (np.minimum(*sizes) > 0)
        ratio = np.log(np.where(enough, sizes[0], 1.0) / np.where(enough, sizes[1], 1.0))
        chance = STANDARD_ERRORS * np.sqrt(2 / np.maximum(np.minimum(*degrees), 1))
        return enough & (np.abs(ratio) < chance + np.log(AGREE))

    def of_column(self, column: int, recordings: Bool[np.ndarray, " recordings"]) -> "_Column":
        """Those of one column in some recordings."""
        chosen = np.append(recordings, False)[np.minimum(self.owner, len(recordings))]
        return _Column(
            self.squares[chosen, column], self.sizes[chosen, column], self.owner[chosen], self.overlap
        )


class _Column(NamedTuple):
    """The same of one column."""

    squares: Float[np.ndarray, " windows"]
    sizes: Float[np.ndarray, " windows"]
    owner: Int[np.ndarray, " windows"]
    overlap: float

    def growth(self, variance: float) -> tuple[float, float]:
        """a and b of a variance a + b x^2 of the noise; b is 0 where that is not clearly so."""
        unit = float(self.sizes.mean())
        if not unit > 0:
            return variance, 0.0
        flat, _ = self._robust(np.ones((len(self.sizes), 1)))
        level, found = self._robust(np.stack([np.ones(len(self.sizes)), self.sizes / unit], axis=1))
        # Bursts of motion are worse explained by either.
        squares = np.minimum(self.squares, FARTHEST * np.minimum(flat, level))
        gain = float(np.sum(np.log(flat / level) + squares / flat - squares / level)) / self.overlap
        return (float(found[0]), float(found[1] / unit)) if gain > CLEARLY_GROWS else (variance, 0.0)

    def _robust(
        self, drivers: Float[np.ndarray, "windows D"]
    ) -> tuple[Float[np.ndarray, " windows"], Float[np.ndarray, " D"]]:
        """The level of the squares as a sum of drivers and their coefficients; squares that are far above it
        count as just that.
        """
        least = 1e-6 * float(self.squares.mean())
        level, found = np.full(len(drivers), float(np.median(self.squares)) / MEDIAN), np.zeros(1)
        for _ in range(ROUNDS):
            level = np.maximum(level, least)
            squares = np.minimum(self.squares, FARTHEST * level)
            found = nnls(drivers / level[:, None], squares / level)[0]
            level = np.maximum(drivers @ found, least)
        return level, found

    def factors(self, base: float, slope: float, count: int) -> Float[np.ndarray, " recordings"]:
        """By what the noise of `count` recordings differs from `base` + `slope` x^2; 1 where it may not."""
        expected = np.maximum(base + slope * self.sizes, np.finfo(float).tiny)
        number = np.bincount(self.owner, minlength=count)
        total = np.bincount(self.owner, self.squares / expected, minlength=count)
        factors, used = np.ones(count), total > 0
        ratio, degrees = np.log(total[used] / number[used]), number[used] / self.overlap
        middle, chance = float(np.median(ratio)), np.sqrt(2 / degrees)
        scatter = 1.4826 * float(np.median(np.abs(ratio - middle)))
        # That of most of them: a few where the motion is fast are not of another sensor.
        if len(ratio) < FEWEST_LONG or scatter < SCATTERED * np.median(chance):
            return factors
        shrunk = (ratio - middle) * scatter**2 / (scatter**2 + chance**2)
        factors[used] = np.exp(middle + np.clip(shrunk, -3 * scatter, 3 * scatter))
        return factors


def _typical(squares: Sequence[np.ndarray], overlap: float) -> Float[np.ndarray, " dim"]:
    """The mean over all windows, or its median over trajectories where that is less: motion that is too
    fast for the sampling on a few trajectories is no noise on the others.
    """
    mean = np.concatenate(squares).mean(axis=0)
    long = [part for part in squares if len(part) >= FEWEST_WINDOWS * overlap]
    if len(long) < FEWEST_LONG:
        return mean
    degrees = np.array([len(part) / overlap for part in long])[:, None]
    # Of a mean of squares, the median is below the mean (Wilson and Hilferty).
    own = np.array([part.mean(axis=0) for part in long]) / (1 - 2 / (9 * degrees)) ** 3
    middle = np.median(own, axis=0)
    return np.where(middle < FAST_MOTION * mean, middle, mean)


def _with_slow_noise(fast: NoiseEstimate, segments: Sequence[tuple[np.ndarray, np.ndarray]]) -> NoiseEstimate:
    """The estimate with what windows leave in its place, where that is larger and noise alone."""
    variance, error = fast.variance.copy(), fast.relative_error.copy()
    open_ = fast.told.copy()
    for width in WIDTHS:
        times, states = _windows(segments, width)
        if len(times) * width < FEWEST_WINDOWS * max(WIDTHS):
            continue
        low, high = (
            np.sum(_residuals(times, states, degree) ** 2, axis=0) / (len(times) * (width - degree - 1))
            for degree in DEGREES
        )
        relative = np.sqrt(2 / (len(times) * (width - DEGREES[1] - 1)))
        settled = open_ & (low <= AGREE * high) & (high < SLOWEST * fast.variance)
        larger = settled & (
            high > fast.variance * (1 + STANDARD_ERRORS * np.hypot(fast.relative_error, relative))
        )
        variance[larger], error[larger] = high[larger], np.hypot(relative, SLOW_ERROR)
        open_ &= ~settled
    return fast._replace(variance=variance, relative_error=error)


def _windows(
    segments: Sequence[tuple[np.ndarray, np.ndarray]], width: int
) -> tuple[Float[np.ndarray, "windows width"], Float[np.ndarray, "windows width dim"]]:
    """Times and states of windows of neighbouring rows that share none."""
    parts = [
        (t[k : k + width], x[k : k + width]) for t, x in segments for k in range(0, len(t) - width + 1, width)
    ]
    dim = segments[0][1].shape[1]
    times = np.array([t for t, _ in parts]).reshape(-1, width)
    return times, np.array([x for _, x in parts]).reshape(-1, width, dim)


def _residuals(
    times: Float[np.ndarray, "windows width"], states: Float[np.ndarray, "windows width dim"], degree: int
) -> Float[np.ndarray, "rows dim"]:
    """What polynomials in time leave in windows."""
    middle, span = times.mean(axis=1, keepdims=True), np.ptp(times, axis=1)[:, None]
    powers = (2 * (times - middle) / span)[:, :, None] ** np.arange(degree + 1)
    basis = np.linalg.qr(powers)[0]
    return (states - basis @ (basis.mT @ states)).reshape(-1, states.shape[2])


def within_variance(segments: list[tuple[np.ndarray, np.ndarray]]) -> Float[np.ndarray, " dim"]:
    """The variance of every column about its means over trajectories."""
    squares = sum(np.sum((states - states.mean(axis=0)) ** 2, axis=0) for _, states in segments)
    return np.asarray(squares) / max(1, sum(len(times) - 1 for times, _ in segments))


def differences(
    segments: Sequence[tuple[np.ndarray, np.ndarray]], order: int
) -> list[Float[np.ndarray, "windows dim"]]:
    """Divided differences of neighbouring rows of each trajectory (times, states) that has more rows than
    `order`, scaled to keep the variance of independent noise.
    """
    long = [(times, states) for times, states in segments if len(times) > order]
    ends = np.cumsum([len(times) for times, _ in long])
    found = []
    # Many short trajectories at once, and no more: a row takes the square of the order in memory.
    for _, block in groupby(zip(ends.tolist(), long, strict=True), key=lambda one: one[0] // AT_ONCE):
        found += _differences([one for _, one in block], order)
    return found


def _differences(long: list[tuple[np.ndarray, np.ndarray]], order: int) -> list[np.ndarray]:
    lengths = np.array([len(times) for times, _ in long])
    counts, firsts = lengths - order, np.cumsum(lengths) - lengths
    times, states = (np.concatenate(parts) for parts in zip(*long, strict=True))
    steps = (times[firsts + lengths - 1] - times[firsts]) / (lengths - 1)
    index = np.flatnonzero(np.arange(len(times)) < np.repeat(firsts + counts, lengths))[:, None]
    index = index + np.arange(order + 1)
    apart = times[index][:, :, None] - times[index][:, None, :] + np.eye(order + 1)
    # In units of the mean step, so that products neither overflow nor vanish.
    apart = apart / np.repeat(steps, counts)[:, None, None]
    np.einsum("wjj->wj", apart)[:] = 1.0
    weights = 1 / np.prod(apart, axis=2)
    weights /= np.linalg.norm(weights, axis=1, keepdims=True)
    return np.split(np.einsum("wj,wjd->wd", weights, states[index]), np.cumsum(counts)[:-1])


def _overlap(order: int) -> float:
    """By how much windows that share rows raise the variance of a mean square: the sum of their squared
    correlations at equal steps.
    """
    weights = np.array([(-1) ** j * comb(order, j) for j in range(order + 1)], dtype=float)
    weights /= np.linalg.norm(weights)
    return float(np.sum(np.correlate(weights, weights, "full") ** 2))
