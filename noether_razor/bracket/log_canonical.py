"""A bracket of positive columns, constant for their logarithms, and the energy: populations that eat each
other.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from ..exact_evidence.polynomials import Polynomials
from ..exact_evidence.shooting import FitError
from ..invariants.simple_numbers import with_error
from ..threads import on_one_thread
from ..trajectories import Trajectories
from .bilinear import BilinearFit
from .choosing import Choice, Scaled, chosen, drifts
from .logarithms import LogarithmicBrackets
from .pencils import DRAWS, SURE

MOST_COLUMNS = 6
"""Columns up to which such brackets are looked for."""
SINGULAR = 0.05
"""Singular value of the matrix over its largest below which the bracket may have a Casimir."""


@dataclass(frozen=True, eq=False)
class Combination:
    """A combination of some functions of the columns, by their names: the first of `coefficients` (draws,
    terms) is the answer, the others are draws of its posterior.
    """

    terms: tuple[str, ...]
    coefficients: Float[np.ndarray, "draws terms"]

    @property
    def errors(self) -> Float[np.ndarray, " terms"]:
        """Standard deviations of the coefficients."""
        return self.coefficients[1:].std(axis=0)

    def text(self) -> str:
        """The terms that are surely there, with errors: 0.667(2)*log(x) - 1.00(1)*y."""
        text = ""
        largest = np.abs(self.coefficients[0]).max(initial=0.0)
        for term, value, error in zip(self.terms, self.coefficients[0], self.errors, strict=True):
            if abs(value) <= max(SURE * error, 1e-9 * largest):
                continue
            size = with_error(abs(float(value)), 0.0 if error < 1e-9 * abs(value) else float(error))
            shown = term if size == "1" else f"{size}*{term}"
            sign = "-" if value < 0 else "+"
            text += f" {sign} {shown}" if text else ("-" if sign == "-" else "") + shown
        return text or "0"


@dataclass(frozen=True, eq=False, repr=False)
class LogCanonical:
    """What was found of x_i' = x_i sum_j b_ij x_j dH/dx_j for n positive columns x: {x_i, x_j} = b_ij x_i x_j
    with a constant antisymmetric matrix b.

    fits: whether the data follow such an equation; where they do not, `why` says so and nothing else is
    claimed. matrix (n, n) and sd: b, whose largest entry is 1, and standard deviations. energy: H, of
    logarithms and monomials; casimir: a combination of logarithms that is conserved whatever H is, None for
    none. gains and chi2 as in `LiePoisson`.
    """

    columns: tuple[str, ...]
    fits: bool
    why: str
    matrix: Float[np.ndarray, "dim dim"]
    sd: Float[np.ndarray, "dim dim"]
    energy: Combination | None
    casimir: Combination | None
    gains: dict[str, float]
    chi2: float | None

    def brackets(self) -> list[str]:
        """{x, y} = x*y and its like."""
        told = []
        for i, j in zip(*np.triu_indices(len(self.columns), 1), strict=True):
            terms = (f"{self.columns[i]}*{self.columns[j]}",)
            value, sd = float(self.matrix[i, j]), float(self.sd[i, j])
            draws = np.array([[value], [value - sd], [value + sd]])
            told.append(f"{{{self.columns[i]}, {self.columns[j]}}} = {Combination(terms, draws).text()}")
        return told

    def sentences(self) -> list[str]:
        """What was found, in words."""
        if self.energy is None:
            return [
                "the columns are positive, but no constant bracket of their logarithms was found "
                f"({self.why}); no bracket tells what is conserved"
            ]
        told = [f"the logarithms of the columns have a constant bracket: {', '.join(self.brackets())}"]
        if len(self.columns) == 2:
            both = " and ".join(f"log {name}" for name in self.columns)
            told[0] = f"the columns are positive, and {both} are canonical: {self.brackets()[0]}"
        told.append(f"energy, conserved: H = {self.energy.text()}")
        if self.casimir is not None:
            told[1] += ", up to a multiple of C, which moves nothing"
            told.append(f"Casimir, conserved whatever the energy is: C = {self.casimir.text()}")
        return told

    def __repr__(self) -> str:
        return "LogCanonical(" + "; ".join(self.sentences()) + ")"

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetry.json."""
        named = {"energy": self.energy, "Casimir": self.casimir}
        quantities = [
            {
                "role": role,
                "formula": one.text(),
                "terms": dict(zip(one.terms, one.coefficients[0].tolist(), strict=True)),
                "sd": dict(zip(one.terms, one.errors.tolist(), strict=True)),
            }
            for role, one in named.items()
            if one is not None
        ]
        return {
            "rank": len(quantities),
            "quantities": quantities,
            "independent": len(quantities),
            "hamiltonian": self.fits or None,
            "algebra": {"name": "not computed: the bracket is of degree two", "dimension": None},
            "bracket": {
                "kind": "log-canonical" if self.fits else "unknown",
                "sentences": self.sentences(),
                "columns": list(self.columns),
                "brackets": self.brackets() if self.fits else [],
                "matrix": self.matrix.tolist(),
                "sd": self.sd.tolist(),
                "gains": self.gains,
                "chi2_dof": self.chi2,
                "adequate": self.fits,
                "why": self.why,
            },
        }


@on_one_thread
def log_canonical(data: Trajectories, *, progress: Callable[[str], None] | None = None) -> LogCanonical:
    """The bracket {x_i, x_j} = b_ij x_i x_j of positive columns, with which x' = B grad H for an energy H of
    logarithms and monomials up to degree two: the equations of Lotka and Volterra have one.

    `data` have two to six columns that are no pairs: made with ``states=["prey", "predator"]`` of a table, or
    with ``Trajectories(times, states, bracket="unpaired")``. b and H are fitted together by multiple
    shooting. `progress` is told what is being fitted. Raises ValueError for other numbers of columns, columns
    that are not positive, or targets beside states.
    """
    if not 2 <= (dim := data.states.shape[2]) <= MOST_COLUMNS:
        raise ValueError(f"a bracket of logarithms is found for 2 to {MOST_COLUMNS} columns, got {dim}")
    if data.targets is not None:
        raise ValueError("a bracket is found from measured states, not from states with noisy targets")
    if not (data.points() > 0).all():
        raise ValueError("a bracket of logarithms is for columns that are positive in all rows")
    none = np.zeros((dim, dim))
    family = LogarithmicBrackets(dim)
    try:
        scaled = Scaled.of(data)
    except FitError as error:
        return LogCanonical(data.names, False, str(error), none, none, None, None, {}, None)
    taken = chosen(scaled, family, family.kinds, progress or (lambda _: None))
    if taken.fitted is None:
        return _nothing(data, taken, taken.why)
    matrices, energy, casimir = _reading(taken.fitted, scaled, data.names)
    known = [energy] if casimir is None else [energy, casimir]

    def of(one: Combination) -> Callable[[np.ndarray], np.ndarray]:
        own = one.coefficients[0]
        return lambda states: _functions(states) @ np.append(own, np.zeros(family.features.size - len(own)))

    if drifts(data, [of(one) for one in known]):
        return _nothing(data, taken, "what would be conserved changes along trajectories")
    sd = matrices[1:].std(axis=0)
    return LogCanonical(data.names, True, "", matrices[0], sd, energy, casimir, taken.gains, taken.chi2)


def _nothing(data: Trajectories, taken: Choice, why: str) -> LogCanonical:
    none = np.zeros((len(data.names), len(data.names)))
    return LogCanonical(data.names, False, why, none, none, None, None, taken.gains, taken.chi2)


def _functions(states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
    """Logarithms, the columns and their products."""
    first, second = np.triu_indices(states.shape[1])
    return np.concatenate([np.log(states), states, states[:, first] * states[:, second]], axis=1)


def _reading(
    fitted: BilinearFit, scaled: Scaled, names: tuple[str, ...]
) -> tuple[Float[np.ndarray, "draws dim dim"], Combination, Combination | None]:
    """b with 1 as its largest entry, H and the Casimir in the units of the data."""
    own, energies = fitted.draws(DRAWS)
    dim = len(names)
    largest = int(np.argmax(np.abs(own[0])))
    energies = energies * own[:, largest, None] / scaled.time
    own = own / own[:, largest, None]
    matrices = np.zeros((len(own), dim, dim))
    first, second = np.triu_indices(dim, 1)
    matrices[:, first, second], matrices[:, second, first] = own, -own
    powers = Polynomials(dim, 2)
    energies[:, dim:] *= powers.weights / np.prod(scaled.scales**powers.exponents, axis=1)
    terms = [f"log({name})" for name in names]
    for exponents in powers.exponents.tolist():
        factors = [f"{name}^{e}" if e > 1 else name for name, e in zip(names, exponents, strict=True) if e]
        terms.append("*".join(factors))
    casimir = _casimir(matrices, names)
    if casimir is not None:
        # The energy with one logarithm less.
        own = casimir.coefficients
        k = int(np.argmax(np.abs(own[0])))
        energies[:, :dim] -= own * (energies[:, k] / own[:, k])[:, None]
    return matrices, Combination(tuple(terms), energies), casimir


def _casimir(matrices: Float[np.ndarray, "draws dim dim"], names: tuple[str, ...]) -> Combination | None:
    """The combination of logarithms whose vector the matrix sends to 0, where there is one and one only."""
    _, values, vectors = np.linalg.svd(matrices)
    share = values / values[:, :1]
    small = share[0] < np.maximum(SINGULAR * (share[1:].std(axis=0) * SURE > share[0]), 1e-9)
    if small.sum() != 1:
        return None
    rows = vectors[:, -1]
    rows = rows / rows[:, [int(np.argmax(np.abs(rows[0])))]]
    return Combination(tuple(f"log({name})" for name in names), rows)
