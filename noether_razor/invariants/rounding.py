"""Coefficients with the errors that data leave, and simple numbers in their place where data allow them."""

from collections.abc import Callable
from fractions import Fraction
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .pairs import STANDARD_ERRORS, PairStatistics
from .simple_numbers import NEAR, SimpleNumber, nearest_ratio, simple_number

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

Measured = tuple[float, float]
"""A value and its error."""


class Coefficients(NamedTuple):
    """Coefficients of `monomials` (K, monomials) and their errors; `simple`, one a row, says which are exact,
    and what: {column: number}. `measured` {column: (value, error)} has what those of them were measured as
    that are neither 0 nor chosen.
    """

    values: Float[np.ndarray, "K monomials"]
    errors: Float[np.ndarray, "K monomials"]
    simple: list[dict[int, SimpleNumber]]
    measured: list[dict[int, Measured]]


def rounded(
    rows: Float[np.ndarray, "K monomials"],
    at: Int[np.ndarray, " K"],
    statistics: PairStatistics,
    units: Float[np.ndarray, " monomials"],
    usable: Bool[np.ndarray, " monomials"] | None = None,
) -> Coefficients:
    """Coefficients as data and learning together have them, and simple numbers where both allow them.

    `rows` is a sparse basis, `at` the pivot of each row, which becomes 1; `statistics` are those of all
    monomials on the same trajectories and in the same units, `units` what a coefficient of 1 in scaled
    coordinates is in them; monomials that are not `usable` (None: all are) stay out. The coefficients given
    have errors of `_LEARNED`; the drift corrects them with the covariance that the noise of the pairs, and
    drift that no correction removes, give it (a normal prior and a linear measurement). Then numbers are
    settled one by one, the surest first: 0 within 3.5 errors, or else a `simple_number`, where the drift does
    not grow by more than two of its standard errors and a share of its misfit, which is the drift that no
    coefficients remove: terms that only follow a perturbation are not needed where they leave as much of it.
    For 0, errors have all of the misfit in them. The others follow each of them as their correlations say:
    what is left unsettled keeps its error.
    """
    if not len(rows):
        return Coefficients(rows, np.zeros(rows.shape), [], [])
    values = rows / rows[np.arange(len(rows)), at][:, None]
    values, simple = _simple_gauge(values, at, units)
    errors = np.zeros(values.shape)
    measured: list[dict[int, Measured]] = []
    change = statistics.drift - statistics.noise
    own = statistics.combined(values)
    chance = 2 * own.stderr()
    noise = own.noise_variances()
    free = np.delete(np.arange(rows.shape[1]), at)
    if usable is not None:
        free = free[usable[free]]
    for k, pivot in enumerate(at):
        learned = _LEARNED * units[free] / units[pivot]
        correction, covariance, wide, misfit = _measured(
            values[k], noise[:, k], chance[k], statistics, free, learned
        )
        values[k, free] += correction
        limit = values[k] @ change @ values[k] + chance[k] + _UNCHANGED**2 * own.raw_variance[k, k]
        limit += NEAR**2 * misfit

        def allowed(trial: np.ndarray, row: np.ndarray = values[k], limit: float = limit) -> bool:
            whole = row.copy()
            whole[free] = trial
            return bool(whole @ change @ whole <= limit)

        values[k, free], errors[k, free], settled, seen = settled_numbers(
            values[k, free], covariance, wide, learned, allowed
        )
        simple[k] |= {int(free[j]): number for j, number in settled.items()}
        measured.append({int(free[j]): seen[j] for j, number in settled.items() if number})
        values[k, list(simple[k])] = [float(number) for number in simple[k].values()]
    return Coefficients(values, errors, simple, measured)


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
    # In scaled coordinates: units may differ by tens of decades.
    own = units[at][:, None]
    scaled = square * own / units[at]
    if np.linalg.cond(scaled) > _CONDITION:
        return values, [{int(pivot): Fraction(1)} for pivot in at]
    chosen = (target * own / units[at]) @ np.linalg.solve(scaled, values * own) / own
    chosen[:, at] = target
    return chosen, simple


def _measured(
    row: Float[np.ndarray, " monomials"],
    noise: Float[np.ndarray, " pairs"],
    chance: float,
    statistics: PairStatistics,
    free: Int[np.ndarray, " free"],
    learned: Float[np.ndarray, " free"],
) -> tuple[Float[np.ndarray, " free"], Float[np.ndarray, "free free"], Float[np.ndarray, "free free"], float]:
    """The correction of the `free` coefficients of `row` by the drift, the covariance that is left, the same
    with all of the misfit, and that: the drift beyond noise that no coefficients remove.

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
    unremoved = row @ change @ row - np.sum(force**2 / values)
    misfit = max(unremoved - 2 * np.sqrt(2 * np.sum(noise**2)) / len(noise), 0.0)
    # Noise and motion are large at the same points.
    moves = statistics.differences[:, free] * unit @ directions / values
    of_noise = (moves * noise[:, None]).T @ moves / len(moves) ** 2
    prior = np.diag((learned / unit) ** 2)

    def joined(left: float) -> tuple[np.ndarray, np.ndarray]:
        measured = of_noise + left * np.diag(1 / values)
        gain = prior @ directions @ np.linalg.inv(directions.T @ prior @ directions + measured)
        return gain, unit[:, None] * (prior - gain @ directions.T @ prior) * unit

    # At least what independent trajectories leave of it in their mean.
    gain, covariance = joined(max(unremoved - chance, misfit / (int(statistics.trajectory.max()) + 1)))
    return -unit * (gain @ (force / values)), covariance, joined(misfit)[1], misfit


def settled_numbers(
    row: Float[np.ndarray, " free"],
    covariance: Float[np.ndarray, "free free"],
    wide: Float[np.ndarray, "free free"],
    learned: Float[np.ndarray, " free"],
    allowed: Callable[[np.ndarray], bool],
) -> tuple[
    Float[np.ndarray, " free"], Float[np.ndarray, " free"], dict[int, SimpleNumber], dict[int, Measured]
]:
    """Coefficients with 0 and simple numbers where they may be, the errors of the others, these numbers, and
    what they were measured as.

    0 needs no odds: a coefficient that data do not support is no term. `wide` is the covariance that says so.
    """
    # What float32 resolves.
    covariances = [matrix + np.diag((_RESOLVED * learned) ** 2) for matrix in (covariance, wide)]
    settled: dict[int, SimpleNumber] = {}
    measured: dict[int, Measured] = {}
    refused: set[int] = set()
    while True:
        errors, most = (np.sqrt(np.maximum(np.diag(matrix), 0.0)) for matrix in covariances)
        numbers: dict[int, SimpleNumber] = {}
        for j in set(range(len(row))) - set(settled) - refused:
            if abs(row[j]) <= NEAR * most[j]:
                numbers[j] = Fraction(0)
            elif (named := simple_number(row[j], errors[j])) is not None:
                numbers[j] = named
        if not numbers:
            return row, np.where([j in settled for j in range(len(row))], 0.0, errors), settled, measured
        surest = min(numbers, key=lambda j: errors[j] / learned[j])
        shares = [matrix[:, surest] / matrix[surest, surest] for matrix in covariances]
        share = shares[0] if numbers[surest] else shares[1]
        trial = row + share * (float(numbers[surest]) - row[surest])
        if not allowed(trial):
            refused.add(surest)
            continue
        measured[surest] = float(row[surest]), float(errors[surest])
        trial[surest] = float(numbers[surest])
        row = trial
        covariances = [
            matrix - np.outer(own, matrix[surest]) for matrix, own in zip(covariances, shares, strict=True)
        ]
        settled[surest] = numbers[surest]
        trial[list(settled)] = [float(exact) for exact in settled.values()]
