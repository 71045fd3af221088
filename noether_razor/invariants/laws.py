"""What states that are no pairs of positions and momenta conserve: no bracket is asked for."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..trajectories import Trajectories
from .analysis import Analysis, analyse
from .dictionary import Dictionary
from .found import FoundQuantity
from .logarithmic import WithLogarithms
from .monomials import Monomials
from .motion import Motion
from .on_states import independence

RANGE = 1.5
"""Largest over least value from which a logarithm is told from a polynomial."""


@dataclass(frozen=True)
class Laws:
    """What is constant along trajectories of any columns.

    `quantities` are functionally independent, of the lowest degree first: what is a function of others is not
    among them. `same` has one value in the whole file, and is not counted. `analysis` is that of the widest
    family of terms whose answer counts, with the limits of the file.
    """

    quantities: tuple[FoundQuantity, ...]
    same: tuple[FoundQuantity, ...]
    analysis: Analysis

    @property
    def rank(self) -> int:
        """How many functionally independent quantities were found."""
        return len(self.quantities)

    def __repr__(self) -> str:
        known = [one.text for one in self.quantities] + [f"{one.text} is one value" for one in self.same]
        decided = "decided" if self.analysis.decided else "not decided"
        return f"Laws({'; '.join([*known, decided])})"

    def to_json(self) -> dict[str, Any]:
        """The entry "laws" of symmetry.json, with the keys of an answer for pairs."""
        return self.analysis.to_json() | {
            "rank": self.rank,
            "quantities": [one.to_json() for one in self.quantities],
            "same_everywhere": [one.to_json() for one in self.same],
            "independent": self.rank,
            "generating": list(range(self.rank)),
        }


def laws_of_states(trajectories: Trajectories) -> Laws:
    """What `trajectories` of any columns, paired or not, conserve: combinations of the columns, then of their
    products, then of logarithms of those that are positive, by the test of `conserved_space`.

    Logarithms of columns that hardly change beside their size are left out: they are polynomials there. Those
    of the others count where the test decides, or where it finds more. Raises ValueError as that does.
    """
    names, points = trajectories.names, trajectories.points()
    positive = (points.min(axis=0) > 0) & (points.max(axis=0) > RANGE * points.min(axis=0))
    families: list[Dictionary] = [Monomials.of(names, 1), Monomials.of(names, 2)]
    if positive.any():
        logarithms = [name for name, one in zip(names, positive, strict=True) if one]
        families += [WithLogarithms.of(names, logarithms, degree) for degree in (1, 2)]
    none = np.zeros((0, len(names), len(names))), np.zeros((0, len(names)))
    analyses = [analyse(*none, trajectories, restrict=False, dictionary=family) for family in families]
    motion = Motion.of(trajectories, dictionary=families[-1])
    nothing = np.zeros((0, len(motion.used)))
    same = _independent(motion, [one for found in analyses for one in found.same], nothing)
    constraints = np.array([_row(one, motion.dictionary) for one in same]).reshape(-1, len(motion.used))
    everything = [one for found in analyses for one in found.quantities]
    quantities = _independent(motion, everything, constraints)
    used = {one.dictionary for one in quantities}
    able = [one for one in analyses if one.decided or one.dictionary in used] or analyses[1:2]
    counts = max(able, key=lambda one: len(one.dictionary))
    return Laws(tuple(quantities), tuple(same), counts)


def _independent(
    motion: Motion, quantities: Sequence[FoundQuantity], same: Float[np.ndarray, "z all"]
) -> list[FoundQuantity]:
    """The first of these of which the others are functions, where the data are."""
    if not quantities:
        return []
    rows = [_row(one, motion.dictionary) for one in quantities]
    return [replace(quantities[k], note="") for k in independence(motion, rows, same)[1]]


def _row(quantity: FoundQuantity, dictionary: Dictionary) -> Float[np.ndarray, " all"]:
    """Its coefficients of the terms of a wider dictionary."""
    place = {term.name: k for k, term in enumerate(dictionary.terms)}
    row = np.zeros(len(dictionary))
    row[[place[term.name] for term in quantity.dictionary.terms]] = quantity.row
    return row
