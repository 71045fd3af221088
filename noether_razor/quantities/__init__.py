"""Conserved quantities, and directions among them."""

from .base import ConservedQuantities
from .bodies import BodyForms, BodyQuantities, centred, form_count, quadratic_of
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
    "BodyForms",
    "BodyQuantities",
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
    "centred",
    "coefficient_units",
    "direction_quantities",
    "flat_generators",
    "form_count",
    "linear_momentum",
    "nearest_generators",
    "parse_hypothesis",
    "principal_cosines",
    "quadratic_form",
    "quadratic_of",
    "singular_directions",
    "unitary_quantities",
]
