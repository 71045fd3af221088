"""Which columns of a file are what."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from ..spelling import suggestion
from .error import DataFileError

COLUMN_KEYS = ("names", "trajectory", "time", "positions", "momenta", "velocities", "states", "ignore")
DELIMITERS = {"comma": ",", "semicolon": ";", "tab": "\t", "\\t": "\t", "pipe": "|", "space": " "}

DEGREES = {"deg", "degree", "degrees", "°"}


BRACKETS = ("auto", "canonical", "masses", "field", "natural", "constant", "form")
"""Kinds of Poisson matrices that may be looked for."""


@dataclass(frozen=True)
class Layout:
    """What the columns of a data file mean.

    names: of all columns of a file that does not name them itself, or in place of its names.
    trajectory, time: names of these columns; a file without the first holds one trajectory.
    step: the time between rows of a file without a column of times.
    positions, momenta: names of the coordinates, the i-th momentum belonging to the i-th position. By default
        q1..qn and p1..pn, however many there are. In names with ``{}``, which all have or none, it stands for
        the labels of trajectories that lie side by side: "x{}" for x1, x2, ...
    velocities, masses: in place of momenta, p_i = m_i v_i; by default v1..vn. One mass for each, or one for
        all. Without masses canonical momenta are to be found from the data (see `poisson_matrix`). Where no
        column is left beside the positions, velocities are taken from these (see `positions.velocities`).
    states: in place of positions and momenta, the columns of states that are no such pairs, as the angular
        momentum L1, L2, L3 of a rigid body, or populations (see `lie_poisson`, `log_canonical`).
    bracket: the kind of Poisson matrix that is looked for where masses are not known; by default "auto".
    ignore: columns that are no part of the data.
    periodic: positions that are angles, to be unwrapped. None: none is, and a coordinate that jumps by a
        period is an error; an empty tuple: none is, jumps are motion.
    period: of these angles, in their unit; by default 2 pi, or 360 where their unit is deg.
    units: the unit of a column, by its name.
    gap: the longest time between two rows of one trajectory; a longer one breaks it. By default 4.5 times the
        usual time between rows, where nearly all are near that.
    delimiter: of a text file: a character, or comma, semicolon, tab, pipe or space (any number of blanks). By
        default the one that its lines have.
    keywords: whether messages name keywords of Python, for tables in memory, or options of the command line.

    Raises ValueError on what cannot be meant.
    """

    names: tuple[str, ...] = ()
    trajectory: str = "trajectory"
    time: str = "time"
    step: float | None = None
    positions: tuple[str, ...] = ()
    momenta: tuple[str, ...] = ()
    velocities: tuple[str, ...] = ()
    masses: tuple[float, ...] = ()
    states: tuple[str, ...] = ()
    bracket: str = ""
    ignore: tuple[str, ...] = ()
    periodic: tuple[str, ...] | None = None
    period: float | None = None
    units: Mapping[str, str] = field(default_factory=dict)
    gap: float | None = None
    delimiter: str | None = None
    keywords: bool = False

    def __post_init__(self) -> None:
        if self.momenta and self.velocities:
            raise ValueError("momenta and velocities exclude each other, got both")
        for name in ("momenta", "velocities"):
            given = getattr(self, name)
            if given and len(given) != len(self.positions):
                raise ValueError(
                    f"{name}: got {len(given)} for {len(self.positions)} positions, expected one a position"
                )
        if self.states and (self.positions or self.masses or self.bracket or self.periodic):
            raise ValueError(
                "states: are columns that are no pairs, so leave positions, momenta, velocities, masses, "
                "bracket and periodic out"
            )
        if any(not (mass > 0 and math.isfinite(mass)) for mass in self.masses):
            raise ValueError(f"masses: got {list(self.masses)}, expected positive numbers")
        if self.bracket and self.bracket not in BRACKETS:
            raise ValueError(f"bracket: got {self.bracket!r}, {suggestion(self.bracket, BRACKETS)}")
        if self.bracket and (self.masses or self.momenta):
            raise ValueError("bracket: is for velocities without masses, got masses or momenta")
        coordinates = (*self.positions, *self.momenta, *self.velocities)
        if any("{}" in name for name in coordinates):
            odd = [name for name in coordinates if name.count("{}") != 1]
            if odd:
                raise ValueError(
                    f"positions: got {list(coordinates)}, expected {{}} once in all of these "
                    "and their momenta or velocities, or in none"
                )
        for name in ("period", "gap", "step"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise ValueError(f"{name}: got {value}, expected a positive number")
        if self.delimiter is not None:
            delimiter = DELIMITERS.get(self.delimiter, self.delimiter)
            if delimiter not in DELIMITERS.values():
                raise ValueError(f"delimiter: got {self.delimiter!r}, expected one of , ; | tab space")
            object.__setattr__(self, "delimiter", delimiter)

    def option(
        self, key: str, value: str | float | Sequence[str] | None = None, *, config: bool = True
    ) -> str:
        """How a message names an option with its value, None for names that the reader must choose; an option
        of the command line with its key in a configuration, where `config` is true.
        """
        if self.keywords:
            if value is None:
                return f"{key}=[...]"
            return f"{key}={value:g}" if isinstance(value, float) else f"{key}={value!r}"
        flag = "dt" if key == "step" else key
        if isinstance(value, int | float):
            text = f"{value:g}"
        else:
            text = "NAMES" if value is None else value if isinstance(value, str) else ",".join(value)
        where = f" ({'columns.' if key in COLUMN_KEYS else ''}{key})" if config else ""
        return f"--{flag} {text}{where}"

    def period_of(self, unit: str) -> float:
        """The period of an angle measured in `unit`."""
        return self.period or (360.0 if unit in DEGREES else 2 * math.pi)

    @classmethod
    def parse(cls, table: Mapping[str, Any]) -> "Layout":
        """The layout of a table as TOML gives it: ``[columns]`` with names, trajectory, time, positions,
        momenta, velocities, states and ignore; step, masses, bracket, periodic, period, units, gap and
        delimiter beside it.

        Raises ValueError naming the key.
        """
        columns = table.get("columns", {})
        if not isinstance(columns, Mapping):
            raise ValueError(f"columns: got {columns!r}, expected a table")
        others = [name.name for name in fields(cls) if name.name not in (*COLUMN_KEYS, "keywords")]
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


def _value(key: str, value: Any) -> Any:
    def fail(expected: str) -> ValueError:
        return ValueError(f"{key}: got {value!r}, expected {expected}")

    if key in ("trajectory", "time", "delimiter", "bracket"):
        if not isinstance(value, str) or not value:
            raise fail("a name" if key != "delimiter" else "one of , ; | tab space")
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
    if key in ("period", "gap", "step"):
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
