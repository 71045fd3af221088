"""Poisson matrices from data: canonical momenta of velocities, and brackets of states that are no pairs."""

from .finding import poisson_matrix
from .lie_poisson import LiePoisson, lie_poisson
from .log_canonical import LogCanonical, log_canonical
from .result import Bracket
from .states import bracket_of_states, no_bracket

__all__ = [
    "Bracket",
    "LiePoisson",
    "LogCanonical",
    "bracket_of_states",
    "lie_poisson",
    "log_canonical",
    "no_bracket",
    "poisson_matrix",
]
