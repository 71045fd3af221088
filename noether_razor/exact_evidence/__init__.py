"""Exact evidence for conserved quantities, for Hamiltonians that are linear in their parameters."""

from .breaking import Breaking
from .checks import Adequacy, Friction
from .engine import EvidenceError, evidence
from .features import Features, LinearFeatures, Richer
from .hamiltonian import HamiltonianTerm, ReadableHamiltonian, Rollouts
from .higher import Coefficient, PolynomialSpace
from .polynomials import Polynomials
from .quotients import Averaged
from .result import Evidence, QuantityEvidence, Space
from .scattered import Fourier, Radial
from .sums import Sum
from .trigonometric import Trigonometric

__all__ = [
    "Adequacy",
    "Averaged",
    "Breaking",
    "Coefficient",
    "Evidence",
    "EvidenceError",
    "Features",
    "Fourier",
    "Friction",
    "HamiltonianTerm",
    "LinearFeatures",
    "PolynomialSpace",
    "Polynomials",
    "QuantityEvidence",
    "Radial",
    "ReadableHamiltonian",
    "Richer",
    "Rollouts",
    "Space",
    "Sum",
    "Trigonometric",
    "evidence",
]
