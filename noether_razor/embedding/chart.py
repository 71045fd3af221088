"""First latent coordinates of points, from their neighbours or from principal components."""

from typing import Literal, get_args

import numpy as np
from jaxtyping import Float
from scipy.sparse import csr_array
from scipy.sparse.csgraph import connected_components, shortest_path
from scipy.spatial import KDTree
from scipy.stats import norm, rankdata

from .latent import Kind
from .linear import principal_components
from .sphere import directions, on_sphere, wrapped

Chart = Literal["isomap", "pca", "angle"]
CHARTS: tuple[Chart, ...] = get_args(Chart)
LANDMARKS = 1500
"""Points between which distances along the neighbour graph are computed; the cost grows with their cube."""


def chart_coordinates(
    points: Float[np.ndarray, "n D"], kind: Kind, dim: int, chart: Chart, neighbours: int
) -> Float[np.ndarray, "n d"]:
    """Latent coordinates to start from, spread as the latent density of this `kind` asks.

    "isomap": classical scaling of the distances along the graph of nearest neighbours, whose parts are joined
    by their shortest links. "pca": principal components. An angle of a circle is the direction from the
    centre in two such coordinates, a point of a sphere that in three; "angle" takes it for a line too, cut
    where its largest gap is.
    """
    needed = 3 if kind == "sphere" else 2 * dim if kind == "circle" or chart == "angle" else dim
    found = _pca(points, needed) if chart == "pca" else _isomap(points, needed, neighbours)
    if chart == "angle" and kind != "circle":
        return latent_coordinates(_cut(np.arctan2(found[:, 1], found[:, 0]))[:, None], kind)
    if kind == "sphere":
        return directions(found)
    if kind == "circle":
        pairs = found.reshape(len(found), dim, 2)
        return _circular(np.arctan2(pairs[:, :, 1], pairs[:, :, 0]))
    return latent_coordinates(found, kind)


def latent_coordinates(found: Float[np.ndarray, "n d"], kind: Kind) -> Float[np.ndarray, "n d"]:
    """Any coordinates of points, moved into the latent space axis by axis.

    On a line their ranks take the density of the latent exactly; in the plane that would bend a chart at its
    edge, so that it is only scaled.
    """
    if kind == "circle":
        return wrapped(found)
    if kind == "sphere":
        return on_sphere(found)
    count = len(found)
    if found.shape[1] == 1:
        share = (rankdata(found, axis=0) - 0.5) / count
        return 2 * share - 1 if kind == "uniform" else norm.ppf(share)
    if kind == "normal":
        return (found - found.mean(axis=0)) / np.maximum(found.std(axis=0), np.finfo(float).tiny)
    low, high = found.min(axis=0), found.max(axis=0)
    return (2 * found - low - high) / np.maximum(high - low, np.finfo(float).tiny)


def _circular(angles: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
    """Angles spread evenly by their ranks, as the density of a circle asks."""
    return 2 * np.pi * (rankdata(angles, axis=0) - 0.5) / len(angles) - np.pi


def _cut(angles: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """Angles from the end of the largest gap between them."""
    order = np.sort(angles)
    gaps = np.diff(np.append(order, order[0] + 2 * np.pi))
    end = order[(int(gaps.argmax()) + 1) % len(order)]
    return np.mod(angles - end, 2 * np.pi)


def _pca(points: Float[np.ndarray, "n D"], dim: int) -> Float[np.ndarray, "n d"]:
    components = principal_components(points)
    found = (points - components.mean) @ components.axes[:dim].T
    return np.pad(found, ((0, 0), (0, dim - found.shape[1])))


def _isomap(points: Float[np.ndarray, "n D"], dim: int, neighbours: int) -> Float[np.ndarray, "n d"]:
    """Classical scaling of graph distances; identical points count as one."""
    distinct, which = np.unique(points, axis=0, return_inverse=True)
    if len(distinct) <= dim + 1:
        return _pca(points, dim)
    distances = shortest_path(_graph(distinct, min(neighbours, len(distinct) - 1)), directed=False)
    squares = distances**2
    centred = squares - squares.mean(axis=0) - squares.mean(axis=1)[:, None] + squares.mean()
    values, vectors = np.linalg.eigh(-centred / 2)
    order = np.argsort(values)[::-1][:dim]
    scaled = vectors[:, order] * np.sqrt(np.maximum(values[order], 0.0))
    signs = np.sign(scaled[np.abs(scaled).argmax(axis=0), np.arange(dim)])
    return (scaled * np.where(signs == 0, 1.0, signs))[which.reshape(-1)]


def _graph(points: Float[np.ndarray, "n D"], neighbours: int) -> csr_array:
    """Distances to the nearest neighbours, with the shortest links between parts that have none."""
    tree = KDTree(points)
    distances, others = (np.asarray(found) for found in tree.query(points, neighbours + 1))
    rows = np.repeat(np.arange(len(points)), neighbours)
    columns, lengths = others[:, 1:].ravel(), distances[:, 1:].ravel()
    shape = (len(points), len(points))
    while True:
        graph = csr_array((lengths, (rows, columns)), shape=shape)
        parts, labels = connected_components(graph, directed=False)
        if parts == 1:
            return graph
        smallest = np.flatnonzero(labels == np.bincount(labels).argmin())
        outside = np.setdiff1d(np.arange(len(points)), smallest)
        gaps, nearest = (np.asarray(found) for found in KDTree(points[outside]).query(points[smallest]))
        best = int(gaps.argmin())
        rows, columns = np.append(rows, smallest[best]), np.append(columns, outside[nearest[best]])
        lengths = np.append(lengths, gaps[best])
