"""Trajectories from tables and arrays in memory."""

import datetime
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from numbers import Real
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .assemble import DataFile, assemble, table_of_arrays
from .columns import find_columns, with_momenta
from .csv import label_of, moment
from .dataset import Trajectories, default_names
from .error import DataFileError
from .layout import COLUMN_KEYS, Layout
from .writing import MISSING, NUMBER, counts_rows

FRAME = Path("frame")
"""What messages call a table in memory."""


def read_frame(frame: Any, layout: Layout) -> DataFile:
    """Trajectories of a table with ``.columns``, or a mapping of arrays, and notes on them.

    Column conventions, checks and messages are those of files; values that are missing may be nan, None or
    pandas.NA, times may be dates. Raises `DataFileError` naming row and column.
    """
    keys, notes = _named_columns(frame)
    columns = find_columns(FRAME, tuple(keys), layout, where="columns")
    used = {*columns.states, columns.time, columns.trajectory}
    arrays = {}
    for k, (name, key) in enumerate(keys.items()):
        values = _array(frame[key], name)
        if k == columns.trajectory:
            values = _labels(values, name)
        elif k in used:
            values = _numbers(values, name, timed=k == columns.time)
        arrays[name] = values
    data = assemble(FRAME, table_of_arrays(FRAME, columns, arrays), layout)
    return DataFile(data.trajectories, (*notes, *data.notes))


def frame_layout(**options: Any) -> Layout:
    """The layout of keywords, those that are None left out. Raises ValueError naming the keyword."""
    given = {key: value for key, value in options.items() if value is not None}
    for key in ("positions", "momenta", "velocities", "states", "ignore", "periodic", "masses"):
        if key in given and not isinstance(given[key], str):
            given[key] = (
                np.atleast_1d(np.asarray(given[key])).tolist() if key == "masses" else list(given[key])
            )
    columns = {key: given.pop(key) for key in COLUMN_KEYS if key in given}
    return replace(Layout.parse({**given, "columns": columns}), keywords=True)


def _named_columns(frame: Any) -> tuple[dict[str, Any], list[str]]:
    """The keys of the columns by their names, without one that a saved index has left, and a note on it."""
    listed = getattr(frame, "columns", None)
    if listed is None and isinstance(frame, Mapping):
        listed = frame.keys()
    if listed is None:
        raise DataFileError(
            FRAME,
            "",
            f"got {type(frame).__name__}, expected a table with .columns (pandas, polars) or a dict of "
            "arrays; of arrays of times and states make trajectories with Trajectories.from_arrays",
        )
    keys: dict[str, Any] = {}
    notes = []
    for key in listed:
        name = str(key)
        if name in keys:
            raise DataFileError(FRAME, f"columns, column {name}", "the name is used twice")
        if re.fullmatch(r"|Unnamed: [0-9]+", name) and counts_rows([str(k) for k in frame[key]]):
            notes.append(f"column {name or len(keys) + 1} counts the rows: ignored")
            continue
        keys[name] = key
    if not keys:
        raise DataFileError(FRAME, "", "no columns")
    return keys, notes


def _array(values: Any, name: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise DataFileError(FRAME, name, "expected one value a row, got lists of several lengths") from None
    return array.astype(object) if array.dtype.kind in "US" else array


def _labels(values: np.ndarray, name: str) -> np.ndarray:
    """Labels of trajectories, those that are no numbers as text."""
    if values.dtype != object:
        return values
    labels = ["" if _missing(value) else label_of(str(value)) for value in values]
    if "" in labels:
        raise DataFileError(FRAME, f"row {labels.index('')}, {name}", "empty, expected a trajectory")
    return np.array(labels)


def _numbers(values: np.ndarray, name: str, *, timed: bool) -> np.ndarray:
    """Numbers, or dates where `timed`, of values of any kind."""
    if values.dtype != object:
        return values
    if timed and (dates := _dates(values)) is not None:
        return dates
    numbers = [_number(value) for value in values]
    if None in numbers:
        row = numbers.index(None)
        expected = "a number, or a date as 2024-05-01T12:30:00" if timed else "a number"
        raise DataFileError(FRAME, f"row {row}, {name}", f"got {values[row]!r}, expected {expected}")
    return np.array(numbers, dtype=np.float64)


def _number(value: Any) -> float | None:
    """nan for what is missing, None for what is no number."""
    if _missing(value):
        return float("nan")
    if isinstance(value, str):
        text = value.strip()
        return float("nan") if text.lower() in MISSING else float(text) if NUMBER.fullmatch(text) else None
    return float(value) if isinstance(value, Real | Decimal) and not isinstance(value, bool) else None


def _missing(value: Any) -> bool:
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True


def _dates(values: np.ndarray) -> np.ndarray | None:
    """Times that are dates, in microseconds on the clock of the first; None where they are no dates."""
    try:
        moments = [_moment(value) for value in values]
        first = next((at for at in moments if at is not None), None)
        if first is None:
            return None
        start = np.datetime64(first.replace(tzinfo=None), "us")
        return np.array(
            [np.datetime64("NaT") if at is None else start + np.timedelta64(at - first) for at in moments],
            "datetime64[us]",
        )
    except (ValueError, TypeError):
        return None


def _moment(value: Any) -> datetime.datetime | None:
    """A date, None for what is missing. Raises ValueError for what is neither."""
    if _missing(value) or (isinstance(value, str) and value.strip().lower() in MISSING):
        return None
    if isinstance(value, datetime.datetime):
        return value
    text = value.isoformat() if isinstance(value, datetime.date | datetime.time) else value
    if not isinstance(text, str) or not {"-", ":"} & set(text[1:]):
        raise ValueError
    return moment(text.strip())


def arrays_to_trajectories(
    times: Any,
    states: Any,
    *,
    names: Sequence[str] = (),
    units: Sequence[str] = (),
    time_unit: str = "",
    masses: float | int | Sequence[float | int] | Literal["unknown"] = (),
) -> Trajectories:
    """Trajectories of arrays in memory: see `Trajectories.from_arrays`."""
    paths = _paths(states)
    clocks = _clocks(times, [len(path) for path in paths])
    dim = paths[0].shape[1]
    if dim == 0 or dim % 2:
        raise ValueError(
            f"states need as many momenta as positions, got {dim} columns, an odd number or none"
        )
    given, kinds = tuple(names) or default_names(dim // 2), tuple(units) or ("",) * dim
    for name, entries in (("names", given), ("units", kinds)):
        if len(entries) != dim:
            raise ValueError(
                f"{name} must have {dim} entries, one a column of the states, got {len(entries)}: {entries}"
            )
    velocities: dict[str, float] = {}
    unknown = isinstance(masses, str)
    if unknown and masses != "unknown":
        raise ValueError(f'masses: got {masses!r}, expected numbers or "unknown"')
    if unknown and not names:
        given = (*given[: dim // 2], *(f"v{k + 1}" for k in range(dim // 2)))
    if not unknown and np.size(np.asarray(masses)):
        weights = _checked_masses(masses, dim // 2)
        if not names:
            given = (*given[: dim // 2], *(f"v{k + 1}" for k in range(dim // 2)))
        velocities = dict(zip(given[dim // 2 :], weights, strict=True))
        given, kinds = with_momenta(given, kinds)
        factors = np.concatenate([np.ones(dim // 2), weights])
        paths = [path * factors for path in paths]
    segments = list(zip(clocks, paths, strict=True))
    return Trajectories.of_segments(
        segments,
        names=given,
        units=kinds,
        time_unit=time_unit,
        velocities=velocities,
        bracket="auto" if unknown else "",
    )


def _paths(states: Any) -> list[np.ndarray]:
    """The states of each trajectory, (time, 2n), all of one dimension."""
    rows = states if isinstance(states, list | tuple) else _numeric(states, "states")
    if isinstance(rows, np.ndarray) and rows.ndim == 2:
        rows = rows[None]
    if (isinstance(rows, np.ndarray) and rows.ndim == 0) or not len(rows):
        raise ValueError("states must be (trajectories, time, 2n) or a list of (time, 2n), got no trajectory")
    paths = [_numeric(path, f"states of trajectory {k}") for k, path in enumerate(rows)]
    width = paths[0].shape[-1] if paths[0].ndim else 0
    for k, path in enumerate(paths):
        if path.ndim != 2 or path.shape[1] != width:
            expected = "(time, 2n)" if k == 0 else f"(time, {width}) as those before"
            raise ValueError(f"states of trajectory {k} must have shape {expected}, got {path.shape}")
    return paths


def _clocks(times: Any, lengths: Sequence[int]) -> list[np.ndarray]:
    """The times of each trajectory: one row or array for each, or one for all."""
    listed = isinstance(times, list | tuple) and any(np.ndim(row) for row in times)
    if listed:
        clocks = [_numeric(row, f"times of trajectory {k}") for k, row in enumerate(times)]
    else:
        array = _numeric(times, "times")
        if array.ndim not in (1, 2):
            raise ValueError(
                "times must have shape (trajectories, time), be a list of (time,), or be (time,) for all, "
                f"got {array.shape}"
            )
        clocks = list(array) if array.ndim == 2 else [array] * len(lengths)
    if len(clocks) != len(lengths):
        raise ValueError(
            f"times must be given for each trajectory, or once for all, got {len(clocks)} for {len(lengths)}"
        )
    for k, (clock, length) in enumerate(zip(clocks, lengths, strict=True)):
        if clock.shape != (length,):
            raise ValueError(
                f"times of trajectory {k} must have shape {(length,)}, one a state, got {clock.shape}"
            )
    return clocks


def _numeric(values: Any, what: str) -> np.ndarray:
    try:
        array = np.asarray(values)
    except ValueError:
        raise ValueError(f"{what} must be an array, got lists of several lengths") from None
    if not (np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)) or (
        array.dtype.kind == "m"
    ):
        raise ValueError(f"{what} must be real numbers, got {array.dtype}")
    return array.astype(np.float64)


def _checked_masses(masses: float | int | Sequence[float | int], dof: int) -> list[float]:
    weights = np.atleast_1d(_numeric(masses, "masses")).tolist()
    if len(weights) not in (1, dof):
        raise ValueError(f"masses must be one number for all or one a position ({dof}), got {len(weights)}")
    if not all(0 < weight < np.inf for weight in weights):
        raise ValueError(f"masses must be positive and finite, got {weights}")
    return weights * dof if len(weights) == 1 else weights
