"""The Poisson matrix of files of positions and velocities: what is found against what is true."""

import time

import numpy as np

from ...bracket import Bracket, poisson_matrix
from ..claims import AtLeast, AtMost
from ..seeded_target import Column, Measured, SeededTarget
from .systems import SYSTEMS, System, measured

MOST_STATES = 200
"""States at which matrices are compared."""
SURE = 5.0
"""Standard deviations off from which a matrix is called wrong."""
ROUNDING = 1e-6
"""Of standard deviations beside the largest."""
ALL = "all systems"


def run_bracket(seed: int, quick: bool) -> Measured:
    """One data set of each system."""
    names = ("masses 1, 2.7",) if quick else tuple(SYSTEMS)
    rows, said = {}, {}
    for name in names:
        rows[name], found = scored(SYSTEMS[name], seed)
        said[name] = found.to_json()
    whole = {
        key: float(np.mean([row[key] for row in rows.values()])) for key in ("right", "wrong", "seconds")
    }
    worst = {key: float(np.max([row[key] for row in rows.values()])) for key in ("error", "noise")}
    return Measured({**rows, ALL: whole | worst}, said)


def scored(system: System, seed: int) -> tuple[dict[str, float], Bracket]:
    """What a file gave, beside the truth."""
    data, begun = measured(system, seed), time.process_time()
    found = poisson_matrix(data)
    seconds = time.process_time() - begun
    states = data.points()[:: max(1, len(data.points()) // MOST_STATES)]
    ours, true = found.map.brackets(states), np.stack([system.matrix(state) for state in states])
    # One scale in both: that of the first position and its velocity in the form.
    scale = float(np.linalg.inv(ours[0])[0, data.dof] / np.linalg.inv(true[0])[0, data.dof])
    error = _relative(scale * ours, true)
    masses = _relative(scale * ours[:, : data.dof, data.dof :], true[:, : data.dof, data.dof :])
    sure = found.kind != "unknown"
    off = 0.0
    if sure:
        told = found.sd > ROUNDING * found.sd.max()
        at = system.matrix(found.at) / scale
        off = float(np.max(np.abs(found.matrix - at)[told] / found.sd[told], initial=0.0))
    chi2 = found.chi2.get(found.kind)
    row = {
        "right": float(found.kind == system.kind),
        "wrong": float(sure and (off > SURE or error > 0.2)),
        "error": error,
        "masses": masses,
        "off": off,
        "noise": 1.0 if chi2 is None else float(np.sqrt(chi2)),
        "seconds": seconds,
    }
    return row, found


def _relative(found: np.ndarray, true: np.ndarray) -> float:
    """R.m.s. difference over the r.m.s. size."""
    return float(np.sqrt(np.sum((found - true) ** 2) / np.sum(true**2)))


BRACKET = SeededTarget(
    "bracket",
    "The Poisson matrix of positions and velocities",
    run_bracket,
    (
        Column("right", "kind right", "{:.2f}"),
        Column("error", "error of B", "{:.4f}"),
        Column("masses", "error of inverse masses", "{:.4f}"),
        Column("off", "largest error over its sd", "{:.1f}"),
        Column("noise", "residuals over noise", "{:.2f}"),
        Column("seconds", "seconds of CPU", "{:.1f}"),
    ),
    (
        AtLeast("right", ALL, 0.9),
        AtMost("wrong", ALL, 0.0),
        AtMost("error", "masses 1, 2.7", 0.01),
        AtMost("error", "field 1.5", 0.005),
        AtMost("masses", "double pendulum, 1 rad", 0.03),
        AtMost("seconds", "double pendulum, 1 rad", 60.0),
    ),
    (
        "Files of positions and velocities of 20 trajectories of 51 rows with 1 % noise, but where the name "
        "says otherwise. *Kind right*: the simplest one that is true. *Error of B*: r.m.s. over states of "
        "the data, over its size, and of its block {q, v} alone. *Largest error over its sd*: of the entries "
        "of a constant matrix.",
    ),
)
