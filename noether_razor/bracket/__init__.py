"""The Poisson matrix of positions and velocities: canonical momenta from data that have none."""

from .finding import poisson_matrix, with_canonical_momenta
from .result import Bracket

__all__ = ["Bracket", "poisson_matrix", "with_canonical_momenta"]
