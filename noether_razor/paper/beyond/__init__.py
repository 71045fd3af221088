"""Systems with laws beyond degree two, on which the search in libraries is measured."""

from .systems import SYSTEMS, System, measured

__all__ = ["SYSTEMS", "System", "measured"]
