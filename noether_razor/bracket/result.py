"""What was found of the Poisson matrix, in the columns and units of the data."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..invariants.simple_numbers import with_error
from ..trajectories import CanonicalMap, Trajectories
from .writing import written

LARGE = 0.1
"""Standard deviation of the ratio of two masses, over the ratio, from which the data do not tell it."""
SURE = 5.0
"""Standard deviations of an entry that is printed as not zero."""


@dataclass(frozen=True, eq=False, repr=False)
class Bracket:
    """The Poisson matrix of columns x = (q, v), 2n of them: x' = B grad H.

    kind: "canonical", "masses", "field", "natural", "constant" or "form", the simplest that fits; "unknown"
    where none does, and then `matrix` is that of canonical columns. matrix, sd (2n, 2n): B and the standard
    deviations of its posterior, in the units of the data, at `at` (2n,) where it changes; its scale is fixed
    by p_1 = v_1 + .... map: canonical coordinates. spectrum: singular values of what the motion does to
    constant forms, over that of forms which it does not preserve; forms: how many of these it preserves.
    gains: the log evidence of each kind that was tried less that of the one taken, in nats; at most so much
    where `bounded` has its name, because its fit was given up. chi2: squared residuals of each over the noise
    variance that neighbouring rows show, None where that is not known. mass_ratios: m_i / m_1 and its
    standard deviation from the second position on; empty where masses are not constant. friction: its rate
    and standard deviation, None where the data show none. sources: the law ("1/r" or "log(r)") and the place
    of each point that a force is towards, where no polynomial follows the forces. why: what is wrong where
    no kind fits. network: whether the potential is that of a network, because no formula follows the forces:
    errors are then those of fits without a part of the rows each (see `learned_bracket`).
    """

    kind: str
    columns: tuple[str, ...]
    matrix: Float[np.ndarray, "dim dim"]
    sd: Float[np.ndarray, "dim dim"]
    at: Float[np.ndarray, " dim"]
    map: CanonicalMap
    spectrum: tuple[float, ...]
    forms: int
    gains: Mapping[str, float]
    bounded: tuple[str, ...]
    chi2: Mapping[str, float | None]
    mass_ratios: tuple[tuple[float, float], ...]
    friction: tuple[float, float] | None
    sources: tuple[tuple[str, tuple[float, ...]], ...]
    adequate: bool
    converged: bool
    why: str
    network: bool

    @property
    def dof(self) -> int:
        """Degrees of freedom."""
        return len(self.columns) // 2

    @property
    def identifiable(self) -> bool:
        """Whether the data tell one matrix, up to its scale."""
        return self.forms == 1 and all(sd <= LARGE * abs(ratio) for ratio, sd in self.mass_ratios)

    def canonical(self, data: Trajectories) -> Trajectories:
        """The same trajectories in canonical coordinates."""
        if data.names != self.columns:
            raise ValueError(f"the columns must be {', '.join(self.columns)}, got {', '.join(data.names)}")
        made = replace(self.map, answer=self.to_json())
        # Positions are angles no more where they are mixed with other columns.
        kept = [name in self.columns for name in made.names]
        periods = tuple(period if same else None for period, same in zip(data.periods, kept, strict=True))
        return replace(
            data,
            states=made.states(data.states),
            targets=None if data.targets is None else made.states(data.targets),
            names=made.names,
            units=_units(data, kept),
            periods=periods,
            bracket="",
            canonical=made,
        )

    def sentences(self) -> list[str]:
        """What was found, in words."""
        told = [_KINDS[self.kind](self)]
        if self.kind not in ("canonical", "unknown"):
            told.append(f"canonical momenta: {', '.join(self.momenta())}")
        told += self._limits()
        if self.friction is not None:
            rate, sd = self.friction
            told.append(f"the motion is damped at the rate {with_error(rate, sd)}")
        for law, place in self.sources:
            where = ", ".join(f"{value:.4g}" for value in place)
            told.append(f"H has a term in {law}, of the distance to ({where})")
        if self.network:
            told.append(
                "no formula follows the forces: a network does, and errors are the spread of its fits"
            )
        return told

    def momenta(self) -> list[str]:
        """The canonical coordinates that are no columns, with errors: p_x = vx - 0.7501(6)*y."""
        told, rows = [], list(map(tuple, self.map.exponents.tolist()))
        for k, name in enumerate(self.map.names):
            if name not in self.columns:
                errors = dict(zip(rows, self.map.errors[k].tolist(), strict=True))
                told.append(f"{name} = {written(self.map.polynomial(k), self.columns, errors)}")
        return told

    def _limits(self) -> list[str]:
        if self.kind == "unknown":
            return []
        if self.forms > 1:
            return [
                f"the motion preserves {self.forms} independent matrices (parts that do not interact, or "
                "forces that are linear): the data do not tell which is meant, and the simplest is taken"
            ]
        names = self.columns[: self.dof]
        unsure = [
            f"m_{name}/m_{names[0]}"
            for name, (ratio, sd) in zip(names[1:], self.mass_ratios, strict=False)
            if sd > LARGE * abs(ratio)
        ]
        return [f"the data hardly tell {', '.join(unsure)}: the parts interact too little"] if unsure else []

    def entry(self, first: int, second: int) -> str:
        """An entry of the matrix with its error: {vx, vy} = 1.500(1)."""
        names = f"{{{self.columns[first]}, {self.columns[second]}}}"
        value, sd = float(self.matrix[first, second]), float(self.sd[first, second])
        return f"{names} = {'-' if value < 0 else ''}{with_error(abs(value), sd)}"

    def entries(self, block: str) -> list[str]:
        """The entries of "qq" or "vv" that are surely not zero."""
        dof = self.dof
        own = range(dof) if block == "qq" else range(dof, 2 * dof)
        return [
            self.entry(i, j)
            for i in own
            for j in own
            if i < j and abs(self.matrix[i, j]) > SURE * self.sd[i, j]
        ]

    def __repr__(self) -> str:
        return "Bracket(" + "; ".join(self.sentences()) + ")"

    def to_json(self) -> dict[str, Any]:
        """The "bracket" of symmetry.json."""
        return {
            "kind": self.kind,
            "text": "; ".join(self.sentences()),
            "columns": list(self.columns),
            "matrix": self.matrix.tolist(),
            "sd": self.sd.tolist(),
            "at": self.at.tolist(),
            "gauge": f"d{self.map.names[self.dof]}/d{self.columns[self.dof]} = 1",
            "darboux": self.map.formulas(),
            "spectrum": list(self.spectrum),
            "n_forms": self.forms,
            "identifiable": self.identifiable,
            "gains": {
                name: {"nats": gain, "bound": name in self.bounded} for name, gain in self.gains.items()
            },
            "chi2_dof": dict(self.chi2),
            "friction": None
            if self.friction is None
            else dict(zip(("rate", "sd"), self.friction, strict=True)),
            "sources": [{"law": law, "place": list(place)} for law, place in self.sources],
            "adequate": self.adequate,
            "converged": self.converged,
            "why": self.why,
            "network": self.network,
        }


def _canonical(found: Bracket) -> str:
    return "positions and velocities are canonical with equal masses"


def _masses(found: Bracket) -> str:
    names = found.columns[: found.dof]
    ratios = [
        f"m_{name}/m_{names[0]} = {'-' if ratio < 0 else ''}{with_error(abs(ratio), sd)}"
        for name, (ratio, sd) in zip(names[1:], found.mass_ratios, strict=False)
    ]
    return f"masses differ: {', '.join(ratios)}"


def _field(found: Bracket) -> str:
    rate = ""
    if found.dof == 2:
        value, sd = (abs(float(part[2, 3])) / 2 for part in (found.matrix, found.sd))
        rate = f", {with_error(value, sd)}"
    return (
        f"m v is not canonical here: {', '.join(found.entries('vv'))} (a uniform field, or a frame that "
        f"rotates at half this rate{rate})"
    )


def _natural(found: Bracket) -> str:
    parts = ["m v is not canonical here: the velocities have a mass matrix"]
    if field := found.entries("vv"):
        parts.append(f"and {', '.join(field)}, a field or a rotation of the frame")
    return " ".join(parts)


def _constant(found: Bracket) -> str:
    mixed = ", ".join(found.entries("qq"))
    return "the columns are mixtures of positions and velocities" + (f": {mixed}" if mixed else "")


def _form(found: Bracket) -> str:
    return "m v is not canonical here: masses or field depend on the position"


def _unknown(found: Bracket) -> str:
    return (
        f"no Poisson matrix was found that fits ({found.why}): velocities stand for momenta, as if masses "
        "were equal and there were no field, which may be wrong; what is conserved along the data does not "
        "depend on that"
    )


_KINDS = {
    "canonical": _canonical,
    "masses": _masses,
    "field": _field,
    "natural": _natural,
    "constant": _constant,
    "form": _form,
    "unknown": _unknown,
}


def _units(data: Trajectories, kept: list[bool]) -> tuple[str, ...]:
    """Those of canonical coordinates: momenta have that of velocities where these have one for all."""
    alike = all(len(set(part)) == 1 for part in (data.units[: data.dof], data.units[data.dof :]))
    return tuple(unit if same or alike else "" for unit, same in zip(data.units, kept, strict=True))
