"""Symmetries built into any features: averages over periodic flows, and slices across shifts."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..quadratic_forms import Quadratics
from ..typing import State
from .features import Derivatives, Frame, LinearFeatures, hamiltonian_fields

ON_A_CIRCLE, ON_A_TORUS = 32, (233, 144)
"""Nodes of the average over one periodic flow; over two, those of a Fibonacci lattice and its step."""
ROUNDED = 1e-7
"""Shares of the largest below which numbers are rounding errors."""
RATIO, HIGHEST = 1e-6, 8
"""Frequencies whose ratio is that of whole numbers up to the second, to the first, make one periodic flow."""


class Maps(NamedTuple):
    """Affine maps x -> `linear` x + `shifts` of states."""

    linear: Float[Any, "nodes dim dim"]
    shifts: Float[Any, "nodes dim"]


@dataclass(frozen=True, eq=False)
class Averaged(LinearFeatures):
    """The mean of the features of `base` over images of the state under `maps`.

    For the maps of a compact group with their Haar measure these are the invariant parts of the features; for
    one map along a shift to where a coordinate is 0, functions of the other coordinates. What was compiled
    for one set of maps serves others of the same number.
    """

    dim: int
    degree: int
    base: LinearFeatures
    maps: Maps

    @classmethod
    def of(cls, base: LinearFeatures, maps: Maps) -> "Averaged":
        """Those of a dictionary."""
        return cls(base.dim, base.degree, base, maps)

    @property
    def name(self) -> str:
        return f"averages of {self.base.name}"

    @property
    def size(self) -> int:
        return self.base.size

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return self.base.groups

    @property
    def frame(self) -> "OneAverage":
        return OneAverage(self.base.frame, len(self.maps.linear))

    @property
    def tables(self) -> tuple[Maps, Any]:
        return self.maps, self.base.tables

    def _images(self, state: State) -> Float[Array, "nodes dim"]:
        return jnp.asarray(self.maps.linear) @ state + jnp.asarray(self.maps.shifts)

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.mean(jax.vmap(self.base.values)(self._images(state)), axis=0)

    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        return self.base.prepared(coefficients)

    def slopes(self, state: State, prepared: Any) -> Derivatives:
        found = jax.vmap(lambda x: self.base.slopes(x, prepared))(self._images(state))
        linear, count = jnp.asarray(self.maps.linear), len(self.maps.linear)
        gradient = jnp.einsum("kij,ki->j", linear, found.gradient) / count
        return Derivatives(gradient, jnp.einsum("kai,kab,kbj->ij", linear, found.hessian, linear) / count)

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        found = jax.vmap(self.base.slopes_of_all)(self._images(state))
        return jnp.einsum("kij,kip->jp", jnp.asarray(self.maps.linear), found) / len(found)

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        every = [self.base.values_at(states @ m.T + s) for m, s in zip(*self.maps, strict=True)]
        return np.mean(every, axis=0)

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        total = np.zeros((*states.shape, self.size))
        for m, s in zip(*self.maps, strict=True):
            total += np.einsum("ij,rip->rjp", m, self.base.gradients(states @ m.T + s))
        return total / len(self.maps.linear)


class OneAverage(NamedTuple):
    """What averages over so many maps have in common."""

    base: Frame
    nodes: int

    def filled(self, tables: tuple[Maps, Any]) -> Averaged:
        """Those of given maps."""
        maps, own = tables
        return Averaged.of(self.base.filled(own), maps)


def quotient(quantities: Quadratics) -> Maps | None:
    """Maps whose average has {C_k, H} = 0 for all of the quantities of scaled coordinates: None where flows
    are neither shifts along one direction nor periodic, where more than two periodic ones are independent,
    and where they do not commute.
    """
    matrices, vectors = hamiltonian_fields(quantities)
    dim = vectors.shape[1]
    shifts, circles = np.zeros((dim, 0)), []
    for matrix, vector in zip(matrices, vectors, strict=True):
        direction = _direction(matrix, vector)
        if direction is not None:
            shifts = np.column_stack([shifts, direction])
            continue
        found = _circles(matrix, vector)
        if found is None:
            return None
        circles += found
    circles = _independent(circles)
    if len(circles) > 2 or not _commute(circles):
        return None
    # Turned shifts are shifts too.
    for _ in range(dim):
        shifts = _span(np.concatenate([shifts, *(one[:dim, :dim] @ shifts for one in circles)], axis=1))
    across = np.eye(dim) - shifts @ shifts.T
    linear, moved = _turned(circles, dim)
    return Maps(across @ linear, moved @ across.T)


def _direction(matrix: Float[np.ndarray, "dim dim"], vector: Float[np.ndarray, " dim"]) -> np.ndarray | None:
    """The direction of a field that has only one everywhere and is the same along it."""
    left, values, _ = np.linalg.svd(np.column_stack([matrix, vector]))
    one = left[:, 0]
    along = matrix @ one
    if values[1] > ROUNDED * values[0] or np.linalg.norm(along) > ROUNDED * values[0]:
        return None
    return one


def _circles(
    matrix: Float[np.ndarray, "dim dim"], vector: Float[np.ndarray, " dim"]
) -> list[np.ndarray] | None:
    """Generators (dim + 1, dim + 1) of period 2 pi of periodic flows that a flow x' = A x + b is dense in."""
    dim, size = len(vector), np.linalg.norm(matrix)
    if not size:
        return None
    values, vectors = np.linalg.eig(matrix / size)
    growth, turns = np.real(values), np.imag(values)
    if np.abs(growth).max() > ROUNDED**0.5 or np.linalg.cond(vectors) > 1e4:
        return None
    frequencies = np.where(np.abs(turns) > ROUNDED**0.5, turns, 0.0)
    centre = -np.linalg.lstsq(matrix, vector, rcond=ROUNDED)[0]
    if np.linalg.norm(matrix @ centre + vector) > ROUNDED * size:
        return None
    back = np.linalg.inv(vectors)
    found = []
    for numbers in _classes(frequencies):
        turn = ((vectors * (1j * numbers)) @ back).real
        generator = np.zeros((dim + 1, dim + 1))
        generator[:dim, :dim], generator[:dim, dim] = turn, -turn @ centre
        found.append(generator)
    return found


def _classes(frequencies: Float[np.ndarray, " dim"]) -> list[Float[np.ndarray, " dim"]]:
    """Frequencies as whole numbers of one unit each, 0 for those of another."""
    left, found = np.abs(frequencies) > 0, []
    while left.any():
        base = np.abs(frequencies[left]).min()
        ratios = frequencies / base
        unit = next((n for n in range(1, HIGHEST + 1) if _whole(ratios * n)[left].all()), None)
        if unit is None:
            own = [n for n in range(1, HIGHEST + 1) if _whole(ratios * n)[left].sum() > 2]
            unit = own[0] if own else 1
        some = left & _whole(ratios * unit)
        found.append(np.where(some, np.round(ratios * unit), 0.0))
        left &= ~some
    return found


def _whole(numbers: np.ndarray) -> np.ndarray:
    return np.abs(numbers - np.round(numbers)) < RATIO * np.maximum(np.abs(numbers), 1)


def _independent(circles: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Those that are no combinations of earlier ones."""
    kept: list[np.ndarray] = []
    for one in circles:
        flat = np.array([*kept, one]).reshape(len(kept) + 1, -1)
        values = np.linalg.svd(flat, compute_uv=False)
        if values[-1] > ROUNDED * values[0]:
            kept.append(one)
    return kept


def _commute(circles: Sequence[np.ndarray]) -> bool:
    return all(
        np.linalg.norm(a @ b - b @ a) < ROUNDED * np.linalg.norm(a) * np.linalg.norm(b)
        for a in circles
        for b in circles
    )


def _span(columns: Float[np.ndarray, "dim K"]) -> Float[np.ndarray, "dim some"]:
    """An orthonormal basis."""
    if not columns.shape[1]:
        return columns
    left, values, _ = np.linalg.svd(columns, full_matrices=False)
    return left[:, values > ROUNDED * max(values[0], np.finfo(float).tiny)]


def _turned(circles: Sequence[np.ndarray], dim: int) -> Maps:
    """Where nodes of the circle or torus take states."""
    if not circles:
        nodes = np.zeros((1, 0))
    elif len(circles) == 1:
        nodes = np.arange(ON_A_CIRCLE)[:, None] / ON_A_CIRCLE
    else:
        count, step = ON_A_TORUS
        nodes = np.stack([np.arange(count), step * np.arange(count) % count], axis=1) / count
    every = np.tile(np.eye(dim + 1), (len(nodes), 1, 1))
    for one, angles in zip(circles, 2 * np.pi * nodes.T, strict=True):
        values, vectors = np.linalg.eig(one)
        back = np.linalg.inv(vectors)
        every = np.array(
            [((vectors * np.exp(values * a)) @ back).real @ m for a, m in zip(angles, every, strict=True)]
        )
    return Maps(every[:, :dim, :dim], every[:, :dim, dim])
