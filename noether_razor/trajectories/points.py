"""Tables of points without times: text with or without names of columns, or arrays."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..spelling import suggestion
from .csv import label_of
from .error import DataFileError, reading
from .files import is_text, read_arrays
from .writing import MISSING, NUMBER, SAMPLE, decode, find_delimiter, split

COMMA = re.compile(r"[+-]?\d+,\d+([eE][+-]?\d+)?")
"""A number with a decimal comma."""
LABELS = 0.5
"""Share of the values of a column that are no numbers, from which it is text."""


class PointTable(NamedTuple):
    """Points (rows, columns) with the names of the columns, notes on what was passed over, and the text of
    the columns that were, by name.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "rows columns"]
    notes: tuple[str, ...]
    others: Mapping[str, Sequence[str]] = MappingProxyType({})


def read_points(
    path: str | Path, *, columns: Sequence[str] | None = None, ignore: Sequence[str] = ()
) -> PointTable:
    """Read points from text (``.csv``, ``.tsv``, ``.txt``, ``.dat``), or from an array (rows, columns) in a
    ``.npy`` or ``.npz`` file.

    `columns` names those to take, None: all columns of numbers but those in `ignore`; columns of text are
    passed over with a note. Without a line of names columns are x1, x2, .. Raises `DataFileError` naming
    line and column for what is not a number, and for columns that are not there.
    """
    path = Path(path)
    names, table, notes = _read_text(path) if is_text(path) else _read_array(path)
    for name in (*(columns or ()), *ignore):
        if name not in names:
            raise DataFileError(path, "", f"has no column {name!r}, {suggestion(name, names)}")
    taken = [name for name in (columns or names) if name not in ignore]
    if columns is None:
        texts = [name for name in taken if _is_text(table[names.index(name)])]
        taken = [name for name in taken if name not in texts]
        notes = [*notes, *(_passed_over(name, table[names.index(name)]) for name in texts)]
    if not taken:
        raise DataFileError(path, "", "has no column of numbers")
    values = [_numbers(path, name, table[names.index(name)]) for name in taken]
    others = {name: _texts(each) for name, each in zip(names, table, strict=True) if name not in taken}
    return PointTable(tuple(taken), np.stack(values, axis=1), tuple(notes), others)


def read_labelled_points(path: str | Path, label: str | None = None) -> tuple[PointTable, tuple[str, ...]]:
    """Points and the class of each from text: the column `label` (None: the last) holds the classes, text or
    numbers, and all others must be numbers.

    Raises `DataFileError` as `read_points` does, and where a class is missing.
    """
    path = Path(path)
    names, table, notes = _read_text(path)
    name = names[-1] if label is None else label
    if name not in names:
        raise DataFileError(path, "", f"has no column {name!r}, {suggestion(name, names)}")
    others = [other for other in names if other != name]
    if not others:
        raise DataFileError(path, "", f"has no column besides {name}")
    values = [_numbers(path, other, table[names.index(other)], "") for other in others]
    fields, lines = table[names.index(name)]
    for field, line in zip(fields, lines or (), strict=True):
        if field.lower() in MISSING:
            raise DataFileError(path, f"line {line}, column {name}", "got no value, expected a class")
    classes = tuple(label_of(field) for field in fields)
    return PointTable(tuple(others), np.stack(values, axis=1), tuple(notes)), classes


class _Column(NamedTuple):
    """A column as text, with the line of each value, or as numbers."""

    fields: Sequence[str] | np.ndarray
    lines: Sequence[int] | None


def _read_text(path: Path) -> tuple[list[str], list[_Column], list[str]]:
    with reading(path):
        content = path.read_bytes()
    text = decode(path, content.removeprefix(b"\xef\xbb\xbf"), 1)
    numbered = [
        (number, line)
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip() and line.lstrip()[0] not in "#%"
    ]
    if not numbered:
        raise DataFileError(path, "line 1", "the file is empty")
    delimiter = find_delimiter([line for _, line in numbered[:SAMPLE]])
    rows = []
    for number, line in numbered:
        try:
            rows.append((number, split(line, delimiter)))
        except ValueError as error:
            raise DataFileError(path, f"line {number}", str(error)) from None
    width = Counter(len(fields) for _, fields in rows).most_common(1)[0][0]
    first = rows[0][1]
    named = len(first) == width and not any(NUMBER.fullmatch(field) for field in first)
    names = first if named else [f"x{k + 1}" for k in range(width)]
    repeated = [name for name, count in Counter(names).items() if count > 1]
    if repeated:
        raise DataFileError(path, f"line {rows[0][0]}", f"two columns are named {repeated[0]!r}")
    rows = _with_points(rows[1:] if named else rows, delimiter)
    for number, fields in rows:
        if len(fields) != width:
            raise DataFileError(path, f"line {number}", f"{len(fields)} fields, expected {width}")
    if not rows:
        raise DataFileError(path, "line 1", "no rows, the file ends after the names of its columns")
    lines = [number for number, _ in rows]
    table = [_Column([fields[k] for _, fields in rows], lines) for k in range(width)]
    return list(names), table, []


def _with_points(rows: list[tuple[int, list[str]]], delimiter: str | None) -> list[tuple[int, list[str]]]:
    """Decimal commas as decimal points, where commas can be nothing else: they do not part fields, no number
    has a point, and some have other than the three digits behind them that thousands have.
    """
    every = [field for _, fields in rows for field in fields]
    commas = [field for field in every if COMMA.fullmatch(field)]
    pointed = any("." in field and NUMBER.fullmatch(field) for field in every)
    if delimiter == "," or pointed or all(len(field.split(",")[1]) == 3 for field in commas):
        return rows
    return [
        (line, [f.replace(",", ".") if COMMA.fullmatch(f) else f for f in fields]) for line, fields in rows
    ]


def _read_array(path: Path) -> tuple[list[str], list[_Column], list[str]]:
    arrays = read_arrays(path)
    wide = {name: array for name, array in arrays.items() if array.ndim == 2}
    if not wide:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise DataFileError(path, "", f"expected an array (rows, columns), got {shapes or 'none'}")
    name, array = next(iter(wide.items()))
    if not np.issubdtype(array.dtype, np.number) or np.iscomplexobj(array):
        raise DataFileError(path, name, f"must hold real numbers, got {array.dtype}")
    others = [other for other in arrays if other != name]
    notes = [f"the array {name} is taken, passed over: {', '.join(others)}"] if others else []
    names = [f"x{k + 1}" for k in range(array.shape[1])]
    return names, [_Column(array[:, k], None) for k in range(array.shape[1])], notes


def _texts(column: _Column) -> Sequence[str]:
    if isinstance(column.fields, np.ndarray):
        return [f"{value:.10g}" for value in column.fields.tolist()]
    return column.fields


def _passed_over(name: str, column: _Column) -> str:
    """That a column was, and whether it looks like numbers that are written unusually."""
    fields = [field for field in column.fields if field not in MISSING]
    if fields and all(re.fullmatch(r"[+-]?[\d.,' ]*\d", field) for field in fields):
        return f"column {name} is passed over: numbers like {fields[0]} need a decimal point and nothing else"
    return f"column {name} is text: passed over"


def _is_text(column: _Column) -> bool:
    if isinstance(column.fields, np.ndarray):
        return False
    values = [field for field in column.fields if field.lower() not in MISSING]
    return sum(not NUMBER.fullmatch(field) for field in values) > LABELS * len(values)


def _numbers(
    path: Path, name: str, column: _Column, advice: str = ", or the column with --ignore {}"
) -> Float[np.ndarray, " rows"]:
    if isinstance(column.fields, np.ndarray):
        values = column.fields.astype(np.float64)
        if not np.isfinite(values).all():
            row = int(np.argmin(np.isfinite(values)))
            raise DataFileError(path, f"row {row}, column {name}", f"got {values[row]}, expected a number")
        return values
    assert column.lines is not None
    for line, field in zip(column.lines, column.fields, strict=True):
        if not NUMBER.fullmatch(field):
            what = "no value" if field.lower() in MISSING else repr(field)
            raise DataFileError(
                path,
                f"line {line}, column {name}",
                f"got {what}, expected a number: leave out the row{advice.format(name)}",
            )
    return np.array(column.fields, dtype=np.float64)
