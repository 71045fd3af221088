"""What a reader should doubt of a map, seen from where it puts the points."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from scipy.spatial import KDTree
from scipy.stats import chi2

SHARE_OUTSIDE = 0.05
"""Share of the points beyond the edge of the surface, from which it is said."""
TORN, SHARE_TORN, ROWS_TORN = 10.0, 0.01, 2
"""Distance of two neighbours on the map over that in the data and the noise, from which they are torn apart;
and the share of such rows from which it is said. A curve is cut at points: a few rows tell it.
"""
NEAREST = 3
"""Neighbours of a row that are looked at."""
EMPTY, LONG = 5.0, 0.05
"""Stretch of a curve without rows over the longest that chance leaves, and over the whole curve."""
TYPICAL = 2.0
"""Noise over that of the typical row, from which few rows make it."""
UNEVEN, ENOUGH = 3.0, 50
"""Ratio of the scatter along two directions that is said, and the rows that are needed for it."""
SHARP = 2.0
"""Noise over the radius of a turn, from which it is said."""
MOST_ROWS = 20_000
"""Of which neighbours are looked for."""


def torn(
    points: Float[np.ndarray, "n D"],
    coordinates: Float[np.ndarray, "n d"],
    noise: float,
    turns: Float[np.ndarray, " d"],
) -> list[str]:
    """Rows that are neighbours in the data but not on the map; `turns` (d,) are lengths after which a
    coordinate comes back to where it was, 0 for none.
    """
    stride = max(1, len(points) // MOST_ROWS)
    points, coordinates = points[::stride], coordinates[::stride]
    if len(points) <= NEAREST:
        return []
    found = KDTree(points).query(points, NEAREST + 1)
    distances, others = (np.asarray(part)[:, 1:] for part in found)
    apart = np.abs(coordinates[:, None] - coordinates[others])
    apart = np.where(turns > 0, np.minimum(apart, np.abs(turns - apart)), apart)
    far = np.linalg.norm(apart, axis=2) > TORN * (distances + noise)
    rows = int(np.sum(far.any(axis=1)))
    if rows < (ROWS_TORN if coordinates.shape[1] == 1 else SHARE_TORN * len(points)):
        return []
    return [
        f"{rows} of {len(points)} rows have near neighbours far away on the map: it is cut, folded or"
        " crosses itself there. Closed, twisted or branching data cannot be laid out without that, and"
        " coordinates of near points then differ"
    ]


def empty_stretch(coordinates: Float[np.ndarray, " n"], noise: float) -> list[str]:
    """A stretch of a curve with no rows, longer than chance leaves between rows."""
    order = np.sort(coordinates)
    gaps, length = np.diff(order), float(np.ptp(order))
    if not len(gaps) or not length > 0:
        return []
    k = int(gaps.argmax())
    chance = length * np.log(max(len(order), 2)) / len(order)
    if gaps[k] <= max(EMPTY * chance, LONG * length, TORN * noise):
        return []
    return [
        f"no rows lie on the curve from z1 = {order[k]:.3g} to {order[k + 1]:.3g}: it may join parts that"
        " have nothing to do with each other"
    ]


def sharp_turn(
    coordinates: Float[np.ndarray, " steps"], curve: Float[np.ndarray, "steps D"], noise: float
) -> list[str]:
    """A turn of a curve, at points evenly along it, that is sharper than the noise lets one see."""
    step = float(coordinates[1] - coordinates[0])
    speed = np.gradient(curve, step, axis=0)
    bend = np.gradient(speed, step, axis=0)
    size = np.maximum(np.linalg.norm(speed, axis=1, keepdims=True), np.finfo(float).tiny)
    along = speed / size
    across = bend - np.sum(bend * along, axis=1, keepdims=True) * along
    # Differences at the ends are of lower order.
    curvature = (np.linalg.norm(across, axis=1) / size[:, 0] ** 2)[3:-3]
    k = int(curvature.argmax())
    if curvature[k] * SHARP * noise < 1:
        return []
    return [
        f"the curve turns at z1 = {coordinates[3:-3][k]:.3g} within {1 / curvature[k]:.2g}, less than"
        f" {SHARP:g} times the noise: it may double back there, and its length and order are not to be"
        " trusted"
    ]


def uneven_scatter(left: Float[np.ndarray, "n D"], dim: int, noise: float, names: Sequence[str]) -> list[str]:
    """What a map of `dim` dimensions leaves of the points, where one noise does not describe it."""
    normal = left.shape[1] - dim
    if normal <= 0 or len(left) < ENOUGH:
        return []
    typical = float(np.sqrt(np.median(np.sum(left**2, axis=1)) / chi2.median(normal)))
    if noise > TYPICAL * typical:
        return [
            f"the noise of {noise:.3g} is made by few rows: the typical one lies about {typical:.3g} from the"
            " map in each direction. Rows far from it may be errors or belong to something else; the column"
            " distance of embedding.csv tells them"
        ]
    values, axes = np.linalg.eigh(left.T @ left / len(left))
    most, least = np.sqrt(max(values[-1], 0.0)), np.sqrt(max(values[-normal], 0.0))
    if normal > 1 and most > UNEVEN * least:
        name = names[int(np.abs(axes[:, -1]).argmax())]
        return [
            f"points scatter unevenly around the map, by {most:.3g} along {name} and by {least:.3g} in the"
            " narrowest direction: the map takes their noise to be alike, and may follow the wider scatter"
        ]
    return []


def worse_than_linear(r2: float, linear: float, dim: int) -> list[str]:
    """Where a bent map explains less than a flat one."""
    if r2 >= linear - 1e-3:
        return []
    what = "one principal component explains" if dim == 1 else f"{dim} principal components explain"
    return [f"{what} more of the variance, {linear:.4f}: nothing is gained by bending"]


def outside(share: float) -> list[str]:
    """On rows beyond the edge of a surface."""
    if share <= SHARE_OUTSIDE:
        return []
    return [
        f"{share:.0%} of the rows lie beyond the edge of the surface. Their coordinates are held within 15 %"
        " of it, and their distances are larger; beyond_edge is 1 for them in embedding.csv"
    ]
