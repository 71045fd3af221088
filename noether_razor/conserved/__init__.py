"""Conserved quantities: learnable, general and known ones."""

from ._base import ConservedQuantities as ConservedQuantities
from ._general import GeneralQuantities as GeneralQuantities
from ._quadratic import QuadraticQuantities as QuadraticQuantities
from ._quadratic import coefficient_units as coefficient_units
from ._reference import angular_momentum as angular_momentum
from ._reference import linear_momentum as linear_momentum
from ._reference import quadratic_form as quadratic_form
from ._reference import unitary_quantities as unitary_quantities
