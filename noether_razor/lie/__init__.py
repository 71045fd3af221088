"""Lie algebras of quantities: closure, structure, names."""

from .algebra import LieAlgebra, bracket, lie_algebra

__all__ = [
    "LieAlgebra",
    "bracket",
    "lie_algebra",
]
