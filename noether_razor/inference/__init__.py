"""The model, its ELBO with gradient and estimate, and likelihoods."""

from .elbo import ELBO, ELBOTerms, Objective, PriorPrecision
from .elbo_estimate import ELBOEstimate, estimate_elbo, random_part
from .estimator import Estimator, paper_estimator
from .flow import flow_of, hamiltonian_of
from .gradient import batch_axes, elbo_and_gradient
from .likelihoods.base import (
    LIKELIHOODS,
    OBSERVED,
    Flow,
    Likelihood,
    Rows,
    in_single_precision,
    likelihood_of,
    register_likelihood,
    steps_a_row,
)
from .likelihoods.segments import InitialStates, SegmentLikelihood, Segments
from .likelihoods.transitions import TransitionLikelihood
from .matrix_normal import IsotropicNormal, KroneckerNormal, optimal_precision
from .posterior import Posterior, Weights

__all__ = [
    "ELBO",
    "LIKELIHOODS",
    "OBSERVED",
    "ELBOEstimate",
    "ELBOTerms",
    "Estimator",
    "Flow",
    "InitialStates",
    "IsotropicNormal",
    "KroneckerNormal",
    "Likelihood",
    "Objective",
    "Posterior",
    "PriorPrecision",
    "Rows",
    "SegmentLikelihood",
    "Segments",
    "TransitionLikelihood",
    "Weights",
    "batch_axes",
    "elbo_and_gradient",
    "estimate_elbo",
    "flow_of",
    "hamiltonian_of",
    "in_single_precision",
    "likelihood_of",
    "optimal_precision",
    "paper_estimator",
    "random_part",
    "register_likelihood",
    "steps_a_row",
]
