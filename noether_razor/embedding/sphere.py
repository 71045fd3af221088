"""Harmonics and nodes of the unit sphere, in longitude (-pi, pi] and latitude [-pi/2, pi/2]."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

GOLDEN = np.pi * (3 - np.sqrt(5))
"""The angle between neighbours on a Fibonacci lattice."""


def orders(degree: int) -> list[tuple[int, int]]:
    """Degree l and order m >= 0 of each function of the latitude."""
    return [(total, order) for total in range(degree + 1) for order in range(total + 1)]


def harmonics(degree: int) -> Int[np.ndarray, "P 2"]:
    """Of each harmonic up to a degree, by degree, its sine or cosine of the longitude and its function of the
    latitude; there are (degree + 1)^2.
    """
    found = []
    for column, (_, order) in enumerate(orders(degree)):
        found += [(k, column) for k in ((0,) if order == 0 else (2 * order - 1, 2 * order))]
    return np.array(found)


def latitudes(xp: Any, t: Any, degree: int, derivatives: int) -> list[Any]:
    """The associated Legendre functions of sin t by `orders`, of mean square one over the sphere, and their
    first derivatives in t where those are asked for; by the recurrence in l.
    """
    sine, cosine = xp.sin(t), xp.cos(t)
    one, zero = xp.ones_like(t), xp.zeros_like(t)
    values, slopes = {(0, 0): one}, {(0, 0): zero}
    for total, order in orders(degree)[1:]:
        if total == order:
            ratio = np.sqrt((2 * order + 1) / (2 * order))
            before, slope = values[order - 1, order - 1], slopes[order - 1, order - 1]
            values[total, order] = ratio * cosine * before
            slopes[total, order] = ratio * (cosine * slope - sine * before)
            continue
        ratio = np.sqrt((4 * total**2 - 1) / (total**2 - order**2))
        back = np.sqrt(((total - 1) ** 2 - order**2) / (4 * (total - 1) ** 2 - 1))
        before, slope = values[total - 1, order], slopes[total - 1, order]
        far, far_slope = values.get((total - 2, order), zero), slopes.get((total - 2, order), zero)
        values[total, order] = ratio * (sine * before - back * far)
        slopes[total, order] = ratio * (cosine * before + sine * slope - back * far_slope)
    tables = [values, slopes][: derivatives + 1]
    return [xp.stack([table[key] for key in orders(degree)], axis=-1) for table in tables]


def eigenvalues(degree: int) -> Float[np.ndarray, " P"]:
    """l (l + 1) of each harmonic, minus its Laplacian over itself."""
    totals = np.array([orders(degree)[column][0] for _, column in harmonics(degree)], dtype=float)
    return totals * (totals + 1)


def lattice(count: int) -> Float[np.ndarray, "count 2"]:
    """Longitudes and latitudes of evenly spread points, none of them at a pole."""
    k = np.arange(count)
    return np.stack([wrapped(GOLDEN * k), np.arcsin((2 * k + 1 - count) / count)], axis=1)


def wrapped(angles: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Angles in [-pi, pi)."""
    return np.mod(angles + np.pi, 2 * np.pi) - np.pi


def on_sphere(z: Float[np.ndarray, "n 2"]) -> Float[np.ndarray, "n 2"]:
    """Longitude and latitude of coordinates that may have gone over a pole."""
    return directions(
        np.stack([np.cos(z[:, 1]) * np.cos(z[:, 0]), np.cos(z[:, 1]) * np.sin(z[:, 0]), np.sin(z[:, 1])], 1)
    )


def directions(points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, "n 2"]:
    """Longitude and latitude of points of space, seen from the origin."""
    x, y, height = points.T
    return np.stack([np.arctan2(y, x), np.arctan2(height, np.hypot(x, y))], axis=1)


def grid(count: int) -> tuple[Float[np.ndarray, "M 2"], Float[np.ndarray, " M"]]:
    """Nodes and weights of sum 1 of a quadrature that is exact for harmonics below degree 2 count."""
    heights, weights = np.polynomial.legendre.leggauss(count)
    longitude, latitude = np.meshgrid(
        -np.pi + np.pi * np.arange(2 * count) / count, np.arcsin(heights), indexing="ij"
    )
    points = np.stack([longitude.ravel(), latitude.ravel()], axis=1)
    return points, np.tile(weights / 2, 2 * count) / (2 * count)
