"""``sweep CONFIG``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .folders import run_folder
from .progress import Interruption, LiveProgress
from .sharing import Scheduler, say_if_alone


def sweep(
    config: Annotated[Path, typer.Argument(help="TOML file; shipped ones are found by name.")],
    overrides: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="TABLE.KEY=VALUE,VALUE,...",
            help="Values of one setting; with several such options, all combinations. Repeatable.",
        ),
    ] = None,
    seeds: Annotated[int, typer.Option(help="Number of seeds for each, starting from 0.")] = 3,
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/sweep-<config name>.")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the sweep in the folder.")] = False,
    scheduler: Scheduler = None,
) -> None:
    """Train a config for all combinations of settings and several seeds; write a table and a plot."""
    from ...sweep import plan_sweep, run_sweep, sweep_text
    from ...workers import side_by_side

    if seeds < 1:
        raise typer.BadParameter(f"got {seeds}, expected at least 1", param_hint="--seeds")
    where = out or Path("runs") / f"sweep-{config.stem}"
    runs = plan_sweep(config, overrides or [], seeds=seeds, out=where)
    run_folder(where)
    if not resume and where.is_dir() and any(where.iterdir()):
        used = "is not empty, use --resume to continue a sweep there or choose another folder"
        raise typer.BadParameter(f"{where} {used}", param_hint="--out")
    say_if_alone(scheduler)
    at_a_time = side_by_side(len(runs), scheduler)
    # Silent where stderr is no terminal: the runs have lines of their own in their folders.
    quiet = not sys.stderr.isatty()
    with Interruption() as stop, LiveProgress(quiet) as live:

        def say(text: str) -> None:
            if not quiet:
                live.say(text)

        say(f"{len(runs)} runs, {at_a_time} at a time")

        content = run_sweep(
            runs,
            where,
            scheduler=scheduler,
            on_progress=lambda run, line: live.update(line, run),
            on_run=lambda run, error: say(f"{run.name}: {error or 'done'}"),
            interrupted=stop,
        )
    typer.echo(f"sweep {where}")
    typer.echo(sweep_text(content))
    if all(row["error"] for row in content["rows"]):
        raise typer.Exit(1)
