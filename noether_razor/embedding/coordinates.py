"""Coordinates in which a unit is one of the data, axis by axis."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from .latent import EDGE, REACH, Latent, LatentMap

STEPS = 161
"""Points of an axis between which lengths are linear."""
ACROSS = {1: 24, 2: 8}
"""Quadrature nodes an axis of the other coordinates, by their number; in more dimensions scattered points."""
SCATTERED = 64


@dataclass(frozen=True, eq=False)
class ArcLengths:
    """s_a(z_a), the integral of sqrt(E[G_aa | z_a]) from 0: the length in the data along axis a, in the mean
    over the other coordinates. Linear between the points of `grid`, and beyond them.
    """

    grid: Float[np.ndarray, "d K"]
    lengths: Float[np.ndarray, "d K"]

    @staticmethod
    def of(phi: LatentMap) -> "ArcLengths":
        """Those of a map."""
        latent = phi.latent
        reach = {"uniform": EDGE, "normal": EDGE * REACH, "circle": np.pi, "sphere": np.pi}[latent.kind]
        grids, rows = [], []
        for axis in range(latent.dim):
            half = reach / 2 if latent.kind == "sphere" and axis == 1 else reach
            grid = np.linspace(-half, half, STEPS)
            grids.append(grid)
            others, weights = _others(latent, axis)
            points = np.insert(np.tile(others, (STEPS, 1)), axis, np.repeat(grid, len(others)), axis=1)
            slopes = latent.gradients(points)[:, axis] @ phi.coefficients
            squares = np.sum(slopes**2, axis=1).reshape(STEPS, len(others)) @ weights
            speed = np.sqrt(np.maximum(squares, np.finfo(float).tiny))
            steps = np.diff(grid) * (speed[1:] + speed[:-1]) / 2
            length = np.append(0.0, np.cumsum(steps))
            rows.append(length - np.interp(0.0, grid, length))
        return ArcLengths(np.array(grids), np.array(rows))

    def forward(self, z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Lengths of latent coordinates."""
        return np.stack(
            [_linear(z[:, a], self.grid[a], length)[0] for a, length in enumerate(self.lengths)], axis=1
        )

    def backward(self, s: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Latent coordinates of lengths."""
        return np.stack(
            [_linear(s[:, a], length, self.grid[a])[0] for a, length in enumerate(self.lengths)], axis=1
        )

    def slopes(self, z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """d s_a / d z_a at latent coordinates."""
        return np.stack(
            [_linear(z[:, a], self.grid[a], length)[1] for a, length in enumerate(self.lengths)], axis=1
        )


def _others(latent: Latent, axis: int) -> tuple[Float[np.ndarray, "m rest"], Float[np.ndarray, " m"]]:
    """Values of the coordinates beside one, and weights of sum 1."""
    rest = latent.dim - 1
    if rest == 0:
        return np.zeros((1, 0)), np.ones(1)
    if latent.kind == "sphere":
        heights, weights = np.polynomial.legendre.leggauss(ACROSS[1])
        if axis == 0:
            return np.arcsin(heights)[:, None], weights / 2
        return Latent("circle", 1, 1).quadrature(ACROSS[1])
    if rest in ACROSS:
        return Latent(latent.kind, rest, 1).quadrature(ACROSS[rest])
    points = np.delete(latent.nodes.points[:SCATTERED], axis, axis=1)
    return points, np.full(len(points), 1 / len(points))


def _linear(
    x: Float[np.ndarray, " n"], grid: Float[np.ndarray, " K"], values: Float[np.ndarray, " K"]
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """A piecewise linear function and its slope, continued beyond its ends."""
    piece = np.clip(np.searchsorted(grid, x) - 1, 0, len(grid) - 2)
    slope = np.diff(values)[piece] / np.diff(grid)[piece]
    return values[piece] + slope * (x - grid[piece]), slope
