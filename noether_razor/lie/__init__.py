"""Lie algebras of quantities: closure, structure, names."""

from .affine import affine_lie_algebra
from .algebra import LieAlgebra, bracket, lie_algebra

__all__ = [
    "LieAlgebra",
    "affine_lie_algebra",
    "bracket",
    "lie_algebra",
]
