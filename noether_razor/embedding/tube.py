"""The density of a tube around an embedded manifold, as a mixture over latent nodes; with its gradient."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .latent import LatentMap

ENTRIES = 100_000
"""Of a matrix of points and nodes that is held at once: a few such matrices fit a processor's cache."""


class Parts(NamedTuple):
    """What a mixture says of points: `log` w_m N(x; mu_m, C_m) of each node and the squared distances
    `squares`; for each latent axis the coordinates `along` a column of V_m, with
    C_m^-1 = (I - V_m V_m^T) / variance.
    """

    log: Any
    squares: Any
    along: list[Any]


@dataclass(frozen=True, eq=False)
class Tube:
    """m(x) = sum_m w_m N(x; mu_m, variance I + U_m U_m^T): the image of the latent density, with noise.

    `means` mu_m are the images of the nodes and `tangents` U_m the Jacobians there, times the width of a
    cell: they close the gaps between nodes. Arrays of NumPy, or of JAX inside a traced function.
    """

    means: Any
    tangents: Any
    log_weights: Any
    variance: Any

    @staticmethod
    def around(phi: LatentMap, variance: float) -> "Tube":
        """That of a map with the nodes of its latent space."""
        nodes = phi.latent.nodes
        means, tangents = nodes.values @ phi.coefficients, nodes.gradients @ phi.coefficients
        return Tube(means, nodes.width * np.swapaxes(tangents, 1, 2), nodes.log_weights, variance)

    def parts(self, points: Any, factor: Any = None) -> Parts:
        """What each node says of each point; `factor` is `self.factor()` where it is known already."""
        xp = jnp if isinstance(self.means, jax.Array) else np
        lower, across = self.factor() if factor is None else factor
        _, dim, latent = self.tangents.shape
        # |x - mu|^2 and V^T (x - mu) by products of matrices.
        squares = (
            xp.sum(points**2, axis=1)[:, None] - 2 * points @ self.means.T + xp.sum(self.means**2, axis=1)
        )
        columns = [across[:, :, a] for a in range(latent)]
        along = [points @ column.T - xp.sum(column * self.means, axis=1) for column in columns]
        diagonal = xp.diagonal(lower, axis1=1, axis2=2)
        determinant = (dim - latent) * xp.log(self.variance) + 2 * xp.sum(xp.log(diagonal), axis=1)
        constant = self.log_weights - (dim * np.log(2 * np.pi) + determinant) / 2
        normal = squares - sum(part**2 for part in along)
        return Parts(constant - normal / (2 * self.variance), squares, along)

    def factor(self) -> tuple[Any, Any]:
        """L (M, d, d) with L L^T = variance I + U^T U, and V = U L^-T (M, D, d)."""
        xp = jnp if isinstance(self.means, jax.Array) else np
        transposed = xp.swapaxes(self.tangents, 1, 2)
        latent = self.tangents.shape[2]
        lower = xp.linalg.cholesky(self.variance * xp.eye(latent) + transposed @ self.tangents)
        return lower, xp.swapaxes(xp.linalg.solve(lower, transposed), 1, 2)

    def log_density(self, points: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
        """log m(x), in blocks: memory does not grow with the points."""
        factor = self.factor()
        return np.concatenate(
            [_log_sum(self.parts(block, factor).log)[0] for block in self._blocks(points)] or [np.zeros(0)]
        )

    def log_density_at(self, point: Float[Array, " D"]) -> Float[Array, ""]:
        """log m of one point, to be differentiated by JAX."""
        means, tangents, weights = map(jnp.asarray, (self.means, self.tangents, self.log_weights))
        return jax.nn.logsumexp(Tube(means, tangents, weights, self.variance).parts(point[None]).log)

    def nearest(self, points: Float[np.ndarray, "n D"], count: int) -> np.ndarray:
        """The nodes from which each point most likely comes, the likeliest first, shape (n, count)."""
        factor = self.factor()
        found = [np.zeros((0, count), dtype=np.intp)]
        for block in self._blocks(points):
            log = self.parts(block, factor).log
            best = np.argpartition(-log, count - 1, axis=1)[:, :count]
            order = np.argsort(-np.take_along_axis(log, best, axis=1), axis=1)
            found.append(np.take_along_axis(best, order, axis=1))
        return np.concatenate(found)

    def sample(self, count: int, random: np.random.Generator) -> Float[np.ndarray, "count D"]:
        """Points drawn from m."""
        node = random.choice(len(self.means), count, p=np.exp(self.log_weights))
        _, dim, latent = self.tangents.shape
        along = random.normal(size=(count, latent))
        noise = np.sqrt(self.variance) * random.normal(size=(count, dim))
        return self.means[node] + np.einsum("nia,na->ni", self.tangents[node], along) + noise

    def _blocks(self, points: Float[np.ndarray, "n D"]) -> Iterator[Float[np.ndarray, "b D"]]:
        size = max(1, ENTRIES // len(self.means))
        for start in range(0, len(points), size):
            yield points[start : start + size]


class Gradient(NamedTuple):
    """The mean log density of points and its derivatives with respect to the fields of a `Tube`."""

    value: float
    means: Float[np.ndarray, "M D"]
    tangents: Float[np.ndarray, "M D d"]
    variance: float


def log_likelihood_gradient(tube: Tube, points: Float[np.ndarray, "n D"]) -> Gradient:
    """The mean of log m over points and its gradient, linear in the number of points.

    By Fisher's identity it is the gradient of the log density of points and nodes together, in the mean over
    the nodes from which the points may come.
    """
    lower, across = tube.factor()
    count, dim, latent = tube.tangents.shape
    total = 0.0
    weight, distance = np.zeros(count), np.zeros(count)
    first, mixed = np.zeros((count, dim)), np.zeros((count, dim, latent))
    second, single = np.zeros((count, latent, latent)), np.zeros((count, latent))
    for block in tube._blocks(points):
        log, squares, along = tube.parts(block, (lower, across))
        sums, share = _log_sum(log)
        total += float(sums.sum())
        weight += share.sum(axis=0)
        distance += np.einsum("nm,nm->m", share, squares)
        first += share.T @ block
        for a in range(latent):
            weighted = share * along[a]
            single[:, a] += weighted.sum(axis=0)
            mixed[:, :, a] += weighted.T @ block
            for b in range(a + 1):
                second[:, a, b] += np.einsum("nm,nm->m", weighted, along[b])
    second = second + np.swapaxes(np.tril(second, -1), 1, 2)
    mixed -= tube.means[:, :, None] * single[:, None, :]
    away = first - weight[:, None] * tube.means
    variance = tube.variance
    means = (away - np.einsum("mia,mja,mj->mi", across, across, away, optimize=True)) / variance
    # S C^-1 U, less the part that the weight of the node alone asks for.
    pull = (mixed - across @ second) / variance - weight[:, None, None] * across
    tangents = np.swapaxes(np.linalg.solve(np.swapaxes(lower, 1, 2), np.swapaxes(pull, 1, 2)), 1, 2)
    gram = np.swapaxes(across, 1, 2) @ across
    inside = np.einsum("maa->m", second)
    bent = np.einsum("mab,mab->m", gram, second)
    scaled = (distance - 2 * inside + bent) / variance**2
    trace = (dim - np.einsum("maa->m", gram)) / variance
    by_variance = float(np.sum(scaled - weight * trace)) / 2
    n = len(points)
    return Gradient(total / n, means / n, tangents / n, by_variance / n)


def _log_sum(log: Float[np.ndarray, "n M"]) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, "n M"]]:
    """The log of the sum of exp over the last axis, and the share of each term in it; overwrites `log`."""
    most = log.max(axis=1, keepdims=True)
    np.exp(np.subtract(log, most, out=log), out=log)
    sums = log.sum(axis=1, keepdims=True)
    log /= sums
    return (most + np.log(sums))[:, 0], log
