"""Tables in text: fast where they are plain, exact about where they are not."""

import datetime
import io
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .columns import Columns, find_columns
from .error import DataFileError, reading
from .layout import Layout
from .writing import MISSING, NUMBER, decode, find_writing, split

Progress = Callable[[int, int], None]
"""Told how many bytes of how many have been read."""

START = 64 << 10
BLOCK = 4 << 20
LONGEST_LINE = 1 << 20
LARGEST = 1e100
"""Numbers beyond it cannot be squared and summed safely; no unit needs them."""


class Table(NamedTuple):
    """Rows of a file: which trajectory each is of (an index into `labels`), its time, its state as written,
    and where it stands (`where` counts lines or rows of the file).

    What is missing of a state is nan, and so may be the time of a row without any state. All times are 0
    where the file has none. Times that are dates are seconds from the first, `begins`.
    """

    columns: Columns
    labels: list[str]
    trajectory: Int[np.ndarray, " rows"]
    time: Float[np.ndarray, " rows"]
    states: Float[np.ndarray, "rows dim"]
    where: Int[np.ndarray, " rows"]
    counted: str
    begins: str = ""
    notes: tuple[str, ...] = ()


class _Rows(NamedTuple):
    """The rows of a block; label codes, then one column of numbers a used column."""

    codes: np.ndarray
    numbers: np.ndarray
    lines: np.ndarray


def read_csv(path: Path, layout: Layout, progress: Progress | None = None, *, timed: bool = True) -> Table:
    """Read a table in text by blocks, in memory of a few times its numbers.

    Rows may come in any order of trajectories; blank lines mean nothing. With `timed` false the table holds
    states without times. Raises `DataFileError` naming line and column for anything else than a full table of
    finite numbers, or of nothing where a state is missing.
    """
    with reading(path), path.open("rb") as stream:
        size = os.fstat(stream.fileno()).st_size
        start = stream.read(START) + stream.readline(LONGEST_LINE)
        writing = find_writing(path, start, layout, timed=timed)
        columns = find_columns(path, writing.header, layout, where=f"line {writing.named}", timed=timed)
        reader = _Reader(path, columns, writing.delimiter)
        blocks: list[_Rows] = []
        line = writing.line
        stream.seek(writing.offset)
        for block in _blocks(path, stream):
            rows = reader.rows(block, line)
            line += block.count(b"\n")
            if rows is not None:
                blocks.append(rows)
            if progress is not None:
                progress(stream.tell(), size)
    if not blocks:
        raise DataFileError(path, f"line {line}", "no rows, the file ends after the names of its columns")
    codes, numbers, lines = (
        np.concatenate([block[k] for block in blocks]) for k in range(len(_Rows._fields))
    )
    blocks.clear()
    has_time = columns.time is not None
    return Table(
        columns=columns,
        labels=list(reader.labels),
        trajectory=codes,
        time=numbers[:, 0] if has_time else np.zeros(len(numbers)),
        states=numbers[:, int(has_time) :],
        where=lines,
        counted="line",
        begins=reader.begins.isoformat() if reader.begins is not None else "",
        notes=writing.notes,
    )


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
            raise DataFileError(path, "", f"has a line of more than {BLOCK} bytes, not a table in text")
    if kept:
        yield kept + b"\n"


class _Reader:
    """Turns blocks of lines into rows.

    `labels` collects the names of trajectories in order of appearance. `dated` says whether times are dates,
    `begins` is the first of them, and `mark` the decimal mark of the numbers; as far as rows have told.
    """

    def __init__(self, path: Path, columns: Columns, delimiter: str):
        self.path, self.header, self.delimiter = path, columns.header, delimiter
        self.label = columns.trajectory
        time = () if columns.time is None else (columns.time,)
        self.used = (*time, *columns.states)
        self.states_from = len(time)
        self.labels: dict[str, int] = {} if self.label is not None else {"": 0}
        self.begins: datetime.datetime | None = None
        self.dated: bool | None = None
        self.mark = "." if delimiter == "," else ""
        mark = re.escape(delimiter)
        self.quoted = re.compile(rf'(?m)(^|(?<={mark}))"([^"{mark}\r\n]*)"(?={mark}|$)'.encode())

    def rows(self, block: bytes, first: int) -> _Rows | None:
        """The rows of `block`, whose first line has the number `first`; None where all lines are blank."""
        block = block.replace(b"\r\n", b"\n")
        if self.delimiter == " ":
            block = re.sub(rb"[ \t]+", b" ", block).replace(b"\n ", b"\n").replace(b" \n", b"\n").lstrip(b" ")
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
        commas = self.delimiter != "," and b"," in block
        dots = b"." in block
        if (commas and (dots or self.mark == ".")) or (dots and self.mark == ","):
            return None
        text = decode(self.path, block, first)
        found = self._labelled(text, text.replace(",", ".") if commas else text, int(full.sum()))
        if found is None:
            return None
        codes, numbers, numbered = found
        if self.begins is not None:
            times = [self._seconds(field) for field in self._column(text, self.used[0])]
            numbers = np.column_stack([times, numbers])
        sound = np.abs(numbers) < LARGEST
        sound[:, self.states_from :] |= np.isnan(numbers[:, self.states_from :])
        if not sound.all():
            return None
        self.dated = self.begins is not None
        if commas:
            self.mark = ","
        elif dots and self.begins is None and numbered:
            self.mark = "."
        return _Rows(codes, numbers, first + np.flatnonzero(full))

    def _labelled(
        self, text: str, numbers_text: str, rows: int
    ) -> tuple[Int[np.ndarray, " rows"], Float[np.ndarray, "rows used"], bool] | None:
        """The code of each row's trajectory, its numbers, and whether nothing but numbers was read; None
        where they cannot be read. In `numbers_text` decimal marks are points.
        """
        used = self.used if self.begins is None else self.used[1:]
        # Labels that are numbers are the common case, and read with the rest.
        if (
            self.label is not None
            and (numbers := self._loaded(numbers_text, (self.label, *used), rows)) is not None
        ):
            found, codes = np.unique(numbers[:, 0], return_inverse=True)
            if ((found == np.round(found)) & (np.abs(found) < 2**53)).all():
                # In order of appearance, like labels of other blocks and kinds.
                table = np.zeros(len(found), np.int64)
                for k in np.argsort(np.unique(codes, return_index=True)[1]):
                    table[k] = self._code(str(int(found[k])))
                return table[codes.reshape(-1)], numbers[:, 1:], True
        if (numbers := self._loaded(numbers_text, used, rows)) is None:
            return None
        if self.label is None:
            return np.zeros(rows, np.int64), numbers, True
        names = [label_of(name) for name in self._column(text, self.label)]
        return (
            (np.array([self._code(name) for name in names], np.int64), numbers, False) if all(names) else None
        )

    def _loaded(
        self, text: str, columns: tuple[int, ...], rows: int
    ) -> Float[np.ndarray, "rows columns"] | None:
        """The numbers of some columns, None where they are not numbers in all rows."""
        try:
            numbers = np.loadtxt(
                io.StringIO(text), delimiter=self.delimiter, comments=None, usecols=columns, ndmin=2
            )
        except ValueError:
            return None
        return numbers if len(numbers) == rows else None

    def _column(self, text: str, column: int) -> Iterator[str]:
        return (line.split(self.delimiter, column + 1)[column] for line in text.split("\n") if line)

    def _code(self, label: str) -> int:
        return self.labels.setdefault(label, len(self.labels))

    def _careful(self, block: bytes, first: int) -> _Rows | None:
        """Row by row; the first thing that is wrong is named by line and column."""
        codes, numbers, lines = [], [], []
        text = decode(self.path, block, first)
        for line, content in enumerate(text.split("\n"), start=first):
            if not content.strip():
                continue
            for mark, name in (("\r", "a carriage return"), ("\0", "a zero byte")):
                if mark in content:
                    raise DataFileError(self.path, f"line {line}", f"{name} inside the line")
            try:
                fields = split(content, self.delimiter, strict=True)
            except ValueError as error:
                raise DataFileError(self.path, f"line {line}", str(error)) from None
            if self.label is not None and not any(fields):
                continue  # as spreadsheets leave them at the end
            if len(fields) != len(self.header):
                raise DataFileError(
                    self.path,
                    f"line {line}",
                    f"{len(fields)} fields where the header names {len(self.header)} columns",
                )
            row = [self._number(fields[k], line, self.header[k]) for k in self.used[self.states_from :]]
            empty = all(number != number for number in row)
            for k in self.used[: self.states_from]:
                row.insert(0, self._time(fields[k], line, self.header[k], empty))
            label = ""
            if self.label is not None:
                label = label_of(fields[self.label])
                if not label:
                    name = self.header[self.label]
                    raise DataFileError(
                        self.path, f"line {line}, column {name}", "empty, expected a trajectory"
                    )
            codes.append(self._code(label))
            numbers.append(row)
            lines.append(line)
        if not lines:
            return None
        return _Rows(np.array(codes, np.int64), np.array(numbers), np.array(lines, np.int64))

    def _number(self, field: str, line: int, name: str) -> float:
        """A number, nan where the field has none."""
        if field.lower() in MISSING:
            return float("nan")
        text = field
        for mark in (",", ".") if self.delimiter != "," else ():
            if mark in field and NUMBER.fullmatch(text := field.replace(mark, ".", 1)):
                self.mark = self.mark or mark
                if mark != self.mark:
                    raise self._wrong(field, line, name, f"a decimal {self.mark!r} as in other numbers")
                break
        value = float(text) if NUMBER.fullmatch(text) else float("nan")
        if not abs(value) < LARGEST:
            expected = "a finite number" if value != value else f"a number below {LARGEST:.0e}"
            if "," in field and self.delimiter == "," and NUMBER.fullmatch(field.replace(",", ".", 1)):
                expected = "a decimal point where commas are delimiters (or ; or tabs between fields)"
            raise self._wrong(field, line, name, expected)
        return value

    def _time(self, field: str, line: int, name: str, empty: bool) -> float:
        """A time; nan where the field has none and the row is `empty`, so that none is needed."""
        if empty and field.lower() in MISSING:
            return float("nan")
        if self.dated is None:
            try:
                # What begins like 2024-05 or 12:30: four digits alone are a number.
                self.begins = moment(field) if set("-:") & set(field[1:]) else None
            except ValueError:
                self.begins = None
            self.dated = self.begins is not None
        if self.begins is not None:
            seconds = self._seconds(field)
            if seconds != seconds:
                raise self._wrong(field, line, name, f"a date or time like {self.begins.isoformat()}")
            return seconds
        if not set("0123456789") & set(field) or {":", " "} & set(field):
            raise self._wrong(field, line, name, "a finite number, or a date as 2024-05-01T12:30:00")
        return self._number(field, line, name)

    def _seconds(self, field: str) -> float:
        """Seconds from the first time; nan where `field` is none of its kind."""
        assert self.begins is not None
        try:
            return (moment(field.strip()) - self.begins).total_seconds()
        except (ValueError, TypeError):
            return float("nan")

    def _wrong(self, field: str, line: int, name: str, expected: str) -> DataFileError:
        shown = field if len(field) <= 40 else field[:37] + "..."
        got = repr(shown) if field else "an empty field"
        return DataFileError(self.path, f"line {line}, column {name}", f"got {got}, expected {expected}")


def moment(field: str) -> datetime.datetime:
    """A date, a date and time, or a time of day. Raises ValueError."""
    try:
        return datetime.datetime.fromisoformat(field)
    except ValueError:
        return datetime.datetime.combine(datetime.date(1970, 1, 1), datetime.time.fromisoformat(field))


def label_of(field: str) -> str:
    """A label, whole numbers in one spelling."""
    field = field.strip()
    if NUMBER.fullmatch(field):
        value = float(field)
        if abs(value) < 2**53 and value == round(value):
            return str(int(value))
    return field
