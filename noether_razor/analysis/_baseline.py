"""The null-space baseline: conserved quantities counted with a dictionary of monomials and no model."""

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ._drift import TOLERANCE, DriftTest, drift_test
from ._monomials import canonical_scales, monomials, quadratic_parts, without_angles


def null_space_baseline(
    trajectories: Trajectories,
    *,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    tolerance: float = TOLERANCE,
) -> DriftTest:
    """Combinations of all monomials of degree <= 2 that do not change along `trajectories`: no model, no
    learning.

    The generalised eigenproblem and the rule of `drift_test` on all monomials: the rank is the number of
    combinations that the rule calls conserved, and no gap in the spectrum is looked for. It says nothing
    where there are fewer than three pairs of points a monomial. Monomials that contain an angle are left out.
    Raises ValueError as `drift_test` does.
    """
    dim = trajectories.states.shape[2]
    scales = canonical_scales(trajectories.points())
    allowed = without_angles(dim, trajectories.angles())
    matrices, vectors = quadratic_parts(np.eye(len(monomials(dim)))[allowed], dim)
    return drift_test(
        matrices / (scales[:, None] * scales),
        vectors / scales,
        trajectories,
        noise_variance=noise_variance,
        tolerance=tolerance,
    )
