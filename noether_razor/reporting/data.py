"""What a report is made of."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..inference import Estimator, Posterior
from ..prediction import posterior_rollouts
from ..scaling import PhaseScale
from ..systems import HamiltonianSystem
from ..trajectories import Trajectories
from ..typing import PRNGKey

SHOWN_TRAJECTORIES, SHOWN_POINTS = 3, 100
BAND_SAMPLES = 64


class Rolled(NamedTuple):
    """The first trajectories of the `every` in a set, in the units of the data, and predictions of them."""

    shown: Trajectories
    samples: Float[np.ndarray, "samples traj time dim"]
    name: str
    every: int


@dataclass(frozen=True, eq=False)
class ReportData:
    """What a report is made of."""

    title: str
    summary: Mapping[str, Any]
    metrics: Sequence[dict[str, Any]]
    posterior: Posterior
    predictor: Estimator
    data: Trajectories
    test_sets: Mapping[str, Trajectories]
    system: HamiltonianSystem | None
    key: PRNGKey
    scale: PhaseScale | None = None
    """Of the coordinates that the posterior works in; `data` are in their own units."""
    symmetry: Mapping[str, Any] | None = None
    """The contents of symmetry.json, of a run that has been analysed."""
    spread_scale: float = 1.0
    """The factor of the spread of rollouts that held-out data asked for."""

    @cached_property
    def rolled(self) -> Rolled | None:
        """Predictions of the first test trajectories, made once for all pictures; None where they do not stay
        finite.
        """
        return self.rolled_out(SHOWN_TRAJECTORIES)

    def rolled_out(self, most: int) -> Rolled | None:
        """The same of at most `most` trajectories."""
        _, key = jax.random.split(self.key)
        name, shown = next(iter(self.test_sets.items()), ("training data", self.data))
        every = len(shown)
        shown = shown[:most].first(SHOWN_POINTS)
        scale = self.scale or PhaseScale.identity(shown.dof)
        try:
            samples = posterior_rollouts(
                self.posterior,
                key,
                scale.states(shown.states[:, 0]),
                scale.times(shown.times),
                estimator=replace(self.predictor, weight_samples=BAND_SAMPLES),
                spread_scale=self.spread_scale,
            )
        except FloatingPointError:  # a network that has learned little: there is nothing to show
            return None
        return Rolled(shown, scale.states_back(np.asarray(samples, np.float64)), name, every)
