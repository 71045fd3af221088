"""What the library of terms is made of, as far as a user says so."""

from collections.abc import Sequence
from dataclasses import dataclass

MOST_TERMS = 500
"""Terms of a library, unless told otherwise."""


class LibraryError(ValueError):
    """A library that cannot be made of these data; the message says why, in one line."""


@dataclass(frozen=True)
class LibraryOptions:
    """The library of terms of the search beyond degree two.

    `terms` are formulas of further terms, such as "1/sqrt(q1^2 + q2^2)". `degree` is the degree of its
    polynomials, None: 4 up to two degrees of freedom, else 3. `most_terms` is the largest size. Raises
    `LibraryError` for a degree or a size below 1.
    """

    terms: Sequence[str] = ()
    degree: int | None = None
    most_terms: int = MOST_TERMS

    def __post_init__(self) -> None:
        if self.degree is not None and self.degree < 1:
            raise LibraryError(f"degree: got {self.degree}, expected 1 or more")
        if self.most_terms < 1:
            raise LibraryError(f"most terms: got {self.most_terms}, expected 1 or more")
