"""The Poisson matrix of positions and velocities, from trajectories alone."""

from collections.abc import Callable

import numpy as np

from ..exact_evidence.checks import NEGLIGIBLE
from ..exact_evidence.engine import pieces_of
from ..exact_evidence.sums import Sum
from ..scaling import ColumnScale
from ..spelling import suggestion
from ..threads import on_one_thread
from ..trajectories import Trajectories, fit_scale, scaled_trajectories, velocity_scale
from ..trajectories.layout import BRACKETS
from .choice import Search, log_evidence
from .coordinates import Entries, canonical_map, mass_ratios, poisson_entries
from .fitting import OF_ONE_MASS, Fitted, Setup
from .forms import ConstantForm
from .free_field import Spectrum, spectrum
from .result import Bracket
from .sources import Sources
from .surface import on_surface

MOST_ROWS = 4000
"""Rows that are used."""
DRAWS = 20
"""Draws of the posterior that say how uncertain the motion is."""
SURFACE = (
    "the rows lie on a surface, beside which nothing is known: a constraint, a column that does not move, or "
    "too few rows"
)
ERRORS = 3.0
"""Standard deviations from which friction is seen."""


@on_one_thread
def poisson_matrix(
    data: Trajectories, kind: str = "auto", *, progress: Callable[[str], None] | None = None
) -> Bracket:
    """The Poisson matrix B of x' = B grad H(x) for positions and velocities (q, v) with unknown masses, in a
    field or a rotating frame, or curvilinear: the simplest kind that fits, with errors, and canonical
    coordinates.

    `data` have 2n columns, positions first; what their momenta are called does not matter. Kinds, from the
    simplest: "canonical" (equal masses, no field), "masses" (one a velocity), "field" ({v_i, v_j} is not 0),
    "natural" (both, with a symmetric mass matrix), "constant" (all entries), "form" (mass matrix and field
    depend on the position, up to 3 degrees of freedom). "auto" takes one with more freedom where its log
    evidence is more than 10 nats better, or no simpler one fits. H is a polynomial, or a trigonometric one in
    declared angles, fitted together with B by multiple shooting; Omega = B^-1 begins at the form that a free
    polynomial field preserves, Omega F + F^T Omega = 0. `progress` is told what is being fitted. Raises
    ValueError for another kind, or for targets beside states.
    """
    if kind not in BRACKETS:
        raise ValueError(f"kind: got {kind!r}, {suggestion(kind, BRACKETS)}")
    if data.targets is not None:
        raise ValueError("a Poisson matrix is found from measured states, not from states with noisy targets")
    pieces, _ = pieces_of(data, MOST_ROWS)
    # The prior is one of scaled columns: rounded scales would move evidence and errors with the units. A mass
    # matrix is symmetric in those of velocities; that all masses are one is said of the columns as they are.
    scale = fit_scale(pieces, rounded=False) if kind in OF_ONE_MASS else velocity_scale(pieces)
    scaled = scaled_trajectories(pieces, scale)
    search = Search(scaled, scale, progress or (lambda _: None))
    if on_surface(scaled):
        search.why = SURFACE
    else:
        search.run(kind)
    return _answer(data, search, scale)


def _answer(data: Trajectories, search: Search, scale: ColumnScale) -> Bracket:
    chosen = search.chosen
    fitted = None if chosen is None else chosen.fitted
    found = None if search.setup is None else _spectrum(search.setup, fitted)
    entries = None if fitted is None else Entries(fitted.kind.form, fitted.theta, fitted.covariance)
    values, sd = poisson_entries(data.dof, entries, scale)
    best = max(map(log_evidence, search.attempts.values()), default=0.0)
    best = best if chosen is None else log_evidence(chosen)
    given_up = {name: -one.behind for name, one in search.attempts.items() if one.fitted is None}
    of = {name: log_evidence(one) - best for name, one in search.attempts.items() if one.fitted is not None}
    return Bracket(
        kind="unknown" if chosen is None else chosen.kind.name,
        columns=data.names,
        matrix=values,
        sd=sd,
        at=scale.states_back(np.zeros(2 * data.dof)),
        map=canonical_map(data.names, entries, scale),
        spectrum=() if found is None else tuple(found.values.tolist()),
        forms=0 if found is None else found.preserved,
        gains={**of, **given_up},
        bounded=tuple(given_up),
        chi2={
            name: None if one.checked is None else one.checked.chi2 for name, one in search.attempts.items()
        },
        mass_ratios=_mass_ratios(search, scale),
        friction=None if fitted is None else _friction(fitted, data, scale),
        sources=() if fitted is None else _sources(fitted, scale),
        adequate=chosen is not None,
        converged=fitted is not None and fitted.fit.converged,
        why="" if chosen is not None else search.why or _why(search),
        network=False,
    )


def _why(search: Search) -> str:
    """What is wrong with the best of the fits."""
    checked = [one for one in search.attempts.values() if one.checked is not None]
    if not checked:
        failed = [f"; {one.kind.name}: {one.failed}" for one in search.attempts.values() if one.failed]
        return "no Hamiltonian that was tried stays near the data" + "".join(failed[:1])
    best = max(checked, key=log_evidence)
    assert best.checked is not None
    return f"{best.kind.name}: {best.checked.why}"


def _spectrum(setup: Setup, fitted: Fitted | None) -> Spectrum:
    """That of the motion without its friction."""
    if fitted is None:
        return spectrum(setup.field.jacobians, np.zeros((0, *setup.field.jacobians.shape)))
    mean, *draws = fitted.jacobians(setup.field.states, DRAWS)
    return spectrum(mean, np.array(draws))


def _mass_ratios(search: Search, scale: ColumnScale) -> tuple[tuple[float, float], ...]:
    """m_i / m_1, with all natural entries free unless masses are all that differs."""
    chosen = search.chosen
    if chosen is None or chosen.kind.name not in ("canonical", "masses", "field", "natural"):
        return ()
    own = chosen if chosen.kind.name == "masses" else search.attempts.get("natural", chosen)
    if own.fitted is None or not own.kind.size:
        return ()
    form = own.fitted.kind.form
    if not isinstance(form, ConstantForm):
        return ()
    return mass_ratios(Entries(form, own.fitted.theta, own.fitted.covariance), scale)


def _friction(fitted: Fitted, data: Trajectories, scale: ColumnScale) -> tuple[float, float] | None:
    rate, sd = (value / scale.time for value in fitted.friction)
    longest = float(np.ptp(data.times, axis=1).max())
    return (rate, sd) if abs(rate) > max(ERRORS * sd, NEGLIGIBLE / longest) else None


def _sources(fitted: Fitted, scale: ColumnScale) -> tuple[tuple[str, tuple[float, ...]], ...]:
    """The laws and places of points that forces are towards, in the units of the data."""
    features = fitted.problem.features
    parts = features.parts if isinstance(features, Sum) else ()
    places = np.array(scale.positions), np.array(scale.shifts[: scale.dof])
    return tuple(
        (part.law, tuple((centre * places[0] + places[1]).tolist()))
        for part in parts
        if isinstance(part, Sources)
        for centre in np.asarray(part.centres)
    )
