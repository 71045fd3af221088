"""Where runs are shared out to."""

import sys
from typing import Annotated

import typer

Scheduler = Annotated[
    str | None,
    typer.Option(metavar="TCP://HOST:PORT", help="Let the workers of a Dask cluster do the runs."),
]


def say_if_alone(scheduler: str | None) -> None:
    """Say on stderr that runs go one after the other where Dask is missing."""
    from ...workers import dask_installed

    if scheduler is None and not dask_installed():
        how = "several at a time need: pip install 'noether-razor[cluster]'"
        print(f"noether-razor: runs go one after the other; {how}", file=sys.stderr)
