"""The variational posterior, the bound and posterior-predictive trajectories."""

from .bound import BoundTerms, bound_terms
from .estimator import Estimator, paper_estimator
from .evidence import BoundEstimate, estimate_bound, random_part
from .gradient import bound_and_gradient
from .initial_states import InitialStates
from .matrix_normal import IsotropicNormal, KroneckerNormal, optimal_precision
from .model import PriorPrecision
from .observations import (
    Observations,
    in_single_precision,
    observed_bound_terms,
    steps_a_row,
    transition_count,
)
from .posterior import Posterior, Weights
from .windows import Windows, window_bound_terms, window_guide, window_model, windows_of

__all__ = [
    "BoundEstimate",
    "BoundTerms",
    "Estimator",
    "InitialStates",
    "IsotropicNormal",
    "KroneckerNormal",
    "Observations",
    "Posterior",
    "PriorPrecision",
    "Weights",
    "Windows",
    "bound_and_gradient",
    "bound_terms",
    "estimate_bound",
    "in_single_precision",
    "observed_bound_terms",
    "optimal_precision",
    "paper_estimator",
    "random_part",
    "steps_a_row",
    "transition_count",
    "window_bound_terms",
    "window_guide",
    "window_model",
    "windows_of",
]
