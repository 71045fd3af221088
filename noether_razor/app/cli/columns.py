"""Options that say what the columns of a data file mean, the same for every verb that reads one."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer


def with_columns(verb: Callable[..., None]) -> Callable[..., None]:
    """A verb with the options of `data_table` in place of its argument `table`, which it is given."""
    own, options = (inspect.signature(part).parameters for part in (verb, data_table))

    @functools.wraps(verb)
    def with_table(**given: Any) -> None:
        table = data_table(**{name: given.pop(name) for name in options})
        verb(table=table, **given)

    parameters = []
    for name, parameter in own.items():
        parameters += options.values() if name == "table" else [parameter]
    with_table.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    with_table.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return with_table


def data_table(
    trajectory: Annotated[
        str | None, typer.Option(metavar="NAME", help="Column with trajectory labels.")
    ] = None,
    time: Annotated[str | None, typer.Option(metavar="NAME", help="Column with the times.")] = None,
    dt: Annotated[
        float | None, typer.Option("--dt", metavar="TIME", help="Time step, for a file without times.")
    ] = None,
    names: Annotated[
        str | None,
        # Its name is given: some releases of Typer take a metavar that equals it for the name.
        typer.Option("--names", metavar="NAMES", help="Names of all columns, for a file without a header."),
    ] = None,
    positions: Annotated[
        str | None,
        typer.Option(
            metavar="NAMES",
            help="Position columns: x,y (or x{},y{}: {} is the trajectory); default q1..qn.",
        ),
    ] = None,
    momenta: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Momentum columns: px,py; default p1..pn.")
    ] = None,
    velocities: Annotated[
        str | None, typer.Option(metavar="NAMES", help="Velocity columns instead of momenta.")
    ] = None,
    states: Annotated[
        str | None,
        typer.Option(
            "--states",
            metavar="NAMES",
            help="Columns that are no pairs: L1,L2,L3 of a rigid body, or populations.",
        ),
    ] = None,
    masses: Annotated[
        str | None,
        typer.Option(
            metavar="NUMBERS", help="One mass per position, or one for all; default: found from the data."
        ),
    ] = None,
    ignore: Annotated[str | None, typer.Option(metavar="NAMES", help="Columns to ignore.")] = None,
    periodic: Annotated[
        str | None, typer.Option(metavar="NAMES", help='Position columns that are angles; "" for none.')
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a column. Repeatable.")
    ] = None,
) -> dict[str, Any]:
    """Keys of the data table of a configuration, of the options that were given. Raises `typer.BadParameter`
    for a unit without a name.
    """
    columns = {
        "names": _names(names),
        "trajectory": trajectory,
        "time": time,
        "positions": _names(positions),
        "momenta": _names(momenta),
        "velocities": _names(velocities),
        "states": _names(states),
        "ignore": _names(ignore),
    }
    mapping = {
        "columns": _given(columns),
        "step": dt,
        "masses": _names(masses),
        "periodic": _names(periodic),
        "units": _units(unit) if unit else None,
    }
    return _given(mapping)


def _given(mapping: dict[str, Any]) -> dict[str, Any]:
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
