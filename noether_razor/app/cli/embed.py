"""``embed DATA|CONFIG``."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .folders import run_folder


def embed(
    data: Annotated[
        Path,
        typer.Argument(help="Points: .csv, .tsv, .txt, .dat, .npy, .npz or .h5; or a TOML configuration."),
    ],
    components: Annotated[
        int | None, typer.Option(min=1, help="Dimension of the latent space; default 2.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<data name>-<seed>.")] = None,
    latent: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="auto, uniform, normal, circle or sphere; default auto for one component, else uniform.",
        ),
    ] = None,
    degree: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Degree of the map. Without it degree, chart, stiffness and, for one component, an open or a"
            " closed curve are chosen by held-out likelihood; with it nothing is compared.",
        ),
    ] = None,
    ignore: Annotated[str | None, typer.Option(metavar="NAMES", help="Columns to leave out.")] = None,
    standardise: Annotated[
        bool,
        typer.Option("--standardise", help="Divide each column by its standard deviation: for unlike units."),
    ] = False,
    seed: Annotated[int | None, typer.Option(min=0, help="Of the rows that are held out; default 0.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Embed points by a smooth map both ways; write coordinates, currents, symmetries and a report."""
    from ..runs import embed_run, embedding_config

    ignored = None if ignore is None else [name.strip() for name in ignore.split(",") if name.strip()]
    given = {
        "data.ignore": ignored,
        "data.standardise": standardise or None,
        "embedding.components": components,
        "embedding.latent": latent,
        "embedding.degree": degree,
        "seed": seed,
    }
    config = embedding_config(data, given, overrides or [])
    folder = run_folder(out or Path("runs") / f"{data.stem}-{config.seed}")
    live = not quiet and sys.stderr.isatty()

    def tell(what: str, step: int, value: float) -> None:
        if live and value == value:
            typer.echo(f"\rembed: {what}, iteration {step}, objective {value:.4f}\033[K", err=True, nl=False)

    answer = embed_run(config, folder, progress=tell)
    if live:
        typer.echo(err=True)
    if not quiet:
        typer.echo(f"{answer}\nreport {folder / 'report.html'}")
