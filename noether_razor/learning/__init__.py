"""Noether's learning dynamics: the symmetries of a network in training, found, followed and used."""

from .finding import find_symmetries
from .laws import At, Clock, MomentumBudget, momentum_budget, next_value, turning
from .prediction import (
    ScalarRMSProp,
    Suggestion,
    angular_steps,
    effective_learning_rate,
    green_function,
    largest_error,
    predict_charge,
    radius_from_gradients,
    rmsprop_equivalent,
    settling_steps,
    steady_angle,
    suggest,
)
from .report import LinearAlgebra, NoEffect, SymmetryReport
from .rules import LearningRule, OptimiserError
from .slices import FeatureRecorder
from .symmetries import Charged, Member, Symmetry, SymmetryError, flat_parameters
from .tracking import Charge, ChargeState, Followed, charge_state, charges_of, read_charges, track_charges

__all__ = [
    "At",
    "Charge",
    "ChargeState",
    "Charged",
    "Clock",
    "FeatureRecorder",
    "Followed",
    "LearningRule",
    "LinearAlgebra",
    "Member",
    "MomentumBudget",
    "NoEffect",
    "OptimiserError",
    "ScalarRMSProp",
    "Suggestion",
    "Symmetry",
    "SymmetryError",
    "SymmetryReport",
    "angular_steps",
    "charge_state",
    "charges_of",
    "effective_learning_rate",
    "find_symmetries",
    "flat_parameters",
    "green_function",
    "largest_error",
    "momentum_budget",
    "next_value",
    "predict_charge",
    "radius_from_gradients",
    "read_charges",
    "rmsprop_equivalent",
    "settling_steps",
    "steady_angle",
    "suggest",
    "track_charges",
    "turning",
]
