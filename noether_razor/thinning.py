"""Fewer of many, at equal distances."""

import numpy as np
from jaxtyping import Int


def evenly(count: int, most: int) -> Int[np.ndarray, " few"]:
    """At most `most` of the indices 0 to `count` - 1, evenly spread, with the first and the last."""
    return np.unique(np.linspace(0, count - 1, most).round().astype(int))
