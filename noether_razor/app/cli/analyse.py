"""``analyse RUN``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .progress import LiveProgress


def analyse(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run with learned quantities.")],
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            help='Ask whether this is conserved: "q1*p2 - q2*p1", or several: "p1, p2". Repeatable.',
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=0, help="Fits of each kind for the Delta-ELBO; one is no evidence, 0: none.")
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Find the conserved quantities of a run, and write symmetry.json."""
    from ...discovery import RunFolder
    from ...reporting import discovery_text, symmetry_text
    from ..runs import analyse_run, report_run

    folder = RunFolder(run)
    with LiveProgress(quiet=quiet or not sys.stderr.isatty()) as live:
        symmetry = analyse_run(folder, quantities=quantity or [], repeats=repeats, on_refit=live.refit)
    if folder.report.exists():
        report_run(folder)
    if not quiet:
        typer.echo(symmetry_text(symmetry) + discovery_text(symmetry), nl=False)
