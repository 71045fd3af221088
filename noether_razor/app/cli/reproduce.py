"""``reproduce TARGET``."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from .train import Interruption


class Target(StrEnum):
    """What can be reproduced."""

    TABLE1 = "table1"
    TABLE2 = "table2"
    TABLE3 = "table3"
    FIGURE2 = "figure2"
    FIGURE3 = "figure3"
    ALL = "all"


class Budget(StrEnum):
    """How much is spent on it."""

    QUICK = "quick"
    STANDARD = "standard"
    PAPER = "paper"


def reproduce(
    target: Annotated[Target, typer.Argument(help="A table or figure of the paper.")],
    seeds: Annotated[int, typer.Option(help="Number of seeds, starting from 0.")] = 3,
    budget: Annotated[
        Budget,
        typer.Option(help="quick: a smoke run; paper: the paper's estimator and step counts, for a GPU."),
    ] = Budget.STANDARD,
    out: Annotated[
        Path, typer.Option(help="Folder for tables, figures and runs; finished runs there are reused.")
    ] = Path("runs/reproduce"),
) -> None:
    """Reproduce a table or figure of the paper and check its claims; rerun the command to continue."""
    from ...paper import reproduce

    if seeds < 1:
        raise typer.BadParameter(f"got {seeds}, expected at least 1", param_hint="--seeds")
    for path in (out, *out.parents):
        if path.exists() and not path.is_dir():
            raise typer.BadParameter(f"got {out}, but {path} is not a folder", param_hint="--out")
    with Interruption() as stop, _Line() as on_progress:
        text = reproduce(
            target.value,
            seeds=seeds,
            budget=budget.value,
            out=out,
            on_progress=on_progress,
            interrupted=stop,
        )
    typer.echo(text)


class _Line:
    """A live line on stderr that names the run and its last logged step, silent when that is no terminal."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.status import Status

        self.shown = sys.stderr.isatty()
        self.status = Status("compiling", console=Console(stderr=True))

    def __enter__(self) -> "_Line":
        if self.shown:
            self.status.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self.shown:
            self.status.stop()

    def __call__(self, run: str, line: dict[str, Any]) -> None:
        if self.shown:
            numbers = f"-ELBO {line['negative_elbo']:9.3f}  NLL {line['nll']:8.3f}  KL {line['kl']:8.3f}"
            self.status.update(f"{run}  step {line['step']}  {numbers}")
