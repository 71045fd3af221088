"""Systems measured as positions and velocities, and how well their Poisson matrices are found."""

from .systems import SYSTEMS, System, measured

__all__ = ["SYSTEMS", "System", "measured"]
