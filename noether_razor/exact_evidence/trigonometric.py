"""Trigonometric polynomials of angles, times polynomials of the other coordinates, as features."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from math import comb
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..quadratic_forms import Quadratics
from ..scaling import Periods
from ..typing import State
from .features import Derivatives, Features, Richer, hamiltonian_fields
from .polynomials import Polynomials, polynomial_count
from .terms import Terms

WIDER = 2
"""Orders, or degrees, more of a richer dictionary."""
SURE = 3.0
"""Standard deviations from which a coefficient is needed."""
AT_ONCE = 4
"""Harmonics that are added at a time."""


class Waves(NamedTuple):
    """1, all cosines and all sines (T,) at a state, and their gradients by the angles."""

    values: Float[Array, " T"]
    slopes: Float[Array, "angles T"]


def harmonic_count(angles: int, order: int) -> int:
    """1, cosines and sines of m . a with sum |m_i| <= `order` for so many angles a."""
    return sum(2**k * comb(angles, k) * comb(order, k) for k in range(min(angles, order) + 1))


def trigonometric_count(periods: Periods, degree: int, order: int) -> int:
    """Features of `Trigonometric` for coordinates of such periods."""
    angles = sum(period is not None for period in periods)
    return harmonic_count(angles, order) * (1 + polynomial_count(len(periods) - angles, degree)) - 1


@dataclass(frozen=True)
class Trigonometric(Features):
    """1, cos(m . a) and sin(m . a) of angles a with sum |m_i| <= `order`, or m among `further`, times
    monomials of degree <= `degree` of the other coordinates with Bombieri's weights; not the constant.

    `turns` are the angles: number of the coordinate, and its period. Features of one order and one degree
    share a prior variance: shifts of the angles and rotations of the other coordinates leave the prior as it
    is. A bracket with a quantity of degree <= 2 without angles raises the degree by one at most.
    """

    dim: int
    degree: int
    order: int
    turns: tuple[tuple[int, float], ...]
    further: tuple[tuple[int, ...], ...] = ()

    @classmethod
    def of(cls, periods: Periods, degree: int, order: int) -> "Trigonometric":
        """For coordinates with periods, None for those that are no angles."""
        turns = tuple((k, period) for k, period in enumerate(periods) if period is not None)
        return cls(len(periods), degree, order, turns)

    @property
    def name(self) -> str:
        highest = max([self.order, *(sum(map(abs, m)) for m in self.further)])
        order = f"{self.order}" if highest == self.order else f"{self.order} and in part to {highest}"
        return f"trigonometric polynomials of order {order}, times polynomials of degree {self.degree}"

    @property
    def angles(self) -> tuple[int, ...]:
        return tuple(k for k, _ in self.turns)

    @cached_property
    def others(self) -> tuple[int, ...]:
        """Coordinates that are no angles."""
        return tuple(k for k in range(self.dim) if k not in self.angles)

    @cached_property
    def polynomials(self) -> Polynomials:
        """Those of the other coordinates."""
        return Polynomials(len(self.others), self.degree)

    @cached_property
    def harmonics(self) -> Int[np.ndarray, "H angles"]:
        """All m, of m and -m the one whose first entry that is not 0 is positive."""
        found = {_positive(m) for m in _integers(len(self.turns), self.order) if any(m)} | set(self.further)
        return np.array(sorted(found, key=lambda m: (sum(map(abs, m)), m)), int).reshape(-1, len(self.turns))

    @cached_property
    def frequencies(self) -> Float[np.ndarray, "H angles"]:
        """What each harmonic multiplies the angles by."""
        return 2 * np.pi * self.harmonics / np.array([period for _, period in self.turns])

    @property
    def size(self) -> int:
        return (1 + 2 * len(self.harmonics)) * (1 + self.polynomials.size) - 1

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        orders = np.abs(self.harmonics).sum(axis=1)
        orders = np.concatenate([[0], orders, orders])
        degrees = np.append(0, self.polynomials.groups + 1)
        every = (orders[:, None] * (self.degree + 1) + degrees).reshape(-1)[1:]
        return np.unique(every, return_inverse=True)[1].reshape(-1)

    @cached_property
    def _back(self) -> Int[np.ndarray, " dim"]:
        """Where each coordinate stands in angles followed by others."""
        return np.argsort(np.array([*self.angles, *self.others]))

    def values(self, state: State) -> Float[Array, " P"]:
        return self.with_one(state)[1:]

    def with_one(self, state: State) -> Float[Array, " one_and_P"]:
        """1 and all features at a state."""
        waves, (powers, _) = self._waves(state), self._powers(state)
        return jnp.outer(waves.values, powers).reshape(-1)

    def prepared(self, coefficients: Float[Array, " P"]) -> Float[Array, "T E"]:
        """H as a matrix between waves and monomials."""
        constant = jnp.zeros(1, coefficients.dtype)
        return jnp.concatenate([constant, coefficients]).reshape(-1, 1 + self.polynomials.size)

    def slopes(self, state: State, prepared: Float[Array, "T E"]) -> Derivatives:
        waves, (powers, slopes) = self._waves(state), self._powers(state)
        by_wave, by_power = prepared @ powers, waves.values @ prepared
        gradient = jnp.concatenate([waves.slopes @ by_wave, slopes @ by_power])
        # The second derivatives of a wave are those of -f f^T times it.
        half = len(self.frequencies)
        shares = (waves.values * by_wave)[1:]
        of_angles = -(self.frequencies.T * (shares[:half] + shares[half:])) @ self.frequencies
        mixed = waves.slopes @ prepared @ slopes.T
        curved = self.polynomials.curvatures_of_all(state[np.array(self.others)])
        hessian = jnp.block([[of_angles, mixed], [mixed.T, curved @ by_power[1:]]])
        return Derivatives(gradient[self._back], hessian[self._back][:, self._back])

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        waves, (powers, slopes) = self._waves(state), self._powers(state)
        of_angles = jnp.einsum("kt,e->kte", waves.slopes, powers)
        of_others = jnp.einsum("t,ke->kte", waves.values, slopes)
        every = jnp.concatenate([of_angles, of_others]).reshape(self.dim, -1)
        return every[self._back, 1:]

    def _waves(self, state: State) -> Waves:
        phases = self.frequencies @ state[np.array(self.angles)]
        cos, sin = jnp.cos(phases), jnp.sin(phases)
        one = jnp.ones(1, state.dtype)
        frequencies = jnp.asarray(self.frequencies.T, state.dtype)
        slopes = [jnp.zeros((len(self.turns), 1), state.dtype), -frequencies * sin, frequencies * cos]
        return Waves(jnp.concatenate([one, cos, sin]), jnp.concatenate(slopes, axis=1))

    def _powers(self, state: State) -> tuple[Float[Array, " E"], Float[Array, "others E"]]:
        """1 and the monomials of the other coordinates, and their gradients."""
        others = state[np.array(self.others)]
        values = jnp.concatenate([jnp.ones(1, state.dtype), self.polynomials.values(others)])
        return values, jnp.pad(self.polynomials.slopes_of_all(others), ((0, 0), (1, 0)))

    def brackets(self, quantities: Quadratics) -> Float[np.ndarray, "K L P"]:
        angles, others = list(self.angles), list(self.others)
        if quantities.matrices[:, angles].any():
            raise ValueError("no quantity may contain products with an angle")
        matrices, vectors = hamiltonian_fields(quantities)
        polynomials, count = self.polynomials, 1 + 2 * len(self.harmonics)
        inner = polynomials.along(matrices[:, others][:, :, others], vectors[:, others])
        more = polynomial_count(len(others), self.degree + 1) - polynomials.size
        inner = np.pad(inner, ((0, 0), (0, more), (1, 0)))
        found = np.einsum("st,kab->ksatb", np.eye(count), inner)
        for number, k in enumerate(angles):
            outer = polynomials.times(matrices[:, k, others], vectors[:, k])
            found += np.einsum("st,kab->ksatb", self._turned(number), outer)
        return found.reshape(len(vectors), count * inner.shape[1], -1)[:, :, 1:]

    def _turned(self, angle: int) -> Float[np.ndarray, "T T"]:
        """The derivative by an angle, as a map of coefficients of waves."""
        half = len(self.harmonics)
        found = np.zeros((1 + 2 * half, 1 + 2 * half))
        cosines, sines = 1 + np.arange(half), 1 + half + np.arange(half)
        found[sines, cosines] = -self.frequencies[:, angle]
        found[cosines, sines] = self.frequencies[:, angle]
        return found

    def landing_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows L"]:
        with jax.enable_x64(True):
            return np.asarray(_with_one(replace(self, degree=self.degree + 1), jnp.asarray(states)))

    def terms(self) -> Terms:
        half, powers = len(self.harmonics), 1 + self.polynomials.size
        waves, every = 1 + 2 * half, 1 + self.size
        exponents = np.zeros((waves, powers, self.dim), int)
        exponents[:, 1:, list(self.others)] = self.polynomials.exponents
        frequencies = np.zeros((waves, powers, self.dim))
        frequencies[1:, :, list(self.angles)] = np.tile(self.frequencies, (2, 1))[:, None]
        phases = np.repeat([0.0, np.pi / 2], [1 + half, half])
        weights = np.append(1.0, self.polynomials.weights)
        found = Terms(
            exponents.reshape(every, -1),
            frequencies.reshape(every, -1),
            np.repeat(phases, powers),
            np.tile(weights, waves),
        )
        return found.chosen(np.arange(1, every))

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        every = [replace(self, degree=self.degree + WIDER), self._with_order(self.order + WIDER)]
        few = [other for other in every if other.size <= most]
        products = replace(self, further=self.further + self._products(needed, most))
        if products != self:
            few.append(products)
        return tuple(Richer(other, self._places(other)) for other in few)

    def _with_order(self, order: int) -> "Trigonometric":
        return replace(self, order=order, further=tuple(m for m in self.further if sum(map(abs, m)) > order))

    def _products(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[tuple[int, ...], ...]:
        """The strongest harmonics of products of two waves that a fit needs: quotients, such as those of
        coupled pendulums, have them in few directions, and to high orders.
        """
        half, powers = len(self.harmonics), 1 + self.polynomials.size
        sure = np.where(needed > SURE**2, needed, 0.0)
        strengths = np.append(0.0, sure).reshape(-1, powers)[1:].sum(axis=1)
        strengths = strengths[:half] + strengths[half:]
        known = [tuple(m) for m in self.harmonics.tolist()]
        signed = [(m, s) for m, s in zip(known, strengths.tolist(), strict=True) if s > 0]
        signed += [(tuple(-x for x in m), s) for m, s in signed]
        found: dict[tuple[int, ...], float] = {}
        for m, s in signed:
            for other, t in signed:
                total = tuple(x + y for x, y in zip(m, other, strict=True))
                if any(total) and _positive(total) not in known:
                    key = _positive(total)
                    found[key] = max(found.get(key, 0.0), s * t)
        room = ((most + 1) // powers - 1) // 2 - half
        return tuple(sorted(found, key=lambda m: -found[m])[: max(min(room, AT_ONCE), 0)])

    def _places(self, other: "Trigonometric") -> Int[np.ndarray, " P"]:
        wide = len(other.harmonics)
        place = {tuple(m): k for k, m in enumerate(other.harmonics.tolist())}
        own = np.array([place[tuple(m)] for m in self.harmonics.tolist()], int)
        waves = np.concatenate([[0], 1 + own, 1 + wide + own])
        places = waves[:, None] * (1 + other.polynomials.size) + np.arange(1 + self.polynomials.size)
        return places.reshape(-1)[1:] - 1


@jax.jit(static_argnums=0)
def _with_one(features: Trigonometric, states: Float[Array, "rows dim"]) -> Float[Array, "rows L"]:
    return jax.vmap(features.with_one)(states)


def _integers(count: int, order: int) -> Iterator[tuple[int, ...]]:
    """All tuples of so many integers with sum |m_i| <= order."""
    if count == 0:
        yield ()
        return
    for first in range(-order, order + 1):
        for rest in _integers(count - 1, order - abs(first)):
            yield (first, *rest)


def _positive(harmonic: tuple[int, ...]) -> tuple[int, ...]:
    """Of m and -m the one whose first entry that is not 0 is positive."""
    return harmonic if next(x for x in harmonic if x) > 0 else tuple(-x for x in harmonic)
