"""``train CONFIG``."""

from pathlib import Path
from typing import Annotated

import typer

from .folders import run_folder
from .joining import join
from .progress import Interruption, LiveProgress


def train(
    config: Annotated[
        Path,
        typer.Argument(help="TOML file; shipped ones are found by name (oscillator/learned.toml)."),
    ],
    out: Annotated[Path | None, typer.Option(help="Run folder; default runs/<config name>-<seed>.")] = None,
    overrides: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="TABLE.KEY=VALUE", help="Override one value. Repeatable."),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in the run folder.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print neither progress nor result.")] = False,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Say what the run will cost, from a few steps; write nothing.")
    ] = False,
    coordinator: Annotated[
        str | None,
        typer.Option(help="Share the run with other processes: host:port of the first, or auto."),
    ] = None,
    processes: Annotated[int | None, typer.Option(help="How many processes share the run.")] = None,
    process_id: Annotated[int | None, typer.Option(help="Number of this process, from 0.")] = None,
) -> None:
    """Train on the data of a config, write a run folder, and print the result."""
    from ...discovery import RunFolder
    from ...reporting import summary_text
    from ..config import ConfigError, load_config
    from ..runs import Listener, dry_run, dry_text, train_run, train_with_others

    settings = load_config(config, overrides or [])
    if coordinator is not None:
        join(coordinator, processes, process_id)
    elif processes is not None or process_id is not None:
        raise ConfigError("--processes, --process-id: need --coordinator")
    import jax

    if dry:
        if coordinator is not None:
            raise ConfigError("--dry-run: measures one process, without --coordinator")
        everywhere = [tuple(jax.devices())]
        if jax.default_backend() != "cpu":
            everywhere.append(tuple(jax.devices("cpu")[:1]))
        typer.echo(dry_text(dry_run(settings, everywhere)))
        return
    first = jax.process_index() == 0
    quiet = quiet or not first
    where = out or Path("runs") / f"{config.stem}-{settings.seed}"
    folder = RunFolder(run_folder(where, resume=resume and first))
    with Interruption() as stop, LiveProgress(quiet, settings.training.steps) as live:
        listener = Listener(progress=live.update, reading=live.reading, interrupted=stop, doing=live.now)
        if coordinator is None:
            devices = tuple(jax.devices())
            summary = train_run(settings, folder, resume=resume, listener=listener, devices=devices)
        else:
            summary = train_with_others(settings, folder, resume=resume, listener=listener)
    if not quiet and summary is not None:
        typer.echo(f"run {folder.path}")
        typer.echo(summary_text(summary))
