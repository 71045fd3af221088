"""Predictions of a posterior: one step, rollouts, bands, errors."""

from .errors import (
    PredictionErrors,
    learned_substep_error,
    one_step_errors,
    prediction_errors,
    substep_error,
)
from .predictive import learned_gradients, learned_hamiltonian, predict
from .rollouts import Bands, Noise, bands, posterior_rollouts

__all__ = [
    "Bands",
    "Noise",
    "PredictionErrors",
    "bands",
    "learned_gradients",
    "learned_hamiltonian",
    "learned_substep_error",
    "one_step_errors",
    "posterior_rollouts",
    "predict",
    "prediction_errors",
    "substep_error",
]
