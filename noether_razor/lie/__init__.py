"""Lie algebras of quantities: closure, structure, names."""

from .affine import affine_lie_algebra
from .abstract import AbstractAlgebra, abstract_algebra
from .algebra import LieAlgebra, bracket, lie_algebra

__all__ = [
    "AbstractAlgebra",
    "LieAlgebra",
    "affine_lie_algebra",
    "abstract_algebra",
    "bracket",
    "lie_algebra",
]
