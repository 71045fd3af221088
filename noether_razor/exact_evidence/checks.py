"""Whether evidence may be believed: the fit itself, friction, and quantities known not to be conserved."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..invariants.noise import noise_estimate
from ..quadratic_forms import Quadratics
from ..trajectories import Trajectories
from .built_in import Comparison
from .prior import Prior, covariance_root
from .shooting import Begin, Fit, FitError, LinearModel, Problem, fit

GROWS = 1.1
"""Noise with whole trajectories over that with segments of 8 rows from which the fit is not good enough."""
MISFIT = 1.21
"""The same for squared residuals over degrees of freedom."""
NEGLIGIBLE = 1e-4
"""Noise over the spread of a column below which there is none to compare with."""
ERRORS = 3.0
"""Standard errors of chance that are added to it."""
UNSETTLED = "the fit did not converge"
COMPARED = 8
"""Rows of the segments that whole trajectories are compared with."""
KEPT_BACK = 4
"""One trajectory in this many is kept back."""
MOVES = 5.0
"""Spread along trajectories over noise from which a control surely changes."""


class Adequacy(NamedTuple):
    """How well H fits, with friction and without symmetry.

    chi2: squared residuals over degrees of freedom and over the noise variance that neighbouring rows show,
    None where they cannot show it. kept_back: the same of trajectories that were not fitted, by the posterior
    that the others give; None for fewer than 4, and where the fit did not converge. growth: noise with whole
    trajectories over that with segments of 8 rows. why: what is wrong, empty where all is well.
    """

    chi2: float | None
    kept_back: float | None
    growth: float | None
    why: str

    @property
    def adequate(self) -> bool:
        """Whether gains mean anything."""
        return not self.why


def expected_noise(data: Trajectories) -> Float[np.ndarray, " dim"]:
    """The noise variance that neighbouring rows show of each column, not less than what is negligible; 0
    where they cannot show it.
    """
    told, least = noise_estimate(data), (NEGLIGIBLE * data.spreads()) ** 2
    return np.where(told.told & (data.spreads() > 0), np.maximum(told.variance, least), 0.0)


def adequacy(comparison: Comparison, data: Trajectories, *, keep_back: bool = True) -> Adequacy:
    """That of the fit without symmetry to scaled trajectories. `keep_back`: with trajectories kept back,
    which asks that H holds where it was not fitted.
    """
    problem, none = comparison.problem, comparison.none
    chi2, kept_back, growth, why = None, None, None, []
    if not problem.exact:
        told, expected = noise_estimate(data), expected_noise(data)
        used = expected > 0
        if used.any():
            chi2 = float(np.mean(none.point.noise[used] / expected[used]))
            chance = ERRORS * float(np.sqrt(np.mean(told.relative_error[used] ** 2) / used.sum()))
            if chi2 > MISFIT * (1 + chance):
                why.append(f"residuals are {np.sqrt(chi2):.2f} times the noise between neighbouring rows")
    if (short := none.stages.get(COMPARED)) is not None and problem.times.shape[1] > COMPARED:
        growth = float(np.sqrt(np.mean(none.point.noise / short.noise)))
        if growth > GROWS + 2 / np.sqrt(problem.count * problem.dim):
            why.append(grown(growth))
    # Nothing is made of a fit that did not converge, and a second one would take as many steps.
    if keep_back and len(problem.times) >= KEPT_BACK and none.converged:
        kept_back, degrees = _kept_back(comparison)
        if kept_back > MISFIT * (1 + ERRORS * np.sqrt(2 / degrees)):
            why.append(f"trajectories kept back have {np.sqrt(kept_back):.2f} times the residuals")
    if not none.converged:
        why.append(UNSETTLED)
    return Adequacy(chi2, kept_back, growth, "; ".join(why))


def grown(growth: float) -> str:
    """What is wrong with noise that grows with the length of trajectories."""
    return f"residuals of whole trajectories are {growth:.2f} times those of 8 rows"


def _kept_back(comparison: Comparison) -> tuple[float, int]:
    """Chi-squared over degrees of freedom, and these, of trajectories that were not fitted, by the posterior
    of H that the others give.
    """
    problem, none, whole = comparison.problem, comparison.none, [comparison.problem.times.shape[1]]
    aside = np.arange(len(problem.times)) % KEPT_BACK == KEPT_BACK - 1
    begin = Begin(none.point.z, none.states, none.point.variances, none.point.noise)
    fitted = np.where(aside[:, None], 0.0, problem.seen)
    kept = problem.seen - fitted
    degrees = int(kept.sum()) * problem.dim
    try:
        other = fit(problem, none.model, begin, lengths=whole, seen=fitted)
        # Their parameters are draws of the posterior: with the best of these, the sum of squares has as many
        # degrees of freedom as there are numbers, less those of the first states.
        root, every = covariance_root(other.covariance), np.eye(problem.size)
        posterior = LinearModel(root, Prior.of(every, np.zeros(problem.size, int)), other.parameters)
        begin = Begin(np.zeros(problem.size), none.states, np.ones(1), other.point.noise)
        found = fit(problem, posterior, begin, lengths=whole, seen=kept, fixed=True)
    except FitError:
        return np.inf, degrees
    squares = np.einsum("bkd,bk->d", (found.states - problem.measured) ** 2, kept)
    degrees -= 0 if problem.exact else int(aside.sum()) * problem.dim
    total = float(np.sum(squares / other.point.noise) + np.sum(found.point.z**2))
    return total / max(degrees, 1), max(degrees, 1)


class Friction(NamedTuple):
    """p' = .. - gamma p: the rate in the unit of time of the data, its standard deviation, and the nats that
    it gains.
    """

    gamma: float
    sd: float
    gain: float

    @property
    def absent(self) -> bool:
        """Whether the data show none."""
        return self.gain < 3 or abs(self.gamma) < ERRORS * self.sd


def friction(comparison: Comparison, time: float) -> Friction:
    """Of scaled trajectories whose unit of time is `time`."""
    none = comparison.none
    # Without the prior of the friction, which may have sent it to zero.
    prior = none.model.prior.precision(none.point.variances)
    free = none.information + prior
    pull = free @ none.point.z
    free[-1, -1] -= prior[-1, -1]
    covariance = np.linalg.inv(free)
    try:
        gain = none.log_evidence - comparison.without_friction().log_evidence
    except FitError:
        gain = np.inf
    return Friction(
        float(covariance[-1] @ pull) / time, float(np.sqrt(covariance[-1, -1])) / time, float(gain)
    )


class Control(NamedTuple):
    """A quantity that surely changes along the data: its name, and itself in scaled coordinates."""

    name: str
    quantity: Quadratics


def controls(problem: Problem, none: Fit, names: tuple[str, ...]) -> list[Control]:
    """The position and momentum that change most, and a random quadratic, as far as they surely change.

    A position may be an angle: its flow moves a momentum, and H would not depend on that. The quadratic has
    none. It is one that can be built in.
    """
    dim, dof = problem.dim, problem.dim // 2
    seen = problem.measured[:, 0] if problem.exact else problem.measured[problem.seen > 0]
    spread = seen.std(axis=0)
    chosen = [int(np.argmax(spread[:dof])), dof + int(np.argmax(spread[dof:]))]
    zeros = np.zeros((1, dim, dim))
    found = [Control(names[k], Quadratics(zeros, np.eye(dim)[k : k + 1], np.zeros(1))) for k in chosen]
    draw = np.random.default_rng(dim).normal(size=(dim, dim))
    if problem.features.averaged:
        # That of an oscillator of two random coordinates has a periodic flow.
        pair = np.array([draw[0], np.append(draw[0, dof:], -draw[0, :dof])])
        draw = pair.T @ pair
    angles = list(problem.features.angles)
    draw[angles], draw[:, angles] = 0.0, 0.0
    random = Quadratics((draw + draw.T)[None] / 2, np.zeros((1, dim)), np.zeros(1))
    found.append(Control("a random quadratic", random))
    return [control for control in found if _changes(problem, none, control.quantity)]


def _changes(problem: Problem, none: Fit, quantity: Quadratics) -> bool:
    """Whether C spreads along fitted trajectories by more than the noise of states can make it."""
    matrix, vector = quantity.matrices[0], quantity.vectors[0]
    states = none.states
    values = np.einsum("bki,ij,bkj->bk", states, matrix, states) / 2 + states @ vector
    slopes = states @ matrix + vector
    noise = float(np.mean(slopes**2 @ none.point.noise))
    present = problem.seen > 0
    if problem.exact:
        present = np.ones_like(present)
    means = np.where(present, values, 0.0).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    within = float(np.mean((values - means[:, None])[present] ** 2))
    return within > MOVES**2 * noise if not problem.exact else within * len(values) > MOVES**2 * noise
