"""Finding the columns of a layout among those of a file."""

import difflib
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

from ..spelling import suggestion
from .canonical import paired_names
from .dataset import UNPAIRED
from .error import DataFileError
from .layout import Layout

TIMES = ("t", "Time", "TIME", "timestamp")
TRAJECTORIES = ("Trajectory", "traj", "run", "trial", "id")
"""What a column of times or of trajectories may be called without being named by an option."""
UNIT = re.compile(r"(.*[^\s])\s*(?:\(([^()\[\]]*)\)|\[([^()\[\]]*)\])")
"""A name with its unit in brackets: ``t (s)``, ``x [m]``."""
MOMENTA = ("p{}", "p_{}")
VELOCITIES = ("v{}", "v_{}", "{}_dot", "{}dot", "d{}", "d{}/dt")
ALONE = {
    "p": "momenta",
    "momentum": "momenta",
    "v": "velocities",
    "velocity": "velocities",
    "omega": "velocities",
}
"""What the second of two columns may be called."""


class Columns(NamedTuple):
    """Where in a table the parts of a state stand; `second` are momenta, or velocities where `masses` is not
    None, or where a `bracket` is to be found; empty with velocities that are to be had from the positions,
    and for states that are no pairs. `trajectory` is None where there is no such column, `time` too
    where rows are counted.

    `header` has the names of the columns without their units. Where trajectories lie side by side, `labels`
    name them, `wide` are the columns of all their states, one after another, and the others are the first's.
    """

    header: tuple[str, ...]
    trajectory: int | None
    time: int | None
    positions: tuple[int, ...]
    second: tuple[int, ...]
    masses: tuple[float, ...] | None
    names: tuple[str, ...]
    units: tuple[str, ...]
    time_unit: str
    periods: tuple[float | None, ...]
    velocities: tuple[str, ...]
    bracket: str
    labels: tuple[str, ...]
    wide: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def states(self) -> tuple[int, ...]:
        """The columns of a state, positions first; those of all trajectories that lie side by side."""
        return self.wide or (*self.positions, *self.second)


def find_columns(
    path: Path, header: Sequence[str], layout: Layout, *, where: str, timed: bool = True
) -> Columns:
    """Find the columns of `layout` in `header`, where columns without a name mean nothing; with `timed` false
    the column of times may be missing.

    Raises `DataFileError` for names that are missing, repeated or unknown, and for positions without momenta
    or velocities, with the option that helps.
    """
    return _Finder(path, header, layout, where, timed).columns()


class _Finder:
    """The steps of `find_columns`."""

    def __init__(self, path: Path, header: Sequence[str], layout: Layout, where: str, timed: bool):
        self.path, self.layout, self.where, self.timed = path, layout, where, timed
        self.notes: list[str] = []
        self.guessed: list[str] = []
        self.names, self.units = _without_units(header, layout)
        for k, name in enumerate(self.names):
            if name and name in self.names[:k]:
                raise self.fail("the name is used twice", name)
        if len(self.names) == 1 and (found := re.search(r"[;\t|, ]", self.names[0])):
            raise self.fail(
                f"one column, named {self.names[0]!r}: is the delimiter {found.group()!r}? Say so with "
                "delimiter"
            )
        self.index = {name: k for k, name in enumerate(self.names) if name}

    def fail(self, why: str, column: str = "") -> DataFileError:
        return DataFileError(self.path, f"{self.where}, column {column}" if column else self.where, why)

    def columns(self) -> Columns:
        layout = self.layout
        labels = self.labels()
        self.check_named(labels)
        trajectory = self.mark("trajectory", layout.trajectory, TRAJECTORIES)
        time = self.mark("time", layout.time, TIMES)
        positions, second, masses, bracket = self.coordinates(labels)
        if self.timed:
            self.check_time(time)
        groups = [(*positions, *second)]
        if labels:
            groups = [tuple(name.replace("{}", label) for name in groups[0]) for label in labels]
        marks = [name for name in (trajectory, time) if name is not None]
        single = trajectory is None and not labels
        self.check_used([*marks, *(name for group in groups for name in group)], single)
        plain = tuple(_plain(name) for name in (*positions, *second))
        alone = not second and not layout.states
        if len(set(plain)) < len(plain):
            raise self.fail(f"got {', '.join((*positions, *second))}, of which two differ in {{}} only")
        dof = len(positions)
        units = {
            _plain(name): self.units[self.index[raw]]
            for name, raw in zip((*positions, *second), groups[0], strict=True)
        }
        clock = time or layout.time
        units[clock] = self.units[self.index[time]] if time else ""
        for name, unit in layout.units.items():
            if _plain(name) not in units:
                raise self.fail(f"has a unit but is no coordinate, {suggestion(name, sorted(units))}", name)
            units[_plain(name)] = unit
        periodic = {_plain(name) for name in layout.periodic or ()}
        for name in periodic:
            if name not in plain[:dof]:
                raise self.fail(f"is periodic but no position, {suggestion(name, plain[:dof])}", name)
        names, kinds = plain, tuple(units[name] for name in plain)
        if alone:
            names, kinds = _with_velocities(names, kinds, units[clock])
        velocities = names[dof:] if masses is not None else ()
        if masses is not None:
            names, kinds = with_momenta(names, kinds)
        return Columns(
            header=self.names,
            trajectory=None if trajectory is None else self.index[trajectory],
            time=None if time is None else self.index[time],
            positions=tuple(self.index[name] for name in groups[0][:dof]),
            second=tuple(self.index[name] for name in groups[0][dof:]),
            masses=masses,
            names=names,
            units=kinds,
            time_unit=units[clock],
            periods=tuple(
                layout.period_of(units[name]) if name in periodic else None for name in plain[:dof]
            ),
            velocities=velocities,
            bracket=bracket,
            labels=labels,
            wide=tuple(self.index[name] for group in groups for name in group) if labels else (),
            notes=tuple(self.notes),
        )

    def labels(self) -> tuple[str, ...]:
        """What stands for ``{}`` in the names of trajectories that lie side by side."""
        layout = self.layout
        templates = (*layout.positions, *layout.momenta, *layout.velocities)
        if not templates or "{}" not in templates[0]:
            return ()
        before, after = map(re.escape, templates[0].split("{}"))
        found = (re.fullmatch(f"{before}(.+){after}", name) for name in self.names)
        labels = tuple(
            match[1]
            for match in found
            if match and all(name.replace("{}", match[1]) in self.index for name in templates)
        )
        if not labels:
            raise self.fail(f"no trajectory has all of {', '.join(templates)}, got {self.listed()}")
        return labels

    def listed(self) -> str:
        return ", ".join(name for name in self.names if name)

    def check_named(self, labels: tuple[str, ...]) -> None:
        layout = self.layout
        coordinates = (
            () if labels else (*layout.positions, *layout.momenta, *layout.velocities, *layout.states)
        )
        for name in (*coordinates, *(layout.ignore if self.timed else ())):
            if name not in self.index:
                raise self.fail(f"is missing, {suggestion(name, list(self.index))}", name)

    def free(self) -> list[str]:
        """The columns that no option names."""
        layout = self.layout
        taken = {*layout.positions, *layout.momenta, *layout.velocities, *layout.states, *layout.ignore}
        return [name for name in self.index if name not in taken]

    def mark(self, kind: str, name: str, others: Sequence[str]) -> str | None:
        """The column of times or of trajectories: by its name, or by the only other one that it may have."""
        if name in self.index:
            return name
        if name != kind:
            if self.timed:
                raise self.fail(f"is missing, {suggestion(name, list(self.index))}", name)
            return None
        found = [other for other in others if other in self.free()]
        if len(found) != 1:
            return None
        self.guessed.append(found[0])
        self.notes.append(f"column {found[0]} is taken for the {kind}")
        return found[0]

    def check_time(self, time: str | None) -> None:
        step, option = self.layout.step, self.layout.option
        if time is None and step is None:
            close = difflib.get_close_matches("time", self.free(), n=1)
            raise self.fail(
                f"is missing, got {self.listed()}: "
                + (f"is it {close[0]}? Say so with {option('time', close[0])}; or " if close else "")
                + f"give the time between rows with {option('step', 0.01)}",
                "time",
            )
        if time is not None and step is not None:
            raise self.fail(
                f"holds the times, so leave {option('step', step)} out, or ignore this column", time
            )

    def coordinates(
        self, labels: tuple[str, ...]
    ) -> tuple[tuple[str, ...], tuple[str, ...], tuple[float, ...] | None, str]:
        """The names of positions and of momenta or velocities, in pairs; the masses of the latter, and the
        Poisson matrix to look for where there are none. States without pairs are all positions.
        """
        layout, free = self.layout, self.free()
        if layout.states:
            self.check_several()
            return layout.states, (), None, UNPAIRED
        positions = layout.positions or self.numbered(free, "q")
        momenta = layout.momenta or (() if layout.velocities else self.numbered(free, "p"))
        velocities = layout.velocities or (() if layout.momenta else self.numbered(free, "v"))
        marks = (layout.trajectory, layout.time, *self.guessed)
        others = [name for name in free if name not in (*marks, *positions, *momenta, *velocities)]
        if labels:
            others = []  # what is left over is told by `check_used`
        if not positions:
            raise self.fail(
                f"no positions, expected columns q1..qn, got {self.listed()}: "
                + self.options((), others, "all")
                + f"; or {self.layout.option('states', config=False)} where columns are no such pairs"
            )
        if momenta and velocities:
            raise self.fail(
                "both momenta and velocities are given, name those not to use in ignore", velocities[0]
            )
        alone = not momenta and not velocities
        if alone and (others or not self.timed):
            raise self.fail(
                f"positions ({', '.join(positions)}) without momenta are no state of a Hamiltonian system, "
                "expected momenta p1..pn, or velocities v1..vn: " + self.options(positions, others, "momenta")
            )
        second, kind = (momenta, "momenta") if momenta else (velocities, "velocities")
        if not alone and len(second) != len(positions):
            raise self.fail(
                f"{len(positions)} positions ({', '.join(positions)}) and {len(second)} {kind} "
                f"({', '.join(second)}), expected as many of each"
            )
        if momenta:
            if layout.masses:
                raise self.fail("masses belong to velocities, but the file gives momenta")
            if layout.bracket:
                raise self.fail(
                    "a bracket is looked for where velocities are given, but the file gives momenta"
                )
            return positions, second, None, ""
        if not layout.masses:
            return positions, second, None, layout.bracket or "auto"
        if len(layout.masses) not in (1, len(positions)):
            raise self.fail(
                f"masses must be one for all or one a position ({len(positions)}), got {len(layout.masses)}: "
                "without any they are found from the data"
            )
        masses = layout.masses * len(positions) if len(layout.masses) == 1 else layout.masses
        return positions, second, masses, ""

    def options(self, positions: Sequence[str], others: Sequence[str], wanted: str) -> str:
        """The options that would say what columns are, as far as their names tell."""
        option, between = partial(self.layout.option, config=False), ", " if self.layout.keywords else " "
        lower = {name.lower(): name for name in others}
        for kind, spellings in (("momenta", MOMENTA), ("velocities", VELOCITIES)):
            pairs = []
            for name in positions or others:
                second = [lower[s] for s in (form.format(name.lower()) for form in spellings) if s in lower]
                if second and second[0] != name:
                    pairs.append((name, second[0]))
            if not pairs and (alone := [name for name in others if ALONE.get(name.lower()) == kind]):
                first = positions or [name for name in others if name != alone[0]]
                pairs = [(first[0], alone[0])] if len(first) == len(alone) == 1 else []
            if not pairs or (positions and len(pairs) < len(positions)):
                continue
            firsts, seconds = ([pair[k] for pair in pairs] for k in (0, 1))
            left = [name for name in others if name not in (*firsts, *seconds)]
            parts = [] if positions else [option("positions", firsts)]
            parts.append(option(kind, seconds))
            parts += [option("ignore", left)] if left else []
            keys = "" if self.layout.keywords else " (or these keys of [data.columns])"
            return f"add {between.join(parts)}{keys}"
        named = "" if positions else f"{option('positions')} and "
        alone = f"{option('positions')} alone" if wanted == "all" else option("ignore", others)
        return f"add {named}{option('momenta')}, or {option('velocities')}" + (
            f", or {alone} to take velocities from the positions" if self.timed else ""
        )

    def check_several(self) -> None:
        """States without pairs are two columns or more."""
        layout = self.layout
        if len(layout.states) > 1:
            return
        others = ", ".join(name for name in self.free() if name not in (layout.trajectory, layout.time))
        raise self.fail(
            "one column alone conserves nothing that can be seen, name two states or more"
            + (f": the others are {others}" if others else ""),
            ", ".join(layout.states),
        )

    def numbered(self, names: Sequence[str], letter: str) -> tuple[str, ...]:
        """The columns letter1, letter2, ...; a number left out is an error."""
        numbers = sorted(int(name[1:]) for name in names if re.fullmatch(rf"{letter}[1-9][0-9]{{0,5}}", name))
        for expected, number in enumerate(numbers, start=1):
            if number != expected:
                raise self.fail(f"is missing, the file has {letter}{number}", f"{letter}{expected}")
        return tuple(f"{letter}{number}" for number in numbers)

    def check_used(self, parts: Sequence[str], single: bool) -> None:
        """No column is two things, and none is left over; `single`: none tells trajectories apart."""
        ignored, option = self.layout.ignore, self.layout.option
        for k, name in enumerate(parts):
            if name in parts[:k] or name in ignored:
                raise self.fail("one column cannot be two things", name)
        used = {self.layout.trajectory, self.layout.time, *parts, *ignored}
        left = [name for name in self.index if name not in used]
        if left:
            close = difflib.get_close_matches(left[0], sorted(used - set(self.index)), n=1)
            marked = option("trajectory", left[0], config=False)
            hint = (
                f"did you mean {close[0]}?"
                if close
                else f"add {option('ignore', [*ignored, *left])} to leave it out"
                + (f", or {marked} if it tells trajectories apart" if single else "")
            )
            raise self.fail(f"unknown, {hint}", left[0])


def with_momenta(names: tuple[str, ...], units: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names and units of positions and velocities as those of positions and momenta m v."""
    dof = len(names) // 2
    numbered = names[dof:] == tuple(f"v{i + 1}" for i in range(dof))
    momenta = (f"p{i + 1}" if numbered else f"m_{name}" for i, name in enumerate(names[dof:]))
    kinds = (unit and f"mass {unit}" for unit in units[dof:])
    return (*names[:dof], *momenta), (*units[:dof], *kinds)


def _with_velocities(
    names: tuple[str, ...], units: tuple[str, ...], time: str
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The names and units of positions as those of positions and velocities: v1 for q1, v_x for x."""
    rates = (f"{unit}/{time}" if unit and time else "" for unit in units)
    return (*names, *paired_names("v", names, names)), (*units, *rates)


def _plain(name: str) -> str:
    """What a coordinate of trajectories side by side is called: ``x`` for ``x{}``."""
    return name.replace("{}", "").strip("_-. ") or name if "{}" in name else name


def _without_units(header: Sequence[str], layout: Layout) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and units of columns such as ``t (s)``. A name stays whole where an option has it so, where what
    is in its brackets is a number, and where two would be the same without.
    """
    known = {layout.trajectory, layout.time, *layout.positions, *layout.momenta, *layout.velocities}
    known |= {*layout.states, *layout.ignore, *layout.units, *(layout.periodic or ())}
    matches = [UNIT.fullmatch(name) for name in header]
    units = [(match[2] or match[3] or "").strip() if match else "" for match in matches]
    names = [
        match[1] if match and name not in known and not unit.isdigit() else name
        for name, match, unit in zip(header, matches, units, strict=True)
    ]
    if len(set(names)) < len(set(header)):
        names = list(header)
    return tuple(names), tuple("" if unit.isdigit() else unit for unit in units)
