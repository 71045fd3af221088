"""Exact evidence for conserved quantities, for Hamiltonians that are linear in their parameters."""

from .breaking import Breaking
from .checks import Adequacy, Friction
from .engine import EvidenceError, evidence
from .features import Features, Richer
from .hamiltonian import HamiltonianTerm, ReadableHamiltonian, Rollouts
from .higher import Coefficient, PolynomialSpace
from .polynomials import Polynomials
from .result import Evidence, QuantityEvidence, Space
from .trigonometric import Trigonometric

__all__ = [
    "Adequacy",
    "Breaking",
    "Coefficient",
    "Evidence",
    "EvidenceError",
    "Features",
    "Friction",
    "HamiltonianTerm",
    "PolynomialSpace",
    "Polynomials",
    "QuantityEvidence",
    "ReadableHamiltonian",
    "Richer",
    "Rollouts",
    "Space",
    "Trigonometric",
    "evidence",
]
