"""``reproduce TARGET``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from .progress import Interruption, LiveProgress
from .sharing import Scheduler, say_if_alone


class Target(StrEnum):
    """What can be reproduced."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    TABLE3 = "table3"
    FIGURE2 = "figure2"
    FIGURE3 = "figure3"
    ALL = "all"
    EMBEDDING_FIGURE1 = "embedding-figure1"
    EMBEDDING_PCA = "embedding-pca"
    EMBEDDING_MANIFOLDS = "embedding-manifolds"
    EMBEDDING_DIGITS = "embedding-digits"
    BEYOND = "beyond"
    BRACKET = "bracket"
    MECHANICS_FIGURE5 = "mechanics-figure5"
    LEARNING_FIGURE4 = "learning-figure4"
    LEARNING_RMSPROP = "learning-rmsprop"
    NETWORK_SYMMETRIES = "network-symmetries"


class Budget(StrEnum):
    """How much is spent on it."""

    QUICK = "quick"
    STANDARD = "standard"
    PAPER = "paper"


def reproduce(
    target: Annotated[Target, typer.Argument(help="A table or figure; all: those of Noether's Razor.")],
    seeds: Annotated[int, typer.Option(help="Number of seeds, starting from 0.")] = 3,
    budget: Annotated[
        Budget,
        typer.Option(help="quick: a smoke run; paper: the paper's estimator and step counts, for a GPU."),
    ] = Budget.STANDARD,
    out: Annotated[
        Path, typer.Option(help="Folder for tables, figures and runs; finished runs there are reused.")
    ] = Path("runs/reproduce"),
    scheduler: Scheduler = None,
) -> None:
    """Reproduce a table or figure of the paper and check its claims; rerun the command to continue."""
    from ...paper import reproduce

    if seeds < 1:
        raise typer.BadParameter(f"got {seeds}, expected at least 1", param_hint="--seeds")
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise typer.BadParameter(f"got {out}, but {path} is not a folder", param_hint="--out")
    say_if_alone(scheduler)
    # Silent where stderr is no terminal: the runs have lines of their own in their folders.
    with Interruption() as stop, LiveProgress(quiet=not sys.stderr.isatty()) as live:
        text = reproduce(
            target.value,
            seeds=seeds,
            budget=budget.value,
            out=out,
            scheduler=scheduler,
            on_progress=lambda run, line: live.update(line, run),
            interrupted=stop,
        )
    typer.echo(text)
