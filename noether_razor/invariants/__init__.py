"""What trajectories alone say is conserved: no model, no learning."""

from .analysis import Analysis, FoundQuantity, analyse
from .conserved import ConservedSpace, conserved_space
from .formulas import Measurement, QuantityFormula, measured_text
from .motion import Change, Drift, Motion
from .noise import NoiseEstimate, noise_estimate

__all__ = [
    "Analysis",
    "Change",
    "ConservedSpace",
    "Drift",
    "FoundQuantity",
    "Measurement",
    "Motion",
    "NoiseEstimate",
    "QuantityFormula",
    "analyse",
    "conserved_space",
    "measured_text",
    "noise_estimate",
]
