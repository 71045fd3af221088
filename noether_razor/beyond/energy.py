"""The Hamiltonian among what is conserved: the combination whose field moves the data from row to row."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from ..invariants import Dictionary, Motion
from ..invariants.on_states import OnStates
from ..thinning import evenly

MOST_STEPS, MOST_NUMBERS = 800, 3200
"""Steps from row to row that are predicted, and numbers of these."""
MANY = 8
"""Quantities from which several are left out at a time."""
MOST_SUBSTEPS, ACCURATE = 16, 0.1
"""Steps of the integrator in one, at most, and its error over the noise from which they are enough."""
ROUNDS = 3
"""Rounds of Gauss and Newton."""
NEEDED = 3.5
"""Standard errors from which a quantity is part of H."""
FLOOR = 3e-4
"""Error of a prediction over the spread that counts as none."""
FITS = 1.5
"""Mean square of predictions over what noise makes of them, up to which they are those of H."""
NUDGE = 1e-4
"""Of the spread: by what states are moved for derivatives."""


class Steps(NamedTuple):
    """Rows and those that follow, (steps, 2n), the times between, and the variances of the noise."""

    before: Float[np.ndarray, "steps dim"]
    after: Float[np.ndarray, "steps dim"]
    times: Float[np.ndarray, " steps"]
    noise: Float[np.ndarray, " dim"]
    spread: Float[np.ndarray, " dim"]

    @classmethod
    def of(cls, motion: Motion) -> "Steps":
        """Some of all steps of the data."""
        segments = motion.trajectories.segments()
        before = np.concatenate([states[:-1] for _, states in segments])
        after = np.concatenate([states[1:] for _, states in segments])
        times = np.concatenate([np.diff(times) for times, _ in segments])
        some = evenly(len(times), min(MOST_STEPS, MOST_NUMBERS // before.shape[1]))
        spread = motion.trajectories.points().std(axis=0)
        return cls(before[some], after[some], times[some], motion.noise.variance, spread)


class EnergyFit(NamedTuple):
    """H = sum_k weights_k C_k up to a constant, the standard errors of the weights, and the mean square of
    one-step predictions over what noise makes of them.
    """

    weights: Float[np.ndarray, " K"]
    errors: Float[np.ndarray, " K"]
    chi2_dof: float

    def row(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " M"]:
        """H as coefficients of the terms that quantities `rows` are made of."""
        return self.weights @ rows

    def on_states(
        self, dictionary: Dictionary, rows: Float[np.ndarray, "K M"], states: Float[np.ndarray, "points dim"]
    ) -> OnStates:
        """H and its gradient at some states."""
        return OnStates.of_terms(dictionary, self.row(rows), states)


def energy_fit(motion: Motion, rows: Float[np.ndarray, "K M"]) -> EnergyFit | None:
    """H as a combination of conserved quantities, coefficients `rows` of all terms in the units of the data.

    Where x' = J grad H and H is conserved, H is a combination of what is found, or a function of it. The
    weights are those by which one step of the method of Runge and Kutta leads from each row to the next: by
    least squares with the variance of both rows, the first carried along by the step. None where no
    combination does so within the noise.
    """
    if not len(rows):
        return None
    steps = Steps.of(motion)
    field = _Field(motion.dictionary, rows)
    variance = steps.noise + (FLOOR * steps.spread) ** 2
    # Along the chord first, which is linear in the weights.
    along = (field.every(steps.before) + field.every(steps.after)) * (steps.times / 2)[:, None, None]
    moved = steps.after - steps.before
    weights = _solved(along, moved, np.broadcast_to(variance, moved.shape))[0]
    field.refine(steps, weights, variance)
    kept = np.ones(len(rows), bool)
    for _ in range(len(rows)):
        found = _refined(field, steps, weights, kept, variance)
        if found is None:
            return None
        weights, errors, misfit = found
        weak = kept & (np.abs(weights) < NEEDED * errors * max(1.0, misfit) ** 0.5)
        if not weak.any():
            fits = misfit <= FITS and bool(kept.any())
            return EnergyFit(weights, errors, float(misfit)) if fits else None
        order = sorted(np.flatnonzero(weak).tolist(), key=lambda k: abs(weights[k]) / errors[k])
        out = order[: len(order) // 2 if kept.sum() > MANY and len(order) > 1 else 1]
        kept &= ~np.isin(np.arange(len(rows)), out)
        if not kept.any():
            return None
    return None


class _Field:
    """x' = sum_k w_k J grad C_k(x)."""

    def __init__(self, dictionary: Dictionary, rows: Float[np.ndarray, "K M"]):
        self.dictionary, self.rows, self.substeps = dictionary, rows, 1

    def every(self, states: np.ndarray) -> Float[np.ndarray, "rows dim K"]:
        """The field of each quantity."""
        slopes = np.stack(
            [self.dictionary.slopes(states, i) @ self.rows.T for i in range(states.shape[1])], axis=1
        )
        position, momentum = np.split(slopes, 2, axis=1)
        return np.concatenate([momentum, -position], axis=1)

    def along(self, states: np.ndarray, row: np.ndarray) -> Float[np.ndarray, "rows dim"]:
        """The field of one combination of terms."""
        used = np.flatnonzero(row)
        slopes = [self.dictionary.slopes(states, i)[:, used] @ row[used] for i in range(states.shape[1])]
        position, momentum = np.split(np.stack(slopes, axis=1), 2, axis=1)
        return np.concatenate([momentum, -position], axis=1)

    def refine(self, steps: Steps, weights: np.ndarray, variance: np.ndarray) -> None:
        """Take as many substeps as the noise asks for."""
        with np.errstate(all="ignore"):
            at = self.step(steps.before, steps.times, weights)
            while self.substeps < MOST_SUBSTEPS:
                self.substeps *= 2
                finer = self.step(steps.before, steps.times, weights)
                if np.sqrt(np.mean((finer - at) ** 2 / variance)) < ACCURATE:
                    break
                at = finer

    def step(self, states: np.ndarray, times: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """States after `times`, by a few steps of the classical method of order 4."""
        h = times[:, None] / self.substeps
        row = weights @ self.rows
        for _ in range(self.substeps):
            one = self.along(states, row)
            two = self.along(states + h / 2 * one, row)
            three = self.along(states + h / 2 * two, row)
            four = self.along(states + h * three, row)
            states = states + h / 6 * (one + 2 * two + 2 * three + four)
        return states


def _refined(
    field: _Field,
    steps: Steps,
    weights: Float[np.ndarray, " K"],
    kept: Bool[np.ndarray, " K"],
    variance: Float[np.ndarray, " dim"],
) -> tuple[np.ndarray, np.ndarray, float] | None:
    """Weights of those that are `kept`, with errors and the misfit; None where predictions are not finite."""
    weights, errors, misfit = np.where(kept, weights, 0.0), np.zeros(len(weights)), np.inf
    with np.errstate(all="ignore"):
        at = field.step(steps.before, steps.times, weights)
        carried = _carried(field, steps, weights, at, variance)
        for _ in range(ROUNDS):
            at = field.step(steps.before, steps.times, weights)
            off = steps.after - at
            total = variance + carried
            nudges = 1e-4 * np.maximum(np.abs(weights), 1e-3 * np.abs(weights).max(initial=1e-12))
            columns = [
                (field.step(steps.before, steps.times, weights + step) - at) / nudge
                for step, nudge in zip(np.diag(nudges)[kept], nudges[kept], strict=True)
            ]
            if not np.isfinite(at).all() or not np.isfinite(total).all():
                return None
            misfit = float(np.mean(off**2 / total))
            change, own = _solved(np.stack(columns, axis=2), off, total)
            weights[kept] += change
            errors[kept] = own
    return weights, errors, misfit


def _carried(
    field: _Field, steps: Steps, weights: np.ndarray, at: np.ndarray, variance: np.ndarray
) -> Float[np.ndarray, "steps dim"]:
    """The variance that the noise of the first row has after the step."""
    total = np.zeros(at.shape)
    for i in range(at.shape[1]):
        nudge = NUDGE * steps.spread[i] * np.eye(at.shape[1])[i]
        if nudge.any():
            slope = (field.step(steps.before + nudge, steps.times, weights) - at) / nudge[i]
            total += slope**2 * variance[i]
    return total


def _solved(
    columns: Float[np.ndarray, "steps dim K"],
    target: Float[np.ndarray, "steps dim"],
    variance: Float[np.ndarray, "steps dim"],
) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " K"]]:
    """Weighted least squares, and the standard errors."""
    root = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    design = (columns / root[:, :, None]).reshape(-1, columns.shape[2])
    size = np.maximum(np.linalg.norm(design, axis=0), np.finfo(float).tiny)
    left, values, right = np.linalg.svd(design / size, full_matrices=False)
    inverse = np.where(values > 1e-10 * values.max(initial=0.0), 1 / np.maximum(values, 1e-300), 0.0)
    found = right.T @ (inverse * (left.T @ (target / root).reshape(-1)))
    errors = np.sqrt(np.sum((right.T * inverse) ** 2, axis=1))
    return found / size, errors / size
