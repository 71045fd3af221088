"""``discover DATA``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .progress import Interruption, LiveProgress

if TYPE_CHECKING:
    from ...discovery import Discovery


def discover(
    data: Annotated[Path, typer.Argument(help="Trajectories: .csv, .tsv, .txt, .dat, .npz, .npy or .h5.")],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<data name>-<seed>.")] = None,
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            help='Ask whether this is conserved: "q1*p2 - q2*p1", or several: "p1, p2". Repeatable.',
        ),
    ] = None,
    family: Annotated[
        str, typer.Option(metavar="NAME", help="What quantities are made of: quadratic or fourier.")
    ] = "quadratic",
    budget: Annotated[
        str, typer.Option(metavar="NAME", help="Training effort: quick, standard or thorough.")
    ] = "standard",
    repeats: Annotated[
        int | None,
        typer.Option(min=1, help="Fits of each kind for the Delta-ELBO; default: set by the budget."),
    ] = None,
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
        str | None, typer.Option(metavar="NAMES", help="Velocity columns instead of momenta; needs --masses.")
    ] = None,
    masses: Annotated[
        str | None, typer.Option(metavar="NUMBERS", help="One mass per position, or one for all.")
    ] = None,
    ignore: Annotated[str | None, typer.Option(metavar="NAMES", help="Columns to ignore.")] = None,
    periodic: Annotated[
        str | None, typer.Option(metavar="NAMES", help='Position columns that are angles; "" for none.')
    ] = None,
    unit: Annotated[
        list[str] | None, typer.Option(metavar="NAME=UNIT", help="Unit of a column. Repeatable.")
    ] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Find what a file of trajectories conserves and what it cannot tell; write a run folder with a report.

    A file DATA.toml beside the data can also describe the columns.
    """
    columns = {
        "names": _names(names),
        "trajectory": trajectory,
        "time": time,
        "positions": _names(positions),
        "momenta": _names(momenta),
        "velocities": _names(velocities),
        "ignore": _names(ignore),
    }
    mapping = {
        "columns": _given(columns),
        "step": dt,
        "masses": _names(masses),
        "periodic": _names(periodic),
        "units": _units(unit) if unit else None,
    }
    asked = {"quantities": quantity or [], "family": family, "repeats": repeats, "resume": resume}
    _discover(data, out, _given(mapping), budget, overrides or [], asked, quiet)


def _discover(
    data: Path,
    out: Path | None,
    mapping: dict[str, Any],
    budget: str,
    overrides: list[str],
    asked: dict[str, Any],
    quiet: bool,
) -> None:
    from ...discovery import RunFolder
    from ...reporting import headline
    from ..runs import Listener, budget_named, discover_config, discover_run

    spent = budget_named(budget)
    # What --set says goes before the budget.
    config = discover_config(data, mapping, [f"training.steps={spent.steps}", *overrides])
    folder = RunFolder(out or Path("runs") / f"{data.stem}-{config.seed}")
    with Interruption() as stop, LiveProgress(quiet, config.training.steps) as live:

        def answer(found: "Discovery") -> None:
            if not quiet:
                live.say(f"from the data alone: {headline(found.to_json())}\nnow training the model")

        listener = Listener(live.update, live.refit, answer, live.reading, stop)
        asked["repeats"] = asked["repeats"] or spent.repeats
        found = discover_run(config, folder, listener=listener, **asked)
    if not quiet:
        typer.echo(str(found))
        if folder.page.exists():
            typer.echo(f"report {folder.page}")


def _given(table: dict[str, Any]) -> dict[str, Any]:
    """What was given of a table."""
    return {key: value for key, value in table.items() if value is not None}


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _units(pairs: list[str]) -> dict[str, str]:
    units = {}
    for pair in pairs:
        name, separator, unit = pair.partition("=")
        if not separator or not name.strip():
            raise typer.BadParameter(f"got {pair!r}, expected NAME=UNIT", param_hint="--unit")
        units[name.strip()] = unit.strip()
    return units
