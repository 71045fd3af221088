"""Readings that are none: cut off at the end of a range, held by a sensor that has stopped, in place of
missing ones, or glitches.
"""

import numpy as np
from jaxtyping import Float, Int
from numpy.lib.stride_tricks import sliding_window_view

from ..trajectories import Trajectories
from .noise import differences

FEWEST = 5
"""Rows from which equal readings at the end of a range count."""
CROWDED, BESIDE = 8.0, 5
"""How many times more often the last value is read than those next to it, on average over so many."""
HELD = 4
"""Equal readings in a row, of a column that hardly ever has two, from which it has stopped."""
GLITCHES = 0.005
"""Share of the rows from which glitches say nothing of what is conserved."""
FAR, SMOOTH = 12.0, 0.25
"""Fourth difference of rows over its median near by from which a row may be a glitch, and the share of that
which rows without it may have.
"""
NEAR = 21
"""Differences near by."""
STEP = 0.3
"""Median difference that rounding to steps of one makes, about."""
FINE = 0.9
"""Share of different values from which a column hardly ever has two that are equal."""


def doubtful_readings(trajectories: Trajectories) -> tuple[str, ...]:
    """One sentence a column whose readings are not those of a motion, in part.

    A value at the end of a column's range that is read far more often than those next to it is a limit of the
    instrument, where rows side by side read it, and a code for missing values where it lies apart from all
    others. Equal readings one after the other while other columns move, of a column that else never repeats
    itself, are those of a sensor that has stopped.
    """
    if trajectories.targets is not None:
        return ()
    states = trajectories.points()
    owner = np.repeat(np.arange(len(trajectories)), trajectories.lengths)
    found = []
    for name, column in zip(trajectories.names, states.T, strict=True):
        if column.min() == column.max():
            continue
        said = _ends(column, owner, name) or _held(states, column, owner, name)
        found += [said] if said else []
    long = [one for one in trajectories.segments() if len(one[0]) >= NEAR]
    glitches, rows = sum(map(_glitches, long, differences(long, 4))), int(trajectories.lengths.sum())
    if glitches > GLITCHES * rows:
        found.append(f"{glitches} of {rows} rows jump away and back: too many glitches to leave out")
    return tuple(found)


def _glitches(
    segment: tuple[Float[np.ndarray, " time"], Float[np.ndarray, "time dim"]],
    fourth: Float[np.ndarray, "windows dim"],
) -> int:
    """Rows that alone are far from a smooth line through two neighbours on each side, by their fourth
    differences; a step has no such row.
    """
    (times, states), off = segment, np.abs(fourth)
    middle = np.median(
        sliding_window_view(np.pad(off, ((NEAR // 2,) * 2, (0, 0)), "reflect"), NEAR, axis=0), axis=2
    )
    steps = [np.diff(np.unique(column)).min(initial=np.inf) for column in states.T]
    least = np.where(np.isfinite(steps), STEP * np.array(steps), 0.0)
    limit = FAR * np.maximum(middle, least)
    bad = np.zeros(len(times), bool)
    for k in np.flatnonzero(np.any(off > limit, axis=1) & (off > 0).any(axis=1)).tolist():
        around = [j for j in range(k - 1, k + 6) if 0 <= j < len(times) and j != k + 2]
        left = np.abs(differences([(times[around], states[around])], 4)[0]).max(axis=0)
        bad[k + 2] = bool(np.any((off[k] > limit[k]) & (left < SMOOTH * off[k])))
    return int(bad.sum())


def _ends(column: Float[np.ndarray, " rows"], owner: Int[np.ndarray, " rows"], name: str) -> str:
    """About the least and the largest value."""
    values, counts = np.unique(column, return_counts=True)
    for end, beside in ((0, slice(1, BESIDE + 1)), (-1, slice(-BESIDE - 1, -1))):
        near = counts[beside]
        if counts[end] < FEWEST or counts[end] <= CROWDED * near.mean():
            continue
        value, others = values[end], np.delete(values, end)
        if abs(value - others[end]) > np.ptp(others):
            return (
                f"{name} is {value:.6g} in {counts[end]} rows, far from all other values: "
                "leave a field empty where a value is missing"
            )
        same = (column[1:] == column[:-1]) & (owner[1:] == owner[:-1])
        in_a_row = int(np.sum((np.append(same, False) | np.insert(same, 0, False)) & (column == value)))
        if in_a_row >= FEWEST:
            which = "largest" if end else "least"
            return f"{name} is exactly {value:.6g} in {counts[end]} rows, its {which} value: is it cut off?"
    return ""


def _held(
    states: Float[np.ndarray, "rows dim"],
    column: Float[np.ndarray, " rows"],
    owner: Int[np.ndarray, " rows"],
    name: str,
) -> str:
    """About readings of a column that stand still while others move."""
    inside = owner[1:] == owner[:-1]
    still = inside & (column[1:] == column[:-1]) & np.any(states[1:] != states[:-1], axis=1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], still.astype(int), [0]])))
    stretches = edges[1::2] - edges[::2] + 1
    stretches = stretches[stretches >= HELD]
    # Beside the stretches themselves.
    order = np.lexsort((column, owner))
    changes = (np.diff(column[order]) != 0) | (np.diff(owner[order]) != 0)
    different, rows = 1 + int(changes.sum()) - len(stretches), int(stretches.sum())
    if not len(stretches) or different < FINE * (len(column) - rows):
        return ""
    many = "once" if len(stretches) == 1 else f"{len(stretches)} times"
    return f"{name} keeps one value {many} while others move, in {rows} rows: does its sensor stop?"
