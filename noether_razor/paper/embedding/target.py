"""What a target on embeddings is: an experiment a seed, its columns, its claims and its figure."""

import operator
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
        return _judged(f"{self.metric} of {self.row} at least {self.bound:g}", rows, self, operator.ge)


@dataclass(frozen=True)
class AtMost:
    """The mean of `metric` of `row` is at most `bound`."""

    metric: str
    row: str
    bound: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        return _judged(f"{self.metric} of {self.row} at most {self.bound:g}", rows, self, operator.le)


def _judged(
    text: str, rows: Mapping[str, Row], claim: AtLeast | AtMost, holds: Callable[[Any, float], Any]
) -> Verdict:
    values = np.asarray(rows[claim.row][claim.metric]["values"])
    seeds = int(np.sum(holds(values, claim.bound)))
    detail = f"mean {values.mean():.4g}, {seeds} of {len(values)} seeds"
    return Verdict(text, bool(holds(values.mean(), claim.bound)), detail)
