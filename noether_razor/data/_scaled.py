"""Trajectories in scaled canonical coordinates."""

from dataclasses import replace

from ..phase_space import PhaseScale
from ._trajectories import Trajectories


def fit_scale(trajectories: Trajectories, *, spread: float = 1.0) -> PhaseScale:
    """The scales of `PhaseScale.fitted` for a set of trajectories; degrees of freedom whose positions and
    momenta have the same named units share theirs.
    """
    pairs = list(
        zip(trajectories.units[: trajectories.dof], trajectories.units[trajectories.dof :], strict=True)
    )
    named = all(any(pair) for pair in pairs)
    return PhaseScale.fitted(trajectories.segments(), kinds=pairs if named else None, spread=spread)


def scaled_trajectories(trajectories: Trajectories, scale: PhaseScale) -> Trajectories:
    """The same trajectories in the coordinates of `scale`, without units. Raises ValueError where the
    degrees of freedom differ.
    """
    if scale.dof != trajectories.dof:
        raise ValueError(f"the scale is for {scale.dof} degrees of freedom, got {trajectories.dof}")
    targets = trajectories.targets
    return replace(
        trajectories,
        times=scale.times(trajectories.times),
        states=scale.states(trajectories.states),
        targets=None if targets is None else scale.states(targets),
        units=(),
        time_unit="",
        velocities={},
    )
