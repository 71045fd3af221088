"""Where a conserved quantity acts, and the orbits of what it generates."""

from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.linalg import expm

from ..phase_space import symplectic_matrix

WEAK = 0.1
"""Of the strongest plane's motion, below which a plane is not shown."""
STEP = 0.05
"""Of a turn's radian, or of the data's spread, between points of an orbit."""
LONGEST = 400
"""Steps of an orbit in one direction."""


class Generator(NamedTuple):
    """The affine field x' = matrix x + shift that a quantity x^T A x / 2 + b^T x generates: J A and J b."""

    matrix: Float[np.ndarray, "dim dim"]
    shift: Float[np.ndarray, " dim"]

    @classmethod
    def of(cls, quantity: Any) -> "Generator":
        """Of an entry of symmetry.json."""
        matrix, vector = np.array(quantity["A"], np.float64), np.array(quantity["b"], np.float64)
        symplectic = np.asarray(symplectic_matrix(len(vector) // 2), np.float64)
        return cls(symplectic @ matrix, symplectic @ vector)

    def velocity(self, states: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points dim"]:
        """x' at states (points, dim)."""
        return states @ self.matrix.T + self.shift

    def planes(self, states: Float[np.ndarray, "points dim"], most: int) -> list[tuple[int, int]]:
        """The pairs of coordinates where most happens, each coordinate in one: of those that move, the
        planes that are left least.
        """
        spread = _spreads(states)
        among = (self.matrix * spread / spread[:, None]) ** 2
        alone = (self.velocity(states.mean(0)[None])[0] / spread) ** 2
        dof = len(spread) // 2
        scores = {}
        for i, j in combinations(range(len(spread)), 2):
            inside = among[i, i] + among[j, j] + among[i, j] + among[j, i]
            moved = alone[i] + alone[j]
            left = among[i].sum() + among[j].sum() - inside
            # A shift looks the same on many planes: positions beside positions are read most easily.
            alike = 1.0 if (i < dof) == (j < dof) else 0.5 if j == i + dof else 0.0
            scores[i, j] = (inside + moved - left) + 0.1 * alike * moved, inside + moved
        chosen: list[tuple[int, int]] = []
        largest = max((size for _, size in scores.values()), default=0.0)
        # Of planes on which as much happens, the first: positions before momenta.
        ordered = sorted(scores, key=lambda plane: (-round(scores[plane][0] / (largest or 1.0), 2), plane))
        for plane in ordered:
            size = scores[plane][1]
            new = not any(set(plane) & set(other) for other in chosen)
            if new and size > WEAK * largest and len(chosen) < most:
                chosen.append(plane)
        return sorted(chosen)

    def orbit(
        self,
        start: Float[np.ndarray, " dim"],
        plane: tuple[int, int],
        states: Float[np.ndarray, "points dim"],
    ) -> Float[np.ndarray, "along plane"]:
        """The orbit through a state, on a plane, once around where it closes, else while it stays near the
        data; empty where nothing moves.
        """
        spread, at = _spreads(states), list(plane)
        fastest = float(np.abs(self.velocity(states) / spread)[:, at].max())
        rate = max(float(np.linalg.norm(self.matrix * spread / spread[:, None], 2)), fastest / 3)
        if not fastest > 0:
            return np.zeros((0, 2))
        low, high = _box(states[:, at])
        forward, closed = self._walk(start, at, STEP / rate, spread[at], (low, high))
        if closed:
            return forward
        backward, _ = self._walk(start, at, -STEP / rate, spread[at], (low, high))
        return np.concatenate([backward[:0:-1], forward])

    def _walk(
        self,
        start: Float[np.ndarray, " dim"],
        at: list[int],
        step: float,
        spread: Float[np.ndarray, " plane"],
        box: tuple[Float[np.ndarray, " plane"], Float[np.ndarray, " plane"]],
    ) -> tuple[Float[np.ndarray, "points plane"], bool]:
        dim = len(start)
        moved = np.zeros((dim + 1, dim + 1))
        moved[:dim, :dim], moved[:dim, dim] = step * self.matrix, step * self.shift
        flow = expm(moved)
        state = np.append(start, 1.0)
        points, away = [start[at]], False
        for _ in range(LONGEST):
            before, state = state, flow @ state
            points.append(state[at])
            length = np.linalg.norm((state - before)[at] / spread)
            distance = np.linalg.norm((state[:dim] - start)[at] / spread)
            if away and distance < length:
                points.append(start[at])
                return np.array(points), True
            away = away or distance > 4 * length
            if (state[at] < box[0]).any() or (state[at] > box[1]).any():
                break
        return np.array(points), False


def _spreads(states: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, " dim"]:
    spread = np.std(states, axis=0)
    return np.where(spread > 0, spread, max(spread.max(initial=0.0), 1e-300))


def _box(
    points: Float[np.ndarray, "points plane"],
) -> tuple[Float[np.ndarray, " plane"], Float[np.ndarray, " plane"]]:
    """Somewhat more than where the data are."""
    low, high = points.min(0), points.max(0)
    margin = 0.4 * np.where(high > low, high - low, 1.0)
    return low - margin, high + margin


def starts(states: Float[np.ndarray, "points dim"], plane: tuple[int, int], count: int) -> list[int]:
    """Rows of at most `count` data points at which orbits of a plane begin, from near the centre to far from
    it, at about equal distances.
    """
    points = states[:, list(plane)]
    radius = np.linalg.norm((points - points.mean(0)) / _spreads(states)[list(plane)], axis=1)
    least, most = np.quantile(radius, [0.2, 0.97])
    wanted = np.linspace(least, most, count)
    return sorted({int(np.argmin(np.abs(radius - at))) for at in wanted}, key=lambda row: radius[row])
