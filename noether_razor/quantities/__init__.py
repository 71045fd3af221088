"""Conserved quantities, and directions among them."""

from .base import ConservedQuantities
from .directions import (
    alignment,
    direction_quantities,
    flat_generators,
    nearest_generators,
    principal_cosines,
    singular_directions,
)
from .general import GeneralQuantities
from .hypotheses import Hypothesis, HypothesisError, parse_hypothesis
from .quadratic import QuadraticQuantities, coefficient_units
from .reference import angular_momentum, linear_momentum, quadratic_form, unitary_quantities
from .terms import Basis, Functions, TermQuantities, Terms

__all__ = [
    "Basis",
    "ConservedQuantities",
    "Functions",
    "GeneralQuantities",
    "Hypothesis",
    "HypothesisError",
    "QuadraticQuantities",
    "TermQuantities",
    "Terms",
    "alignment",
    "angular_momentum",
    "coefficient_units",
    "direction_quantities",
    "flat_generators",
    "linear_momentum",
    "nearest_generators",
    "parse_hypothesis",
    "principal_cosines",
    "quadratic_form",
    "singular_directions",
    "unitary_quantities",
]
