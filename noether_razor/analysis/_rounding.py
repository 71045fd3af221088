"""Coefficients with the errors that data leave, and simple numbers in their place where data allow them."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ._drift import STANDARD_ERRORS, PairStatistics
from ._simple_numbers import NEAR, SimpleNumber, nearest_ratio, simple_number

_LEARNED = 0.025
"""Errors of coefficients as learned, of monomials scaled to spread alike, before data are asked."""
_DETERMINED = 1e-6
"""Drift of a direction, over that of its monomials, from which data without noise say anything of it."""
_RESOLVED = 4e-5
"""What float32 resolves of a coefficient, over its error as learned."""
_CONDITION = 1e3
"""Of the coefficients at pivots, up to which combinations may change them."""
_UNCHANGED = 1e-4
"""Relative drift that rounding may add whatever the uncertainty: what no data of float32 resolve."""


class Coefficients(NamedTuple):
    """Coefficients of `monomials` (K, monomials) and their errors; `simple`, one a row, says which are exact,
    and what: {column: number}.
    """

    values: Float[np.ndarray, "K monomials"]
    errors: Float[np.ndarray, "K monomials"]
    simple: list[dict[int, SimpleNumber]]


def rounded(
    rows: Float[np.ndarray, "K monomials"],
    at: Int[np.ndarray, " K"],
    statistics: PairStatistics,
    units: Float[np.ndarray, " monomials"],
    simplify: bool = True,
    allowed: Bool[np.ndarray, " monomials"] | None = None,
) -> Coefficients:
    """Coefficients as data and learning together have them, and simple numbers where both allow them; without
    `simplify` no number but 0.

    `rows` is a sparse basis, `at` the pivot of each row, which becomes 1; `statistics` are those of all
    monomials on the same trajectories and in the same units, `units` what a coefficient of 1 in scaled
    coordinates is in them; monomials that are not `allowed` (None: all are) stay out. Coefficients as learned
    have errors of `_LEARNED`; the drift corrects them with the covariance that the noise of the pairs, and
    drift that no correction removes, give it (a normal prior and a linear measurement). Then numbers are
    settled one by one, the surest first: 0 within 3.5 errors, or else a `simple_number`, where the drift does
    not grow by more than two of its standard errors. The others follow each of them as their correlations
    say: what is left unsettled keeps its error.
    """
    if not len(rows):
        return Coefficients(rows, np.zeros(rows.shape), [])
    values = rows / rows[np.arange(len(rows)), at][:, None]
    simple: list[dict[int, SimpleNumber]] = [{int(pivot): Fraction(1)} for pivot in at]
    if simplify:
        values, simple = _simple_gauge(values, at, units)
    errors = np.zeros(values.shape)
    change = statistics.drift - statistics.noise
    own = statistics.combined(values)
    chance = 2 * own.stderr()
    noise = own.noise_variances()
    free = np.delete(np.arange(rows.shape[1]), at)
    if allowed is not None:
        free = free[allowed[free]]
    for k, pivot in enumerate(at):
        learned = _LEARNED * units[free] / units[pivot]
        correction, covariance = _measured(values[k], noise[:, k], chance[k], statistics, free, learned)
        values[k, free] += correction
        limit = values[k] @ change @ values[k] + chance[k] + _UNCHANGED**2 * own.raw_variance[k, k]

        def allowed(trial: np.ndarray, row: np.ndarray = values[k], limit: float = limit) -> bool:
            whole = row.copy()
            whole[free] = trial
            return bool(whole @ change @ whole <= limit)

        values[k, free], errors[k, free], settled = _settled(
            values[k, free], covariance, learned, allowed, _number if simplify else _nothing
        )
        simple[k] |= {int(free[j]): number for j, number in settled.items()}
        values[k, list(simple[k])] = [float(number) for number in simple[k].values()]
    return Coefficients(values, errors, simple)


def _simple_gauge(
    values: Float[np.ndarray, "K monomials"],
    at: Int[np.ndarray, " K"],
    units: Float[np.ndarray, " monomials"],
) -> tuple[Float[np.ndarray, "K monomials"], list[dict[int, SimpleNumber]]]:
    """The rows with simple ratios at the pivots, and these: of each quantity any multiple may be added to the
    others, so no measurement says what stands at its pivot.
    """
    square = values[:, at]
    simple: list[dict[int, SimpleNumber]] = [{} for _ in at]
    target = square.copy()
    for k, j in np.ndindex(square.shape):
        ratio = nearest_ratio(float(square[k, j]), float(_LEARNED * units[at[j]] / units[at[k]]))
        if ratio is not None:
            target[k, j] = float(ratio)
            simple[k][int(at[j])] = ratio
    if np.linalg.cond(square) > _CONDITION:
        return values, [{int(pivot): Fraction(1)} for pivot in at]
    return target @ np.linalg.solve(square, values), simple


def _measured(
    row: Float[np.ndarray, " monomials"],
    noise: Float[np.ndarray, " pairs"],
    chance: float,
    statistics: PairStatistics,
    free: Int[np.ndarray, " free"],
    learned: Float[np.ndarray, " free"],
) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, "free free"]]:
    """The correction of the `free` coefficients of `row` by the drift, and the covariance that is left.

    `noise` (pairs,) are the variances of its differences under conservation, `chance` is the drift that they
    may make, `learned` are the errors of its coefficients before.
    """
    unit = 1 / np.sqrt(np.maximum(np.diag(statistics.drift)[free], np.finfo(float).tiny))
    change = statistics.drift - statistics.noise
    motion = unit[:, None] * change[np.ix_(free, free)] * unit
    values, directions = np.linalg.eigh((motion + motion.T) / 2)
    rows = np.zeros((len(free), len(row)))
    rows[:, free] = directions.T * unit
    # Other conserved quantities move nothing but noise: no data say how much of them there is.
    alone = statistics.combined(rows).noise_variances()
    chance_alone = np.sqrt(2 * np.sum(alone**2, axis=0)) / len(alone)
    seen = values > np.maximum(_DETERMINED, STANDARD_ERRORS * chance_alone)
    values, directions = values[seen], directions[:, seen]
    force = directions.T @ (unit * (change[free] @ row))
    left = max(row @ change @ row - np.sum(force**2 / values) - chance, 0.0)
    # Noise and motion are large at the same points.
    moves = statistics.differences[:, free] * unit @ directions / values
    measured = (moves * noise[:, None]).T @ moves / len(moves) ** 2 + left * np.diag(1 / values)
    prior = np.diag((learned / unit) ** 2)
    gain = prior @ directions @ np.linalg.inv(directions.T @ prior @ directions + measured)
    covariance = prior - gain @ directions.T @ prior
    return -unit * (gain @ (force / values)), unit[:, None] * covariance * unit


def _settled(
    row: Float[np.ndarray, " free"],
    covariance: Float[np.ndarray, "free free"],
    learned: Float[np.ndarray, " free"],
    allowed: Callable[[np.ndarray], bool],
    number: Callable[[float, float], SimpleNumber | None],
) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, " free"], dict[int, SimpleNumber]]:
    """Coefficients with simple numbers where they may be, the errors of the others, and these numbers."""
    # What float32 resolves.
    covariance = covariance + np.diag((_RESOLVED * learned) ** 2)
    settled: dict[int, SimpleNumber] = {}
    refused: set[int] = set()
    while True:
        errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
        numbers = {
            j: simple
            for j in range(len(row))
            if j not in settled and j not in refused and (simple := number(row[j], errors[j])) is not None
        }
        if not numbers:
            return row, np.where([j in settled for j in range(len(row))], 0.0, errors), settled
        surest = min(numbers, key=lambda j: errors[j] / learned[j])
        share = covariance[:, surest] / covariance[surest, surest]
        trial = row + share * (float(numbers[surest]) - row[surest])
        if not allowed(trial):
            refused.add(surest)
            continue
        trial[surest] = float(numbers[surest])
        row, covariance = trial, covariance - np.outer(share, covariance[surest])
        settled[surest] = numbers[surest]
        trial[list(settled)] = [float(number) for number in settled.values()]


def _nothing(value: float, error: float) -> SimpleNumber | None:
    """0 needs no chance to explain it: a coefficient that data do not support is no term."""
    return Fraction(0) if abs(value) <= NEAR * error else None


def _number(value: float, error: float) -> SimpleNumber | None:
    nothing = _nothing(value, error)
    return simple_number(value, error) if nothing is None else nothing
