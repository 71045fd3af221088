"""Whole recordings kept aside, to test on what was not learned from."""

import numpy as np

from .dataset import Trajectories

FEWEST = 2
"""Recordings on either side; fewer have no spread to test against."""


def hold_out(trajectories: Trajectories, share: float) -> tuple[Trajectories, Trajectories | None]:
    """The trajectories to learn from, and about `share` of the recordings kept aside, at least 2; None where
    `share` is 0, or there are fewer than 4 recordings in all. The pieces of a recording stay together.

    Which ones depends on their number alone, so that every fit to one set learns from the same. Raises
    ValueError for a share outside of [0, 1).
    """
    if not 0 <= share < 1:
        raise ValueError(f"share must be from 0 to below 1, got {share}")
    recordings, recording = np.unique(trajectories.recordings, return_inverse=True)
    count = len(recordings)
    if share == 0 or count < 2 * FEWEST:
        return trajectories, None
    number = min(max(FEWEST, round(share * count)), count - FEWEST)
    order = np.random.default_rng(count).permutation(count)
    aside = np.isin(recording.reshape(-1), order[:number])
    return trajectories[np.flatnonzero(~aside)], trajectories[np.flatnonzero(aside)]
