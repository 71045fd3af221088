"""``demo``."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from ...files import write_whole

TRAJECTORIES, ROWS = 20, 51
STEP, JITTER = 0.2, 0.05
"""The usual time between rows, and the share of it by which each is off."""
NOISE = 0.01
"""Its standard deviation, over that of each column."""


def demo(
    out: Annotated[Path, typer.Option(help="CSV file to write.")] = Path("two_oscillators.csv"),
) -> None:
    """Write a small file of noisy trajectories of two equal oscillators to try discover on."""
    if out.suffix != ".csv":
        raise typer.BadParameter(f"got {out}, expected a name ending in .csv", param_hint="--out")
    content = two_oscillators()
    try:
        if not out.exists():
            write_whole(out, content)
        elif out.read_bytes() != content.encode():
            raise typer.BadParameter(
                f"{out} exists with other contents: remove it or choose another name", param_hint="--out"
            )
    except OSError as error:
        raise typer.BadParameter(f"{out} cannot be written ({error.strerror})", param_hint="--out") from None
    typer.echo(
        f"{out}: {TRAJECTORIES} trajectories of {ROWS} rows, two equal oscillators with {NOISE:.0%} noise\n"
        f"then run:  {shlex.join(['noether-razor', 'discover', str(out)])}"
    )


def two_oscillators() -> str:
    """The same table each time, as CSV: H = (q1^2 + p1^2 + q2^2 + p2^2) / 2 at slightly irregular times."""
    import numpy as np

    draws = np.random.default_rng(0)
    steps = STEP * (1 + JITTER * draws.uniform(-1, 1, (TRAJECTORIES, ROWS)))
    times = np.cumsum(steps, axis=1) - steps[:, :1]
    q, p = draws.normal(size=(2, TRAJECTORIES, 1, 2))
    cos, sin = np.cos(times)[..., None], np.sin(times)[..., None]
    states = np.concatenate([q * cos + p * sin, p * cos - q * sin], axis=2)
    states += NOISE * states.std(axis=(0, 1)) * draws.normal(size=states.shape)
    lines = ["trajectory,time,q1,q2,p1,p2"]
    for k, (clock, path) in enumerate(zip(times.tolist(), states.tolist(), strict=True), start=1):
        lines += [
            ",".join([str(k), f"{time:.4f}", *(f"{value:.5f}" for value in state)])
            for time, state in zip(clock, path, strict=True)
        ]
    return "\n".join(lines) + "\n"
