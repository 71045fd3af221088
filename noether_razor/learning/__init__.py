"""Noether's learning dynamics: the symmetries of a network in training, found, followed and used."""

from .classification import Labelled, LabelledDataError, digits, read_labelled
from .finding import find_symmetries
from .laws import At, Clock, MomentumBudget, momentum_budget, next_value, turning
from .networks import ACTIVATIONS, Classifier, NetworkShape, cross_entropy, norms_of
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
from .summary import angles_of, budget_of, predicted_values, scales, summarise_charges
from .symmetries import Charged, Member, Symmetry, SymmetryError, flat_parameters
from .tracking import Charge, ChargeState, Followed, charge_state, charges_of, read_charges, track_charges
from .training import (
    DivergedError,
    Recorded,
    Series,
    TrackedTraining,
    TrainedState,
    make_optimizer,
    series_of,
    train_tracked,
)

__all__ = [
    "ACTIVATIONS",
    "At",
    "Charge",
    "ChargeState",
    "Charged",
    "Classifier",
    "Clock",
    "DivergedError",
    "FeatureRecorder",
    "Followed",
    "Labelled",
    "LabelledDataError",
    "LearningRule",
    "LinearAlgebra",
    "Member",
    "MomentumBudget",
    "NetworkShape",
    "NoEffect",
    "OptimiserError",
    "Recorded",
    "ScalarRMSProp",
    "Series",
    "Suggestion",
    "Symmetry",
    "SymmetryError",
    "SymmetryReport",
    "TrackedTraining",
    "TrainedState",
    "angles_of",
    "angular_steps",
    "budget_of",
    "charge_state",
    "charges_of",
    "cross_entropy",
    "digits",
    "effective_learning_rate",
    "find_symmetries",
    "flat_parameters",
    "green_function",
    "largest_error",
    "make_optimizer",
    "momentum_budget",
    "next_value",
    "norms_of",
    "predict_charge",
    "predicted_values",
    "radius_from_gradients",
    "read_charges",
    "read_labelled",
    "rmsprop_equivalent",
    "scales",
    "series_of",
    "settling_steps",
    "steady_angle",
    "suggest",
    "summarise_charges",
    "track_charges",
    "train_tracked",
    "turning",
]
