"""Whether rows fill their space: on a surface a Poisson matrix is not determined."""

import numpy as np
from scipy.linalg import eigh

from ..exact_evidence.checks import expected_noise
from ..exact_evidence.polynomials import Polynomials
from ..trajectories import Trajectories

FLAT = 1.5
"""Variance of a combination of terms over that of its noise, up to which it has one value in all rows."""


def on_surface(data: Trajectories) -> bool:
    """Whether a combination of monomials of degree <= 2 has one value in all rows of scaled trajectories, as
    far as their noise can tell.
    """
    features, points = Polynomials(2 * data.dof, 2), data.points()
    values = features.values_at(points)
    centred = values - values.mean(axis=0)
    noise = np.maximum(expected_noise(data), 1e-12)
    slopes = features.gradients(points)
    of_noise = np.einsum("rip,i,riq->pq", slopes, noise, slopes) / len(points)
    try:
        ratios = eigh(centred.T @ centred / len(points), of_noise, eigvals_only=True)
    except np.linalg.LinAlgError:
        # A column that does not move.
        return True
    return bool(ratios[0] < FLAT)
