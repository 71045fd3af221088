"""What a target of numbers by seed is: an experiment, its columns, its claims and its figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from matplotlib.figure import Figure

from .claims import Claim, Row, Verdict


class Column(NamedTuple):
    """A number of a row: its key, its title and how it is printed."""

    metric: str
    title: str
    form: str


class Measured(NamedTuple):
    """What one seed gave: numbers by row and metric, and anything else for the file or the figure."""

    rows: dict[str, dict[str, float]]
    notes: dict[str, Any]


@dataclass(frozen=True)
class SeededTarget:
    """An experiment of `run(seed, quick)`; `draw` makes a figure of all seeds. `datasets`: it needs the extra
    of that name.
    """

    name: str
    title: str
    run: Callable[[int, bool], Measured]
    columns: tuple[Column, ...]
    claims: tuple[Claim, ...]
    about: tuple[str, ...] = ()
    aims: Callable[[Mapping[str, Row]], list[Verdict]] | None = None
    draw: Callable[[Sequence[Measured]], Figure] | None = None
    datasets: bool = False
