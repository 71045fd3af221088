"""Waves and bumps at many places and of several length scales, as features of a smooth Hamiltonian."""

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int
from numpy.polynomial import chebyshev, polynomial
from scipy.stats import norm, qmc

from ..typing import State
from .features import Derivatives, LinearFeatures, Richer

LENGTHS = (0.35, 0.5, 0.7, 1.0, 1.5, 2.5)
"""Length scales that are tried, in units of the spread of the data."""
FIRST = 64
"""Features of a set to begin with."""
SPREAD = 1.5
"""Standard deviation of the centres of bumps."""


class Places(NamedTuple):
    """So many places at which there are functions of some coordinates, of one length scale."""

    coordinates: tuple[int, ...]
    length: float
    number: int


@dataclass(frozen=True)
class Scattered(LinearFeatures):
    """Functions at many places; those of one of `sets` share a prior variance.

    Places are the first of a scrambled Sobol sequence of normal numbers, so that more of them include fewer.
    """

    dim: int
    sets: tuple[Places, ...]

    degree = 0
    kind = ""
    at_each = 1
    """Features at each place."""

    @classmethod
    def with_more(
        cls, known: "Scattered | None", dim: int, coordinates: tuple[int, ...], length: float
    ) -> "Scattered":
        """With one set more than those that are `known`."""
        one = Places(coordinates, length, FIRST // cls.at_each)
        return cls(dim, (*(known.sets if known else ()), one))

    @property
    def name(self) -> str:
        of = dict.fromkeys(_said(one.coordinates, self.dim) for one in self.sets)
        lengths = ", ".join(f"{length:g}" for length in sorted({one.length for one in self.sets}))
        return f"{self.size} {self.kind} of {' and of '.join(of)} (lengths {lengths})"

    @property
    def size(self) -> int:
        return self.at_each * sum(one.number for one in self.sets)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        return np.tile(np.repeat(np.arange(len(self.sets)), [one.number for one in self.sets]), self.at_each)

    @cached_property
    def inverse_lengths(self) -> Float[np.ndarray, "places dim"]:
        """1 / length for the coordinates of each place, 0 for others."""
        rows = [np.tile(np.isin(np.arange(self.dim), own) / length, (n, 1)) for own, length, n in self.sets]
        return np.concatenate(rows)

    @cached_property
    def places(self) -> Float[np.ndarray, "places dim"]:
        """Standard normal numbers, 0 for other coordinates."""
        found = []
        for number, (own, _, count) in enumerate(self.sets):
            draws = qmc.Sobol(len(own), scramble=True, rng=number).random_base2((count - 1).bit_length())
            part = np.zeros((count, self.dim))
            part[:, own] = norm.ppf(draws[:count])
            found.append(part)
        return np.concatenate(found)

    def doubled(self) -> "list[Scattered]":
        """With twice as many places of a set."""
        every = [one._replace(number=2 * one.number) for one in self.sets]
        return [replace(self, sets=(*self.sets[:k], one, *self.sets[k + 1 :])) for k, one in enumerate(every)]

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        return tuple(Richer(one, self._in(one)) for one in self.doubled() if one.size <= most)

    def _in(self, other: "Scattered") -> Int[np.ndarray, " P"]:
        """Where the features are in those of larger sets."""
        counts = [one.number for one in other.sets]
        begins = np.cumsum([0, *counts])
        own = [begin + np.arange(one.number) for begin, one in zip(begins, self.sets, strict=False)]
        every = np.concatenate(own)
        return np.concatenate([every + k * begins[-1] for k in range(self.at_each)])

    @abstractmethod
    def prepared(self, coefficients: Float[Array, " P"]) -> Array: ...


def _series(function: Callable[[np.ndarray], np.ndarray], degree: int) -> list[float]:
    """Coefficients of a function of t^2 for |t| <= 1/2, as accurate as float64."""
    fitted = chebyshev.Chebyshev.interpolate(lambda s: function(np.sqrt(s)), degree, domain=[0, 0.25])
    return fitted.convert(kind=polynomial.Polynomial, domain=[-1, 1]).coef.tolist()


COS = _series(lambda t: np.cos(2 * np.pi * t), 11)
SIN = _series(lambda t: 2 * np.pi * np.sinc(2 * t), 11)
"""sin(2 pi t) / t."""


def _cos_and_sin(phases: Float[Array, " places"]) -> tuple[Float[Array, " places"], Float[Array, " places"]]:
    """Both at once, in a fifth of the time that XLA takes for float64 on a CPU."""
    t = phases / (2 * np.pi)
    t = t - jnp.round(t)
    square = t * t

    def summed(series: list[float]) -> Array:
        found = jnp.full_like(square, series[-1])
        for coefficient in series[-2::-1]:
            found = found * square + coefficient
        return found

    return summed(COS), t * summed(SIN)


@dataclass(frozen=True)
class Fourier(Scattered):
    """cos(w . x) and sin(w . x) with normal frequencies w of size 1 / length (random Fourier features): H has
    the kernel sum_l v_l exp(-|x - x'|^2 / 2 l^2), but for how many they are.
    """

    kind = "Fourier features"
    at_each = 2

    @cached_property
    def frequencies(self) -> Float[np.ndarray, "places dim"]:
        """w of each place."""
        return self.places * self.inverse_lengths

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.concatenate(_cos_and_sin(jnp.asarray(self.frequencies, state.dtype) @ state))

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        phases = states @ self.frequencies.T
        return np.concatenate([np.cos(phases), np.sin(phases)], axis=1)

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        phases, w = (states @ self.frequencies.T)[:, None], self.frequencies.T
        return np.concatenate([-w * np.sin(phases), w * np.cos(phases)], axis=2)

    def prepared(self, coefficients: Float[Array, " P"]) -> Float[Array, "two places"]:
        return coefficients.reshape(2, -1)

    def slopes(self, state: State, prepared: Float[Array, "two places"]) -> Derivatives:
        w = jnp.asarray(self.frequencies, state.dtype)
        cos, sin = _cos_and_sin(w @ state)
        gradient = (prepared[1] * cos - prepared[0] * sin) @ w
        return Derivatives(gradient, -(w.T * (prepared[0] * cos + prepared[1] * sin)) @ w)

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        w = jnp.asarray(self.frequencies, state.dtype)
        cos, sin = _cos_and_sin(w @ state)
        return jnp.concatenate([-w.T * sin, w.T * cos], axis=1)


@dataclass(frozen=True)
class Radial(Scattered):
    """exp(-|x - a|^2 / 2 length^2) about normal centres a, of some coordinates: radial basis functions."""

    kind = "radial basis functions"

    @cached_property
    def centres(self) -> Float[np.ndarray, "places dim"]:
        """a of each place."""
        return SPREAD * self.places

    def _bumps(self, state: State) -> tuple[Float[Array, " P"], Float[Array, "P dim"]]:
        """Values, and (x - a) / length^2."""
        inverse = jnp.asarray(self.inverse_lengths, state.dtype)
        off = (state - jnp.asarray(self.centres, state.dtype)) * inverse
        return jnp.exp(-jnp.sum(off**2, axis=1) / 2), off * inverse

    def values(self, state: State) -> Float[Array, " P"]:
        return self._bumps(state)[0]

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        off = (states[:, None] - self.centres) * self.inverse_lengths
        return np.exp(-np.sum(off**2, axis=2) / 2)

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        off = (states[:, None] - self.centres) * self.inverse_lengths
        slopes = -off * self.inverse_lengths * np.exp(-np.sum(off**2, axis=2, keepdims=True) / 2)
        return np.swapaxes(slopes, 1, 2)

    def prepared(self, coefficients: Float[Array, " P"]) -> Float[Array, " P"]:
        return coefficients

    def slopes(self, state: State, prepared: Float[Array, " P"]) -> Derivatives:
        values, off = self._bumps(state)
        shares = prepared * values
        squares = jnp.asarray(self.inverse_lengths**2, state.dtype)
        return Derivatives(-shares @ off, (off.T * shares) @ off - jnp.diag(shares @ squares))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        values, off = self._bumps(state)
        return -off.T * values


def _said(coordinates: tuple[int, ...], dim: int) -> str:
    """What a set of coordinates is called."""
    if len(coordinates) == dim:
        return "all coordinates"
    return "positions" if max(coordinates) < dim // 2 else "momenta"
