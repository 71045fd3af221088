"""Where learned quantities start: with what the data alone say is conserved."""

import jax.numpy as jnp

from ..analysis import null_space_baseline, pairs_needed
from ..conserved import QuadraticQuantities
from ..data import Trajectories
from ._load import ConfigError


def null_space_quantities(data: Trajectories, count: int) -> QuadraticQuantities | None:
    """The conserved directions of the null-space baseline on `data`, least drift first, `count` at most;
    None where nothing is conserved.

    Raises `ConfigError` where the data are too few to say, or their noise is not known.
    """
    try:
        baseline = null_space_baseline(data)
    except ValueError as error:
        raise ConfigError(f"symmetry.initialise: data cannot be used, {error}") from None
    if baseline.pairs < pairs_needed(data.dof):
        raise ConfigError(
            f"symmetry.initialise: data needs {pairs_needed(data.dof)} pairs of points of one trajectory, "
            f"got {baseline.pairs}; take random, or more data"
        )
    matrices, vectors = (jnp.asarray(part[:count], jnp.float32) for part in baseline.conserved())
    return QuadraticQuantities(matrices, vectors) if len(matrices) else None
