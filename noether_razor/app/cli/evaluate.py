"""``evaluate RUN``."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(run: Annotated[Path, typer.Argument(help="The folder of a trained run.")]) -> None:
    """Estimate the bound and the errors of a run again, write summary.json and print them."""
    from ...discovery import RunFolder
    from ...reporting import summary_text
    from ..runs import evaluate_run

    typer.echo(summary_text(evaluate_run(RunFolder(run))))
