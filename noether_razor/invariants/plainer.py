"""Conserved quantities without what the data hardly tell from none of a quantity that drifts."""

import numpy as np
from jaxtyping import Float

from .conserved import ConservedSpace, largest_root
from .formulas import count_terms, sparse_basis

TERM = 25.0
"""Rise of the test of drifts, as chi-squared, that one term less is worth: of five standard errors."""


def plainer(
    space: ConservedSpace, rows: Float[np.ndarray, "K all"], drifting: Float[np.ndarray, "s all"]
) -> Float[np.ndarray, "K all"]:
    """A basis of conserved combinations (of terms of unit spread) up to errors that mix into them a little of
    what drifts.

    What drifts just beyond chance drifts below it in small parts: p^2 + p/5 is then as constant as p^2. Of
    what the test of drifts cannot tell apart, the fewest terms are taken.
    """
    if not len(rows) or not len(drifting):
        return rows
    motion, drift = space.motion, space.drift
    allowed = largest_root(len(rows), float(drift.degrees))

    def in_motion(some: Float[np.ndarray, "L all"]) -> Float[np.ndarray, "L M"]:
        return motion.rows(some / motion.own_sizes)

    found = sparse_basis(rows)
    for k, row in enumerate(found):
        beside = np.concatenate([drifting, np.delete(found, k, axis=0)])
        moved, _ = drift.split(in_motion(beside))
        own, variance = drift.split(in_motion(row[None]))
        worth = TERM * max(float(variance[0, 0]), np.finfo(float).tiny)
        trial = row
        for smoothing in np.geomspace(1.0, 0.02, 40):
            weights = 1 / (trial**2 + smoothing**2)
            normal = (beside * weights) @ beside.T + moved.T @ moved / worth
            pull = beside @ (weights * row) + moved.T @ own[:, 0] / worth
            trial = row - np.linalg.lstsq(normal, pull, rcond=None)[0] @ beside
        fewer = count_terms(trial) < count_terms(row)
        if fewer and drift.strength(in_motion(trial[None])[0]) <= allowed:
            found[k] = trial
    return found
