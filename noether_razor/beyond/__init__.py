"""Conserved quantities beyond degree two: libraries of terms, what they conserve, and whether that is all."""

from .by_network import Suggested, suggested
from .ceiling import Ceiling, ceiling
from .evidence import evidence
from .library import Library, Products
from .options import LibraryError, LibraryOptions
from .proposals import libraries
from .result import Beyond, LibraryHamiltonian, LibraryQuantity, Searched
from .search import conserved_library
from .user_terms import user_terms

__all__ = [
    "Beyond",
    "Ceiling",
    "Library",
    "LibraryError",
    "LibraryHamiltonian",
    "LibraryOptions",
    "LibraryQuantity",
    "Products",
    "Searched",
    "Suggested",
    "ceiling",
    "conserved_library",
    "evidence",
    "libraries",
    "suggested",
    "user_terms",
]
