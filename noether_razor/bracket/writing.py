"""Polynomials in the columns as they are read, with the errors of their coefficients."""

from collections.abc import Mapping, Sequence

from ..invariants.simple_numbers import with_error
from ..trajectories.canonical import Polynomial
from ..trajectories.canonical import written as without_errors


def written(polynomial: Polynomial, names: Sequence[str], errors: Mapping[tuple[int, ...], float]) -> str:
    """As vx - 0.7501(6)*y; terms whose coefficients have no error as they are."""
    text = ""
    largest = max((abs(value) for value in polynomial.values()), default=0.0)
    for exponents in sorted(polynomial, key=lambda e: (sum(e), [-k for k in reversed(e)])):
        value, error = polynomial[exponents], errors.get(exponents, 0.0)
        if error <= 1e-9 * abs(value):
            term = without_errors({exponents: value}, names)
        else:
            factors = [n if e == 1 else f"{n}^{e}" for n, e in zip(names, exponents, strict=True) if e]
            term = "*".join([("-" if value < 0 else "") + with_error(abs(value), error), *factors])
        if abs(value) <= 1e-9 * largest:
            continue
        negative = term.startswith("-")
        text += f" {'-' if negative else '+'} {term.lstrip('-')}" if text else term
    return text or "0"
