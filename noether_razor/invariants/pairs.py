"""Changes of quantities between pairs of points of one trajectory, for the errors of coefficients."""

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
from jaxtyping import Float, Int

from ..trajectories import Trajectories
from .dictionary import Dictionary

STANDARD_ERRORS = 3.0
"""How many standard errors a drift must exceed what noise alone would make of it."""


@dataclass(frozen=True)
class PairStatistics:
    """How K quantities change over pairs of points of one trajectory, and how they spread over all points.

    `differences` (pairs, K) are D = C(x_s) - C(x_t). Under conservation the variance of D is |g_s|^2 +
    |g_t|^2 - `curvature`: with gradients g at the two noisy points times the standard deviation of the noise,
    `noise_gradients` (pairs, 4n, K), and `curvature` (K, K) = tr(H_k S H_l S) for Hessians H and the noise
    covariance S, its mean over all points where it varies.
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

    def stderr(self) -> Float[np.ndarray, " K"]:
        """Standard error of mean D^2 - noise, from its spread over trajectories, (K,)."""
        excess = self.differences**2 - self.noise_variances()
        count = int(self.trajectory.max()) + 1
        sums = np.zeros((count, excess.shape[1]))
        np.add.at(sums, self.trajectory, excess - excess.mean(axis=0))
        return np.sqrt(np.sum(sums**2, axis=0) * count / max(1, count - 1)) / len(excess)


def pair_statistics(
    dictionary: Dictionary,
    trajectories: Trajectories,
    noise_variance: Float[np.ndarray, " dim"] | Float[np.ndarray, "points dim"],
) -> PairStatistics:
    """Statistics of all terms of a dictionary on `trajectories`, with the variances of the noise of states,
    of each column or at every point.

    A point of the first half of a trajectory is paired with one of its second half, every point once at most;
    lags are half the trajectory on average and differ between trajectories, so that no period hides a drift.
    """
    segments = trajectories.segments()
    everything = np.concatenate([states for _, states in segments])
    origin, deviation = (
        np.mean(everything, axis=0),
        np.sqrt(np.broadcast_to(noise_variance, everything.shape)),
    )
    first, second, owner, start = [], [], [], 0
    for number, (_, states) in enumerate(segments):
        half = len(states) // 2
        shift = int(half * ((number * 0.6180339887498949) % 1))
        partner = len(states) - half + (np.arange(half) + shift) % half
        first.append(start + np.arange(half))
        second.append(start + partner)
        owner.append(np.full(half, number))
        start += len(states)
    # About the mean of the data, where large offsets cancel nothing.
    moved = dictionary.moved(origin, np.ones(len(origin)))
    origin, change = (np.zeros(len(origin)), np.eye(len(dictionary))) if moved is None else (origin, moved.T)
    one, other = np.concatenate(first), np.concatenate(second)
    everything = everything - origin
    values = dictionary.values(everything) @ change
    slopes = [dictionary.slopes(everything, i) @ change * deviation[:, i, None] for i in range(len(origin))]
    gradients = np.stack(slopes, axis=1)
    curvature = change.T @ _curvature(dictionary, everything, deviation) @ change
    count = len(dictionary)
    raw = np.cov(values, rowvar=False).reshape(count, count)
    flat = gradients.reshape(everything.size, count)
    return PairStatistics(
        differences=values[one] - values[other],
        noise_gradients=np.concatenate([gradients[one], gradients[other]], axis=1),
        curvature=curvature,
        variance=raw - (flat.T @ flat / len(everything) - curvature / 2),
        raw_variance=raw,
        trajectory=np.concatenate(owner),
    )


def _curvature(
    dictionary: Dictionary,
    states: Float[np.ndarray, "points dim"],
    deviation: Float[np.ndarray, "points dim"],
) -> Float[np.ndarray, "K K"]:
    """The mean of tr(H_k S H_l S) over states; the Hessians of quadratics are the same at all."""
    at = states[:1] if dictionary.second_degree else states
    total = np.zeros((len(dictionary), len(dictionary)))
    noisy = np.flatnonzero(deviation.any(axis=0)).tolist()
    for i, j in combinations_with_replacement(noisy, 2):
        bends, size = dictionary.bends(at, i, j), (deviation[:, i] * deviation[:, j]) ** 2
        weights = size.mean(keepdims=True) if dictionary.second_degree else size / len(at)
        total += (bends * weights[:, None]).T @ bends * (1 if i == j else 2)
    return total
