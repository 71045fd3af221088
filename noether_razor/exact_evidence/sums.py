"""Features of several dictionaries side by side."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..typing import State
from .features import Derivatives, Frame, LinearFeatures, Richer


@dataclass(frozen=True)
class Sum(LinearFeatures):
    """The features of all `parts`, which are of one state; groups of different parts are different."""

    dim: int
    degree: int
    parts: tuple[LinearFeatures, ...]
    averaged: ClassVar[bool] = True

    @classmethod
    def of(cls, *parts: LinearFeatures) -> "Sum":
        """Of one part or more."""
        return cls(parts[0].dim, max(part.degree for part in parts), parts)

    @property
    def name(self) -> str:
        return " and ".join(part.name for part in self.parts)

    @property
    def size(self) -> int:
        return sum(part.size for part in self.parts)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        counts = np.cumsum([0, *(int(part.groups.max()) + 1 for part in self.parts)])
        return np.concatenate([part.groups + k for part, k in zip(self.parts, counts, strict=False)])

    @property
    def frame(self) -> "Frames":
        return Frames(tuple(part.frame for part in self.parts))

    @property
    def tables(self) -> Any:
        return tuple(part.tables for part in self.parts)

    def values(self, state: State) -> Float[Array, " P"]:
        return jnp.concatenate([part.values(state) for part in self.parts])

    def prepared(self, coefficients: Float[Array, " P"]) -> tuple[Any, ...]:
        edges = np.cumsum([part.size for part in self.parts])[:-1]
        split = jnp.split(coefficients, edges)
        return tuple(part.prepared(own) for part, own in zip(self.parts, split, strict=True))

    def slopes(self, state: State, prepared: tuple[Any, ...]) -> Derivatives:
        found = [part.slopes(state, own) for part, own in zip(self.parts, prepared, strict=True)]
        gradients, hessians = (jnp.stack(arrays) for arrays in zip(*found, strict=True))
        return Derivatives(gradients.sum(axis=0), hessians.sum(axis=0))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        return jnp.concatenate([part.slopes_of_all(state) for part in self.parts], axis=1)

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        return np.concatenate([part.values_at(states) for part in self.parts], axis=1)

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        return np.concatenate([part.gradients(states) for part in self.parts], axis=2)

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        """With one of the parts richer."""
        found, first = [], 0
        for k, part in enumerate(self.parts):
            room = most - self.size + part.size
            for other, own in part.richer(needed[first : first + part.size], room):
                parts = (*self.parts[:k], other, *self.parts[k + 1 :])
                after = np.arange(first + part.size, self.size) + other.size - part.size
                places = np.concatenate([np.arange(first), first + own, after])
                found.append(Richer(Sum.of(*parts), places))
            first += part.size
        return tuple(found)


class Frames(NamedTuple):
    """Frames of several dictionaries."""

    parts: tuple[Frame, ...]

    def filled(self, tables: tuple[Any, ...]) -> Sum:
        """The sum of their features."""
        return Sum.of(*(part.filled(own) for part, own in zip(self.parts, tables, strict=True)))
