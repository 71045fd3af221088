"""From the rows of a file to trajectories."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ._csv import Table
from ._error import DataFileError
from ._layout import Columns, Layout
from ._trajectories import Trajectories

LARGEST_PADDING = 2 << 30
"""Bytes that trajectories of very unequal length may be padded to."""
REGULAR, MULTIPLE = 0.75, 0.9
"""Sampling is regular where these shares of the times between rows agree to a thousandth with the usual one
and with whole multiples of it.
"""
USUAL_PERIODS = (2 * np.pi, 360.0)


class DataFile(NamedTuple):
    """What a file held: trajectories, and notes on what was done to them that its owner should know."""

    trajectories: Trajectories
    notes: tuple[str, ...]


def assemble(path: Path, table: Table, layout: Layout) -> DataFile:
    """Sort rows into trajectories, break them at gaps, unwrap angles and turn velocities into momenta.

    Rows of a trajectory keep their order. Raises `DataFileError` naming the row where times do not increase,
    where a trajectory has one row only, or where a coordinate jumps by a period and was not said to be an
    angle.
    """
    rows = _Ordered(path, table)
    rows.check_times()
    rows.check_lengths()
    notes: list[str] = []
    kept = ~rows.missing
    if not kept.all():
        notes.append(f"{_many(int((~kept).sum()), 'row')} without a state break their trajectories")
    breaks = np.concatenate([[True], rows.trajectory[1:] != rows.trajectory[:-1]])
    breaks |= _gaps(rows, layout, notes)
    # A missing row ends one piece, and the next row that is there begins another.
    piece = np.cumsum(breaks | np.concatenate([[False], ~kept[:-1]]))[kept]
    states, time, where = rows.states[kept], rows.time[kept], rows.where[kept]
    if not len(states):
        raise DataFileError(path, "", "every row is without a state")
    starts = np.flatnonzero(np.concatenate([[True], piece[1:] != piece[:-1]]))
    ends = np.append(starts[1:], len(piece))
    same = np.concatenate([[False], piece[1:] == piece[:-1]])
    _angles(path, table, layout, states, same, where, notes)
    if table.columns.masses is not None:
        states[:, len(table.columns.positions) :] *= np.array(table.columns.masses)
        notes.append(
            "momenta are mass times velocity: these are canonical in an inertial frame without a magnetic "
            "field, and not in a rotating frame or a magnetic field"
        )
    long_enough = ends - starts >= 2
    if not long_enough.all():
        notes.append(f"{_many(int((~long_enough).sum()), 'row')} left alone between gaps cannot be used")
    spans = list(zip(starts[long_enough], ends[long_enough], strict=True))
    if not spans:
        raise DataFileError(path, "", "gaps leave no two rows together, set gap higher")
    _check_padding(path, spans, states.shape[1])
    trajectories = Trajectories.of_segments(
        [(time[start:end], states[start:end]) for start, end in spans],
        names=table.columns.names,
        units=table.columns.units,
        time_unit=table.columns.time_unit,
        periods=(*table.columns.periods, *[None] * len(table.columns.second)),
    )
    return DataFile(trajectories, tuple(notes))


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


class _Ordered:
    """The rows of a table, those of one trajectory together and in their order."""

    def __init__(self, path: Path, table: Table):
        self.path, self.table = path, table
        codes = table.trajectory
        sorted_ = bool((codes[1:] >= codes[:-1]).all())
        order: Any = slice(None) if sorted_ else np.argsort(codes, kind="stable")
        self.trajectory: Int[np.ndarray, " rows"] = codes[order]
        self.time: Float[np.ndarray, " rows"] = table.time[order]
        self.states: Float[np.ndarray, "rows dim"] = table.states[order]
        self.missing: Bool[np.ndarray, " rows"] = table.missing[order]
        self.where: Int[np.ndarray, " rows"] = table.where[order]

    def name(self, row: int) -> str:
        label = self.table.labels[self.trajectory[row]]
        return f"trajectory {label}" if label else "the trajectory"

    def check_times(self) -> None:
        within = self.trajectory[1:] == self.trajectory[:-1]
        late = np.flatnonzero(within & ~(np.diff(self.time) > 0))
        if not late.size:
            return
        # The first in the file, whatever the order of the trajectories.
        row = int(late[np.argmin(self.where[late + 1])]) + 1
        alone = " (there is no column of trajectories)" if self.table.columns.trajectory is None else ""
        column = self.table.header[self.table.columns.time or 0]
        raise DataFileError(
            self.path,
            f"{self.table.counted} {self.where[row]}, column {column}",
            f"got {self.time[row]:.17g} after {self.time[row - 1]:.17g}, times must increase along "
            f"{self.name(row)}{alone}",
        )

    def check_lengths(self) -> None:
        counts = np.bincount(self.trajectory, minlength=len(self.table.labels))
        alone = np.flatnonzero(counts == 1)
        if alone.size:
            row = int(np.flatnonzero(self.trajectory == alone[0])[0])
            raise DataFileError(
                self.path,
                f"{self.table.counted} {self.where[row]}",
                f"{self.name(row)} has this one row only, at least 2 are needed",
            )


def _gaps(rows: _Ordered, layout: Layout, notes: list[str]) -> Bool[np.ndarray, " rows"]:
    """Which rows come after a gap."""
    steps = np.diff(rows.time)
    within = rows.trajectory[1:] == rows.trajectory[:-1]
    limit = layout.gap
    if limit is None:
        usual = float(np.median(steps[within]))
        multiples = steps[within] / usual
        whole = np.abs(multiples - np.round(multiples)) <= 1e-3
        if np.mean(whole & (multiples < 1.5)) < REGULAR or np.mean(whole) < MULTIPLE:
            return np.zeros(len(rows.time), bool)
        limit = 1.5 * usual
    after = np.concatenate([[False], within & (steps > limit)])
    if after.any():
        first = int(rows.where[int(np.argmax(after))])
        notes.append(
            f"{_many(int(after.sum()), 'gap')} longer than {limit:.6g} break trajectories, the first before "
            f"{rows.table.counted} {first}"
        )
    return after


def _angles(
    path: Path,
    table: Table,
    layout: Layout,
    states: Float[np.ndarray, "rows dim"],
    same: Bool[np.ndarray, " rows"],
    where: Int[np.ndarray, " rows"],
    notes: list[str],
) -> None:
    """Unwrap periodic positions in place; refuse others that jump by a period. `same` says which rows belong
    to the piece of the row before.
    """
    columns = table.columns
    for k, period in enumerate(columns.periods):
        name = columns.names[k]
        if period is not None:
            turns = unwrapped_turns(states[:, k], same, period)
            states[:, k] -= period * turns
            jumps = int(np.count_nonzero(np.diff(turns)[same[1:]]))
            notes.append(f"{name} is unwrapped at {_many(jumps, 'jump')} of its period {period:.6g}")
        elif layout.periodic is None:
            jump = _period_jump(states[:, k], same)
            if jump is not None:
                row, size = jump
                raise DataFileError(
                    path,
                    f"{table.counted} {where[row]}, column {name}",
                    f"jumps from {states[row - 1, k]:.6g} to {states[row, k]:.6g}, as an angle of period "
                    f'{size:.6g} does: say periodic = ["{name}"] to unwrap it, or periodic = [] if not',
                )


def unwrapped_turns(
    values: Float[np.ndarray, " rows"], same: Bool[np.ndarray, " rows"], period: float
) -> Float[np.ndarray, " rows"]:
    """How many periods to take from each value so that none is further than half of one from the value before
    it in its piece.
    """
    jumps = np.where(same, np.round(np.diff(values, prepend=values[:1]) / period), 0.0)
    total = np.cumsum(jumps)
    begins = np.flatnonzero(~same)
    piece = np.cumsum(~same) - 1
    return total - total[begins][piece]


def _period_jump(
    values: Float[np.ndarray, " rows"], same: Bool[np.ndarray, " rows"]
) -> tuple[int, float] | None:
    """The first row after a jump of 2 pi or 360 in a coordinate that stays within one such period, where all
    other steps are small.
    """
    steps = np.where(same, np.diff(values, prepend=values[:1]), 0.0)
    extent = float(values.max() - values.min())
    for period in USUAL_PERIODS:
        jumps = np.abs(steps) > period / 2
        if not jumps.any() or extent > period * (1 + 1e-9):
            continue
        others = np.abs(steps[~jumps & same]).max(initial=0.0)
        unwrapped = np.abs(np.abs(steps[jumps]) - period).max()
        if max(others, unwrapped) < period / 4:
            return int(np.argmax(jumps)), period
    return None


def _check_padding(path: Path, spans: list[tuple[Any, Any]], dim: int) -> None:
    lengths = [int(end - start) for start, end in spans]
    size = len(lengths) * max(lengths) * (dim + 1) * 8
    if size > max(LARGEST_PADDING, 4 * sum(lengths) * (dim + 1) * 8):
        raise DataFileError(
            path,
            "",
            f"{len(lengths)} trajectories padded to the longest, {max(lengths)} rows, "
            f"need {size / 2**30:.0f} GiB: cut the longest ones into pieces",
        )


def single_states(path: Path, table: Table) -> Float[np.ndarray, "rows dim"]:
    """The states of a table that holds one a row, in its order. Raises `DataFileError` for a row without."""
    if table.missing.any():
        row = int(np.argmax(table.missing))
        raise DataFileError(path, f"{table.counted} {table.where[row]}", "has no state")
    states = table.states.copy()
    if table.columns.masses is not None:
        states[:, len(table.columns.positions) :] *= np.array(table.columns.masses)
    return states


def table_of_arrays(
    path: Path, columns: Columns, header: tuple[str, ...], arrays: dict[str, np.ndarray]
) -> Table:
    """The table of one-dimensional arrays, one a column, all of a length. Raises `DataFileError` naming array
    and row.
    """
    length = arrays[header[columns.states[0]]].size
    for name in header:
        if arrays[name].shape != (length,):
            raise DataFileError(path, name, f"must have shape {(length,)}, got {arrays[name].shape}")
    if not length:
        raise DataFileError(path, "", "no rows, the arrays are empty")
    codes, labels = np.zeros(length, np.int64), [""]
    if columns.trajectory is not None:
        values = arrays[header[columns.trajectory]]
        if np.issubdtype(values.dtype, np.floating) and not np.isfinite(values).all():
            raise DataFileError(path, header[columns.trajectory], "must name trajectories, got nan or inf")
        found, first, codes = np.unique(values, return_index=True, return_inverse=True)
        rank = np.argsort(np.argsort(first))
        codes, labels = rank[codes.reshape(-1)], [str(found[k]) for k in np.argsort(first)]
    numbers = {}
    used = (columns.time, *columns.states) if columns.time is not None else columns.states
    for k in used:
        name = header[k]
        if not np.issubdtype(arrays[name].dtype, np.number) or np.iscomplexobj(arrays[name]):
            raise DataFileError(path, name, f"must hold real numbers, got {arrays[name].dtype}")
        numbers[k] = arrays[name].astype(np.float64)
    time = numbers[columns.time] if columns.time is not None else np.zeros(length)
    states = np.stack([numbers[k] for k in columns.states], axis=1)
    # A row of NaN is the usual mark of a missing one in arrays, which know no empty field.
    missing = np.asarray(np.isnan(states).all(axis=1))
    states[missing] = 0.0
    for name, values in [(header[k], numbers[k]) for k in used]:
        bad = ~(np.abs(values) < 1e100)
        if columns.time is None or name != header[columns.time]:
            bad &= ~missing
        if bad.any():
            row = int(np.argmax(bad))
            raise DataFileError(
                path, f"row {row}, {name}", f"got {values[row]}, expected a finite number below 1e+100"
            )
    return Table(columns, header, labels, codes, time, states, missing, np.arange(length), "row")
