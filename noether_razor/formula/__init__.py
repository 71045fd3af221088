"""Formulas: parsed by a whitelist, never evaluated."""

from .parse import FormulaError, parse_formula

__all__ = [
    "FormulaError",
    "parse_formula",
]
