"""Forces towards points whose places are not known, as features of a Hamiltonian: 1/r and log r."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from scipy.optimize import minimize

from ..exact_evidence.features import Derivatives, Frame, LinearFeatures
from ..exact_evidence.polynomials import Polynomials
from ..exact_evidence.start import Windows
from ..exact_evidence.sums import Sum
from ..typing import State

Law = Literal["1/r", "log(r)"]
LAWS: tuple[Law, ...] = ("1/r", "log(r)")
MOST_SOURCES = 2
"""Points that are looked for."""
BETTER = 20.0
"""Nats that a weak form gains by a source, less those of its parameters, from which it is looked at."""
GRID, WIDER = 7, 1.6
"""Places along each axis where the search begins, over this many times the range of the positions."""
SEARCHED = 300
"""Windows that it uses."""
FARTHEST = 0.1
"""How far a fit moves a source."""
SOFTENED = 1e-3
"""Distance in scaled coordinates below which a force grows no more."""


@dataclass(frozen=True, eq=False)
class Sources(LinearFeatures):
    """f(r) of the distance r of positions q to each point c_k, and its derivatives by c_k, whose coefficients
    over that of f say how far c_k is off. Distances are sqrt(sum_i (l_i (q_i - c_i))^2), in one unit.

    centres (sources, dof) and stretches l (dof,), in scaled coordinates.
    """

    dim: int
    law: Law
    centres: Any
    stretches: Any
    degree: int = 1

    @property
    def dof(self) -> int:
        return self.dim // 2

    @property
    def name(self) -> str:
        count = len(self.centres)
        return f"{self.law} of the distance to {count} point{'' if count == 1 else 's'}"

    @property
    def size(self) -> int:
        return len(self.centres) * (1 + self.dof)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return np.tile([0, *[1] * self.dof], len(self.centres))

    @property
    def frame(self) -> Frame:
        return OfSources(self.dim, self.law, len(self.centres))

    @property
    def tables(self) -> tuple[Any, Any]:
        return self.centres, self.stretches

    def values(self, state: State) -> Float[Array, " P"]:
        centres, stretches = jnp.asarray(self.centres), jnp.asarray(self.stretches)
        off = state[: self.dof] - centres
        square = jnp.sum((stretches * off) ** 2, axis=1) + SOFTENED**2
        if self.law == "1/r":
            own, slope = square**-0.5, -(square**-1.5)
        else:
            own, slope = jnp.log(square) / 2, 1 / square
        moved = -slope[:, None] * stretches**2 * off
        return jnp.concatenate([own[:, None], moved], axis=1).reshape(-1)

    def forces(self, positions: Float[np.ndarray, "rows dof"]) -> Float[np.ndarray, "rows dof sources"]:
        """The gradients of the functions themselves."""
        off = positions[:, :, None] - np.asarray(self.centres).T
        square = np.sum((self.stretches[:, None] * off) ** 2, axis=1) + SOFTENED**2
        slope = -(square**-1.5) if self.law == "1/r" else 1 / square
        return slope[:, None] * self.stretches[:, None] ** 2 * off

    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        return coefficients

    def slopes(self, state: State, prepared: Any) -> Derivatives:
        def value(x: State) -> Array:
            return self.values(x) @ prepared

        return Derivatives(jax.grad(value)(state), jax.hessian(value)(state))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        return jax.jacfwd(self.values)(state).T

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        return np.asarray(self._many(states, lambda one: one.values))

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        return np.asarray(self._many(states, lambda one: one.slopes_of_all))

    def _many(self, states: np.ndarray, function: Callable[["Sources"], Callable[..., Array]]) -> Array:
        with jax.enable_x64(True):
            return jax.vmap(function(self))(jnp.asarray(states))


@dataclass(frozen=True)
class OfPositions(LinearFeatures):
    """Polynomials of the positions alone."""

    dim: int
    degree: int

    @property
    def _own(self) -> Polynomials:
        return Polynomials(self.dim // 2, self.degree)

    @property
    def name(self) -> str:
        return f"{self._own.name} in the positions"

    @property
    def size(self) -> int:
        return self._own.size

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return self._own.groups

    def values(self, state: State) -> Float[Array, " P"]:
        return self._own.values(jnp.split(state, 2)[0])

    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        return self._own.prepared(coefficients)

    def slopes(self, state: State, prepared: Any) -> Derivatives:
        found = self._own.slopes(jnp.split(state, 2)[0], prepared)
        none = self.dim // 2
        return Derivatives(jnp.pad(found.gradient, (0, none)), jnp.pad(found.hessian, (0, none)))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        own = self._own.slopes_of_all(jnp.split(state, 2)[0])
        return jnp.concatenate([own, jnp.zeros_like(own)])


class OfSources(NamedTuple):
    """What as many sources of one law have in common."""

    dim: int
    law: Law
    places: int

    def filled(self, tables: tuple[Any, Any]) -> Sources:
        """Those at given places."""
        return Sources(self.dim, self.law, *tables)


def found_sources(windows: Windows, stretches: Float[np.ndarray, " dof"]) -> Sources | None:
    """Points towards which the force of smoothed trajectories is better described than by polynomials of
    degree 3 of the state, None for none: of a weak form, by the places that leave least.
    """
    some = windows.some(SEARCHED)
    dof = len(stretches)
    search = _Search(some, dof, np.asarray(stretches, float))
    values, few = Polynomials(2 * dof, 3).values_at(some.points), 2 * dof * dof
    score = search.score(search.left(values, None), values.shape[1] * dof)
    found: Sources | None = None
    for _ in range(MOST_SOURCES):
        laws = LAWS if found is None else (found.law,)
        one, left = min((search.with_one_more(law, found) for law in laws), key=lambda made: made[1])
        more = search.score(left, few + (1 + 2 * dof) * len(one.centres))
        if more < score + BETTER:
            break
        found, score = one, more
    return found


@dataclass(frozen=True, eq=False)
class _Search:
    """Weak forms of the velocities: their changes over windows by polynomials and sources."""

    windows: Windows
    dof: int
    stretches: Float[np.ndarray, " dof"]

    def score(self, left: float, parameters: int) -> float:
        """The log evidence of what is left, by the criterion of Schwarz."""
        rows = self.changes.size
        return -rows / 2 * np.log(max(left, 1e-300)) - parameters / 2 * np.log(rows)

    @cached_property
    def few(self) -> Float[np.ndarray, "nodes P"]:
        """What goes with sources: the positions and velocities, for more would stand for any of the laws."""
        return self.windows.points

    @cached_property
    def changes(self) -> Float[np.ndarray, "windows dof"]:
        """Of velocities, of one size each."""
        every = self.windows.changes.reshape(len(self.windows.spans), -1)[:, self.dof :]
        return every / every.std(axis=0)

    def left(self, plain: np.ndarray, sources: Sources | None) -> float:
        """Mean squares that regressions leave, for terms of all components, and for forces of sources."""
        ones = np.ones((len(plain), 1))
        design = self.integrated(np.concatenate([ones, plain], axis=1))
        forces = None if sources is None else sources.forces(self.windows.points[:, : self.dof])
        total = 0.0
        for i in range(self.dof):
            columns = design
            if forces is not None:
                columns = np.concatenate([design, self.integrated(forces[:, i])], axis=1)
            columns = columns / np.maximum(np.sqrt(np.mean(columns**2, axis=0)), 1e-12)
            change = self.changes[:, i]
            rest = change - columns @ np.linalg.lstsq(columns, change, rcond=1e-10)[0]
            total += float(rest @ rest) / max(len(rest) - columns.shape[1], 1)
        return total

    def integrated(self, values: np.ndarray) -> np.ndarray:
        return np.einsum("wn,wnp->wp", self.windows.spans, values.reshape(*self.windows.spans.shape, -1))

    def of(self, sources: Sources) -> float:
        """What these sources leave."""
        return self.left(self.few, sources)

    def with_one_more(self, law: Law, known: Sources | None) -> tuple[Sources, float]:
        """The best place of one source more, all of them moved."""
        before = np.zeros((0, self.dof)) if known is None else known.centres

        def made(places: np.ndarray) -> Sources:
            return Sources(2 * self.dof, law, places.reshape(-1, self.dof), self.stretches)

        def objective(places: np.ndarray) -> float:
            return float(np.log(max(self.of(made(places)), 1e-300)))

        positions = self.windows.points[:, : self.dof]
        middle = (positions.min(axis=0) + positions.max(axis=0)) / 2
        half = WIDER * np.ptp(positions, axis=0) / 2
        axes = [np.linspace(m - h, m + h, GRID) for m, h in zip(middle, half, strict=True)]
        grid = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, self.dof)
        tried = [np.append(before, place) for place in grid]
        start = min(tried, key=objective)
        found = minimize(objective, start, method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-4})
        return made(found.x), self.of(made(found.x))


def recentred(features: LinearFeatures, coefficients: Float[np.ndarray, " P"]) -> LinearFeatures:
    """The same with sources where the coefficients of a fit say that they are."""
    if not isinstance(features, Sum):
        return features
    edges = np.cumsum([part.size for part in features.parts])[:-1]
    parts = []
    for part, own in zip(features.parts, np.split(coefficients, edges), strict=True):
        if isinstance(part, Sources):
            each = own.reshape(len(part.centres), -1)
            off = each[:, 1:] / np.where(each[:, :1] == 0, np.inf, each[:, :1])
            part = replace(part, centres=part.centres + np.clip(off, -FARTHEST, FARTHEST))
        parts.append(part)
    return Sum.of(*parts)
