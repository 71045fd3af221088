"""``analyse RUN``."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...training import Report


def analyse(
    run: Annotated[Path, typer.Argument(help="The folder of a trained run with learned quantities.")],
    quantity: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FORMULA",
            help='Is this conserved? "q1*p2 - q2*p1", several as "p1, p2"; may be repeated.',
        ),
    ] = None,
    repeats: Annotated[
        int, typer.Option(min=0, help="Refits for the evidence, each with and without the found space.")
    ] = 1,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress, no result.")] = False,
) -> None:
    """Say which quantities a run found to be conserved, and write symmetry.json."""
    from ...discovery import RunFolder
    from ...reporting import discovery_text, symmetry_text
    from ..runs import analyse_run, report_run

    folder = RunFolder(run)
    show = not quiet and sys.stderr.isatty()

    def on_refit(name: str, report: "Report") -> None:
        if show:
            line = f"refit {name} of {repeats}  step {report.step}  -ELBO {report.negative_elbo:9.3f}"
            print(f"\r{line}", end="", file=sys.stderr, flush=True)

    symmetry = analyse_run(folder, quantities=quantity or [], repeats=repeats, on_refit=on_refit)
    if show:
        print(file=sys.stderr)
    if folder.report.exists():
        report_run(folder)
    if not quiet:
        typer.echo(symmetry_text(symmetry) + discovery_text(symmetry), nl=False)
