"""From trajectories and options to everything that a fit needs."""

from .bodies import body_terms, equal_bodies
from .canonical import learned_bracket, with_canonical_momenta
from .families import family_terms
from .likelihood import LikelihoodChoice, choose_likelihood, noise_of_states
from .networks import NETWORKS, random_network
from .problem import Problem, Truth, default_quantities, make_problem, substeps_for

__all__ = [
    "NETWORKS",
    "LikelihoodChoice",
    "Problem",
    "Truth",
    "body_terms",
    "choose_likelihood",
    "default_quantities",
    "equal_bodies",
    "family_terms",
    "learned_bracket",
    "make_problem",
    "noise_of_states",
    "random_network",
    "substeps_for",
    "with_canonical_momenta",
]
