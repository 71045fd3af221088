"""How many rows a period of the motion has, from the rows alone."""

import numpy as np

from ..trajectories import Trajectories

FEWEST_PER_PERIOD = 4.0
"""Rows in a period below which rows do not show how the motion goes from one to the next."""
ALIKE, LEAST_ALIKE = 0.1, 0.5
"""Steps of time that count as equal, and the least share of all of them that must be."""
REMEMBERED = 0.5
"""Size of an eigenvalue from which the next row follows from the last, and is not noise."""
FEWEST_PAIRS = 5
"""Pairs of rows for each entry of a row of the map."""


def rows_per_period(trajectories: Trajectories) -> float:
    """Those of the fastest motion that the rows show, at most 1000.

    The affine map from each row to the next has eigenvalues exp(2 pi i / rows) for motions that repeat after
    so many rows. A motion that turns by more than half a period between rows looks like a slower one: of such
    it is not the true number, but less than four for nearly half of all. Infinite where rows do not follow
    at equal steps, or are too few.
    """
    before, after, steps = [], [], []
    for times, states in trajectories.segments():
        before.append(states[:-1])
        after.append(states[1:])
        steps.append(np.diff(times))
    step = np.concatenate(steps)
    alike = np.abs(step / np.median(step) - 1) < ALIKE
    dim = 2 * trajectories.dof
    if alike.mean() < LEAST_ALIKE or alike.sum() < FEWEST_PAIRS * (dim + 1):
        return np.inf
    first, second = np.concatenate(before)[alike], np.concatenate(after)[alike]
    middle, spread = first.mean(axis=0), first.std(axis=0)
    moving = spread > 1e-12 * np.abs(first).max(axis=0)
    if not moving.any():
        return np.inf
    scaled = ((rows - middle)[:, moving] / spread[moving] for rows in (first, second))
    inputs, outputs = scaled
    inputs = np.concatenate([inputs, np.ones((len(inputs), 1))], axis=1)
    found = np.linalg.lstsq(inputs, outputs, rcond=None)[0][:-1]
    eigenvalues = np.linalg.eigvals(found)
    angles = np.abs(np.angle(eigenvalues[np.abs(eigenvalues) > REMEMBERED]))
    return float(2 * np.pi / max(angles.max(initial=0.0), 2e-3 * np.pi))


def too_far_apart(rows: float) -> str:
    """What is said of so many rows a period, where they are too few."""
    needed = f"where {FEWEST_PER_PERIOD:.0f} or more are needed"
    return f"rows are too far apart, about {rows:.2g} in a period of the motion {needed}"
