"""Poisson matrices from data: canonical momenta of velocities, and brackets of states that are no pairs."""

from .finding import poisson_matrix, with_canonical_momenta
from .lie_poisson import LiePoisson, lie_poisson
from .result import Bracket

__all__ = ["Bracket", "LiePoisson", "lie_poisson", "poisson_matrix", "with_canonical_momenta"]
