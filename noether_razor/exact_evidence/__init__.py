"""Exact evidence for conserved quantities, for Hamiltonians that are linear in their parameters."""

from .breaking import Breaking
from .checks import Adequacy, Friction
from .engine import EvidenceError, evidence
from .features import Features, Polynomials
from .result import Evidence, QuantityEvidence

__all__ = [
    "Adequacy",
    "Breaking",
    "Evidence",
    "EvidenceError",
    "Features",
    "Friction",
    "Polynomials",
    "QuantityEvidence",
    "evidence",
]
