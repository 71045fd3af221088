"""Comma-separated values: fast where they are plain, exact about where they are not."""

import csv
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from ._error import DataFileError
from ._layout import Columns, Layout, find_columns

Progress = Callable[[int, int], None]
"""Told how many bytes of how many have been read."""

BLOCK = 4 << 20
LONGEST_LINE = 1 << 20
LARGEST = 1e100
"""Numbers beyond it cannot be squared and summed safely; no unit needs them."""

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")


class Table(NamedTuple):
    """Rows of a file: which trajectory each is of (an index into `labels`), its time, its state as written,
    whether its state is missing, and where it stands (`where` counts lines or rows of the file).
    """

    columns: Columns
    header: tuple[str, ...]
    labels: list[str]
    trajectory: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    states: Float[np.ndarray, "rows dim"]
    missing: Bool[np.ndarray, " rows"]
    where: Int[np.ndarray, " rows"]
    counted: str


class _Rows(NamedTuple):
    """The rows of a block; label codes, then one column of numbers a used column."""

    codes: np.ndarray
    numbers: np.ndarray
    missing: np.ndarray
    lines: np.ndarray


def read_csv(path: Path, layout: Layout, progress: Progress | None = None, *, timed: bool = True) -> Table:
    """Read a CSV with a header by blocks, in memory of a few times its numbers.

    Rows may come in any order of trajectories. A row whose coordinates are all empty is a missing one; blank
    lines mean nothing. With `timed` false the table holds states without times. Raises `DataFileError` naming
    line and column for anything else than a full table of finite numbers.
    """
    try:
        with path.open("rb") as stream:
            size = os.fstat(stream.fileno()).st_size
            header = _header(path, stream.readline(LONGEST_LINE), layout)
            columns = find_columns(path, header, layout, where="line 1", timed=timed)
            reader = _Reader(path, header, columns, layout.delimiter)
            blocks: list[_Rows] = []
            line = 2
            for block in _blocks(path, stream):
                rows = reader.rows(block, line)
                line += block.count(b"\n")
                if rows is not None:
                    blocks.append(rows)
                if progress is not None:
                    progress(stream.tell(), size)
    except FileNotFoundError:
        raise DataFileError(path, "", "no such file") from None
    except OSError as error:
        raise DataFileError(path, "", f"cannot be read ({error.strerror or error})") from None
    if not blocks:
        raise DataFileError(path, f"line {line}", "no rows, the file ends after its header")
    codes, numbers, missing, lines = (
        np.concatenate([block[k] for block in blocks]) for k in range(len(_Rows._fields))
    )
    blocks.clear()
    has_time = columns.time is not None
    return Table(
        columns=columns,
        header=tuple(header),
        labels=list(reader.labels),
        trajectory=codes,
        time=numbers[:, 0] if has_time else np.zeros(len(numbers)),
        states=numbers[:, int(has_time) :],
        missing=missing,
        where=lines,
        counted="line",
    )


def _header(path: Path, line: bytes, layout: Layout) -> list[str]:
    if not line:
        raise DataFileError(path, "line 1", "the file is empty")
    if line.startswith(b"\xef\xbb\xbf"):
        raise DataFileError(
            path, "line 1, column 1", "starts with a byte-order mark, save it as UTF-8 without one"
        )
    if line.startswith(OTHER_MARKS) or b"\0" in line:
        raise DataFileError(path, "line 1, column 1", "not UTF-8 text, save it as UTF-8")
    text = _decode(path, line, 1).rstrip("\r\n")
    if not text.strip():
        raise DataFileError(path, "line 1", "blank, expected the names of the columns")
    if "\r" in text:
        raise DataFileError(path, "line 1", "lines end with a carriage return alone, expected newlines")
    names = [name.strip() for name in _fields(path, text, layout.delimiter, 1)]
    if all(NUMBER.fullmatch(name) for name in names):
        raise DataFileError(path, "line 1", f"got the number {names[0]}, expected the names of the columns")
    return names


def _decode(path: Path, content: bytes, line: int) -> str:
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise DataFileError(path, f"line {line}", "not UTF-8 text, save it as UTF-8") from None


def _fields(path: Path, text: str, delimiter: str, line: int) -> list[str]:
    try:
        (fields,) = csv.reader([text], delimiter=delimiter, strict=True)
    except (csv.Error, ValueError):
        raise DataFileError(
            path, f"line {line}", "quotes are not closed or not around a whole field"
        ) from None
    return fields


def _blocks(path: Path, stream: io.BufferedReader) -> Iterator[bytes]:
    """The rest of a file in blocks of whole lines, each ending with a newline."""
    kept = b""
    while content := stream.read(BLOCK):
        end = content.rfind(b"\n") + 1
        if end:
            yield kept + content[:end]
            kept = content[end:]
        else:
            kept += content
        if len(kept) > BLOCK:
            raise DataFileError(path, "", f"has a line of more than {BLOCK} bytes, not a CSV")
    if kept:
        yield kept + b"\n"


class _Reader:
    """Turns blocks of lines into rows; `labels` collects the names of trajectories in order of appearance."""

    def __init__(self, path: Path, header: list[str], columns: Columns, delimiter: str):
        self.path, self.header, self.delimiter = path, header, delimiter
        self.label = columns.trajectory
        time = () if columns.time is None else (columns.time,)
        self.used = (*time, *columns.states)
        self.states_from = len(time)
        self.labels: dict[str, int] = {} if self.label is not None else {"": 0}
        mark = re.escape(delimiter)
        self.quoted = re.compile(rf'(?m)(^|(?<={mark}))"([^"{mark}\r\n]*)"(?={mark}|$)'.encode())

    def rows(self, block: bytes, first: int) -> _Rows | None:
        """The rows of `block`, whose first line has the number `first`; None where all lines are blank."""
        block = block.replace(b"\r\n", b"\n")
        if not block.strip():
            return None
        return self._plain(block, first) or self._careful(block, first)

    def _plain(self, block: bytes, first: int) -> _Rows | None:
        """All rows at once, or None where anything is unusual."""
        if b'"' in block:
            block = self.quoted.sub(rb"\2", block)
        if any(mark in block for mark in (b'"', b"\r", b"\0")):
            return None
        content = np.frombuffer(block, np.uint8)
        ends = np.flatnonzero(content == ord("\n"))
        starts = np.concatenate([[0], ends[:-1] + 1])
        full = ends > starts
        marks = np.searchsorted(np.flatnonzero(content == ord(self.delimiter)), [starts, ends])
        if not ((marks[1] - marks[0])[full] == len(self.header) - 1).all():
            return None
        text = _decode(self.path, block, first)
        # Labels that are numbers are the common case, and read with the rest.
        for with_labels in (True, False) if self.label is not None else (False,):
            used = (self.label, *self.used) if with_labels and self.label is not None else self.used
            try:
                numbers = np.loadtxt(
                    io.StringIO(text), delimiter=self.delimiter, comments=None, usecols=used, ndmin=2
                )
            except ValueError:
                continue
            if len(numbers) != np.count_nonzero(full) or not (np.abs(numbers) < LARGEST).all():
                continue
            if with_labels:
                found, codes = np.unique(numbers[:, 0], return_inverse=True)
                if not ((found == np.round(found)) & (np.abs(found) < 2**53)).all():
                    continue
                # In order of appearance, like labels of other blocks and kinds.
                order = np.argsort(np.unique(codes, return_index=True)[1])
                table = np.zeros(len(found), np.int64)
                for k in order:
                    table[k] = self._code(str(int(found[k])))
                codes, numbers = table[codes.reshape(-1)], numbers[:, 1:]
            elif self.label is None:
                codes = np.zeros(len(numbers), np.int64)
            else:
                fields = (
                    line.split(self.delimiter, self.label + 1)[self.label]
                    for line in text.split("\n")
                    if line
                )
                names = [_label(name) for name in fields]
                if not all(names):
                    return None
                codes = np.array([self._code(name) for name in names], np.int64)
            lines = first + np.flatnonzero(full)
            return _Rows(codes, numbers, np.zeros(len(numbers), bool), lines)
        return None

    def _code(self, label: str) -> int:
        return self.labels.setdefault(label, len(self.labels))

    def _careful(self, block: bytes, first: int) -> _Rows | None:
        """Row by row; the first thing that is wrong is named by line and column."""
        codes, numbers, missing, lines = [], [], [], []
        text = _decode(self.path, block, first)
        for line, content in enumerate(text.split("\n"), start=first):
            if not content.strip():
                continue
            for mark, name in (("\r", "a carriage return"), ("\0", "a zero byte")):
                if mark in content:
                    raise DataFileError(self.path, f"line {line}", f"{name} inside the line")
            fields = [field.strip() for field in _fields(self.path, content, self.delimiter, line)]
            if len(fields) != len(self.header):
                raise DataFileError(
                    self.path,
                    f"line {line}",
                    f"{len(fields)} fields where the header names {len(self.header)} columns",
                )
            absent = not any(fields[k] for k in self.used[self.states_from :])
            wanted = self.used[: self.states_from] if absent else self.used
            row = [self._number(fields[k], line, self.header[k]) for k in wanted]
            if self.label is None:
                label = ""
            else:
                label = _label(fields[self.label])
                if not label:
                    name = self.header[self.label]
                    raise DataFileError(
                        self.path, f"line {line}, column {name}", "empty, expected a trajectory"
                    )
            codes.append(self._code(label))
            numbers.append(row + [0.0] * (len(self.used) - len(row)))
            missing.append(absent)
            lines.append(line)
        if not lines:
            return None
        return _Rows(
            np.array(codes, np.int64), np.array(numbers), np.array(missing, bool), np.array(lines, np.int64)
        )

    def _number(self, field: str, line: int, name: str) -> float:
        value = float(field) if NUMBER.fullmatch(field) else float("nan")
        if not abs(value) < LARGEST:
            shown = field if len(field) <= 40 else field[:37] + "..."
            got = "an empty field" if not field else repr(shown)
            expected = "a finite number" if value != value else f"a number below {LARGEST:.0e}"
            raise DataFileError(self.path, f"line {line}, column {name}", f"got {got}, expected {expected}")
        return value


def _label(field: str) -> str:
    """A label, whole numbers in one spelling."""
    field = field.strip()
    if NUMBER.fullmatch(field):
        value = float(field)
        if abs(value) < 2**53 and value == round(value):
            return str(int(value))
    return field
