"""Which kind of a family of brackets states that are no pairs ask for, and whether any fits."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..exact_evidence.built_in import Comparison
from ..exact_evidence.checks import Adequacy, adequacy
from ..exact_evidence.engine import pieces_of
from ..exact_evidence.shooting import FitError
from ..exact_evidence.start import Windows
from ..invariants.simple_numbers import with_error
from ..trajectories import UNPAIRED, Trajectories
from .bilinear import BilinearFit, BilinearSetup, Family, Parts
from .choice import WORTH

MOST_ROWS = 4000
"""Rows that are used."""
ERRORS = 3.0
"""Standard deviations from which damping is seen."""
DRIFT = 25.0
"""Squared change of a quantity with time over its variance from which it is not conserved."""
FEWEST_ROWS = 5
"""Of a trajectory."""
STILL = 1e-9
"""Standard deviation of a column over its size below which it does not move."""

Quantity = Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, " rows"]]


class Scaled(NamedTuple):
    """Trajectories in scaled columns x / scales and time, of at most `MOST_ROWS` rows."""

    data: Trajectories
    scales: Float[np.ndarray, " dim"]
    time: float

    @classmethod
    def of(cls, data: Trajectories) -> "Scaled":
        """Columns over their r.m.s., so that 0 stays, and time in which they move by as much. Raises
        `FitError` where nothing can be said of the data.
        """
        data, _ = pieces_of(replace(data, bracket=UNPAIRED, periods=()), MOST_ROWS)
        if int(data.lengths.max()) < FEWEST_ROWS:
            raise FitError(
                f"trajectories have at most {int(data.lengths.max())} rows, {FEWEST_ROWS} are needed"
            )
        still = data.spreads() <= STILL * np.abs(data.points()).max()
        if still.any():
            raise FitError(f"column {data.names[int(np.argmax(still))]} does not move")
        scales = np.sqrt(np.mean(data.points() ** 2, axis=0))
        windows = Windows.of([(t, x / scales) for t, x in data.segments()], exact=False)
        speeds = windows.changes.reshape(len(windows.spans), -1) / windows.spans.sum(axis=1)[:, None]
        time = 1 / max(float(np.sqrt(np.mean(speeds**2))), 1e-300)
        times, states = data.times / time, data.states / scales
        scaled = replace(data, times=times, states=states, units=(), time_unit="", velocities={})
        return cls(scaled, scales, time)


class Choice(NamedTuple):
    """The fit of the kind that is taken, None where none fits, and `why` not. gains: log evidence of each
    kind less that of the one taken, or of the best; chi2 as in `Adequacy`; damping: the rate and its standard
    deviation where the data show one.
    """

    setup: BilinearSetup
    fitted: BilinearFit | None
    why: str
    gains: dict[str, float]
    chi2: float | None
    damping: tuple[float, float] | None


def chosen(scaled: Scaled, family: Family, kinds: Sequence[Parts], tell: Callable[[str], None]) -> Choice:
    """The simplest of the kinds, which are in this order, that fits and is no worse than others."""
    setup = BilinearSetup(scaled.data, family)
    fits: dict[str, tuple[BilinearFit, Adequacy]] = {}
    failed = "no fit stays near the data"
    for parts in kinds:
        tell(f"a bracket of the columns: {parts.name}")
        try:
            made = setup.fitted(parts)
            fits[parts.name] = made, adequacy(Comparison(made.problem, made.fit), scaled.data)
        except (FitError, np.linalg.LinAlgError) as error:
            failed = str(error)
    if not fits:
        return Choice(setup, None, failed, {}, None, None)
    able = {name: one.fit.log_evidence for name, (one, checked) in fits.items() if checked.adequate}
    taken = next((name for name, value in able.items() if value > max(able.values()) - WORTH), None)
    best = taken or max(fits, key=lambda name: fits[name][0].fit.log_evidence)
    fitted, checked = fits[best]
    known = fitted.fit.log_evidence
    gains = {name: one.fit.log_evidence - known for name, (one, _) in fits.items()}
    if taken is None:
        return Choice(setup, None, checked.why, gains, checked.chi2, None)
    rate, sd = (value / scaled.time for value in fitted.friction)
    if abs(rate) > ERRORS * sd:
        why = f"the motion is damped, at the rate {with_error(rate, sd)}"
        return Choice(setup, None, why, gains, checked.chi2, (rate, sd))
    return Choice(setup, fitted, "", gains, checked.chi2, None)


def drifts(data: Trajectories, quantities: Sequence[Quantity]) -> bool:
    """Whether one of these changes with time along trajectories, by an amount that is a combination of 1 and
    the quantities: a damping of any kind that the residuals do not show yet.
    """
    values, spans, groups = [], [], []
    for number, (times, states) in enumerate(data.segments()):
        values.append(np.stack([one(states) for one in quantities], axis=1))
        spans.append(times - times.mean())
        groups.append(np.full(len(times), number))
    own, span, group = np.concatenate(values), np.concatenate(spans), np.concatenate(groups)
    means = np.stack([part.mean(axis=0) for part in values])
    scale = np.maximum(np.abs(means).max(axis=0), 1e-300)
    design = span[:, None] * np.concatenate([np.ones((len(span), 1)), (means / scale)[group]], axis=1)
    inverse = np.linalg.pinv(design.T @ design)
    for changes in (own - means[group]).T:
        slopes = inverse @ design.T @ changes
        # The noise of a quantity varies with the state.
        weighted = design * (changes - design @ slopes)[:, None]
        covariance = inverse @ weighted.T @ weighted @ inverse
        if slopes @ np.linalg.pinv(covariance, hermitian=True) @ slopes > DRIFT:
            return True
    return False
