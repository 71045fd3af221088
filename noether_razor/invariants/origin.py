"""Data far from 0: quantities are found about where the data are, and said about 0."""

from collections.abc import Sequence
from dataclasses import replace

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float

from ..scaling import FAR
from ..trajectories import Trajectories
from ..typing import Hamiltonian
from .found import FoundQuantity
from .monomials import coefficients

NEAR = 100.0
"""Spreads from 0 up to which a square is still told from a linear term."""


def origin_of(trajectories: Trajectories) -> Float[np.ndarray, " dim"]:
    """Round values near the means of coordinates that are many spreads away from 0; 0 for the others."""
    points = trajectories.points()
    mean, spread = points.mean(axis=0), points.std(axis=0)
    far = (np.abs(mean) > FAR * spread) & (spread > 1e-12 * np.abs(mean))
    far[list(trajectories.angles())] = False
    step = 10.0 ** np.round(np.log10(np.where(far, spread, 1.0)))
    return np.where(far, np.round(mean / step) * step, 0.0)


def near_zero(trajectories: Trajectories, origin: Float[np.ndarray, " dim"]) -> Bool[np.ndarray, " dim"]:
    """Coordinates that have another origin than 0, and could do without."""
    return (origin != 0) & (np.abs(origin) <= NEAR * trajectories.points().std(axis=0))


def counted_from(trajectories: Trajectories, origin: Float[np.ndarray, " dim"]) -> Trajectories:
    """The same with states that count from `origin`."""
    if not origin.any():
        return trajectories
    targets = None if trajectories.targets is None else trajectories.targets - origin
    return replace(trajectories, states=trajectories.states - origin, targets=targets)


def about(hamiltonian: Hamiltonian | None, origin: Float[np.ndarray, " dim"]) -> Hamiltonian | None:
    """The same Hamiltonian of states that count from `origin`."""
    if hamiltonian is None or not origin.any():
        return hamiltonian
    return lambda state: hamiltonian(state + jnp.asarray(origin, state.dtype))


def moved(
    quantities: Sequence[FoundQuantity], origin: Float[np.ndarray, " dim"]
) -> tuple[FoundQuantity, ...]:
    """Quantities of states that count from `origin`, as such of the states themselves, up to constants."""
    if not origin.any():
        return tuple(quantities)
    at = tuple(origin.tolist())
    return tuple(
        replace(
            entry,
            formula=replace(entry.formula, origin=at),
            row=coefficients(entry.matrix[None], (entry.vector - entry.matrix @ origin)[None])[0],
        )
        for entry in quantities
    )
