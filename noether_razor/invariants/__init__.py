"""What trajectories alone say is conserved: no model, no learning."""

from .analysis import Analysis, FoundQuantity, analyse
from .bodies import BodyTerms
from .conserved import ConservedSpace, conserved_space
from .dictionary import DICTIONARIES, Dictionary, FunctionDictionary, Term, register_dictionary
from .formulas import Measurement, QuantityFormula, measured_text
from .fourier import fourier
from .laws import Laws, laws_of_states
from .logarithmic import WithLogarithms
from .monomials import Monomials, quadratic
from .motion import Change, Drift, Motion
from .noise import NoiseEstimate, noise_estimate

__all__ = [
    "DICTIONARIES",
    "Analysis",
    "BodyTerms",
    "Change",
    "ConservedSpace",
    "Dictionary",
    "Drift",
    "FoundQuantity",
    "FunctionDictionary",
    "Laws",
    "Measurement",
    "Monomials",
    "Motion",
    "NoiseEstimate",
    "QuantityFormula",
    "Term",
    "WithLogarithms",
    "analyse",
    "conserved_space",
    "fourier",
    "laws_of_states",
    "measured_text",
    "noise_estimate",
    "quadratic",
    "register_dictionary",
]
