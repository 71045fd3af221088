"""From the rows of a file to trajectories."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from .columns import Columns
from .csv import LARGEST, Table
from .dataset import Trajectories
from .error import DataFileError
from .layout import Layout
from .positions import FEWEST, PositionsError, Span, velocities

LARGEST_PADDING = 2 << 30
"""Bytes that trajectories of very unequal length may be padded to."""
BRIDGED = 4.5
"""Usual times between rows, up to which a step stays inside a trajectory though rows in it were dropped."""
REGULAR, LONG, COUNTED = 0.75, 0.1, 0.9
"""Sampling is regular where the first share of the times between rows is within half of the usual one and at
most the second is longer than what is bridged; dropped rows can be counted where the third is within half of
it, or is whole multiples.
"""
BETWEEN, APART = 0.1, 0.25
"""Distance from one and a half usual times between rows, over one, within which a step may be of one row or
of two; and the share of the longer steps up to which there may be such steps, for dropped rows to be counted.
"""
COLLIDING = 0.05
"""Share of rows with the time of the row before by which their times have too few digits."""
SECONDS = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0, "h": 3600.0, "d": 86400.0}
"""Units that times given as dates can be counted in."""
USUAL_PERIODS = (2 * np.pi, 360.0)


class DataFile(NamedTuple):
    """What a file held: trajectories, and notes on what was done to them that its owner should know."""

    trajectories: Trajectories
    notes: tuple[str, ...]


def assemble(path: Path, table: Table, layout: Layout) -> DataFile:
    """Sort rows into trajectories, break them at gaps, unwrap angles and turn velocities into momenta.

    Rows of a trajectory keep their order; those without a state, or without a part of it, are left out.
    Raises `DataFileError` naming the row where times do not increase, where a trajectory has one row only, or
    where a coordinate jumps by a period and was not said to be an angle.
    """
    columns = table.columns
    notes = [*table.notes, *columns.notes]
    time_unit = columns.time_unit
    if table.begins:
        table, time_unit = _dates(path, table, notes)
    rows = _Ordered(path, _side_by_side(table), layout)
    rows.check_lengths()
    rows.leave_out_missing(notes)
    rows.check_times()
    breaks = np.concatenate([[True], rows.trajectory[1:] != rows.trajectory[:-1]])
    gaps, limit = _gaps(rows, layout, notes)
    starts = np.flatnonzero(breaks | gaps)
    ends = np.append(starts[1:], len(breaks))
    same = ~(breaks | gaps)
    states = rows.states
    _angles(path, table, layout, states, same, rows, notes)
    long_enough = ends - starts >= 2
    spans = list(zip(starts[long_enough].tolist(), ends[long_enough].tolist(), strict=True))
    if not spans:
        raise DataFileError(path, "", "gaps leave no two rows together, set gap higher")
    times, recording = rows.time, rows.trajectory
    if len(columns.names) > states.shape[1]:
        times, states, spans, recording = _with_velocities(path, rows, columns, spans, notes)
    if columns.masses is not None:
        states[:, len(columns.positions) :] *= np.array(columns.masses)
        notes.append(
            "momenta are mass times velocity: these are canonical in an inertial frame without a magnetic "
            "field, and not in a rotating frame or a magnetic field"
        )
    firsts = [first for first, _ in spans]
    recordings = np.unique(recording[firsts], return_inverse=True)[1].reshape(-1)
    if gaps.any():
        first = f"{table.counted} {rows.where[int(np.argmax(gaps))]}"
        notes.append(_of_gaps(int(gaps.sum()), limit, first, recordings))
    if not long_enough.all():
        notes.append(f"{_many(int((~long_enough).sum()), 'row')} left alone between gaps cannot be used")
    _check_padding(path, spans, states.shape[1])
    trajectories = Trajectories.of_segments(
        [(times[start:end], states[start:end]) for start, end in spans],
        names=columns.names,
        units=columns.units,
        time_unit=time_unit,
        recordings=recordings,
        velocities=dict(zip(columns.velocities, columns.masses or (), strict=True)),
        bracket=columns.bracket,
        periods=(*columns.periods, *[None] * (len(columns.names) - len(columns.periods))),
    )
    return DataFile(trajectories, tuple(notes))


def _with_velocities(
    path: Path, rows: "_Ordered", columns: Columns, spans: list[Span], notes: list[str]
) -> tuple[
    Float[np.ndarray, " blocks"], Float[np.ndarray, "blocks dim"], list[Span], Int[np.ndarray, " blocks"]
]:
    """Times, states, trajectories and their recordings of blocks of rows, where only positions are given."""
    dof = len(columns.positions)
    try:
        found = velocities(rows.time, rows.states, spans, columns.names[:dof])
    except PositionsError as error:
        raise DataFileError(path, "", str(error)) from None
    sizes = ", ".join(
        f"{name} {error:.2g}" for name, error in zip(columns.names[dof:], found.errors, strict=True)
    )
    notes.append(
        f"no momenta and no velocities: velocities are taken from the positions, one from each "
        f"{found.rows} rows by a polynomial of degree {found.degree}, with errors of {sizes}; "
        f"{len(found.times)} rows with positions and velocities take the place of {len(rows.time)}"
    )
    if (short := len(spans) - len(found.kept)) > 0:
        notes.append(
            f"{_many(short, 'piece')} with less than {FEWEST * found.rows} rows cannot be used for velocities"
        )
    recording = np.empty(len(found.times), np.int64)
    for (first, end), kept in zip(found.spans, found.kept, strict=True):
        recording[first:end] = rows.trajectory[spans[kept][0]]
    return found.times, np.hstack([found.positions, found.velocities]), list(found.spans), recording


def _of_gaps(count: int, limit: float, first: str, recordings: Int[np.ndarray, " pieces"]) -> str:
    """What is said of gaps longer than `limit`, of which the first is before the row `first`."""
    pieces = np.bincount(recordings)
    broken = pieces[pieces > 1]
    begins = f"{_many(count, 'gap')} longer than {limit:.6g}, the first before {first},"
    if not len(broken):
        return f"{begins} leave no further piece"
    return (
        f"{begins} break {_many(len(broken), 'recording')} into {broken.sum()} pieces; for what is conserved "
        "they count as one"
    )


def _many(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _digits(value: float) -> str:
    """A number as it was probably written."""
    return short if float(short := f"{value:.15g}") == value else f"{value:.17g}"


def _dates(path: Path, table: Table, notes: list[str]) -> tuple[Table, str]:
    """The table with its times in the unit that their column has, seconds by default, and that unit."""
    unit = table.columns.time_unit or "s"
    if unit not in SECONDS:
        raise DataFileError(
            path,
            "",
            f"times are dates, which are counted in one of {', '.join(SECONDS)}, got the unit {unit}",
        )
    notes.append(f"times are dates: counted in {unit} from {table.begins}")
    return table._replace(time=table.time / SECONDS[unit]), unit


def _side_by_side(table: Table) -> Table:
    """The table with trajectories that lie side by side one below another."""
    names = table.columns.labels
    if not names:
        return table
    count, length = len(names), len(table.time)
    codes = np.tile(table.trajectory, count) * count + np.repeat(np.arange(count), length)
    return table._replace(
        labels=[f"{label} {name}".strip() for label in table.labels for name in names],
        trajectory=codes,
        time=np.tile(table.time, count),
        states=np.concatenate(np.split(table.states, count, axis=1)),
        where=np.tile(table.where, count),
    )


class _Ordered:
    """The rows of a table, those of one trajectory together and in their order; `holes` counts the rows that
    were left out before each.
    """

    def __init__(self, path: Path, table: Table, layout: Layout):
        self.path, self.table, self.layout = path, table, layout
        codes = table.trajectory
        sorted_ = bool((codes[1:] >= codes[:-1]).all())
        order: Any = slice(None) if sorted_ else np.argsort(codes, kind="stable")
        self.trajectory: Int[np.ndarray, " rows"] = codes[order]
        self.time: Float[np.ndarray, " rows"] = table.time[order]
        self.states: Float[np.ndarray, "rows dim"] = table.states[order]
        self.where: Int[np.ndarray, " rows"] = table.where[order]
        self.holes: Int[np.ndarray, " rows"] = np.zeros(len(codes), np.int64)
        if table.columns.time is None and layout.step is not None:
            begins = np.concatenate([[True], self.trajectory[1:] != self.trajectory[:-1]])
            number = np.arange(len(codes))
            self.time = layout.step * (number - np.maximum.accumulate(np.where(begins, number, 0)))

    def name(self, row: int) -> str:
        label = self.table.labels[self.trajectory[row]]
        return f"trajectory {label}" if label else "the trajectory"

    def leave_out_missing(self, notes: list[str]) -> None:
        absent = np.isnan(self.states)
        missing: Bool[np.ndarray, " rows"] = np.any(absent, axis=1)
        if not missing.any():
            return
        if missing.all():
            raise DataFileError(self.path, "", "every row is without a state")
        count, partly = int(missing.sum()), int((missing & ~absent.all(axis=1)).sum())
        some = f" ({partly} of them with some of its coordinates)" if partly else ""
        notes.append(f"{_many(count, 'row')} without a state{some} {'is' if count == 1 else 'are'} left out")
        kept = np.flatnonzero(~missing)
        self.trajectory, self.time, self.states, self.where = (
            part[kept] for part in (self.trajectory, self.time, self.states, self.where)
        )
        self.holes = np.diff(kept, prepend=kept[0] - 1) - 1

    def check_times(self) -> None:
        within = self.trajectory[1:] == self.trajectory[:-1]
        steps = np.diff(self.time)
        late = np.flatnonzero(within & ~(steps > 0))
        if not late.size:
            return
        # The first in the file, whatever the order of the trajectories.
        row = int(late[np.argmin(self.where[late + 1])]) + 1
        columns = self.table.columns
        alone = columns.trajectory is None and not columns.labels
        column = columns.header[columns.time or 0]
        where = f"{self.table.counted} {self.where[row]}, column {column}"
        equal = int((within & (steps == 0)).sum())
        if equal == late.size and equal > max(2, COLLIDING * len(self.time)):
            raise DataFileError(
                self.path,
                where,
                f"times collide: {equal} of {len(self.time)} rows have the time of the row before, here "
                f"{_digits(self.time[row])}: they are stored with too few digits; count them from the first, "
                "and write more digits (float64)"
                + (", or name the column of trajectories, if these are several at once" if alone else ""),
            )
        unmarked = (
            "; no column tells trajectories apart: if a new one begins here, add a column trajectory, or "
            f"name the one there is with {self.layout.option('trajectory', 'NAME', config=False)}"
        )
        raise DataFileError(
            self.path,
            where,
            f"got {_digits(self.time[row])} after {_digits(self.time[row - 1])}, times must increase along "
            f"{self.name(row)}{unmarked if alone else ''}",
        )

    def check_lengths(self) -> None:
        counts = np.bincount(self.trajectory, minlength=len(self.table.labels))
        alone = np.flatnonzero(counts == 1)
        if alone.size:
            row = int(np.flatnonzero(self.trajectory == alone[0])[0])
            guessed = [note for note in self.table.columns.notes if note.endswith("for the trajectory")]
            hint = ""
            if guessed:
                ignore = self.layout.option("ignore", [guessed[0].split()[1]], config=False)
                hint = f" ({guessed[0]}: add {ignore} if it is not)"
            raise DataFileError(
                self.path,
                f"{self.table.counted} {self.where[row]}",
                f"{self.name(row)} has this one row only, at least 2 are needed{hint}",
            )


def _gaps(rows: _Ordered, layout: Layout, notes: list[str]) -> tuple[Bool[np.ndarray, " rows"], float]:
    """Which rows come after a gap, and the longest time that is none.

    Times that are not regular have no gaps but where rows without a state leave long ones.
    """
    steps = np.diff(rows.time)
    within = rows.trajectory[1:] == rows.trajectory[:-1]
    if not within.any():
        return np.zeros(len(rows.time), bool), np.inf
    usual = float(np.median(steps[within]))
    multiples = steps / usual
    limit = layout.gap or BRIDGED * usual
    gaps = within & (steps > limit)
    near = np.abs(multiples[within] - 1) < 0.5
    whole = np.abs(multiples - np.round(multiples))[within] <= 1e-3
    regular = np.mean(near) >= REGULAR and np.mean(gaps[within]) <= LONG
    if layout.gap is None and not regular:
        gaps &= rows.holes[1:] > 0
    unclear, longer = (
        np.sum(np.abs(multiples[within] - 1.5) < BETWEEN),
        np.sum(multiples[within] > 1.5 + BETWEEN),
    )
    counted = max(np.mean(near), np.mean(whole)) > COUNTED and unclear <= APART * longer
    if layout.gap is None and regular and counted:
        bridged = within & ~gaps & (multiples > 1.5)
        dropped = int((np.round(multiples[bridged]) - 1 - rows.holes[1:][bridged]).clip(0).sum())
        if dropped:
            notes.append(
                f"{_many(dropped, 'dropped row')} {'is' if dropped == 1 else 'are'} bridged: steps of up to "
                f"{limit:.6g} stay inside a trajectory"
            )
    return np.concatenate([[False], gaps]), limit


def _angles(
    path: Path,
    table: Table,
    layout: Layout,
    states: Float[np.ndarray, "rows dim"],
    same: Bool[np.ndarray, " rows"],
    rows: _Ordered,
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
            at = f"is unwrapped at {_many(jumps, 'jump')} of its" if jumps else "is an angle of"
            notes.append(f"{name} {at} period {period:.6g}")
        elif layout.periodic is None:
            jump = _period_jump(states[:, k], same)
            if jump is not None:
                row, size = jump
                raise DataFileError(
                    path,
                    f"{table.counted} {rows.where[row]}, column {name}",
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
    table = _side_by_side(table)
    missing = np.isnan(table.states).any(axis=1)
    if missing.any():
        row = int(np.argmax(missing))
        raise DataFileError(path, f"{table.counted} {table.where[row]}", "has no state")
    states = table.states.copy()
    if table.columns.masses is not None:
        states[:, len(table.columns.positions) :] *= np.array(table.columns.masses)
    return states


def table_of_arrays(path: Path, columns: Columns, arrays: Mapping[str, np.ndarray]) -> Table:
    """The table of one-dimensional arrays, one a column in their order, all of a length. Raises
    `DataFileError` naming array and row.
    """
    header = tuple(arrays)
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
        codes, labels = rank[codes.reshape(-1)], [_label(found[k]) for k in np.argsort(first)]
    numbers, begins = {}, ""
    used = (columns.time, *columns.states) if columns.time is not None else columns.states
    for k in used:
        name, values = header[k], arrays[header[k]]
        if k == columns.time and np.issubdtype(values.dtype, np.datetime64):
            begins = str(values[0])
            values = (values - values[0]) / np.timedelta64(1, "s")
        number = np.issubdtype(values.dtype, np.number) and values.dtype.kind != "m"
        if not number or np.iscomplexobj(values):
            raise DataFileError(path, name, f"must hold real numbers, got {values.dtype}")
        numbers[k] = values.astype(np.float64)
    time = numbers[columns.time] if columns.time is not None else np.zeros(length)
    states = np.stack([numbers[k] for k in columns.states], axis=1)
    no_state = np.isnan(states).all(axis=1)
    for k in used:
        # nan is the usual mark of what is missing in arrays, which know no empty field.
        bad = ~(np.abs(numbers[k]) < LARGEST)
        bad &= ~(no_state if k == columns.time else np.isnan(numbers[k]))
        if bad.any():
            row = int(np.argmax(bad))
            raise DataFileError(
                path,
                f"row {row}, {header[k]}",
                f"got {numbers[k][row]}, expected a finite number below {LARGEST:.0e}",
            )
    return Table(columns, labels, codes, time, states, np.arange(length), "row", begins)


def _label(value: Any) -> str:
    return str(int(value)) if isinstance(value, np.floating) and value == np.round(value) else str(value)
