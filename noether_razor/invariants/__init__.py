"""What trajectories alone say is conserved: no model, no learning."""

from .analysis import Analysis, FoundQuantity, analyse
from .conserved import ConservedSpace, conserved_space
from .dictionary import DICTIONARIES, Dictionary, FunctionDictionary, Term, register_dictionary
from .formulas import Measurement, QuantityFormula, measured_text
from .fourier import fourier
from .monomials import Monomials, quadratic
from .motion import Change, Drift, Motion
from .noise import NoiseEstimate, noise_estimate

__all__ = [
    "DICTIONARIES",
    "Analysis",
    "Change",
    "ConservedSpace",
    "Dictionary",
    "Drift",
    "FoundQuantity",
    "FunctionDictionary",
    "Measurement",
    "Monomials",
    "Motion",
    "NoiseEstimate",
    "QuantityFormula",
    "Term",
    "analyse",
    "conserved_space",
    "fourier",
    "measured_text",
    "noise_estimate",
    "quadratic",
    "register_dictionary",
]
