"""The space of conserved polynomials of degree 3 and 4, as formulas with errors."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from textwrap import indent
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..invariants.formulas import reduced, sparse_basis
from ..invariants.monomials import Monomials, monomials, written
from ..invariants.simple_numbers import with_error
from ..scaling import PhaseScale
from ..thinning import evenly
from .features import Features
from .shooting import Fit
from .space import DECIDED, MOST_POINTS, NearestSpaces, nearest_spaces

SEEN = 3.5
"""Standard errors from which a coefficient is a term of a formula."""
INDEPENDENT = 1e-5
"""Singular values of gradients below this share of the largest are zero."""
ROUNDING = 1e-9
"""Coefficients below this share of a quantity's largest are rounding errors, in scaled coordinates."""
MOST_CANDIDATES = 210
"""Monomials of which quantities may be made: degree 4 with three degrees of freedom."""


class Coefficient(NamedTuple):
    """A term of a quantity, in the units of the data; `error` is one standard deviation of the posterior, 0
    for the coefficient that fixes the scale.
    """

    text: str
    value: float
    error: float


@dataclass(frozen=True)
class PolynomialSpace:
    """The conserved polynomials of degree <= `degree`, by the posterior of H; without a constant.

    rank: the dimension of their space, products and powers of others among them. independent: how many are
    functions of no others. log_evidence: by dimension, as for degree 2. margin: nats between the two best
    dimensions. quantities: a basis of few terms; in each, one coefficient is 1 and stands in no other.
    """

    degree: int
    rank: int
    independent: int
    log_evidence: tuple[float, ...]
    margin: float
    quantities: tuple[tuple[Coefficient, ...], ...]

    @property
    def decided(self) -> bool:
        """Whether the dimension is 8 nats ahead of any other."""
        return self.margin >= DECIDED

    def formulas(self) -> tuple[str, ...]:
        """One a quantity, as q1^2 + 0.5003(2)*q1^4."""
        return tuple(_formula(quantity) for quantity in self.quantities)

    def to_json(self) -> dict[str, Any]:
        """The "higher" of the exact evidence."""
        return {
            "degree": self.degree,
            "rank": self.rank,
            "independent": self.independent,
            "log_evidence_rank": [value if np.isfinite(value) else None for value in self.log_evidence],
            "rank_margin": self.margin if np.isfinite(self.margin) else None,
            "quantities": [
                {"formula": text, "terms": [one._asdict() for one in terms]}
                for text, terms in zip(self.formulas(), self.quantities, strict=True)
            ],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "PolynomialSpace":
        """From what `to_json` gives."""
        evidence = tuple(-np.inf if value is None else value for value in entry["log_evidence_rank"])
        margin = np.inf if entry["rank_margin"] is None else entry["rank_margin"]
        quantities = tuple(tuple(Coefficient(**term) for term in q["terms"]) for q in entry["quantities"])
        return cls(entry["degree"], entry["rank"], entry["independent"], evidence, margin, quantities)

    def __str__(self) -> str:
        certain = "" if self.decided else ", undecided"
        margin = f"margin {self.margin:.0f} nats, " if np.isfinite(self.margin) else ""
        head = (
            f"conserved polynomials of degree <= {self.degree}: {self.rank}{certain} ({margin}"
            f"{self.independent} independent)"
        )
        return "\n".join([head, *(indent(text, "    ") for text in self.formulas())])


def polynomial_space(
    features: Features,
    states: Float[np.ndarray, "rows dim"],
    none: Fit,
    degree: int,
    names: Sequence[str],
    scale: PhaseScale,
) -> PolynomialSpace:
    """That of scaled `states` and the fit without symmetry, in the units of `scale`. Raises
    `numpy.linalg.LinAlgError` where the data do not tell the quantities apart.
    """
    found = nearest_spaces(features, states, none, degree)
    rows, errors = _sparse(found)
    candidates = found.brackets.candidates
    powers = np.array([np.prod([scale.scales[i] for i in m]) for m in candidates])
    variables = [
        f"({name} {'-' if at > 0 else '+'} {abs(at):.6g})" if at else name
        for name, at in zip(names, scale.shifts, strict=True)
    ]
    quantities = []
    for row, error in zip(rows / powers, errors / powers, strict=True):
        one = int(np.flatnonzero(error == 0)[0])
        row, error = row / row[one], error / abs(row[one])
        kept = np.flatnonzero(np.abs(row) > SEEN * error)
        quantities.append(
            tuple(Coefficient(written(variables, candidates[k]), row[k], error[k]) for k in kept.tolist())
        )
    best = found.best
    return PolynomialSpace(
        degree, best.rank, _independent(found, states), found.log_evidence, found.margin, tuple(quantities)
    )


def _sparse(
    found: NearestSpaces,
) -> tuple[Float[np.ndarray, "rank M"], Float[np.ndarray, "rank M"]]:
    """A basis of few candidates with coefficient 1 at a pivot each and 0 at those of others, and errors."""
    if not found.best.rank:
        none = np.zeros((0, len(found.brackets.candidates)))
        return none, none
    units = found.brackets.units
    basis = (units @ found.quantities()).T
    rows, at = reduced(sparse_basis(basis))
    rows = rows / rows[np.arange(len(rows)), at][:, None]
    rows = np.where(np.abs(rows) > ROUNDING * np.abs(rows).max(axis=1, keepdims=True), rows, 0.0)
    # Draws of the space, each written with the same pivots.
    turned = basis + np.swapaxes(units @ found.others() @ found.turned(), 1, 2)
    fitted = np.linalg.lstsq(basis.T, rows.T, rcond=None)[0].T
    draws = fitted @ turned
    draws = np.linalg.solve(draws[:, :, at], draws) if _is_unit(rows, at) else draws
    errors = draws.std(axis=0)
    errors[np.arange(len(rows)), at] = 0.0
    return rows, errors


def _is_unit(rows: Float[np.ndarray, "rank M"], at: np.ndarray) -> bool:
    return bool(np.allclose(rows[:, at], np.eye(len(rows)), atol=1e-9))


def _independent(found: NearestSpaces, states: Float[np.ndarray, "rows dim"]) -> int:
    """The rank of the gradients at most states."""
    some = states[evenly(len(states), MOST_POINTS)]
    dim = some.shape[1]
    degree = max(map(len, found.brackets.candidates))
    every = monomials(dim, degree)
    rows = np.zeros((found.best.rank, len(every)))
    rows[:, [every.index(m) for m in found.brackets.candidates]] = found.best.rows
    if not len(rows):
        return 0
    dictionary = Monomials.of([f"x{i + 1}" for i in range(dim)], degree)
    gradients = np.stack([dictionary.slopes(some, i) @ rows.T for i in range(dim)], axis=1)
    values = np.linalg.svd(gradients, compute_uv=False)
    return int(np.median(np.sum(values > INDEPENDENT * values[:, :1], axis=1)))


def _formula(quantity: Sequence[Coefficient]) -> str:
    said = ""
    for term in quantity:
        size = abs(term.value)
        factor = "" if term.error == 0 and size == 1 else f"{with_error(size, term.error)}*"
        sign = "-" if term.value < 0 else "+"
        said += f" {sign} {factor}{term.text}" if said else ("-" if sign == "-" else "") + factor + term.text
    return said
