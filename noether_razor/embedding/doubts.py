"""What a reader should doubt of an embedding: sentences on the points and on the fit."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from .fitting import LOOK_BACK, SMALLEST_NOISE

REPEATED = 0.02
"""Share of rows that repeat others, from which it is said."""
FAR = 30.0
"""Distance from the middle over that of the typical row, from which a row is named."""
CODED = 3
"""Times that one far value stands in a column, from which it is taken for a code."""
UNLIKE = 10.0
"""Ratio of the largest to the smallest spread of columns that share one noise."""
DEPENDENT = 1e-8
"""Spread of a combination of columns over that of a column, below which it is no more than rounding."""
FEWEST, ORDERED = 30, 10
"""Rows below which little can be told, and from which a column that grows from row to row is named."""
ERRORS = 2.0
"""Standard errors of a difference in held-out likelihood that is said."""
OVERFIT = 0.5
"""Nats a point by which a map may be likelier on the rows it was fitted to."""
MOST_NAMED = 3


def doubts(facts: Mapping[str, Any], points: Float[np.ndarray, "n D"], names: Sequence[str]) -> list[str]:
    """Sentences on points with these names of columns, and on the fit to them with these `diagnostics_`."""
    return [*_of_columns(points, names), *_of_rows(points, names), *_of_fit(facts, points)]


def no_surface(facts: Mapping[str, Any]) -> bool:
    """Whether held-out rows say that no surface describes the points."""
    kernel = facts["kernel_density"]
    return bool(kernel) and kernel["gain"] > ERRORS * kernel["stderr"]


def _of_columns(points: Float[np.ndarray, "n D"], names: Sequence[str]) -> list[str]:
    found = []
    spread, varies = _spread(points), np.ptp(points, axis=0) > 0
    if not varies.all():
        constant = _listed([name for name, moves in zip(names, varies, strict=True) if not moves])
        found.append(f"constant columns tell the map nothing: {constant}")
    steps = np.diff(points, axis=0)
    grows = np.all(steps > 0, axis=0) | np.all(steps < 0, axis=0)
    if len(points) >= ORDERED and points.shape[1] > 1 and grows.any():
        name = names[int(np.argmax(grows))]
        found.append(
            f"column {name} only grows or only falls from row to row: leave it out (--ignore {name}) if it"
            " numbers the rows or is the time"
        )
    wide, narrow = int(np.argmax(spread)), int(np.argmin(np.where(varies, spread, np.inf)))
    if spread[wide] > UNLIKE * spread[narrow]:
        found.append(
            f"column {names[wide]} spreads over {spread[wide]:.3g}, {names[narrow]} over"
            f" {spread[narrow]:.3g}: the noise is one number for all columns, so that narrow ones count"
            " little; if their units differ, divide each column by its spread (--standardise)"
        )
    if len(points) >= ORDERED and varies.any() and np.all(points == np.round(points)):
        found.append(
            "all values are whole numbers: counts scatter more where they are larger, and their square roots"
            " alike"
        )
    if alike := _dependent(points[:, varies]):
        own = [name for name, moves in zip(names, varies, strict=True) if moves]
        found.append(
            f"exact combinations of each other: {_listed([own[k] for k in alike])}; they tell nothing twice,"
            " and the noise, a mean over all columns, comes out too small"
        )
    return found


def _of_rows(points: Float[np.ndarray, "n D"], names: Sequence[str]) -> list[str]:
    found = []
    if len(points) < FEWEST:
        found.append(f"{len(points)} rows are few: neither the map nor the noise is well told")
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
    for column in np.flatnonzero(away.max(axis=0, initial=0.0) > FAR).tolist():
        ((value, times),) = Counter(points[away[:, column] > FAR, column].tolist()).most_common(1)
        if times >= CODED:
            found.append(
                f"the value {value:g} stands {times} times in {names[column]}, far from all others: if it"
                " means that nothing was measured, leave out these rows"
            )
    far = np.flatnonzero(away.max(axis=1, initial=0.0) > FAR)
    if len(far):
        rows = _listed([f"row {row + 1} ({names[int(away[row].argmax())]})" for row in far])
        found.append(
            f"more than {FAR:g} times as far from the middle as the typical row: {rows}. Such rows pull the"
            " map and the noise; leave them out if they are errors"
        )
    return found


def _of_fit(facts: Mapping[str, Any], points: Float[np.ndarray, "n D"]) -> list[str]:
    found = []
    if facts["components"] == points.shape[1] > 1:
        found.append("there are as many components as columns: nothing is left for the noise to be told from")
    if not facts["converged"]:
        found.append(
            f"the fit stopped after {facts['iterations']} iterations, and the last {LOOK_BACK} still gained"
            f" {facts['last_gain']:.2g} nats a point: more (iterations = 600) may improve it"
        )
    if no_surface(facts):
        kernel = facts["kernel_density"]
        found.append(
            "one smooth surface of this dimension does not describe the points: a kernel density, which knows"
            f" of no surface, is likelier on held-out rows by {kernel['gain']:.2f} ± {kernel['stderr']:.2f}"
            " nats a point. They may branch or cross, form clusters, need more or fewer components, or have"
            " rows far from the others"
        )
    if noise_at_bound(facts, points):
        found.append(
            "the noise is as small as it may become, 0.1 % of the spread of the data: a bound, no estimate"
        )
    if best := facts["chosen"]:
        gap = best["train"] - best["validation"]
        if gap > max(OVERFIT, ERRORS * best["stderr"]):
            found.append(
                f"the map is likelier on the rows it was fitted to than on others, by {gap:.2f} nats a point:"
                " it follows their noise, or too few rows cover it"
            )
        own = [one["degree"] for one in facts["selection"] if one["latent"] == best["latent"]]
        if len(set(own)) > 1 and best["degree"] == max(own):
            found.append(
                f"the highest degree that was tried, {best['degree']}, is the likeliest: what the points lie"
                " near may be more winding than this map can be"
            )
    return found


def noise_at_bound(facts: Mapping[str, Any], points: Float[np.ndarray, "n D"]) -> bool:
    """Whether the noise is the smallest that is allowed."""
    return facts["noise"] <= 1.01 * SMALLEST_NOISE * float(np.sqrt(np.mean(np.var(points, axis=0))))


def _spread(points: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " D"]:
    """The standard deviation of each column by its inner quantiles, which far rows do not move."""
    low, high = np.quantile(points, [0.1, 0.9], axis=0)
    return np.where(high > low, (high - low) / 2.563, points.std(axis=0))


def _dependent(points: Float[np.ndarray, "n D"]) -> list[int]:
    """Columns of an exact linear combination, where there are rows enough to tell one."""
    if len(points) <= points.shape[1] + 1 or points.shape[1] < 2:
        return []
    standard = (points - points.mean(axis=0)) / points.std(axis=0)
    _, sizes, axes = np.linalg.svd(standard, full_matrices=False)
    none = axes[sizes < DEPENDENT * sizes[0]]
    return np.flatnonzero(np.abs(none).max(axis=0, initial=0.0) > 1e-3).tolist()


def _listed(names: Sequence[str]) -> str:
    """A few of the names, and how many more there are."""
    more = len(names) - MOST_NAMED
    return ", ".join(names[:MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
