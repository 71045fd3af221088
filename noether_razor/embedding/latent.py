"""Latent spaces: their density, orthonormal functions on them, and the nodes that stand for them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from math import comb
from typing import Any, Literal, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int
from scipy.stats import qmc

from . import sphere

Kind = Literal["uniform", "normal", "circle", "sphere"]
"""uniform: on the cube [-1, 1]^d. normal: standard. circle: angles in [-pi, pi)^d, for d = 2 a torus. sphere:
longitude and latitude, uniform on the sphere.
"""

KINDS: tuple[Kind, ...] = get_args(Kind)
NODES = {1: 128, 2: 28, 3: 11}
"""Nodes an axis; in more dimensions `SCATTERED` low-discrepancy points in all."""
SCATTERED = 2048
REACH = 3.6
"""Standard deviations of a normal latent up to which there are nodes."""
WIDTH = 0.6
"""Standard deviation along the image that a node stands for, in units of its cell."""
MOST_FUNCTIONS, MOST_DEGREE = 2500, 200
EDGE = 1.15
"""How far coordinates may leave the cube, beyond which polynomials say nothing."""

Points = Float[np.ndarray, "... d"] | Float[jax.Array, "... d"]
Features = Float[np.ndarray, "..."] | Float[jax.Array, "..."]


@dataclass(frozen=True)
class Latent:
    """A latent space of `dim` dimensions with all products of orthonormal functions up to total `degree`.

    Legendre polynomials for a uniform latent, Hermite for a normal one, sines and cosines of the angles up to
    the frequency `degree` for circles, spherical harmonics for a sphere (`dim` 2). Raises ValueError for an
    unknown kind, for a degree above 200 and for more than 2500 functions.
    """

    kind: str
    dim: int
    degree: int

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"latent: got {self.kind!r}, expected one of {', '.join(KINDS)}")
        if self.dim < 1 or self.degree < 1:
            raise ValueError(f"dimension and degree must be at least 1, got {self.dim} and {self.degree}")
        if self.kind == "sphere" and self.dim != 2:
            raise ValueError(f"latent: a sphere has 2 components, got {self.dim}")
        if self.degree > MOST_DEGREE:
            raise ValueError(f"degree: got {self.degree}, expected at most {MOST_DEGREE}")
        count = comb(self.degree + self.dim, self.dim)
        if self.kind != "circle" and count > MOST_FUNCTIONS:
            raise ValueError(
                f"degree {self.degree} in {self.dim} dimensions has {count} terms, expected at most "
                f"{MOST_FUNCTIONS}: take a lower degree or fewer components"
            )

    @cached_property
    def indices(self) -> Int[np.ndarray, "P d"]:
        """The one-dimensional functions of each product, the constant first, by total degree."""
        if self.kind == "sphere":
            return sphere.harmonics(self.degree)
        orders = _orders(self.kind, self.degree)
        found = [(sum(orders[k] for k in index), index) for index in self._candidates(orders)]
        return np.array([index for _, index in sorted(found)])

    def _candidates(self, orders: list[int]) -> list[tuple[int, ...]]:
        found: list[tuple[int, ...]] = [()]
        for _ in range(self.dim):
            found = [
                (*index, k)
                for index, k in product(found, range(len(orders)))
                if sum(orders[i] for i in index) + orders[k] <= self.degree
            ]
        return found

    @property
    def size(self) -> int:
        """How many functions there are."""
        return len(self.indices)

    def log_density(self, z: Points) -> Any:
        """log q(z), of the shape of z without its last axis; the cube's edge is not looked at."""
        xp = _module(z)
        if self.kind == "normal":
            return -0.5 * xp.sum(z**2, axis=-1) - 0.5 * self.dim * np.log(2 * np.pi)
        if self.kind == "sphere":
            return xp.log(xp.cos(z[..., 1])) - np.log(4 * np.pi)
        volume = 2.0 if self.kind == "uniform" else 2 * np.pi
        return xp.zeros(z.shape[:-1]) - self.dim * np.log(volume)

    def values(self, z: Points) -> Any:
        """All functions at z, shape (..., P)."""
        return self._products(self._one_dimensional(z, 0), [0] * self.dim)

    def gradients(self, z: Points) -> Any:
        """Their first derivatives, shape (..., d, P)."""
        tables = self._one_dimensional(z, 1)
        rows = [self._products(tables, [int(k == axis) for k in range(self.dim)]) for axis in range(self.dim)]
        return _module(z).stack(rows, axis=-2)

    def laplacians(self, z: Points) -> Any:
        """The sum of their second derivatives over the axes (on a sphere along it), shape (..., P)."""
        if self.kind == "sphere":
            return -sphere.eigenvalues(self.degree) * self.values(z)
        tables = self._one_dimensional(z, 2)
        return sum(
            self._products(tables, [2 * int(k == axis) for k in range(self.dim)]) for axis in range(self.dim)
        )

    def _one_dimensional(self, z: Points, derivatives: int) -> list[list[Any]]:
        """By derivative and axis, the values (..., K) of the one-dimensional functions."""
        functions = [_FUNCTIONS[self.kind]] * self.dim
        if self.kind == "sphere":
            functions[1] = lambda t, degree, count: sphere.latitudes(_module(t), t, degree, count)
        tables = [functions[axis](z[..., axis], self.degree, derivatives) for axis in range(self.dim)]
        return [[table[order] for table in tables] for order in range(derivatives + 1)]

    def _products(self, tables: list[list[Any]], orders: list[int]) -> Any:
        found = tables[orders[0]][0][..., self.indices[:, 0]]
        for axis in range(1, self.dim):
            found = found * tables[orders[axis]][axis][..., self.indices[:, axis]]
        return found

    @cached_property
    def bending(self) -> Float[np.ndarray, "P P"]:
        """K with E |nabla^2 phi|^2 = tr W^T K W for phi = values(z) W; exact."""
        if self.kind == "sphere":
            # Bochner's formula for curvature 1.
            values = sphere.eigenvalues(self.degree)
            return np.diag(values * (values - 1))
        # Exact for products of two functions.
        points, weights = _gauss(self.kind, 2 * self.degree + 2)
        _, first, second = _FUNCTIONS[self.kind](points, self.degree, 2)
        slope, curve = (table.T @ (weights[:, None] * table) for table in (first, second))
        same = np.eye(len(slope))
        total = np.zeros((self.size, self.size))
        for pair in product(range(self.dim), repeat=2):
            part = np.ones_like(total)
            for axis in range(self.dim):
                count = pair.count(axis)
                table = (same, slope, curve)[count]
                column = self.indices[:, axis]
                part = part * table[np.ix_(column, column)]
            total += part
        return total

    def quadrature(self, count: int) -> tuple[Float[np.ndarray, "M d"], Float[np.ndarray, " M"]]:
        """Gauss nodes, `count` an axis, and weights of sum 1; on circles equally spaced ones."""
        if self.kind == "sphere":
            return sphere.grid(count)
        points, weights = _gauss(self.kind, count)
        grid = np.stack(np.meshgrid(*[points] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim)
        outer = np.stack(np.meshgrid(*[weights] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim)
        return grid, outer.prod(axis=1)

    @cached_property
    def nodes(self) -> "Nodes":
        """Equally spaced nodes with the prior as their weights; scattered ones above three dimensions."""
        if self.kind == "sphere":
            return self._sphere_nodes()
        half = {"uniform": 1.0, "normal": REACH, "circle": np.pi}[self.kind]
        if self.dim in NODES:
            count = max(NODES[self.dim], 8 * self.degree if self.dim == 1 else 0)
            axis = half * (2 * np.arange(count) + 1 - count) / count
            points = np.stack(np.meshgrid(*[axis] * self.dim, indexing="ij"), axis=-1).reshape(-1, self.dim)
            cell = 2 * half / count
        else:
            sobol = qmc.Sobol(self.dim, scramble=True, rng=np.random.default_rng(0))
            points = half * (2 * sobol.random(SCATTERED) - 1)
            cell = 2 * half / SCATTERED ** (1 / self.dim)
        if self.kind == "normal":
            points = points[np.linalg.norm(points, axis=1) <= REACH + 0.3 * self.dim]
        log_weights = self.log_density(points)
        log_weights -= np.logaddexp.reduce(log_weights)
        width = WIDTH * cell
        # The mean of the functions over a cell, to second order: a tube of straight pieces has no bias then.
        values = self.values(points) + width**2 / 2 * self.laplacians(points)
        return Nodes(points, log_weights, width, values, self.gradients(points))

    def _sphere_nodes(self) -> "Nodes":
        """Evenly spread nodes of equal weight, with derivatives along orthonormal axes."""
        count = NODES[2] ** 2
        points = sphere.lattice(count)
        width = WIDTH * float(np.sqrt(4 * np.pi / count))
        values = self.values(points) + width**2 / 2 * self.laplacians(points)
        gradients = self.gradients(points)
        gradients[:, 0] /= np.cos(points[:, 1:])
        return Nodes(points, np.full(count, -np.log(count)), width, values, gradients)

    def inside(self, z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Coordinates that the map can be trusted at: angles wrapped, others clipped a little outside."""
        if self.kind == "circle":
            return sphere.wrapped(z)
        if self.kind == "sphere":
            return sphere.on_sphere(z)
        reach = EDGE if self.kind == "uniform" else EDGE * REACH
        return np.clip(z, -reach, reach)


@dataclass(frozen=True, eq=False)
class Nodes:
    """Points that stand for a latent space, each for a cell whose standard deviation is `width`, with the
    means of its functions over the cell and their first derivatives.
    """

    points: Float[np.ndarray, "M d"]
    log_weights: Float[np.ndarray, " M"]
    width: float
    values: Float[np.ndarray, "M P"]
    gradients: Float[np.ndarray, "M d P"]


@dataclass(frozen=True, eq=False)
class LatentMap:
    """phi(z) = values(z) W, from a latent space to R^D; for arrays of NumPy and of JAX, with leading axes."""

    latent: Latent
    coefficients: Float[Any, "P D"]

    def __call__(self, z: Points) -> Any:
        return self.latent.values(z) @ self.coefficients

    def jacobian(self, z: Points) -> Any:
        """d phi_i / d z_a, shape (..., D, d)."""
        return _module(z).swapaxes(self.latent.gradients(z) @ self.coefficients, -1, -2)

    def metric(self, z: Points) -> Any:
        """J^T J, shape (..., d, d)."""
        slopes = self.latent.gradients(z) @ self.coefficients
        return slopes @ _module(z).swapaxes(slopes, -1, -2)

    def bending(self) -> float:
        """E |nabla^2 phi|^2 over the latent density."""
        return float(np.sum(self.coefficients * (self.latent.bending @ self.coefficients)))


def _module(z: Any) -> Any:
    return jnp if isinstance(z, jax.Array) else np


def _orders(kind: str, degree: int) -> list[int]:
    """The degree or frequency of each one-dimensional function."""
    if kind == "circle":
        return [(k + 1) // 2 for k in range(2 * degree + 1)]
    return list(range(degree + 1))


def _gauss(kind: str, count: int) -> tuple[Float[np.ndarray, " count"], Float[np.ndarray, " count"]]:
    """Quadrature nodes of a one-dimensional latent density, and weights of sum 1."""
    if kind == "circle":
        return -np.pi + 2 * np.pi * np.arange(count) / count, np.full(count, 1 / count)
    gauss = np.polynomial.legendre.leggauss if kind == "uniform" else np.polynomial.hermite_e.hermegauss
    points, weights = gauss(count)
    return points, weights / weights.sum()


def _legendre(t: Any, degree: int, derivatives: int) -> list[Any]:
    """Orthonormal Legendre polynomials for the density 1/2 on [-1, 1], with derivatives."""
    xp = _module(t)
    one, zero = xp.ones_like(t), xp.zeros_like(t)
    rows = [[one, t]] + [[zero, one] if order == 1 else [zero, zero] for order in range(1, derivatives + 1)]
    for k in range(1, degree):
        rows[0].append(((2 * k + 1) * t * rows[0][k] - k * rows[0][k - 1]) / (k + 1))
        for order in range(1, derivatives + 1):
            rows[order].append(rows[order][k - 1] + (2 * k + 1) * rows[order - 1][k])
    scale = np.sqrt(2 * np.arange(degree + 1) + 1)
    return [xp.stack(row[: degree + 1], axis=-1) * scale for row in rows]


def _hermite(t: Any, degree: int, derivatives: int) -> list[Any]:
    """Orthonormal Hermite polynomials for the standard normal density, with derivatives."""
    xp = _module(t)
    row = [xp.ones_like(t), t]
    for k in range(1, degree):
        row.append((t * row[k] - np.sqrt(k) * row[k - 1]) / np.sqrt(k + 1))
    tables = [xp.stack(row[: degree + 1], axis=-1)]
    for _ in range(derivatives):
        # h_k' = sqrt(k) h_{k-1}
        lower = tables[-1][..., :-1] * np.sqrt(np.arange(1, degree + 1))
        tables.append(xp.concatenate([xp.zeros_like(lower[..., :1]), lower], axis=-1))
    return tables


def _fourier(t: Any, degree: int, derivatives: int) -> list[Any]:
    """1, sqrt(2) cos t, sqrt(2) sin t, sqrt(2) cos 2t, .. with derivatives."""
    xp = _module(t)
    tables = []
    for order in range(derivatives + 1):
        row = [xp.ones_like(t) if order == 0 else xp.zeros_like(t)]
        for k in range(1, degree + 1):
            scale, shift = np.sqrt(2) * float(k) ** order, order * np.pi / 2
            row += [scale * xp.cos(k * t + shift), scale * xp.sin(k * t + shift)]
        tables.append(xp.stack(row, axis=-1))
    return tables


_FUNCTIONS: dict[str, Callable[[Any, int, int], list[Any]]] = {
    "uniform": _legendre,
    "normal": _hermite,
    "circle": _fourier,
    "sphere": _fourier,
}
