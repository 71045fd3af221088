"""What a target of numbers by seed is: an experiment, its columns, its claims and its figure."""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
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

    With `parts` its rows are measured apart, by `run(seed, quick, part)`, and quickly the first alone;
    `overall` is then the title of a row of their means.
    """

    name: str
    title: str
    run: Callable[..., Measured]
    columns: tuple[Column, ...]
    claims: tuple[Claim, ...]
    about: tuple[str, ...] = ()
    aims: Callable[[Mapping[str, Row]], list[Verdict]] | None = None
    draw: Callable[[Sequence[Measured]], Figure] | None = None
    datasets: bool = False
    parts: tuple[str, ...] = ()
    overall: str = ""

    def jobs(self, seed: int, quick: bool) -> dict[str, Callable[[], Measured]]:
        """What measures one seed, by names that serve as those of files."""
        if not self.parts:
            return {f"{self.name}-{seed}": partial(self.run, seed, quick)}
        return {
            f"{self.name}-{re.sub('[^A-Za-z0-9]+', '_', part)}-{seed}": partial(self.run, seed, quick, part)
            for part in (self.parts[:1] if quick else self.parts)
        }

    def joined(self, found: Sequence[Measured]) -> Measured:
        """One seed, of what its jobs gave."""
        rows = {row: metrics for one in found for row, metrics in one.rows.items()}
        notes = {key: value for one in found for key, value in one.notes.items()}
        if self.overall:
            every = {metric for metrics in rows.values() for metric in metrics}
            rows[self.overall] = {
                metric: _mean([metrics.get(metric, math.nan) for metrics in rows.values()])
                for metric in sorted(every)
            }
        return Measured(rows, notes)


def _mean(values: Sequence[float]) -> float:
    """That of the values which there are."""
    known = [value for value in values if not math.isnan(value)]
    return sum(known) / len(known) if known else math.nan
