"""``report RUN``."""

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="The folder of a trained run.")]) -> None:
    """Write report.md with its figures into the folder of a trained run."""
    from ...discovery import RunFolder
    from ..runs import report_run

    folder = RunFolder(run)
    report_run(folder)
    typer.echo(str(folder.report))
