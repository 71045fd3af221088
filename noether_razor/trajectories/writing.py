"""How a text file is written: what delimits its fields, which line names them, where its rows begin."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from .error import DataFileError
from .layout import Layout

NUMBER = re.compile(r"[+-]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]+)?")
MISSING = {"", "nan", "+nan", "-nan", "na", "n/a", "#n/a", "<na>", "null", "none"}
"""Fields without a value, in lower case."""
NAME_AND_UNIT = re.compile(r"[^\s()\[\]]+(\s*(\([^()]*\)|\[[^\[\]]*\]))?")
"""A name among blanks with its unit, before which there is one, too."""
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
OTHER_MARKS = (b"\xff\xfe", b"\xfe\xff")
SNIFFED = "\t;|, "
"""Delimiters, the surest first."""
MOST_ROWS = 0.9
"""Share of the rows with more fields than names, from which commas are decimal marks too."""
SAMPLE = 100
"""Lines that tell how a file is written."""


class Writing(NamedTuple):
    """A file's delimiter (a space: any number of blanks), its names of columns ("" for columns to pass over)
    with the number of their line, and the number and the byte of the line after them.
    """

    delimiter: str
    header: tuple[str, ...]
    named: int
    line: int
    offset: int
    notes: tuple[str, ...]


class _Line(NamedTuple):
    number: int
    end: int
    text: str


def find_writing(path: Path, start: bytes, layout: Layout, *, timed: bool = True) -> Writing:
    """How the file that begins with the whole lines `start` is written.

    Comments (``#`` or ``%``) and titles may stand above the names of the columns, which may be a comment
    themselves, the last one; `layout` may give them for a file without. Raises `DataFileError` where there
    are none.
    """
    lines, comments = _sample(path, start)
    delimiter = layout.delimiter or find_delimiter([line.text for line in lines])
    table = [split(line.text, delimiter) for line in lines]
    rows = [fields for fields in table if _is_row(fields)]
    if delimiter == "," and (decimal := _decimal_commas(lines, table)) is not None:
        line, fields, columns = decimal
        raise DataFileError(
            path,
            f"line {line}",
            f"{fields} fields where the header names {columns} columns: commas are both decimal marks and "
            "delimiters; write ; or tabs between fields, or decimal points",
        )
    (width, _), *_ = Counter(map(len, rows or table)).most_common(1)
    at = next((k for k, fields in enumerate(table) if _full(fields, width)), 0)
    names: Sequence[str]
    if not _is_row(table[at]):
        names, named, first = table[at], lines[at], at + 1
    elif at:
        # Rows have more or fewer fields than the line above them: that is for the reader of rows to judge.
        at -= 1
        names, named, first = table[at], lines[at], at + 1
    else:
        named, first = lines[0], 0
        names = split(comments[-1].text.strip().lstrip("#% "), delimiter) if comments else ()
        if len(names) != width or _is_row(names):
            names = ()
        else:
            named = comments[-1]
    given = layout.names if timed or not names else ()
    if len(given) > width and not timed:
        given = tuple(name for name in given if name not in (layout.trajectory, layout.time))
    if not (names or given):
        raise DataFileError(
            path,
            f"line {named.number}",
            f"got {_first_number(table[0])}, expected the names of the columns: give them with "
            f"--names {','.join(usual_names(width))} (columns.names)",
        )
    if delimiter == " " and len(names) != width:
        together = [match[0] for match in NAME_AND_UNIT.finditer(named.text)]
        names = together if len(together) == width else names
    notes = []
    if titles := [line.text.strip() for line in lines[: max(first - 1, 0)]]:
        notes.append(f"passed over above the names of the columns: {_shown('; '.join(titles))}")
    before = lines[first - 1] if first else _Line(lines[0].number - 1, _begin(lines[0], start), "")
    names, more = _unnamed(path, list(given or names), table[first:], named.number)
    return Writing(delimiter, tuple(names), named.number, before.number + 1, before.end, (*notes, *more))


def _decimal_commas(lines: Sequence[_Line], table: Sequence[Sequence[str]]) -> tuple[int, int, int] | None:
    """The line and fields of the first row that is too long, and the columns, where commas both part fields
    and mark decimals: hardly a row has as few fields as there are names, and no number has a point.
    """
    first = next((k for k, fields in enumerate(table) if _is_row(fields)), 0)
    columns = len(table[first - 1]) if first else 0
    longer = [k for k in range(first, len(table)) if len(table[k]) > columns]
    counts = [len(fields) for fields in table[first:]]
    if columns < 2 or max(counts) < columns + 2 or len(longer) < MOST_ROWS * len(counts):
        return None
    if not all(columns <= count <= 2 * columns for count in counts):
        return None
    # A label may be a word.
    plain = all(
        sum(_is_number(field, ",") for field in fields) >= len(fields) - 1 for fields in table[first:]
    )
    if not plain or any("." in line.text for line in lines[first:]):
        return None
    return lines[longer[0]].number, len(table[longer[0]]), columns


def _begin(line: _Line, start: bytes) -> int:
    mark = len(BYTE_ORDER_MARK) if start.startswith(BYTE_ORDER_MARK) else 0
    return max(start.rfind(b"\n", 0, line.end - 1) + 1, mark)


def _sample(path: Path, start: bytes) -> tuple[list[_Line], list[_Line]]:
    """The first lines that say something, and the comments above them."""
    if not start:
        raise DataFileError(path, "line 1", "the file is empty")
    end = len(BYTE_ORDER_MARK) if start.startswith(BYTE_ORDER_MARK) else 0
    contents = start[end:].split(b"\n")
    if start.startswith(OTHER_MARKS) or b"\0" in contents[0]:
        raise DataFileError(path, "line 1, column 1", "not UTF-8 text, save it as UTF-8")
    lines: list[_Line] = []
    comments: list[_Line] = []
    for number, content in enumerate(contents, start=1):
        end += len(content) + 1
        text = decode(path, content, number).rstrip("\r")
        if not text.strip():
            continue
        if not lines and "\r" in text:
            raise DataFileError(
                path, f"line {number}", "lines end with a carriage return alone, expected newlines"
            )
        is_comment = not lines and text.lstrip()[0] in "#%"
        (comments if is_comment else lines).append(_Line(number, end, text))
        if len(lines) == SAMPLE:
            break
    if not lines:
        found = "nothing but comments" if comments else "blank"
        raise DataFileError(path, "line 1", f"{found}, expected the names of the columns")
    return lines, comments


def decode(path: Path, content: bytes, line: int) -> str:
    """The text of `content`, whose first line has the number `line`. Raises `DataFileError`."""
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        line += content.count(b"\n", 0, error.start)
        raise DataFileError(path, f"line {line}", "not UTF-8 text, save it as UTF-8") from None


def split(text: str, delimiter: str, *, strict: bool = False) -> list[str]:
    """The fields of a line, without blanks around them. Raises ValueError for wrong quotes if `strict`."""
    if delimiter == " ":
        text = " ".join(text.split())
    try:
        rows = list(csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=strict))
    except csv.Error as error:
        if strict:
            raise ValueError("quotes are not closed or not around a whole field") from error
        rows = [text.split(delimiter)]
    if len(rows) != 1:
        raise ValueError("quotes are not closed or not around a whole field")
    return [field.strip() for field in rows[0]]


def find_delimiter(lines: Sequence[str]) -> str:
    """The one by which most lines have one number of fields, and most of these are numbers."""

    def score(delimiter: str) -> tuple[int, float, int]:
        table = [split(line, delimiter) for line in lines]
        counts = Counter(len(fields) for fields in table if len(fields) > 1)
        if not counts:
            return 0, 0.0, 0
        (width, alike), *_ = counts.most_common(1)
        fields = [field for row in table if len(row) == width for field in row]
        return alike, sum(_is_number(field, delimiter) for field in fields) / len(fields), width

    best = max(SNIFFED, key=score)  # of equal ones the first
    return best if score(best)[0] else ","


def _is_number(field: str, delimiter: str) -> bool:
    return bool(NUMBER.fullmatch(field if delimiter == "," else field.replace(",", ".", 1)))


def _is_row(fields: Sequence[str]) -> bool:
    return any(_is_number(field, ";") for field in fields)


def _full(fields: Sequence[str], width: int) -> bool:
    return len(fields) == width and (width == 1 or sum(map(bool, fields)) > 1)


def _first_number(fields: Sequence[str]) -> str:
    return f"the number {next(field for field in fields if _is_number(field, ';'))}"


def usual_names(width: int) -> list[str]:
    """Names that as many columns might have."""
    marks = [] if width < 3 else ["time"] if width % 2 else ["trajectory", "time"]
    dof = max((width - len(marks)) // 2, 1)
    return [*marks, *(f"{letter}{i + 1}" for letter in "qp" for i in range(dof))]


def _unnamed(
    path: Path, names: list[str], rows: Sequence[Sequence[str]], line: int
) -> tuple[list[str], list[str]]:
    """`names` with "" for each column without a name, and a note on it: it counts the rows or is empty."""
    notes = []
    longer = [row for row in rows if len(row) == len(names) + 1]
    if rows and len(longer) == len(rows):
        # A delimiter at the end of each row, or names of rows as R writes them.
        if not any(row[-1] for row in rows):
            names = [*names, ""]
        elif counts_rows([row[0] for row in rows]):
            names = ["", *names]
    for k, name in enumerate(names):
        if name and not re.fullmatch(r"Unnamed: [0-9]+", name):
            continue
        values = [row[k] for row in rows if len(row) == len(names)]
        if not any(values):
            notes.append(f"column {k + 1} has no name and is empty: ignored")
        elif counts_rows(values):
            notes.append(f"column {k + 1} has no name and counts the rows: ignored")
        else:
            raise DataFileError(
                path,
                f"line {line}",
                f"column {k + 1} has no name, but holds {_shown(next(filter(None, values)))!r}",
            )
        names[k] = ""
    return names, notes


def counts_rows(values: Sequence[str]) -> bool:
    """Whether these are whole numbers that rise, or begin again."""
    if not all(re.fullmatch(r"[0-9]{1,15}", value) for value in values):
        return False
    numbers = [int(value) for value in values]
    return all(b > a or b <= 1 for a, b in zip([-1, *numbers], numbers, strict=False)) and (
        len(numbers) > 1 or numbers[0] <= 1
    )


def _shown(text: str) -> str:
    return text if len(text) <= 40 else text[:37] + "..."
