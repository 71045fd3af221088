"""What a report is made of."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ..inference import Estimator, Posterior
from ..scaling import PhaseScale
from ..systems import HamiltonianSystem
from ..trajectories import Trajectories
from ..typing import PRNGKey


class ReportData(NamedTuple):
    """What a report is made of."""

    title: str
    summary: Mapping[str, Any]
    metrics: Sequence[dict[str, Any]]
    posterior: Posterior
    evaluator: Estimator
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
