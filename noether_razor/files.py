"""Files that are written whole or not at all."""

import contextlib
import math
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, with its suffix, that takes its place when the block ends well.

    Folders above are made. Raises OSError as writing does; `path` is then as it was before.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, text: str) -> None:
    """Write a text file, whole or not at all."""
    with written_whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")


ATTEMPTS = 5
"""How often a folder is made that others remove."""


def require_writable(folder: Path) -> None:
    """Make a folder and those above it, and a file in it, and remove again what was not there. Raises OSError
    where that fails: better before long work than after it. Several processes may ask the same at once.
    """
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        for left in reversed(range(ATTEMPTS)):
            try:
                folder.mkdir(parents=True, exist_ok=True)
                with tempfile.TemporaryFile(dir=folder):
                    break
            except FileNotFoundError:  # another process has removed what it had made
                if not left:
                    raise
    finally:
        for path in missing:
            with contextlib.suppress(OSError):  # another process is in it, or has removed it
                path.rmdir()


def finite_only(value: Any) -> Any:
    """The same with None for numbers that are not finite, which JSON has no word for."""
    if isinstance(value, Mapping):
        return {key: finite_only(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [finite_only(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
