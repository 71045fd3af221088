"""How canonical coordinates were made of the columns of a file."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float, Int

Polynomial = dict[tuple[int, ...], float]
"""Coefficients by the exponents of the columns."""

ROUNDING = 1e-9
"""Of a coefficient beside the largest, which is not written."""
CANCELLED = 1e-3
"""Of the sum of what makes a coefficient, which is left by errors of the map where it should vanish."""
DIGITS = 4
"""Significant digits of a coefficient without an error."""


@dataclass(frozen=True, eq=False, repr=False)
class CanonicalMap:
    """Canonical coordinates y_i = sum_t coefficients[i, t] prod_j x_j^exponents[t, j] of the columns x, all
    in the units of the data: positions and momenta `names` of positions and velocities `columns`, 2n each.

    `answer` says how the map was found: the "bracket" of symmetry.json. `changes`, each (2n, T), are those of
    the coefficients by one standard deviation along each independent axis of their posterior; none for a map
    that is known.
    """

    names: tuple[str, ...]
    columns: tuple[str, ...]
    exponents: Int[np.ndarray, "T dim"]
    coefficients: Float[np.ndarray, "dim T"]
    answer: Mapping[str, Any] = field(default_factory=dict)
    changes: tuple[Float[np.ndarray, "dim T"], ...] = ()

    def __post_init__(self) -> None:
        dim, terms = len(self.columns), len(self.exponents)
        if self.exponents.shape != (terms, dim) or self.coefficients.shape != (dim, terms):
            raise ValueError(
                f"exponents (T, {dim}) and coefficients ({dim}, T) are needed, got {self.exponents.shape} "
                f"and {self.coefficients.shape}"
            )
        if any(change.shape != self.coefficients.shape for change in self.changes):
            raise ValueError(f"changes of coefficients must have their shape, {self.coefficients.shape}")

    @classmethod
    def of(
        cls,
        names: Sequence[str],
        columns: Sequence[str],
        coordinates: Sequence[Polynomial],
        moved: Sequence[Sequence[Polynomial]] = (),
    ) -> "CanonicalMap":
        """From a polynomial in the columns for each coordinate, and those by which the changes are told."""
        every = sorted({e for one in coordinates for e in one}, key=lambda e: (sum(e), [-k for k in e]))
        exponents = np.array(every, int).reshape(len(every), len(columns))
        own, *others = (
            np.array([[one.get(e, 0.0) for e in every] for one in some], float)
            for some in (coordinates, *moved)
        )
        return cls(tuple(names), tuple(columns), exponents, own, changes=tuple(one - own for one in others))

    @property
    def errors(self) -> Float[np.ndarray, "dim T"]:
        """Standard errors of the coefficients."""
        return np.sqrt(sum((change**2 for change in self.changes), np.zeros(self.coefficients.shape)))

    def moved(self) -> "Iterator[CanonicalMap]":
        """The maps with each of the changes."""
        for change in self.changes:
            yield replace(self, coefficients=self.coefficients + change, changes=())

    def states(self, columns: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch dim"]:
        """Canonical states of rows of the file."""
        values = np.prod(columns[..., None, :] ** self.exponents, axis=-1)
        return values @ self.coefficients.T

    def brackets(self, columns: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim dim"]:
        """The Poisson brackets {x_i, x_j} of the columns at rows of the file: D^-1 J D^-T with D = dy/dx."""
        dim, dof = len(self.names), len(self.names) // 2
        slopes = np.zeros((len(columns), dim, dim))
        for k in range(dim):
            lower = np.maximum(self.exponents - np.eye(dim, dtype=int)[k], 0)
            values = np.prod(columns[:, None, :] ** lower, axis=-1) * self.exponents[:, k]
            slopes[:, :, k] = values @ self.coefficients.T
        inverse = np.linalg.inv(slopes)
        turned = np.concatenate([inverse[:, :, dof:], -inverse[:, :, :dof]], axis=2)
        return -turned @ np.swapaxes(inverse, 1, 2)

    def rows(self, states: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch dim"]:
        """Rows of the file of canonical states: the inverse of `states`. Where the map is not linear,
        positions are columns, and momenta are linear in the velocities.
        """
        if self.matrix is not None:
            return states @ np.linalg.inv(self.matrix).T
        dof = len(self.names) // 2
        resting = np.concatenate([states[..., :dof], np.zeros_like(states[..., dof:])], axis=-1)
        rest = self.states(resting)[..., dof:]
        unit = np.concatenate([np.zeros((dof, dof)), np.eye(dof)], axis=1)
        masses = self.states(resting[..., None, :] + unit)[..., dof:] - rest[..., None, :]
        velocities = np.linalg.solve(np.swapaxes(masses, -1, -2), (states[..., dof:] - rest)[..., None])
        return np.concatenate([states[..., :dof], velocities[..., 0]], axis=-1)

    @cached_property
    def matrix(self) -> Float[np.ndarray, "dim dim"] | None:
        """D in y = D x; None where the map is not linear."""
        if (self.exponents.sum(axis=1) != 1).any():
            return None
        return self.coefficients @ self.exponents

    def polynomial(self, number: int) -> Polynomial:
        """A coordinate as a polynomial in the columns."""
        rows = zip(self.exponents.tolist(), self.coefficients[number].tolist(), strict=True)
        return {tuple(exponents): value for exponents, value in rows if value}

    def other_names(self) -> dict[str, Float[np.ndarray, " dim"]]:
        """The columns that are no canonical coordinates, as combinations of these; none where the map is not
        linear.
        """
        if self.matrix is None:
            return {}
        rows = zip(self.columns, np.linalg.inv(self.matrix), strict=True)
        return {name: row for name, row in rows if name not in self.names}

    def formulas(self) -> dict[str, str]:
        """The coordinates that are no columns, by name: "vx - 0.75*y"."""
        return {
            name: written(self.polynomial(k), self.columns)
            for k, name in enumerate(self.names)
            if name not in self.columns
        }

    def in_columns(self, matrix: Float[np.ndarray, "dim dim"], vector: Float[np.ndarray, " dim"]) -> str:
        """y^T A y / 2 + b^T y as a formula in the columns, without terms that cancel."""
        own = [self.polynomial(k) for k in range(len(self.names))]
        parts = [(first, float(vector[i])) for i, first in enumerate(own)]
        parts += [
            (multiplied(own[i], own[j]), float(matrix[i, j]) / 2) for i, j in np.argwhere(matrix).tolist()
        ]
        total: Polynomial = {}
        sizes: Polynomial = {}
        for part, factor in parts:
            total = added(total, part, factor)
            sizes = added(sizes, {e: abs(value) for e, value in part.items()}, abs(factor))
        kept = {e: value for e, value in total.items() if abs(value) > CANCELLED * sizes[e]}
        return written(kept, self.columns)


def added(first: Polynomial, second: Polynomial, factor: float = 1.0) -> Polynomial:
    """first + factor * second."""
    found = dict(first)
    for exponents, value in second.items():
        found[exponents] = found.get(exponents, 0.0) + factor * value
    return found


def multiplied(first: Polynomial, second: Polynomial) -> Polynomial:
    """The product of two polynomials."""
    found: Polynomial = {}
    for one, value in first.items():
        for other, factor in second.items():
            exponents = tuple(a + b for a, b in zip(one, other, strict=True))
            found[exponents] = found.get(exponents, 0.0) + value * factor
    return found


def written(polynomial: Polynomial, names: Sequence[str], digits: int = DIGITS) -> str:
    """A polynomial as it is read: vx - 0.75*y."""
    largest, text = max((abs(value) for value in polynomial.values()), default=0.0), ""
    order = sorted(polynomial, key=lambda e: (sum(e), [-k for k in reversed(e)]))
    for exponents in order:
        value = polynomial[exponents]
        if abs(value) <= ROUNDING * largest:
            continue
        factors = [n if e == 1 else f"{n}^{e}" for n, e in zip(names, exponents, strict=True) if e]
        size = f"{abs(value):.{digits}g}"
        term = "*".join(factors if size == "1" and factors else [size, *factors])
        text += f" {'-' if value < 0 else '+'} {term}" if text else ("-" if value < 0 else "") + term
    return text or "0"


def paired_names(letter: str, positions: Sequence[str], taken: Sequence[str]) -> tuple[str, ...]:
    """Names for the momenta ("p") or velocities ("v") of positions: p1 for q1, p_x for x."""
    found = []
    for name in positions:
        own = f"{letter}{name[1:]}" if re.fullmatch(r"q[1-9][0-9]*", name) else f"{letter}_{name}"
        while own in taken:
            own += "_"
        found.append(own)
    return tuple(found)
