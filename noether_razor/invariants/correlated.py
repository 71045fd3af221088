"""Noise that neighbouring rows share: of smoothed rows, of derivatives, of slow sensors."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.optimize import nnls

from .noise import SLOW_ERROR, NoiseEstimate

SHORTEST = 16
"""Rows of a typical piece from which correlations are asked for."""
LEFT, SMALL = 0.15, 0.05
"""Correlation, beside chance, up to which noise has forgotten what it was, and up to which it counts."""
FORGOTTEN = 0.2
"""Share of a piece within which noise forgets."""
MOST_ALIKE = 0.2
"""Share of a piece that has one value of noise between its rows; of a random walk that is about a quarter."""
LOUDEST = 0.2
"""The standard deviation of such noise over the spread, up to which it is told from what is not conserved."""
FEWEST = 100
"""Values of the noise of which correlations of 0.1 can be seen."""
LEAST_LEVEL = 1e-12
"""Variance of the noise beside the largest below which there is none."""
MOST_LAGS, STANDARD_ERRORS = 100, 2.5


class CorrelatedNoise(NamedTuple):
    """By what factors the variances of columns exceed what differences of rows show, and how many rows have
    one value of the noise between them.
    """

    lift: Float[np.ndarray, " dim"]
    alike: float

    def added(
        self, noise: NoiseEstimate, profile: Float[np.ndarray, "points dim"]
    ) -> tuple[NoiseEstimate, Float[np.ndarray, "points dim"]]:
        """The noise with that."""
        error = np.hypot(noise.relative_error, SLOW_ERROR)
        return noise._replace(variance=noise.variance * self.lift, relative_error=error), profile * self.lift


def rows_alike(values: Float[np.ndarray, " rows"], piece: Int[np.ndarray, " rows"]) -> float | None:
    """How many rows have one value of the noise between them, where `values` are noise that forgets; None
    where they are not.

    The mean square difference of rows grows with their distance up to a plateau, soon where noise forgets.
    That of a random walk grows on, and that of what the state drives comes and goes.
    """
    length = float(np.median(np.bincount(piece)[piece]))
    if length < SHORTEST:
        return None
    lags = np.unique(np.linspace(1, length / 2, MOST_LAGS).round().astype(int))
    pairs, apart = np.zeros(len(lags)), np.zeros(len(lags))
    for k, lag in enumerate(lags):
        moves = (values[lag:] - values[:-lag])[piece[lag:] == piece[:-lag]]
        pairs[k], apart[k] = len(moves), np.mean(moves**2)
    far = lags >= FORGOTTEN * length
    alike = 1.0
    for _ in range(3):
        correlation = 1 - apart / np.average(apart[far], weights=pairs[far])
        chance = STANDARD_ERRORS * np.sqrt(alike / pairs)
        if np.any(np.abs(correlation[far]) > LEFT + chance[far]):
            return None
        near = int(np.argmax(correlation < SMALL))
        whole = np.trapezoid(np.append(1.0, correlation[:near]), np.append(0, lags[:near]))
        alike = max(1.0, 1.0 + 2 * float(whole - 0.5)) if near else 1.0
    return alike if alike <= min(MOST_ALIKE * length, len(values) / FEWEST) else None


def lifts(
    squares: Float[np.ndarray, "rows K"], parts: Float[np.ndarray, "rows K dim"]
) -> Float[np.ndarray, " dim"]:
    """By what factors, one a column and 1 at least, the `parts` of the noise of K combinations that columns
    have explain the mean squares of these.
    """
    flat = parts.reshape(-1, parts.shape[2])
    level = flat.sum(axis=1)
    # Where columns have no noise, there is none to be lifted.
    noisy = level > LEAST_LEVEL * level.max(initial=0.0)
    if not noisy.any():
        return np.ones(parts.shape[2])
    flat, level = flat[noisy], level[noisy]
    size = np.sqrt(np.mean((flat / level[:, None]) ** 2, axis=0))
    used = size > 0
    more = (squares.reshape(-1)[noisy] - level) / level
    found = nnls(flat[:, used] / level[:, None] / size[used], more)[0]
    factors = np.ones(parts.shape[2])
    factors[used] += found / size[used]
    return factors
