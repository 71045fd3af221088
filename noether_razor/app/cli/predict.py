"""``predict RUN``."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Annotated

import typer

MOST_TIMES = 1_000_000


def predict(
    run: Annotated[Path, typer.Argument(help="Folder of a trained run.")],
    initial: Annotated[
        Path, typer.Option(help="Initial states (.csv, .npz or .h5), with the columns of the run's data.")
    ],
    times: Annotated[
        str, typer.Option(help="START:STOP:STEP or T0,T1,...; the first is that of the initial states.")
    ],
    out: Annotated[Path, typer.Option(help="File to write (.csv or .npz).")],
    samples: Annotated[int, typer.Option(min=20, max=10_000, help="Posterior samples.")] = 100,
    observed: Annotated[
        bool, typer.Option("--observed", help="Include observation noise in the bands.")
    ] = False,
) -> None:
    """Predict trajectories from initial states: mean, median, and 50 % and 90 % bands."""
    import numpy as np

    from ...discovery import RunFolder
    from ..runs import predict_run

    if out.suffix not in (".csv", ".npz"):
        raise typer.BadParameter(f"got {out}, expected a name ending in .csv or .npz", param_hint="--out")
    at = np.array(parse_times(times))
    prediction = predict_run(RunFolder(run), initial, at, samples=samples, observed=observed)
    prediction.save(out)
    typer.echo(f"{out}: {len(prediction.bands.mean)} trajectories at {len(at)} times")


def parse_times(text: str) -> list[float]:
    """The times of START:STOP:STEP, the last included where the steps end there, or of a list T0,T1,...

    Raises `typer.BadParameter` for fewer than two times, or times that are not finite or do not increase.
    """

    def fail(why: str) -> typer.BadParameter:
        return typer.BadParameter(f"got {text!r}, {why}", param_hint="--times")

    try:
        parts = [float(part) for part in text.split(":" if ":" in text else ",")]
    except ValueError:
        raise fail("expected START:STOP:STEP or T0,T1,...") from None
    if not all(math.isfinite(part) for part in parts):
        raise fail("expected finite numbers")
    if ":" in text:
        if len(parts) != 3:
            raise fail("expected START:STOP:STEP")
        start, stop, step = parts
        if step <= 0 or stop <= start:
            raise fail("expected a stop after the start and a positive step")
        if (stop - start) / step > MOST_TIMES:
            raise fail(f"expected at most {MOST_TIMES} times")
        parts = [start + k * step for k in range(int((stop - start) / step * (1 + 1e-12) + 1e-9) + 1)]
    if len(parts) < 2:
        raise fail("expected at least two times")
    if any(after <= before for before, after in pairwise(parts)):
        raise fail("expected increasing times")
    return parts
