"""Which columns of a file are what."""

import difflib
import math
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, NamedTuple

from ._error import DataFileError

COLUMN_KEYS = ("trajectory", "time", "positions", "momenta", "velocities", "ignore")
DELIMITERS = ",;\t |"
DEGREES = {"deg", "degree", "degrees", "°"}


@dataclass(frozen=True)
class Layout:
    """What the columns of a data file mean.

    trajectory, time: names of these columns; a file without the first holds one trajectory.
    positions, momenta: names of the coordinates, the i-th momentum belonging to the i-th position. By default
        q1..qn and p1..pn, however many there are.
    velocities, masses: in place of momenta, p_i = m_i v_i; by default v1..vn. One mass for each, or one for
        all.
    ignore: columns that are no part of the data.
    periodic: positions that are angles, to be unwrapped. None: none is, and a coordinate that jumps by a
        period is an error; an empty tuple: none is, jumps are motion.
    period: of these angles, in their unit; by default 2 pi, or 360 where their unit is deg.
    units: the unit of a column, by its name.
    gap: the longest time between two rows of one trajectory; a longer one breaks it. By default half as much
        again as the usual time between rows, where that is the same nearly always.
    delimiter: of a CSV.

    Raises ValueError on what cannot be meant.
    """

    trajectory: str = "trajectory"
    time: str = "time"
    positions: tuple[str, ...] = ()
    momenta: tuple[str, ...] = ()
    velocities: tuple[str, ...] = ()
    masses: tuple[float, ...] = ()
    ignore: tuple[str, ...] = ()
    periodic: tuple[str, ...] | None = None
    period: float | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    gap: float | None = None
    delimiter: str = ","

    def __post_init__(self) -> None:
        if self.momenta and self.velocities:
            raise ValueError("momenta and velocities exclude each other, got both")
        for name in ("momenta", "velocities"):
            given = getattr(self, name)
            if given and len(given) != len(self.positions):
                raise ValueError(
                    f"{name}: got {len(given)} for {len(self.positions)} positions, expected one a position"
                )
        if any(not (mass > 0 and math.isfinite(mass)) for mass in self.masses):
            raise ValueError(f"masses: got {list(self.masses)}, expected positive numbers")
        for name in ("period", "gap"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: got {value}, expected a positive number")
        if self.delimiter not in DELIMITERS or len(self.delimiter) != 1:
            raise ValueError(f"delimiter: got {self.delimiter!r}, expected one of {list(DELIMITERS)}")

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> "Layout":
        """The layout of a table as TOML gives it: ``[columns]`` with trajectory, time, positions, momenta,
        velocities and ignore; masses, periodic, period, units, gap and delimiter beside it.

        Raises ValueError naming the key.
        """
        columns = table.get("columns", {})
        if not isinstance(columns, Mapping):
            raise ValueError(f"columns: got {columns!r}, expected a table")
        others = [name.name for name in fields(cls) if name.name not in COLUMN_KEYS]
        _known_keys(columns, COLUMN_KEYS, "columns.")
        _known_keys({key: value for key, value in table.items() if key != "columns"}, others, "")
        values: dict[str, Any] = {}
        for key, value in {**columns, **table}.items():
            if key != "columns" and value is not None:
                values[key] = _value(key, value)
        return cls(**values)

    @classmethod
    def beside(cls, path: str | Path, options: Mapping[str, Any] | None = None) -> "Layout":
        """The layout of `path`: that of the file ``<path>.toml`` beside it, if there is one, `options` (a
        table as for `parse`) taking precedence key by key.

        Raises `DataFileError` for a layout file that cannot be used, ValueError for options.
        """
        options = dict(options or {})
        beside = Path(f"{path}.toml")
        table: dict[str, Any] = {}
        if beside.is_file():
            try:
                table = tomllib.loads(beside.read_text(encoding="utf-8"))
                cls.parse(table)
            except OSError as error:
                raise DataFileError(beside, "", f"cannot be read ({error.strerror})") from None
            except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
                raise DataFileError(beside, "", f"not TOML: {error}") from None
            except ValueError as error:
                raise DataFileError(beside, "", str(error)) from None
        columns = {**table.get("columns", {}), **options.get("columns", {})}
        return cls.parse({**table, **options, "columns": columns})


def _known_keys(table: Mapping[str, Any], known: Sequence[str], prefix: str) -> None:
    for key in table:
        if key not in known:
            raise ValueError(f"{prefix}{key}: unknown key, {suggestion(key, known)}")


def suggestion(name: str, known: Sequence[str]) -> str:
    """Did you mean the nearest of `known`, or all of them where none is near."""
    close = difflib.get_close_matches(name, known, n=1)
    return f"did you mean {close[0]}?" if close else f"expected one of {', '.join(known)}"


def _value(key: str, value: Any) -> Any:
    def fail(expected: str) -> ValueError:
        return ValueError(f"{key}: got {value!r}, expected {expected}")

    if key in ("trajectory", "time", "delimiter"):
        if not isinstance(value, str) or not value:
            raise fail("a name" if key != "delimiter" else "one character")
        return value
    if key == "units":
        if not isinstance(value, Mapping) or not all(isinstance(unit, str) for unit in value.values()):
            raise fail("a table of column = unit")
        return dict(value)
    if key == "masses":
        masses = value if isinstance(value, list | tuple) else [value]
        if not masses or not all(_number(mass) for mass in masses):
            raise fail("numbers")
        return tuple(float(mass) for mass in masses)
    if key in ("period", "gap"):
        if not _number(value):
            raise fail("a number")
        return float(value)
    if not isinstance(value, list | tuple) or not all(isinstance(name, str) and name for name in value):
        raise fail("a list of names")
    if len(set(value)) < len(value):
        raise fail("no name twice")
    return tuple(value)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


class Columns(NamedTuple):
    """Where in a table the parts of a state stand; `second` are momenta, or velocities where `masses` is not
    None. `trajectory` is None where there is no such column, `time` too in a table of initial states.
    """

    trajectory: int | None
    time: int | None
    positions: tuple[int, ...]
    second: tuple[int, ...]
    masses: tuple[float, ...] | None
    names: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str
    periods: tuple[float | None, ...]

    @property
    def states(self) -> tuple[int, ...]:
        """The columns of a state, positions first."""
        return (*self.positions, *self.second)


def find_columns(
    path: Path, header: Sequence[str], layout: Layout, *, where: str, timed: bool = True
) -> Columns:
    """Find the columns of `layout` in `header`; with `timed` false the column of times may be missing.

    Raises `DataFileError` for names that are missing, repeated or unknown, for positions without momenta and
    for velocities without masses.
    """

    def fail(why: str, column: str = "") -> DataFileError:
        return DataFileError(path, f"{where}, column {column}" if column else where, why)

    for k, name in enumerate(header):
        if not name:
            raise fail(f"column {k + 1} has no name")
        if name in header[:k]:
            raise fail("the name is used twice", name)
    index = {name: k for k, name in enumerate(header)}
    ignored = layout.ignore if timed else ()
    for name in (*layout.positions, *layout.momenta, *layout.velocities, *ignored):
        if name not in index:
            raise fail(f"is missing, {suggestion(name, header)}", name)
    free = [name for name in header if name not in layout.ignore]
    positions = layout.positions or _numbered(free, "q", fail)
    momenta = layout.momenta or (() if layout.velocities else _numbered(free, "p", fail))
    velocities = layout.velocities or (() if layout.momenta else _numbered(free, "v", fail))
    if timed and layout.trajectory != "trajectory" and layout.trajectory not in index:
        raise fail(f"is missing, {_missing(layout.trajectory, header)}", layout.trajectory)
    if timed and layout.time not in index:
        raise fail(f"is missing, {_missing(layout.time, header)}", layout.time)
    if not positions:
        raise fail(f"no positions, expected columns q1..qn, got {', '.join(header)}")
    if momenta and velocities:
        raise fail("both momenta and velocities are given, name those not to use in ignore", velocities[0])
    if not momenta and not velocities:
        raise fail(
            f"positions ({', '.join(positions)}) without momenta are no state of a Hamiltonian system, "
            "expected momenta p1..pn, or velocities v1..vn with masses"
        )
    second, kind = (momenta, "momenta") if momenta else (velocities, "velocities")
    if len(second) != len(positions):
        raise fail(
            f"{len(positions)} positions ({', '.join(positions)}) and {len(second)} {kind} "
            f"({', '.join(second)}), expected as many of each"
        )
    masses = None
    if velocities:
        if len(layout.masses) not in (1, len(positions)):
            raise fail(
                f"velocities need masses, one for all or one a position ({len(positions)}), "
                f"got {len(layout.masses)}"
            )
        masses = layout.masses * len(positions) if len(layout.masses) == 1 else layout.masses
    elif layout.masses:
        raise fail("masses belong to velocities, but the file gives momenta")
    marks = [name for name in (layout.trajectory, layout.time) if name in index]
    parts = [*marks, *positions, *second]
    for k, name in enumerate(parts):
        if name in parts[:k] or name in layout.ignore:
            raise fail("one column cannot be two things", name)
    used = {layout.trajectory, layout.time, *positions, *second, *layout.ignore}
    for name in header:
        if name not in used:
            raise fail(f"unknown, {suggestion(name, sorted(used - set(header)) or ['ignore'])}", name)
    known = {*positions, *second, layout.time}
    for name in layout.units:
        if name not in known:
            raise fail(f"has a unit but is no coordinate, {suggestion(name, sorted(known))}", name)
    for name in layout.periodic or ():
        if name not in positions:
            raise fail(f"is periodic but no position, {suggestion(name, positions)}", name)
    units = [layout.units.get(name, "") for name in (*positions, *second)]
    if velocities:
        units[len(positions) :] = [unit and f"mass {unit}" for unit in units[len(positions) :]]
        plain = velocities == tuple(f"v{i + 1}" for i in range(len(velocities)))
        named = tuple(f"p{i + 1}" if plain else f"m_{name}" for i, name in enumerate(velocities))
    else:
        named = momenta
    return Columns(
        index.get(layout.trajectory),
        index.get(layout.time),
        tuple(index[name] for name in positions),
        tuple(index[name] for name in second),
        masses,
        (*positions, *named),
        tuple(units),
        layout.units.get(layout.time, ""),
        tuple(period_of(layout, name) if name in (layout.periodic or ()) else None for name in positions),
    )


def period_of(layout: Layout, name: str) -> float:
    """The period of the angle called `name`."""
    return layout.period or (360.0 if layout.units.get(name) in DEGREES else 2 * math.pi)


def _missing(name: str, header: Sequence[str]) -> str:
    if len(header) == 1 and (found := re.search(r"[;\t|, ]", header[0])):
        return f"is the delimiter {found.group()!r}? Say so with delimiter"
    return suggestion(name, header)


def _numbered(header: Sequence[str], letter: str, fail: Any) -> tuple[str, ...]:
    """The columns letter1, letter2, ...; a number left out is an error."""
    numbers = sorted(int(name[1:]) for name in header if re.fullmatch(rf"{letter}[1-9][0-9]{{0,5}}", name))
    for expected, number in enumerate(numbers, start=1):
        if number != expected:
            raise fail(f"is missing, the file has {letter}{number}", f"{letter}{expected}")
    return tuple(f"{letter}{number}" for number in numbers)
