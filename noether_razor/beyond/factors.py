"""Functions of the state that terms are multiples of: waves, exponentials and powers of distances."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import numpy as np
import sympy
from jaxtyping import Float

RidgeKind = Literal["cos", "sin", "exp", "inverse square"]
RadialKind = Literal["r", "1/r", "1/r^2", "log(r)"]

_POWERS: dict[str, int] = {"r": 1, "1/r": -1, "1/r^2": -2}


@dataclass(frozen=True, eq=False)
class Factor(ABC):
    """A function of the state with its first and second derivatives; `name` as it stands in formulas."""

    name: str
    expression: sympy.Expr

    @property
    def kin(self) -> str:
        """What functions have in common that rotations, shifts and exchanges of bodies turn into each
        other.
        """
        return ""

    @abstractmethod
    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
        """Its value at each state."""

    @abstractmethod
    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, " rows"]:
        """Its derivatives by one coordinate."""

    @abstractmethod
    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, " rows"]:
        """Its second derivatives by two coordinates."""


@dataclass(frozen=True, eq=False)
class One(Factor):
    """The constant 1: of it, terms are monomials."""

    @classmethod
    def make(cls) -> "One":
        return cls("", sympy.Integer(1))

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
        return np.ones(len(states))

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, " rows"]:
        return np.zeros(len(states))

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, " rows"]:
        return np.zeros(len(states))


@dataclass(frozen=True, eq=False)
class Ridge(Factor):
    """f(a . x) for a row `weights` (2n,): cos, sin, exp, or the inverse square."""

    kind: RidgeKind
    weights: tuple[float, ...]

    @property
    def kin(self) -> str:
        kind = "wave" if self.kind in ("cos", "sin") else self.kind
        return f"{kind} of {sorted(abs(weight) for weight in self.weights)}"

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
        return self._derivative(states, 0)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, " rows"]:
        weight = self.weights[coordinate]
        return weight * self._derivative(states, 1) if weight else np.zeros(len(states))

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, " rows"]:
        weight = self.weights[first] * self.weights[second]
        return weight * self._derivative(states, 2) if weight else np.zeros(len(states))

    def _derivative(self, states: np.ndarray, order: int) -> np.ndarray:
        at = states @ np.array(self.weights)
        if self.kind == "exp":
            return np.exp(at)
        if self.kind == "inverse square":
            return (1.0, -2.0, 6.0)[order] * at ** (-2.0 - order)
        # sin is cos of a quarter of a turn less, and a derivative adds one.
        return np.cos(at + (order - (self.kind == "sin")) * np.pi / 2)


@dataclass(frozen=True, eq=False)
class Radial(Factor):
    """g(r) of the distance r = |D x|, for rows D (d, 2n); times the component `along` of D x where that is
    not None: (D x)_k / r for the kind 1/r.
    """

    kind: RadialKind
    rows: tuple[tuple[float, ...], ...]
    along: int | None = None

    @property
    def kin(self) -> str:
        bodies = sum(abs(weight) for weight in self.rows[0])
        return f"{self.kind} of {bodies:.0f}" + ("" if self.along is None else ", times an offset")

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
        _, offset, (value, _, _) = self._at(states)
        return value if self.along is None else offset[:, self.along] * value

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, " rows"]:
        rows, offset, (value, first, _) = self._at(states)
        slope = first * (offset @ rows[:, coordinate])
        if self.along is None:
            return slope
        return rows[self.along, coordinate] * value + offset[:, self.along] * slope

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, " rows"]:
        rows, offset, (_, once, twice) = self._at(states)
        one, other = rows[:, first], rows[:, second]
        bend = once * (one @ other) + twice * (offset @ one) * (offset @ other)
        if self.along is None:
            return bend
        mixed = rows[self.along, first] * (offset @ other) + rows[self.along, second] * (offset @ one)
        return once * mixed + offset[:, self.along] * bend

    def _at(self, states: np.ndarray) -> tuple[np.ndarray, np.ndarray, tuple[np.ndarray, ...]]:
        """D, D x, and g, g' / r and (g'' - g' / r) / r^2 at states."""
        rows = np.array(self.rows)
        offset = states @ rows.T
        square = np.sum(offset**2, axis=1)
        if self.kind == "log(r)":
            return rows, offset, (np.log(square) / 2, 1 / square, -2 / square**2)
        power = _POWERS[self.kind]
        value = square ** (power / 2)
        return rows, offset, (value, power * value / square, power * (power - 2) * value / square**2)
