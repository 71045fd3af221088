"""Whether the bands of rollouts hold what they promise."""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ..inference import Estimator, Posterior
from ..symmetry import Averaging
from ..typing import PRNGKey
from ._rollouts import posterior_rollouts

HALF, MOST = (0.25, 0.75), (0.05, 0.95)


class Calibration(NamedTuple):
    """The shares of held-out values inside the 50 % and 90 % bands of rollouts from their first states.

    half, most: the shares, of all coordinates at all times after the first. half_stderr, most_stderr: their
        standard errors over trajectories (nan for one). first_most, last_most: the second share in the first
        and last third of each trajectory, where one-step and accumulated errors show. values: how many there
        were.
    """

    half: float
    half_stderr: float
    most: float
    most_stderr: float
    first_most: float
    last_most: float
    values: int

    def text(self) -> str:
        """One sentence for a report."""
        return (
            f"of {self.values} held-out values {self.half:.0%} ± {self.half_stderr:.0%} lie in the 50 % band "
            f"of rollouts from first states and {self.most:.0%} ± {self.most_stderr:.0%} in the 90 % band "
            f"({self.first_most:.0%} in the first third of a trajectory, {self.last_most:.0%} in the last)"
        )


def rollout_calibration(
    posterior: Posterior,
    key: PRNGKey,
    trajectories: Trajectories,
    *,
    averaging: Averaging,
    estimator: Estimator,
    samples: int = 100,
    noise_variance: float | Float[np.ndarray, " dim"] = 0.0,
    longest_step: float | None = None,
    most_trajectories: int = 50,
) -> Calibration:
    """Coverage of rollouts on `trajectories` that were not trained on, in the coordinates of `posterior`.

    Bands are quantiles over `samples` draws of weights, group elements, and measurement noise on the first
    states and on the values, of `noise_variance` (0: exact), of all coordinates or of each. The first
    `most_trajectories` are used.

    Raises ValueError for fewer than 20 samples, which have no 90 % band, and FloatingPointError as
    `posterior_rollouts` does.
    """
    if samples < 20:
        raise ValueError(f"samples must be at least 20, got {samples}")
    used = trajectories[:most_trajectories]
    paths = posterior_rollouts(
        posterior,
        key,
        used.states[:, 0],
        used.times,
        averaging=averaging,
        estimator=replace(estimator, weight_samples=samples),
        longest_step=longest_step,
        initial_variance=noise_variance,
        noise_variance=noise_variance,
    )
    inside = []
    for low, high in (HALF, MOST):
        below, above = np.quantile(paths[:, :, 1:], [low, high], axis=0)
        values = used.states[:, 1:]
        inside.append(((below <= values) & (values <= above)).mean(axis=2))
    present = used.present()[:, 1:]
    counts = present.sum(axis=1)
    half, most = ((rows * present).sum(axis=1) / counts for rows in inside)
    early = present & (np.arange(present.shape[1]) < np.ceil(counts[:, None] / 3))
    late = present & (np.arange(present.shape[1]) >= np.floor(2 * counts[:, None] / 3))
    return Calibration(
        half=float(np.average(half, weights=counts)),
        half_stderr=_stderr(half),
        most=float(np.average(most, weights=counts)),
        most_stderr=_stderr(most),
        first_most=float(inside[1][early].mean()),
        last_most=float(inside[1][late].mean()),
        values=int(present.sum() * used.states.shape[2]),
    )


def _stderr(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("nan")
