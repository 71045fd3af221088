"""Coefficients of H that are equal up to their errors and signs, made one."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float


def tied(
    values: Float[np.ndarray, " K"], covariance: Float[np.ndarray, "K K"], rows: int
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K K"]]:
    """Values and covariance with those of one size made equal: each tie may cost log(rows) of chi-squared,
    which is what a coefficient less is worth (Schwarz). Those nearest to each other are tied first, all ties
    at once are refitted by conditioning the normal posterior on them.
    """
    groups = [[k] for k in range(len(values))]
    apart = sorted(combinations(range(len(values)), 2), key=lambda pair: _distance(values, covariance, *pair))
    spent = 0.0
    for one, other in apart:
        first, second = (next(g for g in groups if k in g) for k in (one, other))
        limit = spent + np.log(max(rows, 2))
        # More ties than one cost no less. What is far apart may differ by decades, in units of the user.
        if first is second or _distance(values, covariance, one, other) ** 2 > limit:
            continue
        trial = [*(g for g in groups if g is not first and g is not second), [*first, *second]]
        cost = _conditioned(values, covariance, trial)[2]
        if cost <= limit:
            groups, spent = trial, cost
    found, left, _ = _conditioned(values, covariance, groups)
    return found, left


def _distance(values: np.ndarray, covariance: np.ndarray, one: int, other: int) -> float:
    """Standard errors by which two sizes differ."""
    sign = np.sign(values[one] * values[other])
    spread = covariance[one, one] + covariance[other, other] - 2 * sign * covariance[one, other]
    off = abs(abs(values[one]) - abs(values[other]))
    return float(off / np.sqrt(max(spread, np.finfo(float).tiny)))


def _conditioned(
    values: np.ndarray, covariance: np.ndarray, groups: Sequence[Sequence[int]]
) -> tuple[np.ndarray, np.ndarray, float]:
    """Values and covariance where sizes of each group are equal, and what that costs of chi-squared."""
    constraints = []
    for group in groups:
        # Against the surest: beside the error of another, small ones would be lost in rounding.
        surest = min(group, key=lambda k: covariance[k, k])
        for k in group:
            if k != surest:
                row = np.zeros(len(values))
                row[k], row[surest] = np.sign(values[k]), -np.sign(values[surest])
                constraints.append(row)
    if not constraints:
        return values, covariance, 0.0
    off = np.array(constraints)
    gain = np.linalg.solve(off @ covariance @ off.T, off @ covariance).T
    left = covariance - gain @ off @ covariance
    missed = off @ values
    cost = float(missed @ np.linalg.solve(off @ covariance @ off.T, missed))
    found = values - gain @ missed
    for group in groups:
        # Equal to the last digit.
        size = float(np.mean(np.abs(found[list(group)])))
        found[list(group)] = np.sign(found[list(group)]) * size
    return found, (left + left.T) / 2, cost
