"""Short formulas for functions that are known by their gradients alone, such as a network's."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

READABLE = 0.45
"""Share of a formula's gradient outside the functions, up to which it is one of them."""
FINE = 0.02
"""Shares below this are alike: what is learned is no more accurate."""
FLAT = 1e-9
"""Mean square of a combination of gradients over the largest, below which it is rounding."""
AGAIN = 0.01
"""Weight of what a formula has of those found before."""
DEARER = 10.0
"""Times as much a term of one grade more must matter to be kept."""


class Distilled(NamedTuple):
    """A formula: `row` (M,) of coefficients, and the share `off` of its gradient (r.m.s.) that lies outside
    those of the functions.
    """

    row: Float[np.ndarray, " M"]
    off: float


def distilled(
    slopes: Float[np.ndarray, "rows M dim"],
    gradients: Float[np.ndarray, "rows K dim"],
    count: int,
    grades: Int[np.ndarray, " M"],
    *,
    linear: bool,
) -> list[Distilled]:
    """At most `count` combinations of M terms whose gradients lie in the span of those of K functions, by the
    gradients of all at the same states, in units of the coordinates' spreads.

    `linear`: they are combinations of the functions; else the span is that at each state, so that they are
    any functions of these. The first is the shortest there is, and each of the others has a gradient of its
    own. Terms are dropped one by one, each time the one that costs least to first order, where one of a grade
    more (degree, say) may cost `DEARER` times as much; the formula is that from which one more would cost
    most, in ratio.
    """
    sizes = np.sqrt(np.mean(np.sum(slopes**2, axis=2), axis=0))
    usable = np.flatnonzero(np.isfinite(sizes) & (sizes > 0))
    slopes = slopes[:, usable] / sizes[usable, None]
    outside = _without(slopes, gradients, linear)
    within, weights = _moments(outside), DEARER ** -grades[usable].astype(float)
    found: list[Distilled] = []
    own = slopes
    for _ in range(count):
        new = _moments(own)
        # What was found lies within, and must not be found again.
        short = _shortest(within + AGAIN * (_moments(slopes) - new), new, weights)
        if short is None:
            break
        row = np.zeros(len(sizes))
        row[usable] = short.row / sizes[usable]
        found.append(Distilled(row / row[np.argmax(np.abs(row))], short.off))
        known = np.stack(
            [np.einsum("rmd,m->rd", slopes, one.row[usable] * sizes[usable]) for one in found], 1
        )
        own = _without(slopes, known, linear)
    return found


def _without(
    slopes: Float[np.ndarray, "rows M dim"], gradients: Float[np.ndarray, "rows K dim"], linear: bool
) -> Float[np.ndarray, "rows M dim"]:
    """What the span of `gradients` does not hold of the terms'."""
    if linear:
        flat = np.moveaxis(gradients, 1, 2).reshape(-1, gradients.shape[1])
        basis, values, _ = np.linalg.svd(flat, full_matrices=False)
        basis = basis[:, values**2 > FLAT * values[0] ** 2]
        terms = np.moveaxis(slopes, 1, 2).reshape(-1, slopes.shape[1])
        left = terms - basis @ (basis.T @ terms)
        return np.moveaxis(left.reshape(len(slopes), -1, slopes.shape[1]), 2, 1)
    _, values, basis = np.linalg.svd(gradients, full_matrices=False)
    basis = basis * (values**2 > FLAT * values[:, :1] ** 2)[:, :, None]
    return slopes - np.einsum("rmd,rkd,rke->rme", slopes, basis, basis)


def _moments(slopes: Float[np.ndarray, "rows M dim"]) -> Float[np.ndarray, "M M"]:
    return np.einsum("rmd,rnd->mn", slopes, slopes, optimize=True) / len(slopes)


def _shortest(
    outside: Float[np.ndarray, "M M"], whole: Float[np.ndarray, "M M"], weights: Float[np.ndarray, " M"]
) -> Distilled | None:
    """The knee of backward elimination, by costs times `weights`; None where nothing is readable."""
    kept, path = list(range(len(whole))), []
    floor = FLAT * np.trace(whole)
    while kept:
        a, b = outside[np.ix_(kept, kept)], whole[np.ix_(kept, kept)]
        values, vectors = np.linalg.eigh(b)
        root = vectors / np.sqrt(np.maximum(values, 0) + floor)
        shares, directions = np.linalg.eigh(root.T @ a @ root)
        share, row = max(float(shares[0]), FLAT), root @ directions[:, 0]
        path.append((share, list(kept), row))
        # Without term m the smallest root rises by about row_m^2 / ((A - share B)^+)_mm.
        apart = np.append(0.0, 1 / (shares[1:] - shares[0] + FLAT))
        inverse = np.maximum((root @ directions) ** 2 @ apart, np.finfo(float).tiny)
        cheapest = int(np.argmin((row**2 / inverse + FLAT) * weights[kept]))
        kept = [m for k, m in enumerate(kept) if k != cheapest]
    if path[0][0] > READABLE**2:
        return None
    shares = np.maximum([share for share, _, _ in path] + [1.0], FINE**2)
    jumps = np.where(shares[:-1] <= READABLE**2, shares[1:] / shares[:-1], 0.0)
    share, kept, row = path[int(np.argmax(jumps))]
    whole_row = np.zeros(len(whole))
    whole_row[kept] = row
    return Distilled(whole_row, float(np.sqrt(share)))
