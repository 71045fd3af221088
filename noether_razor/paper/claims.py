"""Claims about the numbers of a table, and whether they held."""

import math
import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np

from ..reporting import mean_and_stderr

Row = Mapping[str, Any]
"""Metrics, ``{"mean": .., "stderr": .., "values": [a seed]}`` each, and symmetry data, a list a seed."""


class Verdict(NamedTuple):
    """A claim in words, whether it held, and by how much."""

    claim: str
    held: bool
    detail: str


@runtime_checkable
class Claim(Protocol):
    """Something that can be judged from the rows of a table and its noise floors, by metric."""

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict: ...


def at_most(what: str, values: Sequence[float] | np.ndarray, bound: float, *, each: bool = False) -> Verdict:
    """Whether the mean of a number over seeds, or with `each` that of every seed, is at most `bound`."""
    return _bounded(f"{what} at most {bound:g}", values, bound, operator.le, "largest" if each else "mean")


def at_least(what: str, values: Sequence[float] | np.ndarray, bound: float, *, each: bool = False) -> Verdict:
    """Whether the mean of a number over seeds, or with `each` that of every seed, is at least `bound`."""
    return _bounded(f"{what} at least {bound:g}", values, bound, operator.ge, "least" if each else "mean")


def _bounded(
    claim: str, values: Any, bound: float, holds: Callable[[Any, float], Any], judged: str
) -> Verdict:
    values = np.asarray(values, float)
    shown = {"mean": values.mean(), "largest": values.max(), "least": values.min()}
    seeds = int(np.sum(holds(values, bound)))
    detail = f"{judged} {shown[judged]:.6g}, {seeds} of {len(values)} seeds"
    return Verdict(claim, bool(holds(shown[judged], bound)), detail)


@dataclass(frozen=True)
class Comparison:
    """`metric` of `row` is below that of `reference`, seed by seed in the mean.

    With `relative` or `absolute` set, at most that much above it counts too: the larger of `relative` times
    |reference| and `absolute`. The difference is taken seed by seed, since seeds share their data, and given
    in its own standard errors.
    """

    metric: str
    row: str
    reference: str
    relative: float = 0.0
    absolute: float = 0.0

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        ours, theirs = (np.asarray(rows[name][self.metric]["values"]) for name in (self.row, self.reference))
        allowed = np.maximum(self.relative * np.abs(theirs), self.absolute)
        difference = mean_and_stderr((ours - theirs).tolist())
        margin = max(self.relative * abs(float(theirs.mean())), self.absolute)
        within = self.relative > 0 or self.absolute > 0
        held = difference["mean"] <= margin if within else difference["mean"] < 0
        agreeing = int(np.sum(ours - theirs <= allowed if within else ours < theirs))
        claim = f"{self.metric} of {self.row} " + (
            f"at most {self._allowance()} above {self.reference}" if within else f"below {self.reference}"
        )
        error = difference["stderr"]
        size = "one seed" if error is None else f"± {error:.2g}"
        if error:
            size += f", {difference['mean'] / error:+.1f} standard errors"
        detail = f"difference {difference['mean']:+.3g} ({size}), {agreeing} of {len(ours)} seeds"
        return Verdict(claim, bool(held), detail)

    def _allowance(self) -> str:
        parts = [f"{self.relative:.0%}"] if self.relative else []
        return " or ".join([*parts, *([f"{self.absolute:g}"] if self.absolute else [])])


@dataclass(frozen=True)
class AtMost:
    """The mean of `metric` of `row` is at most `bound`."""

    metric: str
    row: str
    bound: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        return at_most(f"{self.metric} of {self.row}", rows[self.row][self.metric]["values"], self.bound)


@dataclass(frozen=True)
class AtLeast:
    """The mean of `metric` of `row` is at least `bound`."""

    metric: str
    row: str
    bound: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        return at_least(f"{self.metric} of {self.row}", rows[self.row][self.metric]["values"], self.bound)


@dataclass(frozen=True)
class NearFloor:
    """The mean of `metric` of `row` is at most `within` above its noise floor."""

    metric: str
    row: str
    within: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        floor = floors[self.metric]
        above = np.asarray(rows[self.row][self.metric]["values"]) - floor
        return at_most(f"{self.metric} of {self.row} minus its noise floor {floor:.3f}", above, self.within)


@dataclass(frozen=True)
class FullAlgebra:
    """On every seed the leading directions of `row` span the known ones: smallest principal cosine at least
    `cosine`, and the other singular values at most `rest` of the largest.
    """

    row: str
    cosine: float
    rest: float

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        row = rows[self.row]
        smallest = [min(cosines) for cosines in row["principal_cosines"]]
        others = [
            rest_ratio(values, len(cosines))
            for values, cosines in zip(row["singular_values"], row["principal_cosines"], strict=True)
        ]
        return Verdict(
            f"{self.row} found the known quantities: smallest principal cosine at least {self.cosine:g}, "
            f"other directions below {self.rest:.0%} of the largest",
            min(smallest) >= self.cosine and max(others) <= self.rest,
            f"smallest cosine {min(smallest):.3f}, others up to {max(others):.1%}",
        )


@dataclass(frozen=True)
class Spectrum:
    """On every seed of row `row` the first `count` directions have alignment at least `alignment`, the
    singular values fall by at least `gap` after them, and those beyond are at most `rest` of the largest.
    """

    row: str
    count: int
    alignment: float = 0.99
    gap: float = 2.5
    rest: float = 0.02

    def judge(self, rows: Mapping[str, Row], floors: Mapping[str, float]) -> Verdict:
        del floors
        row = rows[self.row]
        lowest = min(min(parallel[: self.count]) for parallel in row["parallelness"])
        gap = min(gap_after(values, self.count) for values in row["singular_values"])
        rest = max(rest_ratio(values, self.count) for values in row["singular_values"])
        return Verdict(
            f"n = {self.row}: alignment at least {self.alignment:g} up to direction {self.count}, "
            f"a gap of {self.gap:g} after it, and below {self.rest:.0%} of the largest beyond",
            lowest >= self.alignment and gap >= self.gap and rest <= self.rest,
            f"alignment {lowest:.4f}, gap {gap:.3g}, beyond {rest:.2%}",
        )


def gap_after(values: Sequence[float], count: int) -> float:
    """The ratio of singular value number `count` to the next; infinite where there is none that differs from
    0.
    """
    following = values[count] if count < len(values) else 0.0
    return values[count - 1] / following if following > 0 else math.inf


def rest_ratio(values: Sequence[float], count: int) -> float:
    """The largest singular value beyond the first `count`, over the largest of all."""
    return max(values[count:], default=0.0) / values[0]
