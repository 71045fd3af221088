"""``simulate CONFIG``."""

from pathlib import Path
from typing import Annotated

import typer


def simulate(
    config: Annotated[Path, typer.Argument(help="TOML file with a system and a data table.")],
    out: Annotated[Path, typer.Option(help="File to write (.npz).")],
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
) -> None:
    """Simulate the training data of a config, noise included, and write them to a file."""
    from ...trajectories import save_trajectories
    from ..config import ConfigError, build_system, load_config, simulate_data

    if out.suffix != ".npz":
        raise typer.BadParameter(f"got {out}, expected a name ending in .npz", param_hint="--out")
    settings = load_config(config, overrides or [])
    if settings.data.file is not None:
        raise ConfigError(
            f"{config}: data.file: the data come from {settings.data.file}, so there is nothing to simulate"
        )
    trajectories = simulate_data(settings, build_system(settings.system))
    save_trajectories(out, trajectories)
    typer.echo(
        f"{out}: {len(trajectories)} trajectories of {settings.data.transitions} transitions, "
        f"{trajectories.dof} degrees of freedom"
    )
