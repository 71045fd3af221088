"""Gradients of quantities and of a Hamiltonian on states of the data, and what they say."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..thinning import evenly
from ..typing import Hamiltonian
from .dictionary import Dictionary
from .energy import Energy, energy_in
from .monomials import coefficients
from .motion import Motion

_STRENGTH = 0.01
"""Share of the largest singular value below which a direction of the quantities was not learned."""
_COMMUTING = 0.1
"""R.m.s. of {C, H} over |grad C| |grad H| up to which C counts as learned: ten times the error of
learning."""
_RESOLVED = 1e-6
"""Share of the largest spread of gradients below which a combination of monomials is not seen in the data."""
DEPENDENT = 0.1
"""Singular value of unit gradients, against the largest, up to which they count as dependent."""
_POINTS = 500
"""States at which gradients and the Hamiltonian are evaluated."""


class OnStates(NamedTuple):
    """The gradient of a Hamiltonian on some states."""

    states: Float[np.ndarray, "points dim"]
    gradients: Float[np.ndarray, "points dim"]

    @classmethod
    def of(cls, hamiltonian: Hamiltonian, states: Float[np.ndarray, "all dim"]) -> "OnStates":
        """Of a Hamiltonian, on some of `states` in the units of the data."""
        states = _some(states)
        gradients = jax.jit(jax.vmap(jax.grad(hamiltonian)))(jnp.asarray(states, jnp.float32))
        return cls(states, np.asarray(gradients, dtype=np.float64))

    @classmethod
    def of_terms(
        cls, dictionary: Dictionary, row: Float[np.ndarray, " M"], states: Float[np.ndarray, "points dim"]
    ) -> "OnStates":
        """Of a combination of terms, on all of `states`."""
        gradients = [dictionary.slopes(states, i) @ row for i in range(states.shape[1])]
        return cls(states, np.stack(gradients, axis=1))

    def energy(self, motion: Motion, rows: Float[np.ndarray, "rank all"]) -> Energy | None:
        """The Hamiltonian as a combination of quantities, coefficients of all terms: see `energy_in`."""
        return energy_in(_gradients(motion, rows, self.states), self.gradients * motion.scales)


def _some(states: Float[np.ndarray, "all dim"]) -> Float[np.ndarray, "points dim"]:
    """At most `_POINTS` states, at equal distances in the data."""
    return states[evenly(len(states), _POINTS)]


def _gradients(
    motion: Motion, rows: Float[np.ndarray, "K all"], states: Float[np.ndarray, "points dim"]
) -> Float[np.ndarray, "K points dim"]:
    """The gradients of quantities, coefficients of all terms, in scaled coordinates at states in the units of
    the data.
    """
    if not len(rows):
        return np.zeros((0, *states.shape))
    slopes = [motion.dictionary.slopes(states, i) @ rows.T for i in range(states.shape[1])]
    return np.stack(slopes, axis=2).transpose(1, 0, 2) * motion.scales


def _field(gradients: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points dim"]:
    """J grad H at each state."""
    position, momentum = np.split(gradients, 2, axis=1)
    return np.concatenate([momentum, -position], axis=1)


def learned_directions(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    motion: Motion,
    on_states: OnStates | None,
    among: Float[np.ndarray, "S all"],
) -> tuple[Float[np.ndarray, " given"], Float[np.ndarray, "L all"]]:
    """The singular values of the quantities given, in units of `motion.sizes`, and what counts as learned:
    the strong directions, and with them those `among` others that nearly commute with the Hamiltonian. None
    of terms that are not of degree <= 2.
    """
    if not motion.dictionary.second_degree:
        return np.zeros(0), among[:0]
    given = motion.dictionary.contracted(coefficients(matrices, vectors)) * motion.sizes
    _, strengths, directions = np.linalg.svd(given, full_matrices=False)
    learned = directions[strengths > max(_STRENGTH * strengths.max(initial=0.0), 1e-300)]
    if on_states is not None and len(learned):
        learned = np.concatenate([learned, commuting(motion, on_states, among)])
    return strengths, learned


def commuting(
    motion: Motion, on_states: OnStates, among: Float[np.ndarray, "S all"]
) -> Float[np.ndarray, "some all"]:
    """Those combinations C of some quantities, coefficients of scaled terms, whose bracket with the
    Hamiltonian nearly vanishes: directions in which the r.m.s. of {C, H} is at most `_COMMUTING` of that of
    |grad C| |grad H|.
    """
    if not len(among):
        return among
    states, slopes = on_states.states, on_states.gradients * motion.scales
    gradients = _gradients(motion, among / motion.sizes, states).transpose(1, 0, 2)
    brackets = np.einsum("tki,ti->tk", gradients, _field(slopes))
    sizes = (gradients * np.linalg.norm(slopes, axis=1)[:, None, None]).transpose(0, 2, 1)
    sizes = sizes.reshape(-1, sizes.shape[2])
    _, spreads, axes = np.linalg.svd(sizes / np.sqrt(len(states)), full_matrices=False)
    used = spreads > _RESOLVED * spreads.max()
    basis = axes[used].T / spreads[used]
    _, sines, directions = np.linalg.svd(brackets @ basis / np.sqrt(len(states)), full_matrices=False)
    return directions[sines <= _COMMUTING] @ basis.T @ among


def bracket_sizes(motion: Motion, rows: Float[np.ndarray, "rank all"], on_states: OnStates) -> list[float]:
    """R.m.s. of {C, H} over that of |grad C| |grad H|, in scaled coordinates."""
    own, other = _gradients(motion, rows, on_states.states), on_states.gradients * motion.scales
    brackets = np.einsum("kpi,pi->kp", own, _field(other))
    bound = np.linalg.norm(own, axis=2) * np.linalg.norm(other, axis=1)
    return [float(np.sqrt(np.mean(b**2) / np.mean(s**2))) for b, s in zip(brackets, bound, strict=True)]


def independence(
    motion: Motion,
    quantities: Sequence[Float[np.ndarray, " all"]],
    same: Float[np.ndarray, "z all"],
    dependent: float = DEPENDENT,
) -> tuple[int, tuple[int, ...]]:
    """How many quantities, by their coefficients, are functionally independent where the data are, and the
    first so many that are: the next singular value of unit gradients is above `dependent` of the largest.

    Where combinations have the `same` value in the whole file, that is the surface on which they have it:
    what is a function of the others there may be none elsewhere.
    """
    states = _some(motion.trajectories.points())
    rows = np.array(quantities).reshape(-1, len(motion.used))
    gradients = list(_gradients(motion, rows, states))
    if len(same):
        normals = _normals(_gradients(motion, same, states))
        gradients = [g - np.einsum("tij,tkj,tk->ti", normals, normals, g) for g in gradients]
    sizes = [np.sqrt(np.mean(gradient**2) * states.shape[1]) for gradient in gradients]
    gradients = [g / max(size, np.finfo(float).tiny) for g, size in zip(gradients, sizes, strict=True)]

    def rank(chosen: list[int]) -> int:
        size = np.linalg.svd(np.stack([gradients[k] for k in chosen], axis=1), compute_uv=False)
        # Dependent gradients are so everywhere, independent ones may be nearly parallel here and there.
        typical = np.quantile(size / np.maximum(size[:, :1], np.finfo(float).tiny), 0.9, axis=0)
        return int(np.sum(typical > dependent))

    generating: list[int] = []
    for k in range(len(rows)):
        if rank([*generating, k]) > len(generating):
            generating.append(k)
    return len(generating), tuple(generating)


def _normals(
    gradients: Float[np.ndarray, "z points dim"],
) -> Float[np.ndarray, "points dim normals"]:
    """Orthonormal bases, filled up with zeros, of some gradients at each state."""
    normals = gradients.transpose(1, 2, 0)
    normals = normals / np.maximum(np.sqrt(np.sum(normals**2, axis=1).mean(axis=0)), 1e-300)
    directions, sizes, _ = np.linalg.svd(normals, full_matrices=False)
    return directions * (sizes > DEPENDENT * sizes[:, :1])[:, None]
