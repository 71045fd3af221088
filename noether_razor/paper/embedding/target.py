"""What a target on embeddings is: an experiment a seed, its columns, its claims and its figure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from ..claims import Claim, Row, Verdict


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
class EmbeddingTarget:
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


@dataclass(frozen=True)
class AtLeast:
    """The mean of `metric` of `row` is at least `bound`."""

    metric: str
    row: str
    bound: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        values = np.asarray(rows[self.row][self.metric]["values"])
        held = bool(values.mean() >= self.bound)
        return Verdict(
            f"{self.metric} of {self.row} at least {self.bound:g}",
            held,
            _detail(values, values >= self.bound),
        )


@dataclass(frozen=True)
class AtMost:
    """The mean of `metric` of `row` is at most `bound`."""

    metric: str
    row: str
    bound: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        values = np.asarray(rows[self.row][self.metric]["values"])
        held = bool(values.mean() <= self.bound)
        return Verdict(
            f"{self.metric} of {self.row} at most {self.bound:g}", held, _detail(values, values <= self.bound)
        )


def _detail(values: np.ndarray, each: np.ndarray) -> str:
    return f"mean {values.mean():.4g}, {int(each.sum())} of {len(values)} seeds"
