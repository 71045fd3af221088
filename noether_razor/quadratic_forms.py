"""Quadratic forms on phase space: x^T A x / 2 + b^T x + c."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float


class Quadratics(NamedTuple):
    """Quantities C(x) = x^T A x / 2 + b^T x + c: symmetric A (..., 2n, 2n), b (..., 2n), c (...)."""

    matrices: Float[np.ndarray, "*batch dim dim"]
    vectors: Float[np.ndarray, "*batch dim"]
    constants: Float[np.ndarray, "*batch"]
