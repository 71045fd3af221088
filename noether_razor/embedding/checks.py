"""Points as they come from a user, checked once at the border."""

from typing import Any

import numpy as np
from jaxtyping import Float

MOST_COLUMNS = 50
"""Above that many, points are first reduced to their leading principal components."""
SMALLEST, LARGEST = 1e-100, 1e100
"""Of the largest value and of the spread: squares of what is beyond leave the range of float64."""


def checked_points(points: Any, *, least: int = 1) -> Float[np.ndarray, "n D"]:
    """Rows of finite float64 numbers.

    Raises TypeError for sparse matrices and objects, ValueError for text, other shapes, complex, missing or
    infinite numbers, numbers whose squares would be infinite, and for fewer rows than `least`.
    """
    if hasattr(points, "toarray"):
        raise TypeError("sparse data are not supported, expected a dense array: use .toarray()")
    found = np.asarray(points)
    if np.iscomplexobj(found):
        raise ValueError("Complex data not supported, expected real numbers")
    try:
        found = np.asarray(found, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise type(error)(f"X must hold numbers: {error}") from None
    if found.ndim != 2:
        raise ValueError(
            f"Expected 2D array, got {found.ndim}D array instead. Reshape your data: X.reshape(-1, 1) if it"
            " has a single feature, X.reshape(1, -1) if it is a single sample"
        )
    if found.shape[1] == 0:
        raise ValueError(f"0 feature(s) (shape={found.shape}) while a minimum of 1 is required.")
    if len(found) < least:
        raise ValueError(f"got n_samples = {len(found)}, expected at least {least} (1 sample is no manifold)")
    if not np.isfinite(found).all():
        row, column = np.argwhere(~np.isfinite(found))[0]
        raise ValueError(
            f"X contains NaN or infinity: {found[row, column]} in row {row}, column {column}; leave such rows"
            " out or fill them in"
        )
    if len(found) and (largest := float(np.abs(found).max())) > LARGEST:
        raise ValueError(f"X has values up to {largest:.3g}, expected at most {LARGEST:g}: take other units")
    return found


def column_names(points: Any) -> np.ndarray | None:
    """The names of a data frame's columns, None for arrays. Raises TypeError where only some are text."""
    columns = getattr(points, "columns", None)
    if columns is None:
        return None
    names = list(columns)
    texts = [isinstance(name, str) for name in names]
    if all(texts) and names:
        return np.asarray(names, dtype=object)
    if any(texts):
        raise TypeError("column names must all be text, or none of them")
    return None
