"""Latent coordinates of points: the nearest point of the image, by Levenberg and Marquardt from nodes."""

import numpy as np
from jaxtyping import Float

from .latent import LatentMap
from .tube import Tube

STARTS = 3
"""Nodes that each point starts from."""
ITERATIONS = 30
TOLERANCE = 1e-10
"""Of a step against the size of the latent space, below which a point has settled."""
ROWS = 4096


def project(phi: LatentMap, tube: Tube, points: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n d"]:
    """z that minimises |x - phi(z)| for each point, from the likeliest nodes of the tube; coordinates stay in
    the latent space or a little outside of it. Linear in the number of points.
    """
    starts = min(STARTS, len(tube.means))
    found = [np.zeros((0, phi.latent.dim))]
    for begin in range(0, len(points), ROWS):
        block = points[begin : begin + ROWS]
        nodes = tube.nearest(block, starts)
        best, least = np.zeros((len(block), phi.latent.dim)), np.full(len(block), np.inf)
        for k in range(starts):
            z, distance = _descend(phi, phi.latent.nodes.points[nodes[:, k]], block)
            better = distance < least
            best[better], least[better] = z[better], distance[better]
        found.append(best)
    return np.concatenate(found)


def _descend(
    phi: LatentMap, z: Float[np.ndarray, "n d"], points: Float[np.ndarray, "n D"]
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Damped Gauss-Newton steps of all points at once; each has its own damping, and rests when settled."""
    z = z.copy()
    away = points - phi(z)
    distance = np.sum(away**2, axis=1)
    damping = np.full(len(points), 1e-3)
    active = np.arange(len(points))
    for _ in range(ITERATIONS):
        slopes = phi.latent.gradients(z[active]) @ phi.coefficients
        metric = slopes @ np.swapaxes(slopes, 1, 2)
        pull = np.einsum("nai,ni->na", slopes, away[active])
        size = np.einsum("naa->n", metric)[:, None, None] / z.shape[1] + np.finfo(float).tiny
        damped = metric + damping[active, None, None] * size * np.eye(z.shape[1])
        after = phi.latent.inside(z[active] + np.linalg.solve(damped, pull[..., None])[..., 0])
        left = points[active] - phi(after)
        error = np.sum(left**2, axis=1)
        better = error < distance[active]
        moved = np.abs(after - z[active]).max(axis=1)
        kept = active[better]
        z[kept], away[kept], distance[kept] = after[better], left[better], error[better]
        damping[active] = np.where(better, damping[active] / 4, damping[active] * 6)
        active = active[(moved > TOLERANCE) & (damping[active] < 1e8)]
        if not len(active):
            break
    return z, distance
