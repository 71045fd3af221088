"""Simulated data sets."""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..integrators import rollout
from ..phase_space import energies_of
from ..random import normal
from ..systems import HamiltonianSystem, InitialStates
from ..typing import Hamiltonian, PRNGKey, States
from .canonical import paired_names
from .dataset import Trajectories

BOUND = 1e3
"""Trajectories end where a coordinate exceeds this times the largest scale of the initial states."""
MOST_ESCAPES = 0.2
"""Share of trajectories that may leave the bound; they are redrawn."""
MOST_ROUNDS = 50
BLOCK, TIMES = 32, 64
"""Trajectories a compiled call, and what their number of times is padded to a multiple of: data and test sets
share a compilation, which takes longer than integrating them.
"""


class EscapeError(ValueError):
    """Initial states from which too many trajectories run away, or that hardly have an allowed energy."""


@dataclass(frozen=True)
class GaussianNoise:
    """Gaussian noise of `variance`, drawn from `key`: on copies of the next states, ``targets`` (the paper's
    protocol: inputs stay exact), or on all ``states`` (what an observer has).
    """

    variance: float
    key: PRNGKey
    on: Literal["targets", "states"] = "targets"

    def __post_init__(self) -> None:
        if not (self.variance >= 0 and np.isfinite(self.variance)):
            raise ValueError(f"variance of the noise must be finite and not negative, got {self.variance}")
        if self.on not in ("targets", "states"):
            raise ValueError(f"noise must be on 'targets' or 'states', got {self.on!r}")

    def added(self, states: np.ndarray) -> np.ndarray:
        """Noisy copies of states."""
        return states + np.sqrt(self.variance) * np.asarray(normal(self.key, states.shape))


def simulate(
    system: HamiltonianSystem,
    key: PRNGKey,
    *,
    trajectories: int,
    transitions: int,
    dt: float,
    initial: InitialStates | None = None,
    noise: GaussianNoise | None = None,
) -> Trajectories:
    """Integrate `system` from `initial` states, None: standard normal ones; adaptive order 8 in float64, rtol
    = atol = 1e-10. `trajectories` of `transitions` steps of `dt`, with `noise` where it is given.

    Trajectories that leave the bound of 1000 times the largest scale are drawn again, with a warning that
    counts them. Raises `EscapeError`, a ValueError, where more than 20 % do, ValueError on impossible sizes
    and FloatingPointError where the energy is not finite.
    """
    if trajectories < 1 or transitions < 1:
        raise ValueError(
            f"trajectories and transitions must be at least 1, got {trajectories} and {transitions}"
        )
    if not (dt > 0 and np.isfinite(dt)):
        raise ValueError(f"dt must be positive and finite, got {dt}")
    times, targets = dt * np.arange(transitions + 1), None
    with jax.enable_x64(True):
        states = _bounded(system, key, trajectories, times, initial or InitialStates())
        if noise is not None and noise.variance > 0:
            if noise.on == "targets":
                targets = noise.added(states[:, 1:])
            else:
                states = noise.added(states)
    return Trajectories(np.tile(times, (trajectories, 1)), states, targets)


def with_velocities(exact: Trajectories, hamiltonian: Hamiltonian, bracket: str) -> Trajectories:
    """The same with velocities dH/dp in the place of momenta, as most files have, and the kind of Poisson
    matrix to look for.
    """
    dof = exact.dof
    with jax.enable_x64(True):
        slopes = jax.jit(jax.vmap(jax.vmap(jax.grad(hamiltonian))))(jnp.asarray(exact.states))
    states = np.concatenate([exact.states[..., :dof], np.asarray(slopes)[..., dof:]], axis=-1)
    names = (*exact.names[:dof], *paired_names("v", exact.names[:dof], exact.names))
    return Trajectories(exact.times, states, names=names, bracket=bracket)


def _bounded(
    system: HamiltonianSystem, key: PRNGKey, count: int, times: np.ndarray, initial: InitialStates
) -> Float[np.ndarray, "count time dim"]:
    """So many trajectories that stay within the bound, of as many draws as it takes."""
    at = jnp.asarray(np.tile(np.pad(times, (0, -len(times) % TIMES), mode="edge"), (BLOCK, 1)))
    bound = BOUND * max(initial.scale_q + abs(initial.shift_q), initial.scale_p)
    scales = (
        f"scales of the initial states than {initial.scale_q:g} (positions) and {initial.scale_p:g} (momenta)"
    )
    kept, escaped = np.zeros((0, len(times), 2 * system.dof)), 0
    for draw in range(MOST_ROUNDS):
        first = initial.draw(jax.random.fold_in(key, draw) if draw else key, count, system.dof)
        energies = _in_blocks(partial(energies_of, system.hamiltonian), first)
        if not np.isfinite(energies).all():
            where = int(np.argmin(np.isfinite(energies)))
            raise FloatingPointError(
                f"the Hamiltonian is {energies[where]} at the initial state {np.asarray(first[where])}"
            )
        allowed = energies < (np.inf if initial.energy_below is None else initial.energy_below)
        states = _in_blocks(partial(rollout, system.hamiltonian, times=at, bound=bound), first)
        states = states[allowed, : len(times)]
        stayed = np.asarray(np.isfinite(states).all(axis=(1, 2)))
        # Those after the last one needed were drawn for nothing.
        needed = np.cumsum(stayed) - stayed < count - len(kept)
        escaped += int(np.sum(~stayed & needed))
        kept = np.concatenate([kept, states[stayed & needed]])
        if escaped > MOST_ESCAPES * (escaped + len(kept)):
            raise EscapeError(
                f"{escaped} of {escaped + len(kept)} trajectories leave the bound {bound:g}, choose smaller "
                f"{scales}" + (", or an energy_below" if initial.energy_below is None else "")
            )
        if len(kept) == count:
            break
    else:
        raise EscapeError(
            f"only {len(kept)} of {MOST_ROUNDS * count} initial states have an energy below "
            f"{initial.energy_below}, choose smaller {scales}"
        )
    if escaped:
        warnings.warn(
            f"{escaped} of {escaped + count} trajectories left the bound {bound:g}: redrawn", stacklevel=3
        )
    return kept


def _in_blocks(compute: Callable[[States], Array], initial: States) -> np.ndarray:
    """`compute` of all initial states, in calls of one shape."""
    rows = np.pad(np.arange(len(initial)), (0, -len(initial) % BLOCK), mode="edge").reshape(-1, BLOCK)
    first = np.asarray(initial)
    return np.concatenate([compute(jnp.asarray(first[block])) for block in rows])[: len(first)]
