"""Terms that a conserved space does without, so that its quantities can be read."""

import numpy as np
import scipy.linalg
from jaxtyping import Float, Int
from scipy.stats import chi2

from ..invariants import ConservedSpace
from ..invariants.motion import ROUNDING

CHANCE = 5e-4
"""Of leaving in a term that is not needed: 3.5 standard errors of one coefficient."""
AT_ONCE = 0.05
"""Share of the terms that go at a time, the least needed ones; one at least."""
FEWEST_AT_ONCE = 120
"""Terms up to which they go one by one."""
LIKELY, FEW = 2, 8
"""Terms that are tried for each that goes, those first that a first-order estimate needs least; and so many
more.
"""
HALVINGS = 40
"""Of the interval between two eigenvalues, in search of a root."""


def needed_terms(space: ConservedSpace) -> Int[np.ndarray, " kept"]:
    """Which terms of a library its conserved space needs, by backward elimination.

    Terms that are nearly combinations of others on the data (r and log r on a narrow ring) may be added to
    any quantity at no cost. So terms go one by one, the least needed first, as long as the change along
    trajectories of as many combinations of what is left grows by no more than noise makes it: the Wald test
    of each coefficient. Without term j the eigenvalues of change against noise are the roots of sum_i u_ij^2
    / (l_i - m) = 0, for eigenvalues l_i and vectors u_i before, so that one decomposition tries all terms.
    """
    motion, rank = space.motion, space.rank
    used = np.flatnonzero(motion.used)
    if not rank or rank >= len(used):
        return used
    moved, noise, count = _matrices(space)
    # A term that is not needed has one coefficient of chance alone in each quantity; to be worth its place it
    # must also shorten the description.
    limit = max(float(chi2.isf(CHANCE, rank)), rank * float(np.log(count)))
    kept = np.arange(len(used))
    while len(kept) > rank:
        inside = np.ix_(kept, kept)
        values, vectors = scipy.linalg.eigh(moved[inside], noise[inside])
        most = 1 if len(kept) <= FEWEST_AT_ONCE else max(1, int(AT_ONCE * len(kept)))
        likely = np.argsort(_first_order(values, vectors, rank))[: LIKELY * most + FEW]
        for tried in (likely, np.arange(len(kept))):
            more = (_without_each(values, vectors[tried], rank) - values[:rank, None]).sum(axis=0) * count
            order = np.argsort(more)[:most]
            # Together they may cost more than each: half of the limit, where several go.
            out = [k for k in order.tolist() if more[k] <= (limit if k == order[0] else limit / 2)]
            if out:
                break
        if not out:
            break
        kept = np.delete(kept, tried[out])
    return used[kept]


def _first_order(
    values: Float[np.ndarray, " M"], vectors: Float[np.ndarray, "M M"], rank: int
) -> Float[np.ndarray, " M"]:
    """About what each term less adds to the least eigenvalues, to sort them by."""
    squares = vectors**2
    far = 1 / np.maximum(values[rank:] - values[rank - 1], np.finfo(float).tiny)
    return squares[:, :rank].sum(axis=1) / np.maximum(squares[:, rank:] @ far, np.finfo(float).tiny)


def _matrices(space: ConservedSpace) -> tuple[np.ndarray, np.ndarray, float]:
    """Change and noise of the terms, as sums over rows that are weighted as in `conserved_space`, per row,
    and how many rows count.
    """
    motion, weights = space.motion, space.drift.root**2
    shares = (1 - 1 / np.bincount(motion.recording))[motion.recording] * weights
    within = motion.deviations(motion.recording) * np.sqrt(weights)[:, None]
    noise = motion.noise_matrix(shares)
    values, axes = np.linalg.eigh((noise + noise.T) / 2)
    noise = (axes * np.maximum(values, 0.0)) @ axes.T / shares.sum()
    floor = motion.floor**2 * motion.covariance + ROUNDING**2 * np.eye(len(noise))
    return within.T @ within / shares.sum(), noise + floor, motion.degrees / motion.alike


def _without_each(
    values: Float[np.ndarray, " M"], vectors: Float[np.ndarray, "some M"], rank: int
) -> Float[np.ndarray, "rank some"]:
    """The least eigenvalues of the problem without each of some terms, one column a term; `vectors` are the
    entries of these in all eigenvectors.
    """
    squares = vectors**2
    low = np.repeat(values[:rank, None], len(vectors), axis=1)
    high = np.repeat(values[1 : rank + 1, None], len(vectors), axis=1)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        # The sum rises from -inf to inf between two eigenvalues.
        gaps = values - middle[:, :, None]
        gaps = np.where(np.abs(gaps) < 1e-300, 1e-300, gaps)
        sums = np.einsum("ji,kji->kj", squares, 1 / gaps)
        low, high = np.where(sums < 0, middle, low), np.where(sums < 0, high, middle)
    return (low + high) / 2
