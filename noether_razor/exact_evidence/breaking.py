"""By how much H breaks a symmetry: {C, H} as a share of |grad C| |grad H|, with an interval."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

from .questions import Question
from .shooting import Fit

MOST_POINTS = 400
"""States of the data that the root mean square is taken over."""
NORMAL = 1.96
"""Standard deviations of a 95 % interval."""


class Breaking(NamedTuple):
    """The root mean square of {C, H} over that of |grad C| |grad H|, with a 95 % interval. `floor` is what
    such data show by chance of a symmetry that is exact: less is not distinguishable from none.
    """

    value: float
    lo: float
    hi: float
    floor: float


def breaking(question: Question, found: Fit) -> Breaking:
    """That of the quantity of `question` which is broken most, by the posterior of a fit."""
    points = found.problem.some_states(MOST_POINTS)
    gradients = found.problem.features.gradients(points)
    mean, covariance = found.parameters[:-1], found.covariance[:-1, :-1]
    forces = np.linalg.norm(gradients @ mean, axis=1)
    parts = []
    for field in question.fields(points):
        # The field of C is as long as its gradient, and {C, H} the derivative of H along it.
        unit = float(np.sqrt(np.mean(np.sum(field**2, axis=1) * forces**2)))
        brackets = np.einsum("ki,kip->kp", field, gradients) / (unit * np.sqrt(len(points)))
        parts.append(_interval(brackets @ mean, brackets @ covariance @ brackets.T))
    return max(parts, key=lambda one: one.hi)


def _interval(mean: Float[np.ndarray, " points"], covariance: Float[np.ndarray, "points points"]) -> Breaking:
    """The norm b of a normal vector's mean, from one draw: |draw|^2 has the mean b^2 + tr S and the variance
    2 tr S^2 + 4 u^T S u b^2 with u the direction of the draw.
    """
    square, trace = float(mean @ mean), float(np.trace(covariance))
    squares = float(np.sum(covariance**2))
    along = float(mean @ covariance @ mean) / square if square > 0 else 0.0

    def off(size: float, sign: float) -> float:
        return size**2 + trace + sign * NORMAL * np.sqrt(2 * squares + 4 * along * size**2) - square

    most = 10 * np.sqrt(square + trace) + 1e-300
    hi = float(np.asarray(brentq(off, 0.0, most, args=(-1.0,)))) if off(0.0, -1.0) < 0 else 0.0
    lo = float(np.asarray(brentq(off, 0.0, most, args=(1.0,)))) if off(0.0, 1.0) < 0 else 0.0
    floor = float(np.sqrt(trace + NORMAL * np.sqrt(2 * squares)))
    return Breaking(float(np.sqrt(max(square - trace, 0.0))), lo, max(hi, lo), floor)
