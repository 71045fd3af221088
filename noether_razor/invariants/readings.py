"""Readings that are none: cut off at the end of a range, held by a sensor that has stopped, in place of
missing ones, or glitches.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float
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
    paths = [states for _, states in trajectories.segments()]
    found = []
    for i, name in enumerate(trajectories.names):
        columns = [path[:, i] for path in paths]
        together = np.concatenate(columns)
        if together.min() == together.max():
            continue
        said = _ends(columns, together, name) or _held(paths, i, name)
        found += [said] if said else []
    glitches, rows = sum(map(_glitches, trajectories.segments())), int(trajectories.lengths.sum())
    if glitches > GLITCHES * rows:
        found.append(f"{glitches} of {rows} rows jump away and back: too many glitches to leave out")
    return tuple(found)


def _glitches(segment: tuple[Float[np.ndarray, " time"], Float[np.ndarray, "time dim"]]) -> int:
    """Rows that alone are far from a smooth line through two neighbours on each side; a step has no such
    row.
    """
    times, states = segment
    if len(times) < NEAR:
        return 0
    off = np.abs(differences(times, states, 4))
    middle = np.median(
        sliding_window_view(np.pad(off, ((NEAR // 2,) * 2, (0, 0)), "reflect"), NEAR, axis=0), axis=2
    )
    steps = [np.diff(np.unique(column)).min(initial=np.inf) for column in states.T]
    least = np.where(np.isfinite(steps), STEP * np.array(steps), 0.0)
    limit = FAR * np.maximum(middle, least)
    bad = np.zeros(len(times), bool)
    for k in np.flatnonzero(np.any(off > limit, axis=1) & (off > 0).any(axis=1)).tolist():
        around = [j for j in range(k - 1, k + 6) if 0 <= j < len(times) and j != k + 2]
        left = np.abs(differences(times[around], states[around], 4)).max(axis=0)
        bad[k + 2] = bool(np.any((off[k] > limit[k]) & (left < SMOOTH * off[k])))
    return int(bad.sum())


def _ends(columns: Sequence[np.ndarray], together: Float[np.ndarray, " rows"], name: str) -> str:
    """About the least and the largest value."""
    values, counts = np.unique(together, return_counts=True)
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
        in_a_row = sum(int(np.sum(_equal_neighbours(column) & (column == value))) for column in columns)
        if in_a_row >= FEWEST:
            which = "largest" if end else "least"
            return f"{name} is exactly {value:.6g} in {counts[end]} rows, its {which} value: is it cut off?"
    return ""


def _held(paths: Sequence[np.ndarray], column: int, name: str) -> str:
    """About readings that stand still while others move."""
    stretches, rows, different, total = 0, 0, 0, 0
    for path in paths:
        own = path[:, column]
        still = own[1:] == own[:-1]
        moving = np.any(path[1:] != path[:-1], axis=1)
        runs = _runs(still & moving)
        long = [length + 1 for length in runs if length + 1 >= HELD]
        stretches, rows = stretches + len(long), rows + sum(long)
        # Beside the stretches themselves.
        total += len(own) - sum(long)
        different += len(np.unique(own)) - len(long)
    if not stretches or different < FINE * total:
        return ""
    many = "once" if stretches == 1 else f"{stretches} times"
    return f"{name} keeps one value {many} while others move, in {rows} rows: does its sensor stop?"


def _equal_neighbours(column: Float[np.ndarray, " time"]) -> Bool[np.ndarray, " time"]:
    """Which rows have the value of the row before or after."""
    same = column[1:] == column[:-1]
    return np.append(same, False) | np.insert(same, 0, False)


def _runs(flags: Bool[np.ndarray, " steps"]) -> list[int]:
    """Lengths of stretches that are true."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flags.astype(int), [0]])))
    return (edges[1::2] - edges[::2]).tolist()
