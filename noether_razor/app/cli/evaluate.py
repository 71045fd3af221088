"""``evaluate RUN``."""

from pathlib import Path
from typing import Annotated

import typer


def evaluate(run: Annotated[Path, typer.Argument(help="Folder of a trained run.")]) -> None:
    """Estimate the ELBO and the errors of a run again, and write and print summary.json."""
    from ...discovery import RunFolder
    from ...reporting import summary_text
    from ..runs import evaluate_run

    typer.echo(summary_text(evaluate_run(RunFolder(run))))
