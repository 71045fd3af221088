"""Trajectories in scaled canonical coordinates."""

from dataclasses import replace

import numpy as np

from ..scaling import ColumnScale, PhaseScale, VelocityScale, whole_turns
from .dataset import Trajectories


def fit_scale(trajectories: Trajectories, *, spread: float = 1.0, rounded: bool = True) -> PhaseScale:
    """The scales of `PhaseScale.fitted` for a set of trajectories; degrees of freedom whose positions and
    momenta have the same named units share theirs.
    """
    return PhaseScale.fitted(
        trajectories.segments(),
        kinds=_kinds(trajectories),
        spread=spread,
        periods=trajectories.periods,
        rounded=rounded,
    )


def velocity_scale(trajectories: Trajectories) -> VelocityScale:
    """The scales of `VelocityScale.fitted` for a set of trajectories of positions and velocities."""
    return VelocityScale.fitted(
        trajectories.segments(), kinds=_kinds(trajectories), periods=trajectories.periods
    )


def _kinds(trajectories: Trajectories) -> list[tuple[str, str]] | None:
    """The units of each degree of freedom; None where some have none."""
    dof = trajectories.dof
    pairs = list(zip(trajectories.units[:dof], trajectories.units[dof:], strict=True))
    return pairs if all(any(pair) for pair in pairs) else None


def scaled_trajectories(trajectories: Trajectories, scale: ColumnScale) -> Trajectories:
    """The same trajectories in the coordinates of `scale`, without units; those of angles begin within half a
    turn of 0. Raises ValueError where the degrees of freedom differ.
    """
    if scale.dof != trajectories.dof:
        raise ValueError(f"the scale is for {scale.dof} degrees of freedom, got {trajectories.dof}")
    states, targets = trajectories.states, trajectories.targets
    if trajectories.angles():
        turns = whole_turns(states[:, :1] - np.array(scale.shifts), trajectories.periods)
        states = states - turns
        targets = None if targets is None else targets - turns
    sizes = zip(trajectories.periods, scale.scales.tolist(), strict=True)
    return replace(
        trajectories,
        times=scale.times(trajectories.times),
        states=scale.states(states),
        targets=None if targets is None else scale.states(targets),
        periods=tuple(None if period is None else period / size for period, size in sizes),
        units=(),
        time_unit="",
        velocities={},
        canonical=None,
    )
