"""The model-free test: which combinations of quantities do not change along measured trajectories."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float, Int

from ..data import Trajectories
from ._monomials import coefficients, monomials, quadratic_parts

Verdict = Literal["conserved", "approximately conserved", "not conserved", "untested"]

TOLERANCE = 0.05
"""Relative drift up to which a quantity counts as conserved, however exact the data: the accuracy to which
quantities are learned."""
APPROXIMATE = 0.15
"""Relative drift up to which what is not conserved is called approximately conserved in this region."""
STANDARD_ERRORS = 3.0
"""How many standard errors a drift must exceed what noise alone would make of it."""
ENOUGH_PAIRS = 3
"""Pairs needed for each dimension of a candidate space: of fewer, some combination fits any data."""

_DEGENERATE = 1e-9
"""Share of the standardised variance below which a combination is constant on the data."""
_SIGNAL = 0.1
"""Share of the spread that must not be noise, for a combination to be tested."""
_MAX_ORDER = 6
"""The highest order of differences along a trajectory that noise is estimated from."""


@dataclass(frozen=True)
class PairStatistics:
    """How K quantities change over pairs of points of one trajectory, and how they spread over all points.

    `differences` (pairs, K) are D = C(x_s) - C(x_t). Under conservation the variance of D is |g_s|^2 +
    |g_t|^2 - `curvature`: with gradients g at the two noisy points times the standard deviation of the noise,
    `noise_gradients` (pairs, 4n, K), and `curvature` (K, K) = tr(A_k S A_l S) for the noise covariance S.
    `variance` (K, K) is that of the values over all points, less the part of the noise, `raw_variance` with
    it. `trajectory` (pairs,) numbers the trajectories. Pairs do not overlap: their noises are independent.
    """

    differences: Float[np.ndarray, "pairs K"]
    noise_gradients: Float[np.ndarray, "pairs ends K"]
    curvature: Float[np.ndarray, "K K"]
    variance: Float[np.ndarray, "K K"]
    raw_variance: Float[np.ndarray, "K K"]
    trajectory: Int[np.ndarray, " pairs"]

    @property
    def drift(self) -> Float[np.ndarray, "K K"]:
        """Mean of D_k D_l, noise and all."""
        return self.differences.T @ self.differences / len(self.differences)

    @property
    def noise(self) -> Float[np.ndarray, "K K"]:
        """What noise alone makes of that mean."""
        pairs, ends, count = self.noise_gradients.shape
        flat = self.noise_gradients.reshape(pairs * ends, count)
        return flat.T @ flat / pairs - self.curvature

    def combined(self, rows: Float[np.ndarray, "M K"]) -> "PairStatistics":
        """The same of the combinations sum_k rows_mk C_k."""
        return PairStatistics(
            differences=self.differences @ rows.T,
            noise_gradients=self.noise_gradients @ rows.T,
            curvature=rows @ self.curvature @ rows.T,
            variance=rows @ self.variance @ rows.T,
            raw_variance=rows @ self.raw_variance @ rows.T,
            trajectory=self.trajectory,
        )

    def noise_variances(self) -> Float[np.ndarray, "pairs K"]:
        """The variance of every D under conservation; zero where its estimate at noisy points is negative."""
        return np.maximum(np.sum(self.noise_gradients**2, axis=1) - np.diag(self.curvature), 0.0)

    def relative_drift(self) -> Float[np.ndarray, " K"]:
        """sqrt((mean D^2 - noise) / (2 variance)): 0 is conserved, 1 changes as much along a trajectory as
        between trajectories. NaN where nothing but noise spreads.
        """
        excess = np.maximum(np.diag(self.drift) - np.diag(self.noise), 0.0)
        spread = np.diag(self.variance)
        visible = spread > _SIGNAL * np.diag(self.raw_variance)
        return np.sqrt(excess / np.where(visible, 2 * spread, np.nan))

    def stderr(self) -> Float[np.ndarray, " K"]:
        """Standard error of mean D^2 - noise, from its spread over trajectories, (K,)."""
        excess = self.differences**2 - self.noise_variances()
        count = int(self.trajectory.max()) + 1
        sums = np.zeros((count, excess.shape[1]))
        np.add.at(sums, self.trajectory, excess - excess.mean(axis=0))
        return np.sqrt(np.sum(sums**2, axis=0) * count / max(1, count - 1)) / len(excess)


@dataclass(frozen=True)
class DriftTest:
    """The combinations C_m = sum_k rows_mk C_k of a candidate space, least drift first, and what became of
    them.

    Each spreads with variance 1 over the data. `relative_drift` is its r.m.s. change along a trajectory over
    its spread, noise subtracted, `excess` by how many standard errors that change exceeds noise and
    coefficient uncertainty, `detectable` the relative drift at which it would exceed them. `matrices` A_m and
    `vectors` b_m are in the units of the data. `unseen` counts dimensions of the candidate space that are
    constant on the data or lost in noise: nothing is said about them. `noise_variance` (2n,) is what was
    subtracted.
    """

    rows: Float[np.ndarray, "M K"]
    matrices: Float[np.ndarray, "M dim dim"]
    vectors: Float[np.ndarray, "M dim"]
    relative_drift: Float[np.ndarray, " M"]
    excess: Float[np.ndarray, " M"]
    detectable: Float[np.ndarray, " M"]
    verdicts: tuple[Verdict, ...]
    unseen: int
    noise_variance: Float[np.ndarray, " dim"]
    pairs: int

    @property
    def rank(self) -> int:
        """The dimension of the conserved part."""
        return self.verdicts.count("conserved")

    @property
    def approximate(self) -> int:
        """The number of directions that are approximately conserved in this region."""
        return self.verdicts.count("approximately conserved")

    def conserved(self) -> tuple[Float[np.ndarray, "rank dim dim"], Float[np.ndarray, "rank dim"]]:
        """A and b of the conserved part."""
        kept = np.array([verdict == "conserved" for verdict in self.verdicts], dtype=bool)
        return self.matrices[kept], self.vectors[kept]


def estimate_noise(trajectories: Trajectories) -> Float[np.ndarray, " dim"]:
    """The variance of the measurement noise of every column, from differences along trajectories, (2n,).

    Divided differences of order k over k + 1 neighbouring times, scaled to keep the variance of independent
    noise, remove polynomials of degree k - 1 from the motion. What the motion leaves only adds, so the least
    of the orders 1 to 6 is taken. Raises ValueError where that still falls with the order while it is a
    visible part of the spread: the sampling is too coarse to tell noise from motion.
    """
    segments = trajectories.segments()
    spread = np.var(np.concatenate([states for _, states in segments]), axis=0)
    longest = max(len(times) for times, _ in segments)
    estimates = []
    for order in range(1, min(_MAX_ORDER, longest - 1) + 1):
        total, count = np.zeros(spread.shape), 0
        for times, states in segments:
            windows = len(times) - order
            if windows < 1:
                continue
            index = np.arange(windows)[:, None] + np.arange(order + 1)
            apart = times[index][:, :, None] - times[index][:, None, :] + np.eye(order + 1)
            # In units of the mean step, so that products neither overflow nor vanish.
            apart = apart / np.mean(np.abs(np.diff(times)))
            np.einsum("wjj->wj", apart)[:] = 1.0
            weights = 1 / np.prod(apart, axis=2)
            weights /= np.linalg.norm(weights, axis=1, keepdims=True)
            total += np.sum(np.einsum("wj,wjd->wd", weights, states[index]) ** 2, axis=0)
            count += windows
        estimates.append(total / count)
    noise = np.min(estimates, axis=0)
    settled = len(estimates) > 1 and noise > 0.8 * np.min(estimates[:-1], axis=0)
    unclear = np.flatnonzero((noise > 0.01 * spread) & ~np.asarray(settled))
    if len(unclear):
        raise ValueError(
            f"the noise of {trajectories.names[unclear[0]]} cannot be told from the motion between samples; "
            "give noise_variance"
        )
    return noise


def checked_noise(
    noise_variance: float | Float[np.ndarray, " dim"] | None, trajectories: Trajectories
) -> Float[np.ndarray, " dim"]:
    """Variances of the columns, (2n,): given for all or for each, or estimated from the data where None.

    Where the noise is on stored targets only, the states are exact: zero. Raises ValueError for a variance
    that is negative or not finite.
    """
    dim = trajectories.states.shape[2]
    if noise_variance is None:
        return np.zeros(dim) if trajectories.targets is not None else estimate_noise(trajectories)
    noise = np.array(np.broadcast_to(np.asarray(noise_variance, dtype=np.float64), (dim,)))
    if not (np.isfinite(noise).all() and (noise >= 0).all()):
        raise ValueError(f"noise_variance must be finite and not negative, got {noise_variance}")
    return noise


def check_quantities(matrices: np.ndarray, vectors: np.ndarray, trajectories: Trajectories) -> None:
    """Raises ValueError for quantities that do not fit the trajectories or are not finite, and for fewer than
    two trajectories.
    """
    dim = trajectories.states.shape[2]
    if matrices.shape != (len(matrices), dim, dim) or vectors.shape != (len(matrices), dim):
        raise ValueError(
            f"quantities must have shapes (K, {dim}, {dim}) and (K, {dim}) for these trajectories, "
            f"got {matrices.shape} and {vectors.shape}"
        )
    if not (np.isfinite(matrices).all() and np.isfinite(vectors).all()):
        raise ValueError("matrices and vectors must be finite")
    if len(trajectories) < 2:
        raise ValueError(
            "at least 2 trajectories are needed, got 1: along a single one no spread tells what is conserved"
        )


def pair_statistics(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    trajectories: Trajectories,
    noise_variance: Float[np.ndarray, " dim"],
) -> PairStatistics:
    """Statistics of quantities (`matrices` (K, 2n, 2n), `vectors` (K, 2n)) on `trajectories`.

    A point of the first half of a trajectory is paired with one of its second half, every point once at most;
    lags are half the trajectory on average and differ between trajectories, so that no period hides a drift.
    """
    segments = trajectories.segments()
    origin = np.mean(np.concatenate([states for _, states in segments]), axis=0)
    deviation = np.sqrt(noise_variance)
    first, second, owner = [], [], []
    for number, (_, states) in enumerate(segments):
        half = len(states) // 2
        shift = int(half * ((number * 0.6180339887498949) % 1))
        partner = len(states) - half + (np.arange(half) + shift) % half
        first.append(states[:half])
        second.append(states[partner])
        owner.append(np.full(half, number))
    ends = [np.concatenate(part) - origin for part in (first, second)]
    # About the mean of the data, where large offsets cancel nothing.
    matrices = (matrices + np.swapaxes(matrices, 1, 2)) / 2
    vectors = vectors + matrices @ origin

    def values(states: np.ndarray) -> np.ndarray:
        return np.einsum("pi,kij,pj->pk", states, matrices, states, optimize=True) / 2 + states @ vectors.T

    def noise_gradients(states: np.ndarray) -> np.ndarray:
        return (np.einsum("kij,pj->pik", matrices, states) + vectors.T) * deviation[:, None]

    scaled = matrices * deviation[:, None] * deviation
    curvature = np.einsum("kij,lji->kl", scaled, scaled)
    everything = np.concatenate([states for _, states in segments]) - origin
    raw = np.cov(values(everything), rowvar=False).reshape(len(matrices), len(matrices))
    gradients = noise_gradients(everything).reshape(everything.size, len(matrices))
    return PairStatistics(
        differences=values(ends[0]) - values(ends[1]),
        noise_gradients=np.concatenate([noise_gradients(end) for end in ends], axis=1),
        curvature=curvature,
        variance=raw - (gradients.T @ gradients / len(everything) - curvature / 2),
        raw_variance=raw,
        trajectory=np.concatenate(owner),
    )


def drift_test(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    trajectories: Trajectories,
    *,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    coefficient_error: float = 0.0,
    tolerance: float = TOLERANCE,
    approximate: float = APPROXIMATE,
    standard_errors: float = STANDARD_ERRORS,
) -> DriftTest:
    """Which combinations of the quantities x^T A_k x / 2 + b_k^T x do not change along `trajectories`.

    The generalised eigenproblem of within-trajectory change against total variance, noise subtracted from
    both, over the span of the quantities; so the basis given, units and symplectic changes of coordinates do
    not matter. `noise_variance` is that of the states, one number or one a column, None to estimate it
    (zero where noise is on stored targets only). `coefficient_error` is the r.m.s. error of coefficients
    relative to their norm, with all monomials scaled to spread alike.

    A direction is conserved unless its drift exceeds noise and coefficient errors by `standard_errors` and
    its relative drift exceeds `tolerance`; up to `approximate` it is then approximately conserved. Where the
    noise would hide a relative drift of `approximate`, or there are fewer than three pairs of points for each
    dimension, finding no drift is no evidence: untested.

    Raises ValueError for fewer than two trajectories, for shapes that do not fit, quantities that are not
    finite, and a noise that cannot be estimated.
    """
    dim = trajectories.states.shape[2]
    matrices, vectors = np.asarray(matrices, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    check_quantities(matrices, vectors, trajectories)
    noise = checked_noise(noise_variance, trajectories)
    statistics = pair_statistics(matrices, vectors, trajectories, noise)
    rows = least_drift(statistics)
    found = statistics.combined(rows)
    errors = None
    if coefficient_error:
        errors = _coefficient_errors(rows @ matrices.reshape(-1, dim * dim), rows @ vectors, trajectories)
        errors = errors * [coefficient_error**2, coefficient_error**4]
    return DriftTest(
        rows=rows,
        matrices=np.tensordot(rows, matrices, axes=1),
        vectors=rows @ vectors,
        unseen=len(matrices) - len(rows),
        noise_variance=noise,
        **judged(
            found, errors, tolerance=tolerance, approximate=approximate, standard_errors=standard_errors
        ),
    )


def least_drift(statistics: PairStatistics) -> Float[np.ndarray, "M K"]:
    """The combinations that solve the generalised eigenproblem of drift against spread, least drift first.

    Each has variance 1. Combinations that are constant on the data, or whose spread is nearly all noise, are
    left out: M <= K.
    """
    size = np.sqrt(np.diag(statistics.raw_variance))
    unit = np.diag(1 / np.where(size > 0, size, 1.0))
    values, directions = np.linalg.eigh(unit @ statistics.raw_variance @ unit)
    kept = values > _DEGENERATE * max(values.max(initial=0.0), np.finfo(float).tiny)
    rows = (directions[:, kept] / np.sqrt(values[kept])).T @ unit
    values, directions = np.linalg.eigh(rows @ statistics.variance @ rows.T)
    kept = values > _SIGNAL
    rows = (directions[:, kept] / np.sqrt(values[kept])).T @ rows
    excess = rows @ (statistics.drift - statistics.noise) @ rows.T
    return np.linalg.eigh((excess + excess.T) / 2)[1].T @ rows


def judged(
    found: PairStatistics,
    errors: Float[np.ndarray, "M 2"] | None = None,
    *,
    tolerance: float = TOLERANCE,
    approximate: float = APPROXIMATE,
    standard_errors: float = STANDARD_ERRORS,
) -> dict[str, Any]:
    """Relative drift, excess, detectable drift, verdicts and number of pairs of quantities: see `drift_test`.

    `errors` (M, 2) are mean and variance of the mean D^2 that coefficient errors make. Under conservation D
    is normal with the variance that noise gives it; the sum of D^2 then follows, to its first two moments, a
    chi-squared law, and the cube root of that is normal (Wilson and Hilferty).
    """
    pairs = len(found.differences)
    noise = found.noise_variances()
    mean, variance = noise.mean(axis=0), 2 * np.sum(noise**2, axis=0) / pairs**2
    if errors is not None:
        mean, variance = mean + errors[:, 0], variance + errors[:, 1]
    relative = found.relative_drift()
    tiny = np.finfo(float).tiny
    # Rounding makes differences of its own.
    exact = mean <= 1e-24 * np.diag(found.raw_variance)
    mean = np.where(exact, 1.0, mean)
    # 2 / 9 over the degrees of freedom 2 mean^2 / variance.
    width = np.where(exact, 1.0, variance / (9 * mean**2))
    excess = np.where(exact, np.inf, (np.cbrt(np.diag(found.drift) / mean) - (1 - width)) / np.sqrt(width))
    limit = (1 - width + standard_errors * np.sqrt(width)) ** 3
    spread = np.maximum(np.diag(found.variance), tiny)
    detectable = np.where(exact, 0.0, np.sqrt(np.maximum(limit - 1, 0.0) * mean / (2 * spread)))
    verdicts: list[Verdict] = []
    enough = pairs >= ENOUGH_PAIRS * len(relative)
    for drift, standard, least in zip(relative, excess, detectable, strict=True):
        if np.isnan(drift) or not enough:
            verdicts.append("untested")
        elif standard > standard_errors and drift > tolerance:
            verdicts.append("approximately conserved" if drift <= approximate else "not conserved")
        else:
            verdicts.append("conserved" if least <= approximate else "untested")
    return {
        "relative_drift": relative,
        "excess": excess,
        "detectable": detectable,
        "verdicts": tuple(verdicts),
        "pairs": pairs,
    }


def _coefficient_errors(
    matrices: Float[np.ndarray, "M entries"], vectors: Float[np.ndarray, "M dim"], trajectories: Trajectories
) -> Float[np.ndarray, "M 2"]:
    """Mean and variance of the mean D^2 of independent normal errors of all coefficients, whose norm is that
    of the quantity, monomials scaled to spread alike.
    """
    dim = vectors.shape[1]
    every = np.eye(len(monomials(dim)))
    statistics = pair_statistics(*quadratic_parts(every, dim), trajectories, np.zeros(dim))
    unit = 1 / np.sqrt(np.maximum(np.diag(statistics.variance), np.finfo(float).tiny))
    drift = unit[:, None] * statistics.drift * unit
    rows = coefficients(matrices.reshape(-1, dim, dim), vectors) / unit
    size = np.sum(rows**2, axis=1) / len(every)
    return np.stack([size * np.trace(drift), 2 * size**2 * np.sum(drift**2)], axis=1)


def pairs_needed(dof: int) -> int:
    """How many pairs of points are needed to test all quantities of degree at most two."""
    return ENOUGH_PAIRS * len(monomials(2 * dof))
