"""Whether the drift test and the posterior of the space say the same, and why where they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..exact_evidence import Evidence, QuantityEvidence, Space
from ..invariants import Analysis
from ..invariants.formulas import shortened
from ..invariants.monomials import canonical_scales
from ..invariants.simple_numbers import with_error
from ..lie import lie_algebra
from ..trajectories import Trajectories

Said = Literal["same", "different", "undecided", "no verdict"]
OTHER = 10.0
"""Degrees between two spaces of one dimension from which they are not the same."""
LONGEST = 40
"""Letters of a formula in a reason."""


@dataclass(frozen=True)
class Halves:
    """Two halves of the recordings, which share no data: `drift` quantities by the drift test on the first,
    `posterior` by the posterior of the space on the second, `margin` nats ahead of any other number.

    recordings: of each half. said: whether the numbers are the same, "undecided" where one of the two is.
    """

    recordings: tuple[int, int]
    drift: int
    posterior: int
    margin: float | None
    said: Said

    @classmethod
    def of(cls, first: Analysis, second: Space, recordings: tuple[int, int]) -> "Halves":
        """Of what each half says."""
        sure = first.decided and second.decided
        said: Said = "undecided" if not sure else "same" if first.rank == second.rank else "different"
        return cls(recordings, first.rank, second.rank, _finite(second.margin), said)

    def to_json(self) -> dict[str, Any]:
        """The "halves" of the agreement."""
        return {**vars(self), "recordings": list(self.recordings)}


@dataclass(frozen=True)
class Agreement:
    """What two methods say of one file: `drift` conserved quantities by the drift test, `posterior` by the
    posterior of H. angle: degrees between the two spaces, None where their dimensions differ.

    said: whether they are the same; "undecided" where the posterior is, "no verdict" where H does not fit.
    reason: why they differ, or why there is no verdict. halves: the same of independent data, None where
    there are too few recordings. algebra: that of the space by the posterior, empty where it has no name.
    together: what all found quantities at once are called among those of the exact evidence, empty where
    this was not asked.
    """

    drift: int
    posterior: int
    angle: float | None
    said: Said
    reason: str
    halves: Halves | None
    algebra: str = ""
    together: str = ""

    def to_json(self) -> dict[str, Any]:
        """The "agreement" of the exact evidence."""
        return {**vars(self), "halves": None if self.halves is None else self.halves.to_json()}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Agreement":
        """From what `to_json` gives."""
        halves = entry["halves"]
        known = None if halves is None else Halves(**{**halves, "recordings": tuple(halves["recordings"])})
        return cls(**{**entry, "halves": known})


def agreement(analysis: Analysis, exact: Evidence, data: Trajectories, halves: Halves | None) -> Agreement:
    """Of the drift test and the exact evidence of a file with trajectories `data`."""
    angle = _angle(analysis, exact.degree_two, data) if analysis.rank == exact.rank else None
    said: Said
    if exact.withdrawn:
        said, reason = "no verdict", exact.withdrawn
    elif not exact.degree_two.decided:
        said, reason = "undecided", ""
    elif angle is None:
        said, reason = "different", _why(analysis, exact)
    elif angle > OTHER:
        said, reason = "different", f"in directions {angle:.0f} degrees apart, {_why(analysis, exact)}"
    else:
        said, reason = "same", ""
    return Agreement(analysis.rank, exact.rank, angle, said, reason, halves, _algebra(exact.degree_two, data))


def _why(analysis: Analysis, exact: Evidence) -> str:
    """The reason for which numbers differ, as far as it is known."""
    motion = analysis.space.motion
    if not exact.friction.absent:
        unit = motion.trajectories.time_unit or "unit of time"
        rate = with_error(exact.friction.gamma, exact.friction.sd)
        return f"friction of {rate} per {unit} breaks what H alone conserves"
    asked = {one.quantity: one for one in exact}
    found = [asked[one.text] for one in analysis.quantities if one.text in asked]
    if exact.rank <= analysis.rank:
        if broken := [one for one in found if one.verdict in ("approximate", "rejected")]:
            return f"{_broken(broken)}, too little for the drift test"
        if unsure := [one for one in found if one.verdict == "undecided"]:
            return f"{_named(unsure)} undecided, {unsure[0].why}"
    elif analysis.space.staying > analysis.space.most:
        return f"{motion.recordings} trajectories can show at most {analysis.space.most} to the drift test"
    elif analysis.same:
        return "what has one value in the whole file is not counted by the drift test"
    elif not analysis.decided:
        return "the drift test has too little data to decide"
    return "the reason is not known"


def _algebra(space: Space, data: Trajectories) -> str:
    """Its name, empty where it has none."""
    scales = canonical_scales(data.points())
    matrices, vectors = space.matrices * scales[:, None] * scales, space.vectors * scales
    found = lie_algebra(matrices, vectors)
    return found.name if found.named and space.rank else ""


def _broken(found: Sequence[QuantityEvidence]) -> str:
    """As q1*q2 + p1*p2 is broken by 0.71 to 0.76 %."""
    low = 100 * min(one.breaking.lo for one in found)
    high = 100 * max(one.breaking.hi for one in found)
    return f"{_named(found)} broken by {low:.2g} to {high:.2g} %"


def _named(found: Sequence[QuantityEvidence]) -> str:
    """The first two with their verb: they are numbered otherwise once the energy is among them."""
    names = " and ".join(shortened(one.quantity, LONGEST) for one in found[:2])
    more = f" and {len(found) - 2} more" if len(found) > 2 else ""
    return f"{names}{more} {'is' if len(found) == 1 else 'are'}"


def _angle(analysis: Analysis, space: Space, data: Trajectories) -> float:
    """The largest principal angle in degrees between the quantities as functions on the states of the data,
    constants apart.
    """
    if not analysis.rank:
        return 0.0
    states = data.points()
    own = np.stack([one.values(states) for one in analysis.quantities], axis=1)
    other = np.einsum("ni,kij,nj->nk", states, space.matrices, states, optimize=True) / 2
    cosines = np.linalg.svd(_basis(own).T @ _basis(other + states @ space.vectors.T), compute_uv=False)
    return float(np.degrees(np.arccos(min(cosines.min(), 1.0))))


def _basis(values: Float[np.ndarray, "rows K"]) -> Float[np.ndarray, "rows K"]:
    """Orthonormal columns."""
    centred = values - values.mean(axis=0)
    return np.linalg.qr(centred / np.linalg.norm(centred, axis=0))[0]


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
