"""``evidence DATA``."""

from pathlib import Path
from typing import Annotated, Any

import typer

from .columns import with_columns


@with_columns
def evidence(
    data: Annotated[Path, typer.Argument(help="Trajectories: .csv, .tsv, .txt, .dat, .npz, .npy or .h5.")],
    quantity: Annotated[
        list[str],
        typer.Option(
            metavar="FORMULA",
            help='Ask whether this is conserved: "q1*p2 - q2*p1", or several: "p1, p2". Repeatable.',
        ),
    ],
    degree: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Degree of H in coordinates that are no angles; default: by the evidence.",
        ),
    ] = None,
    features: Annotated[
        list[str] | None,
        typer.Option(
            metavar="WORD|FORMULA",
            help="What H is a sum of: polynomials, library, radial or fourier, and terms such as "
            '"1/(1 + q1^2)"; default: by the data. Repeatable.',
        ),
    ] = None,
    space_degree: Annotated[
        int,
        typer.Option(min=2, max=4, help="Degree up to which all conserved polynomials are looked for."),
    ] = 2,
    out: Annotated[Path | None, typer.Option(help="File for all numbers, as JSON.")] = None,
    table: dict[str, Any] | None = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
) -> None:
    """Say by how many nats data support that named quantities are conserved, exactly or nearly.

    A file DATA.toml beside the data can also describe the columns.
    """
    from ..runs import evidence_of_file

    def tell(text: str) -> None:
        if not quiet and typer.get_text_stream("stderr").isatty():
            typer.echo(f"evidence: {text}", err=True)

    found, notes = evidence_of_file(
        data,
        table or {},
        quantity,
        degree=degree,
        features=features or (),
        space_degree=space_degree,
        out=out,
        progress=tell,
    )
    if not quiet:
        typer.echo("\n".join([*(f"note: {note}" for note in notes), str(found)]))
