"""``train CONFIG``."""

from pathlib import Path
from typing import Annotated

import typer

from .folders import run_folder
from .progress import Interruption, LiveProgress


def train(
    config: Annotated[
        Path,
        typer.Argument(help="TOML file; shipped ones are found by name (oscillator/learned.toml)."),
    ],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<config name>-<seed>.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Train on the data of a config, write a run folder, and print the result."""
    from ...discovery import RunFolder
    from ...reporting import summary_text
    from ..config import load_config
    from ..runs import Listener, train_run

    settings = load_config(config, overrides or [])
    folder = RunFolder(run_folder(out or Path("runs") / f"{config.stem}-{settings.seed}", resume=resume))
    with Interruption() as stop, LiveProgress(quiet, settings.training.steps) as live:
        listener = Listener(progress=live.update, reading=live.reading, interrupted=stop)
        summary = train_run(settings, folder, resume=resume, listener=listener)
    if not quiet:
        typer.echo(f"run {folder.path}")
        typer.echo(summary_text(summary))
