"""Whether a fit with quantities built in has learned an H that their flows leave unchanged."""

import numpy as np
from jaxtyping import Float

from ..inference import Posterior
from ..modelling import Problem
from ..prediction import learned_gradients
from ..quadratic_forms import Quadratics
from ..thinning import evenly
from ..typing import PRNGKey

INVARIANT = 0.05
"""R.m.s. of {C, H} over that of |grad C||grad H|, up to which H counts as invariant."""
POINTS = 200
"""Data points at which it is taken, at most."""


def bracket(
    states: Float[np.ndarray, "points dim"],
    gradients: Float[np.ndarray, "points dim"],
    quantities: Quadratics,
) -> float:
    """R.m.s. of {C, H} over that of |grad C||grad H|, of the quantity of which it is largest; `gradients` are
    those of H at `states`.
    """
    own = np.einsum("kij,pj->kpi", quantities.matrices, states) + quantities.vectors[:, None]
    position, momentum = np.split(gradients, 2, axis=1)
    brackets = np.einsum("kpi,pi->kp", own, np.concatenate([momentum, -position], axis=1))
    sizes = np.linalg.norm(own, axis=2) * np.linalg.norm(gradients, axis=1)
    largest = np.maximum(np.mean(sizes**2, axis=1), np.finfo(float).tiny)
    return float(np.sqrt(np.max(np.mean(brackets**2, axis=1) / largest)))


def learned_bracket(problem: Problem, posterior: Posterior, quantities: Quadratics, key: PRNGKey) -> float:
    """`bracket` of the posterior mean of H at data points; `quantities` in the coordinates of training."""
    points = problem.data.points()
    states = points[evenly(len(points), POINTS)]
    gradients = learned_gradients(posterior, key, states, estimator=problem.predictor)
    return bracket(states, gradients.astype(np.float64), quantities)
