"""What all experiments write alike."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ..files import written_whole
from ..reporting import png_of


def save_figure(figure: Figure, out: Path, name: str) -> None:
    """As ``<name>.png`` and ``<name>.pdf`` in the folder `out`, each whole or not at all."""
    with written_whole(out / f"{name}.png") as temporary:
        temporary.write_bytes(png_of(figure))
    with written_whole(out / f"{name}.pdf") as temporary:
        figure.savefig(temporary)


def verdict_lines(verdicts: Sequence[Mapping[str, Any]]) -> list[str]:
    """A list in Markdown of verdicts as they are in files: whether each claim held, and by how much."""
    return [f"- {'held' if v['held'] else '**not held**'}: {v['claim']}; {v['detail']}" for v in verdicts]
