"""``report RUN``."""

from pathlib import Path
from typing import Annotated

import typer


def report(run: Annotated[Path, typer.Argument(help="Folder of a trained run.")]) -> None:
    """Write report.md, report.html and their figures into the folder of a trained run."""
    from ...discovery import RunFolder
    from ..runs import report_run

    folder = RunFolder(run)
    report_run(folder)
    typer.echo(str(folder.report))
