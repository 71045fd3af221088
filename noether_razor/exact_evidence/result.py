"""What the exact evidence says: of each quantity, and of the space of them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Literal

import numpy as np
from jaxtyping import Float

from ..files import finite_only
from ..invariants.simple_numbers import with_error
from ..scaling import PhaseScale
from .breaking import Breaking
from .checks import Adequacy, Friction
from .hamiltonian import ReadableHamiltonian, Rollouts
from .higher import PolynomialSpace
from .space import DECIDED, SpacePosterior

Verdict = Literal["exact", "approximate", "rejected", "undecided"]
LINE = 120
"""Characters of a printed line."""


@dataclass(frozen=True)
class QuantityEvidence:
    """What the data say of one quantity, or of several at once ("p1, p2").

    gain: log evidence with {C, H} = 0 built in exactly, less that without, in nats; where it is far below 0
    the best such H is not looked for, and only the sign counts. approximate: log evidence with prior
    variances of their own for what C forbids, less that of the exact one; from 6 a broken symmetry is
    preferred, between 3 and 6 nothing is decided. dims_removed: coefficients that the symmetry removes.
    basis_sensitivity: change of the gain with a dictionary of two degrees more, None where that was not
    tried. stderr: of the gain, by searching again from elsewhere and by the dictionary. why: what the verdict
    rests on.
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
        # Without a model nothing is removed, and there is no gain.
        none = entry["dims_removed"] == 0 and not entry["converged"]
        known |= {"gain": _known(entry["gain"], np.nan if none else -np.inf)}
        known |= {"approximate": _known(entry["approximate"], np.nan if none else np.inf)}
        return cls(**{**entry, **known})

    def __str__(self) -> str:
        low, high = (_percent(edge) for edge in (self.breaking.lo, self.breaking.hi))
        size = f"{{C, H}} {low} to {high}" if self.breaking.lo > 0 else f"{{C, H}} below {high}"
        # Far below 0 only the sign means something, and no error was looked for.
        gain = f"{self.gain:+.1f} +- {self.stderr:.1f} nats" if self.gain > -100 else f"{self.gain:+.0f} nats"
        if np.isnan(self.gain):
            gain = "no gain"
        lines = f"{self.quantity}: {self.verdict}, {gain}, {size} of |grad C||grad H|"
        return lines + (f" ({self.why})" if self.why else "")


@dataclass(frozen=True, eq=False)
class Space:
    """The space of conserved quantities C_k(x) = x^T A_k x / 2 + b_k^T x, by the posterior of H, in the units
    of the data.

    log_evidence: by its dimension, against the dimension that every H of the dictionary has; -inf where no
    such H was found. margin: nats between the two best dimensions. angle: 95 % bound in degrees of the angle
    between this space and the true one; broken: 95 % bound of {C, H} over |grad C| |grad H| for the quantity
    of the basis that is known worst: less cannot be told from none. matrices (rank, 2n, 2n) and vectors
    (rank, 2n): a basis.
    """

    rank: int
    log_evidence: tuple[float, ...]
    margin: float
    angle: float
    broken: float
    matrices: Float[np.ndarray, "rank dim dim"]
    vectors: Float[np.ndarray, "rank dim"]

    @classmethod
    def of(cls, found: SpacePosterior, scale: PhaseScale) -> "Space":
        """That of scaled coordinates in the units of `scale`."""
        basis = scale.quantities_back(found.quantities())
        known = (found.rank, found.log_evidence, found.margin, found.angle, found.broken)
        return cls(*known, basis.matrices, basis.vectors)

    @property
    def decided(self) -> bool:
        """Whether the dimension is 8 nats ahead of any other."""
        return self.margin >= DECIDED

    def limits(self) -> str:
        """What is known of it, in brackets."""
        known = [f"margin {self.margin:.0f} nats"] if np.isfinite(self.margin) else []
        if self.rank:
            known += [
                f"directions to {self.angle:.2g} degrees",
                f"broken by less than {_percent(self.broken)}",
            ]
        return f" ({', '.join(known)})" if known else ""

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Space":
        """From what `to_json` gives."""
        basis, dim = entry["space"], len(entry["space"][0]["b"]) if entry["space"] else 0
        return cls(
            rank=entry["rank"],
            log_evidence=tuple(_known(value, -np.inf) for value in entry["log_evidence_rank"]),
            margin=_known(entry["rank_margin"], np.inf),
            angle=entry["rank_angle"],
            broken=_known(entry.get("rank_broken"), np.nan),
            matrices=np.array([one["A"] for one in basis], float).reshape(len(basis), dim, dim),
            vectors=np.array([one["b"] for one in basis], float).reshape(len(basis), dim),
        )

    def to_json(self) -> dict[str, Any]:
        """Its keys in symmetry.json."""
        basis = zip(self.matrices.tolist(), self.vectors.tolist(), strict=True)
        return {
            "rank": self.rank,
            "log_evidence_rank": [_finite(value) for value in self.log_evidence],
            "rank_margin": _finite(self.margin),
            "rank_angle": self.angle,
            "rank_broken": _finite(self.broken),
            "space": [{"A": matrix, "b": vector} for matrix, vector in basis],
        }


@dataclass(frozen=True, eq=False, repr=False)
class Evidence:
    """The exact evidence for H(x) = phi(x)^T c with and without quantities built in; iterates over the
    quantities that were asked about.

    logZ_none: log evidence without symmetry, in nats. noise: standard deviations of the columns, in their
    units, by name. degree: of the polynomials. dictionary: what H is written in. space: of the quantities of
    degree <= 2, None where H is in a library of other terms (`engine` "library"). apart: the same of some of
    the recordings alone, None where this was not asked. hamiltonian: the terms of H that the data need, None
    where no H fits, and for a library; `formula` is H as it is printed there. higher: the space of
    polynomials of degree 3 or 4, None where it was not asked about, and where no H fits. controls: gains of
    quantities that surely change. withdrawn: why no verdict is given, empty where all is well.
    """

    quantities: tuple[QuantityEvidence, ...]
    logZ_none: float
    noise: Mapping[str, float]
    degree: int
    adequacy: Adequacy
    space: Space | None
    friction: Friction
    controls: Mapping[str, float]
    withdrawn: str = ""
    notes: tuple[str, ...] = ()
    engine: str = "exact"
    dictionary: str = ""
    apart: Space | None = None
    hamiltonian: ReadableHamiltonian | None = None
    higher: PolynomialSpace | None = None
    formula: str = ""

    def __iter__(self) -> Iterator[QuantityEvidence]:
        return iter(self.quantities)

    def __len__(self) -> int:
        return len(self.quantities)

    def __getitem__(self, index: int) -> QuantityEvidence:
        return self.quantities[index]

    @property
    def degree_two(self) -> Space:
        """The space of quantities of degree <= 2. Raises ValueError where it is not known."""
        if self.space is None:
            raise ValueError("the space of quantities of degree <= 2 is known where H is a polynomial alone")
        return self.space

    @property
    def rank(self) -> int:
        """The dimension of that space."""
        return self.degree_two.rank

    @property
    def log_evidence_rank(self) -> tuple[float, ...]:
        """The log evidence of each dimension."""
        return self.degree_two.log_evidence

    @property
    def rank_margin(self) -> float:
        """Nats between the two best dimensions."""
        return self.degree_two.margin

    @property
    def rank_angle(self) -> float:
        """95 % bound in degrees of the angle between this space and the true one."""
        return self.degree_two.angle

    @property
    def adequate(self) -> bool:
        """Whether H fits the data well enough for gains to mean anything."""
        return self.adequacy.adequate

    def predict(
        self,
        states: Float[np.ndarray, "batch dim"],
        times: Sequence[float] | Float[np.ndarray, " time"] | range,
        *,
        samples: int = 0,
    ) -> Rollouts:
        """Trajectories of the Hamiltonian from `states` (batch, 2n) through `times`, also beyond the data, in
        their units; with `samples` of the posterior for a band: see `ReadableHamiltonian.predict`. Raises
        ValueError where no Hamiltonian fits.
        """
        if self.hamiltonian is None:
            raise ValueError(
                f"there is no Hamiltonian to predict with: {self.withdrawn or 'none is kept in the file'}"
            )
        return self.hamiltonian.predict(states, times, samples=samples)

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Evidence":
        """From what `to_json` gives."""
        rate, apart, formula = dict(entry["friction"]), entry.get("apart"), entry.get("hamiltonian")
        higher = entry.get("higher")
        return cls(
            quantities=tuple(QuantityEvidence.from_json(one) for one in entry["quantities"]),
            logZ_none=entry["logZ_none"],
            noise=dict(entry["noise"]),
            degree=entry["degree"],
            adequacy=Adequacy(**entry["adequacy"]),
            space=Space.from_json({"space": [], **entry}) if "rank" in entry else None,
            friction=Friction(**(rate | {"gain": _known(rate["gain"], np.inf)})),
            controls={name: _known(gain, -np.inf) for name, gain in entry["controls"].items()},
            withdrawn=entry["withdrawn"],
            notes=tuple(entry["notes"]),
            engine=entry["engine"],
            dictionary=entry.get("dictionary", ""),
            apart=None if apart is None else Space.from_json(apart),
            hamiltonian=None if formula is None else ReadableHamiltonian.from_json(formula),
            higher=None if higher is None else PolynomialSpace.from_json(higher),
            formula=entry.get("formula", ""),
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
            "adequacy": finite_only(self.adequacy._asdict()),
            **({} if self.space is None else self.space.to_json()),
            "apart": None if self.apart is None else self.apart.to_json(),
            "hamiltonian": None if self.hamiltonian is None else self.hamiltonian.to_json(),
            "higher": None if self.higher is None else self.higher.to_json(),
            "formula": self.formula,
            "friction": self.friction._asdict() | {"gain": _finite(self.friction.gain)},
            "controls": {name: _finite(gain) for name, gain in self.controls.items()},
            "withdrawn": self.withdrawn,
            "notes": list(self.notes),
            "quantities": [one.to_json() for one in self.quantities],
        }

    def __repr__(self) -> str:
        said = ", ".join(f"{one.quantity}: {one.verdict} ({one.gain:+.0f})" for one in self.quantities[:6])
        more = f", and {len(self) - 6} more" if len(self) > 6 else ""
        rank = "" if self.space is None else f"rank {self.rank}; "
        return f"Evidence({rank}{said or 'no quantity asked about'}{more})"

    def __str__(self) -> str:
        lines = [str(one) for one in self.quantities]
        if (space := self.space) is not None:
            certain = "" if space.decided else ", undecided"
            lines.append(f"conserved quantities of degree <= 2: {space.rank}{certain}{space.limits()}")
        if self.higher is not None:
            lines.append(str(self.higher))
        noise = ", ".join(f"{name} {size:.3g}" for name, size in self.noise.items())
        lines.append(
            f"without symmetry, in {self.dictionary or 'polynomials'}: "
            f"log evidence {self.logZ_none:.1f} nats, noise {noise}"
        )
        formula = self.formula if self.hamiltonian is None else self.hamiltonian.text()
        if formula:
            lines += wrap(f"H = {formula}", LINE, subsequent_indent="    ")
        seen = "none seen" if self.friction.absent else f"present, {self.friction.gain:+.0f} nats"
        rate = with_error(self.friction.gamma, self.friction.sd)
        lines.append(f"friction: {rate} per unit of time, {seen}")
        if self.withdrawn:
            lines.append(f"no verdict: {self.withdrawn}")
        return "\n".join([*lines, *self.notes])


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None


def _known(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %"
