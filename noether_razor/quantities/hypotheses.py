"""Named quantities of degree <= 2 whose conservation is asked about."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..formula import FormulaError, parse_formula
from ..quadratic_forms import Quadratics


class HypothesisError(ValueError):
    """A formula that cannot be judged; the message says why, in one line."""


class Hypothesis(NamedTuple):
    """Quantities C_k(x) = x^T A_k x / 2 + b_k^T x, K of them, that may all be conserved: as typed and as
    read, in the user's units.
    """

    formula: str
    matrices: Float[np.ndarray, "K dim dim"]
    vectors: Float[np.ndarray, "K dim"]

    @property
    def quadratics(self) -> Quadratics:
        """The quantities as quadratic forms."""
        return Quadratics(self.matrices, self.vectors, np.zeros(len(self.vectors)))


def parse_hypothesis(
    text: str,
    names: Sequence[str],
    others: Mapping[str, Float[np.ndarray, " dim"]] | None = None,
    angles: Sequence[int] = (),
) -> Hypothesis:
    """Read a formula of degree at most two in the coordinates `names`, or several with commas between them;
    nothing is evaluated as code. Formulas may also name `others`, linear combinations of the coordinates:
    velocities, where momenta are mass times velocity. The coordinates `angles` may not stand in them.

    Raises `HypothesisError`, with one line, for anything else, for constants and for formulas of which one
    follows from the others.
    """
    matrices, vectors = [], []
    # Each row says what a variable of a formula is in coordinates, which go before others of their names.
    beside = {name: row for name, row in (others or {}).items() if name not in names}
    variables = [*names, *beside]
    meaning = np.array([*np.eye(len(names)), *beside.values()])
    for part in text.split(","):
        try:
            matrix, vector, _ = parse_formula(part, variables).quadratic()
        except FormulaError as error:
            raise HypothesisError(str(error)) from None
        matrix, vector = meaning.T @ matrix @ meaning, vector @ meaning
        if not matrix.any() and not vector.any():
            raise HypothesisError(
                f"formula {part.strip()!r}: a constant is always conserved, expected a function"
            )
        for k in angles:
            if matrix[k].any() or vector[k]:
                raise HypothesisError(
                    f"formula {part.strip()!r}: contains {names[k]}, which is an angle "
                    "(--periodic): no polynomial in an angle is a function on its circle"
                )
        matrices.append(matrix)
        vectors.append(vector)
    found = np.concatenate([np.reshape(matrices, (len(matrices), -1)), vectors], axis=1)
    if np.linalg.matrix_rank(found / np.linalg.norm(found, axis=1, keepdims=True)) < len(found):
        raise HypothesisError(f"{text!r}: one formula is a combination of the others")
    return Hypothesis(text.strip(), np.array(matrices), np.array(vectors))
