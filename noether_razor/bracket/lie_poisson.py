"""A bracket linear in the states, with its Casimir and the energy, from trajectories of three columns."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float

from ..exact_evidence.built_in import Comparison
from ..exact_evidence.checks import Adequacy, adequacy
from ..exact_evidence.engine import pieces_of
from ..exact_evidence.hamiltonian import with_error
from ..exact_evidence.shooting import FitError
from ..exact_evidence.start import Windows
from ..trajectories import UNPAIRED, Trajectories
from .bilinear import BilinearFit, BilinearSetup
from .casimirs import KINDS, Casimirs
from .choice import WORTH
from .pencils import Quadratic, Reading, in_scaled_columns, reading, structure_constants

MOST_ROWS = 4000
"""Rows that are used."""
ERRORS = 3.0
"""Standard deviations from which damping is seen."""
DRIFT = 25.0
"""Squared change of C or H with time over its variance, of three numbers, from which it is not conserved."""
FEWEST_ROWS = 5
"""Of a trajectory."""
STILL = 1e-9
"""Standard deviation of a column over its size below which it does not move."""


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
                f"grad H with C and H of degree two ({self.why}); nothing is said to be conserved"
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


def lie_poisson(data: Trajectories, *, progress: Callable[[str], None] | None = None) -> LiePoisson:
    """The bracket of three columns that are no pairs of positions and momenta, as the angular momentum of a
    rigid body: x' = grad C x grad H, with a Casimir C and an energy H of degree two.

    `data` have three columns: made with ``states=["L1", "L2", "L3"]`` of a table, or with
    ``Trajectories(times, states, bracket="unpaired")``. Every algebra of dimension 3 whose adjoint matrices
    have no trace has such a bracket: so(3), sl(2,R), e(2), e(1,1) and that of Heisenberg. C and H are fitted
    together by multiple shooting, with a damping x' = .. - rate x; where the fit is not adequate, or the data
    show a damping, nothing is claimed. H of degree one is
    tried, then both homogeneous, then C, then none.
    `progress` is told what is being fitted. Raises ValueError for data with another number of columns, or
    with targets beside states.
    """
    if (dim := data.states.shape[2]) != 3:
        raise ValueError(f"a bracket linear in the states is found for three columns, got {dim}")
    if data.targets is not None:
        raise ValueError("a bracket is found from measured states, not from states with noisy targets")
    pieces, _ = pieces_of(replace(data, bracket=UNPAIRED, periods=()), MOST_ROWS)
    tell = progress or (lambda _: None)
    if why := _unusable(pieces):
        return _nothing(data, why)
    scaled, scales, time = _scaled(pieces)
    fits: dict[str, tuple[BilinearFit, Adequacy]] = {}
    failed = ""
    setup = BilinearSetup(scaled, Casimirs())
    for parts in KINDS:
        tell(f"the bracket of three columns: {parts.name}")
        try:
            made = setup.fitted(parts)
            fits[parts.name] = made, adequacy(Comparison(made.problem, made.fit), scaled)
        except (FitError, np.linalg.LinAlgError) as error:
            failed = str(error)
    if not fits:
        return _nothing(data, failed or "no fit stays near the data")
    return _answer(data, setup, fits, scales, time)


def _unusable(data: Trajectories) -> str:
    """Why nothing can be said of data, empty where something can."""
    if int(data.lengths.max()) < FEWEST_ROWS:
        return f"trajectories have at most {int(data.lengths.max())} rows, {FEWEST_ROWS} are needed"
    points = data.points()
    still = data.spreads() <= STILL * np.abs(points).max()
    if still.any():
        return f"column {data.names[int(np.argmax(still))]} does not move"
    return ""


def _scaled(data: Trajectories) -> tuple[Trajectories, Float[np.ndarray, " three"], float]:
    """Columns over their r.m.s., so that they stay linear, and time in which they move by as much."""
    scales = np.sqrt(np.mean(data.points() ** 2, axis=0))
    windows = Windows.of([(t, x / scales) for t, x in data.segments()], exact=False)
    speeds = windows.changes.reshape(len(windows.spans), -1) / windows.spans.sum(axis=1)[:, None]
    time = 1 / max(float(np.sqrt(np.mean(speeds**2))), 1e-300)
    scaled = replace(
        data, times=data.times / time, states=data.states / scales, units=(), time_unit="", velocities={}
    )
    return scaled, scales, time


def _nothing(data: Trajectories, why: str, **known: Any) -> LiePoisson:
    given: dict[str, Any] = {"gains": {}, "chi2": None, "damping": None} | known
    return LiePoisson(data.names, False, why, "unknown", None, **given)


def _answer(
    data: Trajectories,
    setup: BilinearSetup,
    fits: dict[str, tuple[BilinearFit, Adequacy]],
    scales: Float[np.ndarray, " three"],
    time: float,
) -> LiePoisson:
    able = {name: one.fit.log_evidence for name, (one, checked) in fits.items() if checked.adequate}
    # From the simplest.
    chosen = next((name for name, value in able.items() if value > max(able.values()) - WORTH), None)
    nearest = max(fits, key=lambda name: fits[name][0].fit.log_evidence) if chosen is None else chosen
    fitted, checked = fits[nearest]
    best = fitted.fit.log_evidence
    known = {
        "gains": {name: one.fit.log_evidence - best for name, (one, _) in fits.items()},
        "chi2": checked.chi2,
    }
    if chosen is None:
        return _nothing(data, checked.why, **known)
    rate, sd = (value / time for value in fitted.friction)
    if abs(rate) > ERRORS * sd:
        why = f"the motion is damped, at the rate {with_error(rate, sd)}"
        return _nothing(data, why, **known, damping=(rate, sd))
    found = reading(fitted, scales, time)
    if drifts(data, found):
        return _nothing(data, "what would be conserved changes along trajectories", **known)
    if found.simple is not None:
        found = _with_simple(setup, fitted, found, scales, time)
    return LiePoisson(data.names, True, "", chosen, found, damping=None, **known)


def _with_simple(
    setup: BilinearSetup,
    fitted: BilinearFit,
    found: Reading,
    scales: Float[np.ndarray, " three"],
    time: float,
) -> Reading:
    """What the fit with a simple Casimir says, where that is no worse."""
    assert found.simple is not None
    try:
        again = setup.with_matrix(fitted.parts, in_scaled_columns(found.simple, scales))
    except (FitError, np.linalg.LinAlgError):
        return found
    worse = again.fit.log_evidence < fitted.fit.log_evidence - WORTH
    return found if worse or not again.fit.converged else reading(again, scales, time)


def drifts(data: Trajectories, found: Reading) -> bool:
    """Whether C or H changes with time along trajectories, by an amount that is a combination of 1, C and H:
    a damping of any kind that the residuals do not show yet.
    """
    values, spans, groups = [], [], []
    for number, (times, states) in enumerate(data.segments()):
        both = [one.values(states) for one in (found.casimir, found.energy)]
        values.append(np.stack(both, axis=1))
        spans.append(times - times.mean())
        groups.append(np.full(len(times), number))
    own, span, group = np.concatenate(values), np.concatenate(spans), np.concatenate(groups)
    means = np.stack([part.mean(axis=0) for part in values])
    scale = np.maximum(np.abs(means).max(axis=0), 1e-300)
    design = span[:, None] * np.concatenate([np.ones((len(span), 1)), (means / scale)[group]], axis=1)
    inverse = np.linalg.pinv(design.T @ design)
    for changes in (own - means[group]).T:
        slopes = inverse @ design.T @ changes
        # Noise of a quadratic varies with the state.
        weighted = design * (changes - design @ slopes)[:, None]
        covariance = inverse @ weighted.T @ weighted @ inverse
        if slopes @ np.linalg.pinv(covariance, hermitian=True) @ slopes > DRIFT:
            return True
    return False
