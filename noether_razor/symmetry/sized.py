"""How far built-in quantities move the data: their flows sized so that no orbit runs away."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..quantities import QuadraticQuantities
from .group_samples import LARGEST_NORM

FARTHEST = 4.0
"""Largest displacement of any state by any group element, over the largest distance of states from the origin
in units of their spread. A rotation needs 2, one along an ellipse its ratio of axes more.
"""
DIRECTIONS, SEED = 64, 0
"""Group elements by which several quantities together are judged, besides each by itself."""
BISECTIONS, SMALLEST = 8, 1e-30
OF_ROUNDING = 1e-6
"""Of a frequency, over the norm of its generator: below it is none."""


def sized(
    quantities: QuadraticQuantities,
    states: Float[np.ndarray, "points dim"],
    spreads: Float[np.ndarray, " dim"],
) -> QuadraticQuantities:
    """Multiples of built-in quantities whose orbits, exp(pi w . G) with w in the unit ball, fit data of such
    `states` and `spreads`.

    - A rotation (J A diagonalisable with imaginary eigenvalues only) gets the angular frequency 1: w in
      [-1, 1] covers its circle once. So does what has other eigenvalues beside imaginary ones, unless that
      moves states too far.
    - Anything else, translations, shears and hyperbolic flows, has no period: at |w| = 1 the r.m.s.
      displacement of the states, and pi |G (x, 1)| where |x| is the mean of the `spreads`, are that mean at
      most (wider orbits vary more, and are learned more slowly).
    - No element of the ball displaces a state by more than `FARTHEST` times the distance from the origin of
      the farthest one, both in units of the spreads, nor is |pi w . G| near where the matrix exponential
      ends. Where one does, by itself or together with the others, first the quantities without a period are
      made smaller, then all.

    Hence orbits of the data are finite whatever the quantities are. A quantity that is constant stays so.
    """
    raw = np.asarray(quantities.generators(), dtype=np.float64)
    units = np.abs(raw).max(axis=(1, 2))
    units = np.where(units > 0, units, 1.0)
    generators, reach = raw / units[:, None, None], _Reach.of(states, spreads)
    alone = [_alone(generator, reach) for generator in generators]
    factors, periodic = np.array([factor for factor, _ in alone]), np.array([own for _, own in alone])
    factors = _together(generators, factors, periodic, reach) / units
    symmetric = np.asarray(quantities.symmetric_matrices(), np.float64)
    return QuadraticQuantities(
        jnp.asarray(symmetric * factors[:, None, None], jnp.float32),
        jnp.asarray(np.asarray(quantities.vectors[...], np.float64) * factors[:, None], jnp.float32),
        angles=quantities.angles,
    )


class _Reach(NamedTuple):
    """How far group elements may move states (points, 2n + 1; the last column is 1).

    sizes: the spreads of the coordinates. farthest: in these units, of any state. wanted: r.m.s., of
    quantities without a period.
    """

    ends: Float[np.ndarray, "points m"]
    sizes: Float[np.ndarray, " dim"]
    farthest: float
    wanted: float

    @classmethod
    def of(cls, states: Float[np.ndarray, "points dim"], spreads: Float[np.ndarray, " dim"]) -> "_Reach":
        sizes = np.where(spreads > 0, spreads, 1.0)
        farthest = FARTHEST * max(1.0, np.sqrt(np.max(np.sum((states / sizes) ** 2, axis=1))))
        ends = np.concatenate([states, np.ones((len(states), 1))], axis=1)
        return cls(ends, sizes, float(farthest), float(np.mean(spreads) or 1.0))

    def displacements(self, generator: np.ndarray, w: float) -> np.ndarray:
        """How far exp(pi w G) takes each state."""
        return self.ends @ (_exp(np.pi * w * generator) - np.eye(len(generator)))[:-1].T

    def near(self, generator: np.ndarray, at: Sequence[float] = (1.0, -1.0, 0.5, -0.5)) -> bool:
        """Whether no state moves too far, forth or back."""
        if not np.pi * np.linalg.norm(generator) <= LARGEST_NORM:
            return False
        ways = [self.displacements(generator, w) / self.sizes for w in at]
        return bool(max(np.max(np.sum(way**2, axis=1)) for way in ways) <= self.farthest**2)

    def close(self, generator: np.ndarray) -> bool:
        """Whether states also move by their spread at most."""
        if not self.near(generator):
            return False
        ways = [self.displacements(generator, w) for w in (1.0, -1.0)]
        return bool(max(np.mean(np.sum(way**2, axis=1)) for way in ways) <= self.wanted**2)


def _alone(generator: Float[np.ndarray, "m m"], reach: _Reach) -> tuple[float, bool]:
    """The factor of one quantity by itself, and whether it is its period that says so."""
    frequency = np.abs(np.linalg.eigvals(generator[:-1, :-1]).imag).max()
    most = LARGEST_NORM / (np.pi * max(np.linalg.norm(generator), 1.0))
    if frequency > OF_ROUNDING * np.linalg.norm(generator):
        if reach.near(generator / frequency):
            return 1 / frequency, True
        most = min(most, 1 / frequency)
    else:
        linear, shift = generator[:-1, :-1], generator[:-1, -1]
        moved = np.pi * (np.linalg.norm(linear, 2) * reach.wanted + np.linalg.norm(shift))
        most = min(most, reach.wanted / max(moved, np.finfo(float).tiny))
    return float(most * _largest(lambda c: reach.close(c * most * generator))), False


def _together(
    generators: Float[np.ndarray, "K m m"],
    factors: Float[np.ndarray, " K"],
    periodic: Bool[np.ndarray, " K"],
    reach: _Reach,
) -> Float[np.ndarray, " K"]:
    """`factors`, made smaller where quantities together move states too far."""
    draws = np.random.default_rng(SEED).standard_normal((DIRECTIONS, len(generators)))
    directions = draws / np.linalg.norm(draws, axis=1, keepdims=True)

    def allowed(factors: np.ndarray) -> bool:
        flat = factors[:, None] * generators.reshape(len(generators), -1)
        elements = (directions @ flat).reshape(-1, *generators.shape[1:])
        bounded = bool(np.pi * np.linalg.norm(flat, 2) <= LARGEST_NORM)
        return bounded and all(reach.near(element, (1.0,)) for element in elements)

    if len(generators) < 2 or allowed(factors):
        return factors
    fixed = np.where(periodic, factors, 0.0)
    if allowed(fixed):
        return fixed + (factors - fixed) * _largest(lambda c: allowed(fixed + c * (factors - fixed)))
    return factors * _largest(lambda c: allowed(c * factors))


def _exp(matrix: Float[np.ndarray, "m m"]) -> Float[np.ndarray, "m m"]:
    """exp in float64 without compilation, as `expm` computes it."""
    halvings = max(0, int(np.ceil(np.log2(max(np.linalg.norm(matrix), 1e-30) / 0.5))))
    part, identity = matrix / 2.0**halvings, np.eye(len(matrix))
    result = identity
    for k in range(14, 0, -1):
        result = identity + part @ result / k
    for _ in range(halvings):
        result = result @ result
    return result


def _largest(allowed: Callable[[float], bool]) -> float:
    """The largest c in (0, 1] that is `allowed`, as small ones are: the first found from above, halving and
    then bisecting.
    """
    high = low = 1.0
    while not allowed(low) and low > SMALLEST:
        high, low = low, low / 2
    for _ in range(BISECTIONS if low < high else 0):
        middle = (low + high) / 2
        low, high = (middle, high) if allowed(middle) else (low, middle)
    return low
