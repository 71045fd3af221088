"""A bracket linear in the states, with its Casimir and the energy, from trajectories of three columns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..exact_evidence.shooting import FitError
from ..threads import on_one_thread
from ..trajectories import Trajectories
from .casimirs import KINDS, Casimirs
from .choice import WORTH
from .choosing import Choice, Scaled, chosen, drifts
from .pencils import Quadratic, Reading, in_scaled_columns, reading, structure_constants


@dataclass(frozen=True, eq=False, repr=False)
class LiePoisson:
    """What was found of x' = grad C(x) x grad H(x) for three columns x, C and H of degree two.

    fits: whether the data follow such an equation; where they do not, `why` says so and nothing else is
    claimed. casimir and energy: C and H with draws of their posterior, in the units of the data; the bracket
    is {x_i, x_j} = -sum_k eps_ijk dC/dx_k. algebra: of the columns with this bracket. choice: whether
    combinations of C and H are Casimirs as well, so that C is a choice, and `others` are algebras of other
    choices. linear: a combination of the columns that is conserved, None for none. gains: log evidence of
    each kind less that of the one taken, in nats. chi2: squared residuals over the noise variance that
    neighbouring rows show, None where that is not known. damping: the rate of x' = .. - rate x where the data
    show one, and its standard deviation.
    """

    columns: tuple[str, ...]
    fits: bool
    why: str
    kind: str
    found: Reading | None
    gains: dict[str, float]
    chi2: float | None
    damping: tuple[float, float] | None

    @property
    def casimir(self) -> Quadratic | None:
        """C, None where nothing fits."""
        return None if self.found is None else self.found.casimir

    @property
    def energy(self) -> Quadratic | None:
        """H, None where nothing fits."""
        return None if self.found is None else self.found.energy

    @property
    def algebra(self) -> str:
        """The name of the algebra of the columns; empty where nothing fits."""
        return "" if self.found is None else self.found.algebra.name

    def brackets(self) -> list[str]:
        """{x1, x2} and its like as formulas."""
        if self.found is None:
            return []
        told = []
        for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
            casimir = self.found.casimir
            slope = Quadratic(np.zeros_like(casimir.matrices), -casimir.matrices[:, k])
            text = slope.text(self.columns)
            if casimir.sure[6 + k]:
                constant = -float(casimir.vectors[0, k])
                text += f" {'-' if constant < 0 else '+'} {abs(constant):.4g}"
            told.append(f"{{{self.columns[i]}, {self.columns[j]}}} = {text}")
        return told

    def sentences(self) -> list[str]:
        """What was found, in words."""
        if self.found is None:
            return [
                "no bracket that is linear in the columns was found: the data do not follow x' = grad C x "
                f"grad H with C and H of degree two ({self.why}); no bracket tells what is conserved"
            ]
        found, names = self.found, self.columns
        offset = self.kind == "affine"
        name = found.algebra.name
        told = [
            f"the columns have a bracket that is linear in them{' and an offset' if offset else ''}: "
            f"{', '.join(self.brackets())}; {'its linear part is' if offset else 'the algebra is'} {name}",
            f"Casimir, conserved whatever the energy is: C = {found.casimir.text(names)}",
            f"energy, conserved: H = {found.energy.text(names)}, up to a multiple of C, which moves nothing",
        ]
        if found.linear is not None:
            told.append(f"conserved as well: {found.linear.text(names)}")
        told.append(self._sure())
        return told

    def _sure(self) -> str:
        found = self.found
        assert found is not None
        if not found.choice:
            return (
                "the data tell C up to a factor, which is that of 1/H, for no other combination of C and H "
                "gives a bracket linear in the columns"
            )
        why = (
            "positive definite, so that so(3) is one of the algebras"
            if found.algebra.name == "so(3)"
            else "simple; none is positive definite"
        )
        also = (
            f"; with other combinations the same motion has the algebra {' or '.join(found.others)}"
            if found.others
            else ""
        )
        alike = (
            "C with any multiple of H^2 gives the same motion"
            if self.kind == "field"
            else "any two combinations of them of determinant one give the same motion"
        )
        return (
            f"what the data tell for sure is that C and H are conserved: {alike}, and C is the one that is "
            f"{why}{also}"
        )

    def __repr__(self) -> str:
        return "LiePoisson(" + "; ".join(self.sentences()) + ")"

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetry.json."""
        quantities = [] if self.found is None else self._quantities()
        algebra = {"name": "trivial", "dimension": 0}
        constants = None
        if self.found is not None:
            algebra = self.found.algebra.to_json()
            constants = structure_constants(self.found.casimir.matrices[0]).tolist()
        return {
            "rank": len(quantities),
            "quantities": quantities,
            "independent": min(len(quantities), 2),
            "hamiltonian": self.fits or None,
            "algebra": algebra,
            "bracket": {
                "kind": "lie-poisson" if self.fits else "unknown",
                "sentences": self.sentences(),
                "columns": list(self.columns),
                "brackets": self.brackets(),
                "structure_constants": constants,
                "affine": self.kind == "affine",
                "choice": None if self.found is None else self.found.choice,
                "gains": self.gains,
                "chi2_dof": self.chi2,
                "damping": None
                if self.damping is None
                else dict(zip(("rate", "sd"), self.damping, strict=True)),
                "adequate": self.fits,
                "why": self.why,
            },
        }

    def _quantities(self) -> list[dict[str, Any]]:
        assert self.found is not None
        named = [("Casimir", self.found.casimir), ("energy", self.found.energy)]
        if self.found.linear is not None and self.found.energy.sure[:6].any():
            named.append(("linear", self.found.linear))
        first, second = np.triu_indices(3)
        parts = []
        for role, one in named:
            errors = np.zeros((3, 3))
            errors[first, second] = errors[second, first] = one.errors[:6]
            parts.append(
                {
                    "role": role,
                    "formula": one.text(self.columns),
                    "A": one.matrices[0].tolist(),
                    "b": one.vectors[0].tolist(),
                    "A_sd": errors.tolist(),
                    "b_sd": one.errors[6:].tolist(),
                }
            )
        return parts


@on_one_thread
def lie_poisson(data: Trajectories, *, progress: Callable[[str], None] | None = None) -> LiePoisson:
    """The bracket of three columns that are no pairs of positions and momenta, as the angular momentum of a
    rigid body: x' = grad C x grad H, with a Casimir C and an energy H of degree two.

    `data` have three columns: made with ``states=["L1", "L2", "L3"]`` of a table, or with
    ``Trajectories(times, states, bracket="unpaired")``. Every algebra of dimension 3 whose adjoint matrices
    have no trace has such a bracket: so(3), sl(2,R), e(2), e(1,1) and that of Heisenberg. C and H are fitted
    together by multiple shooting, with a damping x' = .. - rate x; where the fit is not adequate, or the data
    show a damping, nothing is claimed. H of degree one is tried, then C and H both homogeneous, then C alone,
    then none. `progress` is told what is being fitted. Raises ValueError for data with another number of
    columns, or with targets beside states.
    """
    if (dim := data.states.shape[2]) != 3:
        raise ValueError(f"a bracket linear in the states is found for three columns, got {dim}")
    if data.targets is not None:
        raise ValueError("a bracket is found from measured states, not from states with noisy targets")
    try:
        scaled = Scaled.of(data)
    except FitError as error:
        return LiePoisson(data.names, False, str(error), "unknown", None, {}, None, None)
    taken = chosen(scaled, Casimirs(), KINDS, progress or (lambda _: None))
    found, why = None, taken.why
    if taken.fitted is not None:
        found = reading(taken.fitted, scaled.scales, scaled.time)
        if drifts(data, (found.casimir.values, found.energy.values)):
            found, why = None, "what would be conserved changes along trajectories"
        elif found.simple is not None:
            found = _with_simple(taken, found, scaled)
    return LiePoisson(
        columns=data.names,
        fits=found is not None,
        why=why,
        kind="unknown" if found is None or taken.fitted is None else taken.fitted.parts.name,
        found=found,
        gains=taken.gains,
        chi2=taken.chi2,
        damping=taken.damping,
    )


def _with_simple(taken: Choice, found: Reading, scaled: Scaled) -> Reading:
    """What the fit with a simple Casimir says, where that is no worse."""
    assert found.simple is not None and taken.fitted is not None
    before = taken.fitted
    try:
        again = taken.setup.with_matrix(before.parts, in_scaled_columns(found.simple, scaled.scales))
    except (FitError, np.linalg.LinAlgError):
        return found
    worse = again.fit.log_evidence < before.fit.log_evidence - WORTH
    return found if worse or not again.fit.converged else reading(again, scaled.scales, scaled.time)
