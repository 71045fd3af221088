"""``charges CONFIG`` and ``symmetries CONFIG``."""

from pathlib import Path
from typing import Annotated

import typer

from .folders import run_folder
from .progress import Interruption

CONFIG = typer.Argument(help="TOML file; shipped ones are found by name (learning/digits.toml).")
OVERRIDES = typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable.")
RESUME = typer.Option("--resume", help="Continue the run in the run folder.")
QUIET = typer.Option("--quiet", help="Print neither progress nor result.")


def charges(
    config: Annotated[Path, CONFIG],
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/charges-<config name>.")] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, RESUME] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Train a network and follow the Noether charges of its symmetries: law against measurement.

    Writes charges.json, symmetries.json, report.md, report.html and figures.
    """
    from ..config import load_learning
    from ..runs import charges_run

    def tell(step: int, loss: float) -> None:
        if not quiet and typer.get_text_stream("stderr").isatty():
            typer.echo(f"step {step}  loss {loss:.4f}", err=True)

    settings = load_learning(config, overrides or [])
    folder = run_folder(out or Path("runs") / f"charges-{config.stem}", resume=resume)
    with Interruption() as stop:
        text = charges_run(settings, folder, resume=resume, progress=tell, interrupted=stop)
    if not quiet:
        typer.echo(f"run {folder}\n{text}")


def symmetries(
    config: Annotated[Path, CONFIG],
    out: Annotated[Path | None, typer.Option(help="Folder; default runs/symmetries-<config name>.")] = None,
    overrides: Annotated[list[str] | None, OVERRIDES] = None,
    resume: Annotated[bool, RESUME] = False,
    quiet: Annotated[bool, QUIET] = False,
) -> None:
    """Find the symmetries of a network in parameter space, exact and nearly so, and name them.

    Writes symmetries.json, report.md, report.html and the spectrum.
    """
    from ..config import load_learning
    from ..runs import symmetries_run

    settings = load_learning(config, overrides or [])
    folder = run_folder(out or Path("runs") / f"symmetries-{config.stem}", resume=resume)
    text = symmetries_run(settings, folder, resume=resume)
    if not quiet:
        typer.echo(f"run {folder}\n{text}")
