"""Whether data can be those of equal bodies."""

import numpy as np

from ..invariants import BodyTerms
from ..options import OptionError, Options
from ..scaling import PhaseScale
from ..trajectories import Trajectories


def equal_bodies(bodies: int | None, measured: Trajectories, scale: PhaseScale, option: str) -> int:
    """The number of equal bodies that `measured` trajectories are of.

    Raises `OptionError`, which begins with `option`, where none are known, where positions cannot be shared
    among them, are angles, or have a `scale` that differs between bodies.
    """
    if bodies is None:
        raise OptionError(f"{option}: needs data.bodies, the number of equal bodies, but got none")
    if measured.dof % bodies:
        raise OptionError(
            f"data.bodies: got {bodies}, but {measured.dof} positions cannot be shared among them"
        )
    if measured.angles():
        raise OptionError(
            "data.bodies: positions that are angles (data.periodic) are none of bodies in space"
        )
    for part in (scale.scales, np.array(scale.shifts)):
        own = part.reshape(2, bodies, -1)
        if not np.array_equal(own, np.broadcast_to(own[:, :1], own.shape)):
            raise OptionError(
                "data.bodies: coordinates are scaled or shifted differently for different bodies, "
                'use data.scale = "none"'
            )
    return bodies


def body_terms(options: Options, measured: Trajectories) -> BodyTerms | None:
    """The terms among which conserved quantities of `measured` trajectories are sought, where `options` name
    the family bodies; None for other families. Raises `OptionError` for data of no equal bodies.
    """
    if options.symmetry.mode != "learned" or options.symmetry.family != "bodies":
        return None
    identity = PhaseScale.identity(measured.dof)
    return BodyTerms.of(measured.names, equal_bodies(options.bodies, measured, identity, "symmetry.family"))
