"""Options that say what the columns of a data file mean, which several verbs have."""

from collections.abc import Sequence
from typing import Annotated, Any

import typer

TrajectoryColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with trajectory labels.")]
TimeColumn = Annotated[str | None, typer.Option(metavar="NAME", help="Column with the times.")]
Step = Annotated[
    float | None, typer.Option("--dt", metavar="TIME", help="Time step, for a file without times.")
]
Names = Annotated[
    str | None,
    # Its name is given: some releases of Typer take a metavar that equals it for the name.
    typer.Option("--names", metavar="NAMES", help="Names of all columns, for a file without a header."),
]
Positions = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Position columns: x,y (or x{},y{}: {} is the trajectory); default q1..qn.",
    ),
]
Momenta = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Momentum columns: px,py; default p1..pn.")
]
Velocities = Annotated[
    str | None, typer.Option(metavar="NAMES", help="Velocity columns instead of momenta; needs --masses.")
]
Masses = Annotated[str | None, typer.Option(metavar="NUMBERS", help="One mass per position, or one for all.")]
Ignored = Annotated[str | None, typer.Option(metavar="NAMES", help="Columns to ignore.")]
Periodic = Annotated[
    str | None, typer.Option(metavar="NAMES", help='Position columns that are angles; "" for none.')
]
Units = Annotated[list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a column. Repeatable.")]


def data_table(
    *,
    step: float | None,
    masses: str | None,
    periodic: str | None,
    unit: Sequence[str] | None,
    trajectory: str | None,
    time: str | None,
    **columns: str | None,
) -> dict[str, Any]:
    """Keys of the data table of a configuration, of the options that were given; `columns` are those that
    hold several names. Raises `typer.BadParameter` for a unit without a name.
    """
    named: dict[str, Any] = {key: _names(value) for key, value in columns.items()}
    named |= {"trajectory": trajectory, "time": time}
    mapping: dict[str, Any] = {
        "columns": {key: value for key, value in named.items() if value is not None},
        "step": step,
        "masses": _names(masses),
        "periodic": _names(periodic),
        "units": _units(unit) if unit else None,
    }
    return {key: value for key, value in mapping.items() if value is not None}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _units(pairs: Sequence[str]) -> dict[str, str]:
    units = {}
    for pair in pairs:
        name, separator, unit = pair.partition("=")
        if not separator or not name.strip():
            raise typer.BadParameter(f"got {pair!r}, expected NAME=UNIT", param_hint="--unit")
        units[name.strip()] = unit.strip()
    return units
