"""What a library of terms conserves: the typed answer."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from ..exact_evidence import Evidence
from ..invariants.formulas import shortened
from ..invariants.found import LONGEST, PRINTED

Coefficients = Mapping[str, float]


@dataclass(frozen=True)
class LibraryQuantity:
    """One conserved quantity, in the units of the data.

    name: what brackets call it. formula: with short names (r), `expression` without, `latex` to print.
    coefficients, stderr: by term; 0 errors are simple numbers or chosen. generator: whether it is one of the
    independent ones. ratio: mean square of its change along trajectories over that of noise, 1 for what is
    conserved. snr: variance over that of its noise. bracket: r.m.s. of {C, H} over |grad C| |grad H|, None
    without H. drift, limit: change along trajectories over the spread, and its 95 % limit. note: what else it
    is.
    """

    name: str
    formula: str
    expression: str
    latex: str
    coefficients: Coefficients
    stderr: Coefficients
    generator: bool
    ratio: float
    snr: float
    bracket: float | None
    drift: float
    limit: float
    note: str = ""
    source: str = "trajectories"

    def to_json(self) -> dict[str, Any]:
        """An entry of "quantities"."""
        found = asdict(self)
        return {("lambda" if key == "ratio" else key): value for key, value in found.items()}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LibraryQuantity":
        """From what `to_json` gives."""
        return cls(**{("ratio" if key == "lambda" else key): value for key, value in entry.items()})


@dataclass(frozen=True)
class LibraryHamiltonian:
    """H as a formula, up to a constant: coefficients {term: (value, standard error)}, the mean square of its
    one-step predictions over what noise makes of them, and where it is from: "trajectories", a combination of
    what is conserved, or "exact evidence".
    """

    formula: str
    coefficients: Mapping[str, tuple[float, float]]
    chi2_dof: float | None
    source: str

    def to_json(self) -> dict[str, Any]:
        """The "hamiltonian" of "beyond"."""
        return asdict(self) | {"coefficients": {key: list(pair) for key, pair in self.coefficients.items()}}

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "LibraryHamiltonian":
        """From what `to_json` gives."""
        pairs = {key: (value, error) for key, (value, error) in entry["coefficients"].items()}
        return cls(**{**entry, "coefficients": pairs})


@dataclass(frozen=True)
class Searched:
    """A library that was searched: what it is, its terms, how many combinations are conserved and
    independent, and whether the data decide that. `why`: what keeps them from it, or why it was not searched.
    """

    label: str
    terms: int
    degree: int
    linear: int
    independent: int
    clear: bool
    why: str = ""


@dataclass(frozen=True)
class Beyond:
    """What is conserved among the terms of a library.

    library: the one that shows most. searched: all of them. linear: dimension of the conserved space,
    constants excluded, products and powers included. independent: rank of the gradients. ceiling: how many
    can exist at most, None where that is not known. undecided: what keeps the data from deciding how many
    there are. brackets {C_i, C_j}: (i, j, polynomial), counted from 1. poisson_rank, involution, verdict: of
    the independent ones. legend: what short names mean. notes: what else was noticed. algebra: the name
    of the Lie algebra where H is constant, empty without one. evidence: that of each independent quantity,
    None where no H of a library fits. exponents: of the growth that the ceiling is from, by motion.
    """

    library: Searched
    searched: tuple[Searched, ...]
    dof: int
    linear: int
    independent: int
    ceiling: int | None
    ceiling_note: str
    hamiltonian: LibraryHamiltonian | None
    quantities: tuple[LibraryQuantity, ...]
    brackets: tuple[tuple[int, int, str | None], ...]
    relations: tuple[str, ...]
    poisson_rank: int
    involution: int
    verdict: str
    undecided: tuple[str, ...]
    legend: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    algebra: str = ""
    evidence: Evidence | None = field(default=None, compare=False)
    seconds: float = 0.0
    exponents: tuple[tuple[float, ...], ...] = ()

    @property
    def clear(self) -> bool:
        """Whether the data decide how many there are among these terms."""
        return not self.undecided

    @property
    def decided(self) -> bool:
        """Whether all that can exist is found: the count is clear, and as large as the ceiling."""
        return self.clear and self.ceiling is not None and self.independent == self.ceiling

    def to_json(self) -> dict[str, Any]:
        """The "beyond" of symmetry.json."""
        return {
            "library": asdict(self.library),
            "searched": [asdict(one) for one in self.searched],
            "dof": self.dof,
            "linear": self.linear,
            "independent": self.independent,
            "ceiling": self.ceiling,
            "ceiling_note": self.ceiling_note,
            "decided": self.decided,
            "hamiltonian": None if self.hamiltonian is None else self.hamiltonian.to_json(),
            "quantities": [one.to_json() for one in self.quantities],
            "brackets": [list(one) for one in self.brackets],
            "relations": list(self.relations),
            "poisson_rank": self.poisson_rank,
            "involution": self.involution,
            "verdict": self.verdict,
            "undecided": list(self.undecided),
            "legend": dict(self.legend),
            "notes": list(self.notes),
            "algebra": self.algebra,
            "seconds": self.seconds,
            "exponents": [list(one) for one in self.exponents],
            "evidence": None if self.evidence is None else self.evidence.to_json(),
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Beyond":
        """From what `to_json` gives. Raises KeyError or TypeError for anything else."""
        energy, evidence = entry["hamiltonian"], entry.get("evidence")
        known = {key: value for key, value in entry.items() if key != "decided"}
        made = {
            "library": Searched(**entry["library"]),
            "searched": tuple(Searched(**one) for one in entry["searched"]),
            "hamiltonian": None if energy is None else LibraryHamiltonian.from_json(energy),
            "evidence": None if evidence is None else Evidence.from_json(evidence),
            "quantities": tuple(LibraryQuantity.from_json(one) for one in entry["quantities"]),
            "brackets": tuple((i, j, text) for i, j, text in entry["brackets"]),
        }
        lists = {key: tuple(entry[key]) for key in ("relations", "undecided", "notes")}
        lists["exponents"] = tuple(tuple(one) for one in entry.get("exponents", ()))
        return cls(**{**known, **made, **lists})

    def __repr__(self) -> str:
        count = f"{self.linear} linear, {self.independent} independent"
        most = "" if self.ceiling is None else f" of at most {self.ceiling}"
        lines = [f"Beyond({count}{most} among {self.library.terms} terms"]
        for one in self.quantities[:PRINTED]:
            lines.append(f"{one.name} = {one.formula}" + ("" if one.generator else "; not independent"))
        if self.linear > PRINTED:
            lines.append(f"and {self.linear - PRINTED} more")
        told = [self.verdict, *(f"undecided: {why}" for why in self.undecided)]
        return "\n  ".join(shortened(line, LONGEST) for line in [*lines, *told]) + ")"
