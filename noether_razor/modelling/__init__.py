"""From trajectories and options to everything that a fit needs."""

from .canonical import learned_bracket, with_canonical_momenta
from .families import family_terms
from .likelihood import LikelihoodChoice, choose_likelihood, noise_of_states
from .problem import Problem, Truth, default_quantities, make_problem, substeps_for

__all__ = [
    "LikelihoodChoice",
    "Problem",
    "Truth",
    "choose_likelihood",
    "default_quantities",
    "family_terms",
    "learned_bracket",
    "make_problem",
    "noise_of_states",
    "substeps_for",
    "with_canonical_momenta",
]
