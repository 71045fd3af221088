"""Lie algebras of quantities: closure, structure, names."""

from .abstract import AbstractAlgebra, abstract_algebra
from .algebra import LieAlgebra, bracket, lie_algebra

__all__ = [
    "AbstractAlgebra",
    "LieAlgebra",
    "abstract_algebra",
    "bracket",
    "lie_algebra",
]
