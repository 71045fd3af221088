"""Probability measures on the group coordinates w, with the variance reduction that each allows.

One quantity: equally spaced quantiles with one common random shift, which integrates every harmonic of a
rotation below the number of points exactly. Several: stratified draws. Every single draw has the measure as
its law, so averages stay unbiased.
"""

from dataclasses import dataclass
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

import jax
import jax.numpy as jnp
from jax.scipy.special import ndtri
from jaxtyping import Array, Float

from ..random import normal, uniform
from ..typing import PRNGKey


@runtime_checkable
class GroupMeasure(Protocol):
    """A probability measure on R^K, one coordinate a conserved quantity."""

    def sample(
        self, key: PRNGKey, dim: int, count: int, *, independent: bool = False
    ) -> Float[Array, "count dim"]:
        """`count` draws of w in R^dim; `independent` switches the variance reduction off (the paper's
        sampling).
        """
        ...


MEASURES: dict[str, GroupMeasure] = {}
"""The measures that a config knows, with default parameters, by their `kind`: its `symmetry.measure`."""

Class = TypeVar("Class", bound=type[Any])


def register_measure(cls: Class) -> Class:
    """Make a class of measures known to configurations by its ``kind: ClassVar[str]``, as a decorator.

    All its parameters have defaults. A class of the same name in the same module is replaced. Raises
    ValueError for a class without a kind, or with that of another.
    """
    kind = cls.__dict__.get("kind")
    if not isinstance(kind, str) or not kind:
        raise ValueError(f'{cls.__name__}.kind: got {kind!r}, expected a name: kind: ClassVar[str] = "mine"')
    known = type(MEASURES.get(kind))
    if kind in MEASURES and (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"{cls.__name__}.kind: {kind!r} is {known.__name__}, choose another")
    MEASURES[kind] = cls()
    return cls


def _unit_draws(key: PRNGKey, dim: int, count: int, independent: bool) -> Float[Array, "count dim"]:
    """Uniform draws on the unit cube: shifted grid in one dimension, Latin hypercube in several."""
    if independent:
        return uniform(key, (count, dim))
    if dim == 1:
        # Shifted by a whole period, not by one cell: so each draw is uniform by itself.
        return ((jnp.arange(count) / count + jax.random.uniform(key)) % 1)[:, None]
    for_order, for_jitter = jax.random.split(key)
    strata = jax.random.permutation(
        for_order, jnp.broadcast_to(jnp.arange(count)[:, None], (count, dim)), independent=True
    )
    return (strata + uniform(for_jitter, (count, dim))) / count


@register_measure
@dataclass(frozen=True)
class Box:
    """The uniform measure on [-1, 1]^K."""

    kind: ClassVar[str] = "box"

    def sample(
        self, key: PRNGKey, dim: int, count: int, *, independent: bool = False
    ) -> Float[Array, "count dim"]:
        return 2 * _unit_draws(key, dim, count, independent) - 1


@register_measure
@dataclass(frozen=True)
class Gaussian:
    """The normal measure N(0, scale^2 I)."""

    kind: ClassVar[str] = "gaussian"

    scale: float = 0.5

    def __post_init__(self) -> None:
        if not self.scale > 0:
            raise ValueError(f"the scale of a Gaussian measure must be positive, got {self.scale}")

    def sample(
        self, key: PRNGKey, dim: int, count: int, *, independent: bool = False
    ) -> Float[Array, "count dim"]:
        draws = _unit_draws(key, dim, count, independent)
        inside = jnp.clip(draws, jnp.finfo(draws.dtype).tiny, 1 - jnp.finfo(draws.dtype).epsneg)
        return self.scale * ndtri(inside)


@register_measure
@dataclass(frozen=True)
class Ball:
    """The uniform measure on the unit ball: antithetic pairs of random directions with stratified radii."""

    kind: ClassVar[str] = "ball"

    def sample(
        self, key: PRNGKey, dim: int, count: int, *, independent: bool = False
    ) -> Float[Array, "count dim"]:
        if dim == 1:
            return Box().sample(key, dim, count, independent=independent)
        for_direction, for_radius = jax.random.split(key)
        pairs = count if independent else (count + 1) // 2
        direction = normal(for_direction, (pairs, dim))
        direction = direction / jnp.linalg.norm(direction, axis=-1, keepdims=True)
        radius = _unit_draws(for_radius, 1, pairs, independent) ** (1 / dim)
        draws = radius * direction
        return draws if independent else jnp.concatenate([draws, -draws])[:count]
