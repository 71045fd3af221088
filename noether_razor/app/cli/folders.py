"""Where a command writes: asked before anything is computed."""

import sys
from pathlib import Path

import typer


def run_folder(path: Path, *, resume: bool = False) -> Path:
    """The folder `path`, which is there or can be made; says so where there is no run to go on with.

    Raises `typer.BadParameter` for a file, and for a folder that cannot be made or written to.
    """
    from ...discovery import RunFolder
    from ...files import require_writable

    if path.exists() and not path.is_dir():
        raise typer.BadParameter(f"{path} is not a folder", param_hint="--out")
    try:
        require_writable(path)
    except OSError as error:
        raise typer.BadParameter(f"{path}: cannot be written: {error.strerror}", param_hint="--out") from None
    if resume and not RunFolder(path).holds_run():
        print(f"noether-razor: nothing to resume in {path}, starting", file=sys.stderr)
    return path
