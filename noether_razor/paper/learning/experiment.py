"""What an experiment on learning dynamics is, and what several of them say and claim."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from ..claims import Verdict, at_least, at_most

MEASURED = "#2a7fc9"
"""The colour of what was measured."""
LAW = "#d1495b"
"""The colour of what it is compared with."""
Numbers = dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """What is run for a seed (its `numbers`, and a `series` to draw), claimed of all seeds, and drawn: the
    series of the first seed, and the numbers of all.

    A number called "row: column" stands in a table at that place.
    """

    name: str
    title: str
    about: str
    run: Callable[[int, bool], dict[str, Any]]
    claims: Callable[[Mapping[str, Sequence[float]]], list[Verdict]]
    draw: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], Figure]


SYMBOLS = "eta: learning rate, beta: momentum, k: weight decay"
"""What the letters of `setting_name` mean."""


def setting_name(setting: tuple[float, float, float]) -> str:
    """Learning rate, momentum and decay, as numbers and titles have them."""
    return "eta {:g}, beta {:g}, k {:g}".format(*setting)


def below(table: Mapping[str, Sequence[float]], key: str, limit: float) -> Verdict:
    """On every seed the number is at most `limit`."""
    return at_most(key, table[key], limit, each=True)


def above(table: Mapping[str, Sequence[float]], key: str, limit: float) -> Verdict:
    """On every seed the number is at least `limit`."""
    return at_least(key, table[key], limit, each=True)
