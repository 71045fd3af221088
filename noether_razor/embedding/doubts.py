"""What a reader should doubt of an embedding: sentences on the points and on the fit."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .fitting import LOOK_BACK, SMALLEST_NOISE

REPEATED = 0.02
"""Share of rows that repeat others, from which it is said."""
FAR = 30.0
"""Distance from the middle over that of the typical row, from which a row is named."""
UNLIKE = 10.0
"""Ratio of the largest to the smallest spread of columns that share one noise."""
ERRORS = 2.0
"""Standard errors of a difference in held-out likelihood that is said."""
OVERFIT = 0.5
"""Nats a point and column that a map may be likelier on the rows it was fitted to."""
MOST_NAMED = 3


def doubts(facts: Mapping[str, Any], points: Float[np.ndarray, "n D"], names: Sequence[str]) -> list[str]:
    """Sentences on points with these names of columns, and on the fit to them with these `diagnostics_`."""
    return [*_of_points(points, names), *_of_fit(facts, points)]


def _of_points(points: Float[np.ndarray, "n D"], names: Sequence[str]) -> list[str]:
    """On columns and rows that a map with one noise cannot treat as they deserve."""
    found = []
    spread = _spread(points)
    varies = np.ptp(points, axis=0) > 0
    if not varies.all():
        constant = _listed([name for name, moves in zip(names, varies, strict=True) if not moves])
        found.append(f"constant columns tell the map nothing: {constant}")
    wide, narrow = int(np.argmax(spread)), int(np.argmin(np.where(varies, spread, np.inf)))
    if spread[wide] > UNLIKE * spread[narrow]:
        found.append(
            f"{names[wide]} spreads over {spread[wide]:.3g} and {names[narrow]} over {spread[narrow]:.3g}:"
            " the noise is one number for all columns, so that narrow ones hardly count; divide columns of"
            " unlike units by their spread (--standardise)"
        )
    repeated = len(points) - len(np.unique(points, axis=0))
    if repeated > REPEATED * len(points):
        found.append(
            f"{repeated} of {len(points)} rows repeat others: they are no new evidence, and errors are larger"
            " than they look"
        )
    # Of standard coordinates: a column of narrow spread has rows that stand out, too.
    middle = np.median(points, axis=0)
    size = np.median(np.abs(points - middle), axis=0)
    away = np.abs(points - middle) / np.where(size > 0, size, np.inf)
    far = np.flatnonzero(away.max(axis=1, initial=0.0) > FAR)
    if 0 < len(far) <= REPEATED * len(points):
        rows = _listed([f"row {row + 1} ({names[int(away[row].argmax())]})" for row in far])
        found.append(
            f"more than {FAR:g} times as far from the middle as the typical row: {rows}. Such rows pull the"
            " map and the noise; leave them out if they are errors"
        )
    return found


def _of_fit(facts: Mapping[str, Any], points: Float[np.ndarray, "n D"]) -> list[str]:
    """On what a fit reached."""
    found = []
    if not facts["converged"]:
        found.append(
            f"the fit stopped after {facts['iterations']} iterations, and the last {LOOK_BACK} still gained"
            f" {facts['last_gain']:.2g} nats a point: more iterations may improve it"
        )
    kernel = facts["kernel_density"]
    if kernel and kernel["gain"] > ERRORS * kernel["stderr"]:
        found.append(
            "one smooth surface of this dimension does not describe the points: a kernel density, which knows"
            f" of no surface, is likelier on held-out rows by {kernel['gain']:.2f} ± {kernel['stderr']:.2f}"
            " nats a point. They may branch or cross, form clusters, need more components, or have rows far"
            " from the others"
        )
    if facts["noise"] <= 1.01 * SMALLEST_NOISE * float(np.sqrt(np.mean(np.var(points, axis=0)))):
        found.append(
            "the noise is as small as it may become, 0.1 % of the spread of the data: a bound, no estimate"
        )
    if best := facts["chosen"]:
        gap = best["train"] - best["validation"]
        if gap > OVERFIT * points.shape[1]:
            found.append(
                f"the map fits the rows it was fitted to better than others, by {gap:.2f} nats a point:"
                " more rows or a lower degree would help"
            )
    return found


def _spread(points: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " D"]:
    """The standard deviation of each column by its inner quantiles, which far rows do not move."""
    low, high = np.quantile(points, [0.1, 0.9], axis=0)
    return np.where(high > low, (high - low) / 2.563, points.std(axis=0))


def _listed(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
