"""Lie algebras of quantities: closure, structure, names."""

from .abstract import AbstractAlgebra, abstract_algebra
from .affine import affine_lie_algebra
from .algebra import LieAlgebra, bracket, lie_algebra

__all__ = [
    "AbstractAlgebra",
    "LieAlgebra",
    "abstract_algebra",
    "affine_lie_algebra",
    "bracket",
    "lie_algebra",
]
