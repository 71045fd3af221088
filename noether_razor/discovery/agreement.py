"""Whether the drift test and the posterior of the space say the same, and why where they do not."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..exact_evidence import Evidence, QuantityEvidence, Space
from ..exact_evidence.hamiltonian import with_error
from ..invariants import Analysis
from ..invariants.monomials import canonical_scales
from ..lie import lie_algebra
from ..trajectories import Trajectories

Said = Literal["same", "different", "undecided", "no verdict"]
OTHER = 10.0
"""Degrees between two spaces of one dimension from which they are not the same."""


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
    together: what all found quantities at once are called among those of the
    exact evidence, empty where this was not asked.
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
    angle = _angle(analysis, exact.space, data) if analysis.rank == exact.rank else None
    said: Said
    if exact.withdrawn:
        said, reason = "no verdict", exact.withdrawn
    elif not exact.space.decided:
        said, reason = "undecided", ""
    elif angle is None:
        said, reason = "different", _why(analysis, exact)
    elif angle > OTHER:
        said, reason = "different", f"in directions {angle:.0f} degrees apart, {_why(analysis, exact)}"
    else:
        said, reason = "same", ""
    return Agreement(analysis.rank, exact.rank, angle, said, reason, halves, _algebra(exact.space, data))


def _why(analysis: Analysis, exact: Evidence) -> str:
    """The reason for which numbers differ, as far as it is known."""
    motion = analysis.space.motion
    if not exact.friction.absent:
        unit = motion.trajectories.time_unit or "unit of time"
        rate = with_error(exact.friction.gamma, exact.friction.sd)
        return f"friction of {rate} per {unit} breaks what H alone conserves"
    by_formula = {one.quantity: one for one in exact}
    if exact.rank <= analysis.rank:
        names = [f"C{k}" for k in range(1, analysis.rank + 1)]
        asked = [by_formula.get(one.text) for one in analysis.quantities]
        told = [(name, one) for name, one in zip(names, asked, strict=True) if one is not None]
        if broken := [pair for pair in told if pair[1].verdict in ("approximate", "rejected")]:
            return f"{_broken(broken)}, too little for the drift test"
        if unsure := [pair for pair in told if pair[1].verdict == "undecided"]:
            return f"undecided: {unsure[0][0]}, {unsure[0][1].why}"
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


def _broken(named: Sequence[tuple[str, QuantityEvidence]]) -> str:
    """As C1, C3 are broken by 0.71 to 0.76 %."""
    names = ", ".join(name for name, _ in named)
    low, high = (100 * edge([getattr(one.breaking, key) for _, one in named]) for edge, key in EDGES)
    return f"{names} {'is' if len(named) == 1 else 'are'} broken by {low:.2g} to {high:.2g} %"


EDGES = ((min, "lo"), (max, "hi"))
"""Of several intervals."""


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
