"""Systems with laws beyond degree two, and how well the search in libraries does on them."""

from .systems import SYSTEMS, System, measured

__all__ = ["SYSTEMS", "System", "measured"]
