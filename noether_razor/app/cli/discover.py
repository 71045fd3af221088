"""``discover DATA``."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .columns import (
    Ignored,
    Masses,
    Momenta,
    Names,
    Periodic,
    Positions,
    Step,
    TimeColumn,
    TrajectoryColumn,
    Units,
    Velocities,
    data_table,
)
from .train import Interruption, LiveProgress

if TYPE_CHECKING:
    from ...discovery import Discovery
    from ...training import Report


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
    trajectory: TrajectoryColumn = None,
    time: TimeColumn = None,
    dt: Step = None,
    names: Names = None,
    positions: Positions = None,
    momenta: Momenta = None,
    velocities: Velocities = None,
    masses: Masses = None,
    ignore: Ignored = None,
    periodic: Periodic = None,
    unit: Units = None,
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
    from ...discovery import RunFolder
    from ...reporting import headline
    from ..runs import budget_named, discover_config, discover_run

    given = data_table(
        names=names,
        trajectory=trajectory,
        time=time,
        positions=positions,
        momenta=momenta,
        velocities=velocities,
        ignore=ignore,
        step=dt,
        masses=masses,
        periodic=periodic,
        unit=unit,
    )
    spent = budget_named(budget)
    # What --set says goes before the budget.
    config = discover_config(data, given, [f"training.steps={spent.steps}", *(overrides or [])])
    folder = RunFolder(out or Path("runs") / f"{data.stem}-{config.seed}")
    with Interruption() as stop, LiveProgress(config, quiet) as live:

        def on_refit(name: str, report: "Report") -> None:
            live.refit(name, report.step, report.negative_elbo)

        def on_answer(answer: "Discovery") -> None:
            if not quiet:
                live.say(f"from the data alone: {headline(answer.to_json())}\nnow training the model")

        found = discover_run(
            config,
            folder,
            quantities=quantity or [],
            family=family,
            repeats=repeats or spent.repeats,
            resume=resume,
            on_progress=live.update,
            on_refit=on_refit,
            on_answer=on_answer,
            interrupted=stop,
            on_reading=live.reading,
        )
    if not quiet:
        typer.echo(str(found))
        if folder.page.exists():
            typer.echo(f"report {folder.page}")
