"""Can the model be believed: structure, sampling, calibration."""

from .calibration import Calibration, rollout_calibration
from .sampling import SamplingCheck, points_a_turn, sampling_check
from .structure import Asymmetry, StructureCheck, fit_vector_field, structure_check, vector_field_posterior

__all__ = [
    "Asymmetry",
    "Calibration",
    "SamplingCheck",
    "StructureCheck",
    "fit_vector_field",
    "points_a_turn",
    "rollout_calibration",
    "sampling_check",
    "structure_check",
    "vector_field_posterior",
]
