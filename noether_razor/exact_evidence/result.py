"""What the exact evidence says: of each quantity, and of the space of them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from .breaking import Breaking
from .checks import Adequacy, Friction

Verdict = Literal["exact", "approximate", "rejected", "undecided"]


@dataclass(frozen=True)
class QuantityEvidence:
    """What the data say of one quantity, or of several at once ("p1, p2").

    gain: log evidence with {C, H} = 0 built in exactly, less that without, in nats; where it is far below 0
    the best such H is not looked for, and only the sign counts. approximate: log evidence with prior
    variances of their own for what C forbids, less that of the exact one; above 3 a broken symmetry is
    preferred. dims_removed: coefficients that the symmetry removes. basis_sensitivity: change of the gain
    with a dictionary of two degrees more, None where that was not tried. stderr: of the gain, by searching
    again from elsewhere and by the dictionary. why: what the verdict rests on.
    """

    quantity: str
    gain: float
    approximate: float
    dims_removed: int
    breaking: Breaking
    verdict: Verdict
    why: str
    basis_sensitivity: float | None
    stderr: float
    converged: bool

    def to_json(self) -> dict[str, Any]:
        """An entry of "quantities"."""
        return {
            "quantity": self.quantity,
            "gain": _finite(self.gain),
            "approximate": _finite(self.approximate),
            "dims_removed": self.dims_removed,
            "breaking": self.breaking._asdict(),
            "verdict": self.verdict,
            "why": self.why,
            "basis_sensitivity": self.basis_sensitivity,
            "stderr": _finite(self.stderr),
            "converged": self.converged,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "QuantityEvidence":
        """From what `to_json` gives."""
        known = {"breaking": Breaking(**entry["breaking"]), "stderr": _known(entry["stderr"], np.inf)}
        known |= {"gain": _known(entry["gain"], -np.inf), "approximate": _known(entry["approximate"], np.inf)}
        return cls(**{**entry, **known})

    def __str__(self) -> str:
        low, high = (_percent(edge) for edge in (self.breaking.lo, self.breaking.hi))
        size = f"{{C, H}} {low} to {high}" if self.breaking.lo > 0 else f"{{C, H}} below {high}"
        # Far below 0 only the sign means something, and no error was looked for.
        gain = f"{self.gain:+.1f} +- {self.stderr:.1f}" if self.gain > -100 else f"{self.gain:+.0f}"
        lines = f"{self.quantity}: {self.verdict}, {gain} nats, {size} of |grad C||grad H|"
        return lines + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """The exact evidence for H(x) = phi(x)^T c with and without quantities built in; iterates over the
    quantities that were asked about.

    logZ_none: log evidence without symmetry, in nats. noise: standard deviations of the columns, in their
    units, by name. degree: of the polynomials; dictionary: what H was
    written in. log_evidence_rank: by dimension of the space of conserved
    quantities of degree <= 2, against the dimension that every H of the dictionary has; -inf where no such H
    was found. rank_margin: nats between the two best dimensions. rank_angle: 95 % bound in degrees of the
    angle between this space and the true one. controls: gains of quantities that surely change.
    withdrawn: why no verdict is given, empty where all is well.
    """

    quantities: tuple[QuantityEvidence, ...]
    logZ_none: float
    noise: Mapping[str, float]
    degree: int
    adequacy: Adequacy
    rank: int
    log_evidence_rank: tuple[float, ...]
    rank_margin: float
    rank_angle: float
    friction: Friction
    controls: Mapping[str, float]
    withdrawn: str = ""
    notes: tuple[str, ...] = ()
    engine: str = "exact"
    dictionary: str = ""

    def __iter__(self) -> Iterator[QuantityEvidence]:
        return iter(self.quantities)

    def __len__(self) -> int:
        return len(self.quantities)

    def __getitem__(self, index: int) -> QuantityEvidence:
        return self.quantities[index]

    @property
    def adequate(self) -> bool:
        """Whether H fits the data well enough for gains to mean anything."""
        return self.adequacy.adequate

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Evidence":
        """From what `to_json` gives."""
        rate = dict(entry["friction"])
        return cls(
            quantities=tuple(QuantityEvidence.from_json(one) for one in entry["quantities"]),
            logZ_none=entry["logZ_none"],
            noise=dict(entry["noise"]),
            degree=entry["degree"],
            adequacy=Adequacy(**entry["adequacy"]),
            rank=entry["rank"],
            log_evidence_rank=tuple(_known(value, -np.inf) for value in entry["log_evidence_rank"]),
            rank_margin=_known(entry["rank_margin"], np.inf),
            rank_angle=entry["rank_angle"],
            friction=Friction(**(rate | {"gain": _known(rate["gain"], np.inf)})),
            controls={name: _known(gain, -np.inf) for name, gain in entry["controls"].items()},
            withdrawn=entry["withdrawn"],
            notes=tuple(entry["notes"]),
            engine=entry["engine"],
            dictionary=entry.get("dictionary", ""),
        )

    def to_json(self) -> dict[str, Any]:
        """The "evidence" of the exact engine, as in symmetry.json."""
        return {
            "engine": self.engine,
            "logZ_none": self.logZ_none,
            "noise": dict(self.noise),
            "degree": self.degree,
            "dictionary": self.dictionary,
            "adequate": self.adequate,
            "adequacy": self.adequacy._asdict(),
            "rank": self.rank,
            "log_evidence_rank": [_finite(value) for value in self.log_evidence_rank],
            "rank_margin": _finite(self.rank_margin),
            "rank_angle": self.rank_angle,
            "friction": self.friction._asdict() | {"gain": _finite(self.friction.gain)},
            "controls": {name: _finite(gain) for name, gain in self.controls.items()},
            "withdrawn": self.withdrawn,
            "notes": list(self.notes),
            "quantities": [one.to_json() for one in self.quantities],
        }

    def __repr__(self) -> str:
        said = ", ".join(f"{one.quantity}: {one.verdict} ({one.gain:+.0f})" for one in self.quantities[:6])
        more = f", and {len(self) - 6} more" if len(self) > 6 else ""
        return f"Evidence(rank {self.rank}; {said or 'no quantity asked about'}{more})"

    def __str__(self) -> str:
        lines = [str(one) for one in self.quantities]
        certain = "" if self.rank_margin >= 8 else ", undecided"
        lines.append(
            f"conserved quantities of degree <= 2: {self.rank}{certain} (margin {self.rank_margin:.0f} nats, "
            f"directions to {self.rank_angle:.2g} degrees)"
        )
        noise = ", ".join(f"{name} {size:.3g}" for name, size in self.noise.items())
        lines.append(
            f"without symmetry, in {self.dictionary or 'polynomials'}: "
            f"log evidence {self.logZ_none:.1f} nats, noise {noise}"
        )
        rate, error = self.friction.gamma, self.friction.sd
        seen = "none seen" if self.friction.absent else f"present, {self.friction.gain:+.0f} nats"
        lines.append(f"friction: {rate:.2g} +- {error:.2g} per unit of time, {seen}")
        if self.withdrawn:
            lines.append(f"no verdict: {self.withdrawn}")
        return "\n".join([*lines, *self.notes])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _known(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
