"""Where learned quantities start: with what the data alone say is conserved."""

import jax.numpy as jnp

from ..invariants import conserved_space
from ..invariants.monomials import quadratic_parts
from ..options import OptionError
from ..quantities import QuadraticQuantities
from ..trajectories import Trajectories


def conserved_start(data: Trajectories, count: int) -> QuadraticQuantities | None:
    """What `conserved_space` shows on `data`, `count` at most; None where it shows nothing.

    Raises `OptionError` where the data are too few to say.
    """
    space = conserved_space(data)
    if not space.enough:
        raise OptionError(
            f"symmetry.initialise: data needs {space.rows_needed + space.motion.recordings} rows, "
            f"got {len(data.points())}; "
            "use random, or more data"
        )
    rows = space.motion.quantities(space.conserved[:count])
    matrices, vectors = (jnp.asarray(part, jnp.float32) for part in quadratic_parts(rows, 2 * data.dof))
    return QuadraticQuantities(matrices, vectors) if len(rows) else None
