"""Simulated data sets."""

import warnings
from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..integrators import rollout
from ..random import normal
from ..systems import HamiltonianSystem, normal_states
from ..typing import Hamiltonian, PRNGKey, States
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


def simulate(
    system: HamiltonianSystem,
    key: PRNGKey,
    *,
    trajectories: int,
    transitions: int,
    dt: float,
    scale_q: float = 1.0,
    scale_p: float = 1.0,
    shift_q: float = 0.0,
    energy_below: float | None = None,
    noise_variance: float = 0.0,
    noise_on: Literal["targets", "states"] = "targets",
    noise_key: PRNGKey | None = None,
) -> Trajectories:
    """Integrate `system` from normal initial states: adaptive order 8 in float64, rtol = atol = 1e-10.

    `trajectories` of `transitions` steps of `dt`. Gaussian noise of `noise_variance`, drawn from `noise_key`
    (needed then), is added to copies of the next states, ``targets`` (the paper's protocol: inputs stay
    exact), or to all ``states`` (what an observer has). Initial states have an energy below `energy_below`
    where that is given.

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
    if not (noise_variance >= 0 and np.isfinite(noise_variance)):
        raise ValueError(f"noise_variance must be finite and not negative, got {noise_variance}")
    if noise_on not in ("targets", "states"):
        raise ValueError(f"noise_on must be 'targets' or 'states', got {noise_on!r}")
    if noise_variance > 0 and noise_key is None:
        raise ValueError("noise_variance > 0 needs a noise_key, got None")
    with jax.enable_x64(True):
        times = dt * np.arange(transitions + 1)
        at = jnp.tile(np.pad(times, (0, -len(times) % TIMES), mode="edge"), (BLOCK, 1))
        bound = BOUND * max(scale_q + abs(shift_q), scale_p)
        kept, escaped, total, scales = np.zeros((0, transitions + 1, 2 * system.dof)), 0, 0, ""
        for draw in range(MOST_ROUNDS):
            initial = normal_states(
                jax.random.fold_in(key, draw) if draw else key,
                trajectories,
                system.dof,
                scale_q=scale_q,
                scale_p=scale_p,
                shift_q=shift_q,
            )
            energies = _in_blocks(partial(_energies, system.hamiltonian), initial)
            if not np.isfinite(energies).all():
                where = int(np.argmin(np.isfinite(energies)))
                raise FloatingPointError(
                    f"the Hamiltonian is {energies[where]} at the initial state {np.asarray(initial[where])}"
                )
            allowed = energies < (np.inf if energy_below is None else energy_below)
            states = _in_blocks(partial(rollout, system.hamiltonian, times=at, bound=bound), initial)
            states = states[allowed, : transitions + 1]
            stayed = np.asarray(np.isfinite(states).all(axis=(1, 2)))
            # Those after the last one needed were drawn for nothing.
            needed = np.cumsum(stayed) - stayed < trajectories - len(kept)
            escaped += int(np.sum(~stayed & needed))
            kept = np.concatenate([kept, states[stayed & needed]])
            scales = f"scales of the initial states than {scale_q:g} (positions) and {scale_p:g} (momenta)"
            total = escaped + len(kept)
            if escaped > MOST_ESCAPES * total:
                raise EscapeError(
                    f"{escaped} of {total} trajectories leave the bound {bound:g}, choose smaller {scales}"
                    + (", or an energy_below" if energy_below is None else "")
                )
            if len(kept) == trajectories:
                break
        else:
            raise EscapeError(
                f"only {len(kept)} of {MOST_ROUNDS * trajectories} initial states have an energy below "
                f"{energy_below}, choose smaller {scales}"
            )
        if escaped:
            warnings.warn(
                f"{escaped} of {total} trajectories left the bound {bound:g}: redrawn", stacklevel=2
            )
        states = kept
        targets = None
        if noise_variance > 0:
            assert noise_key is not None
            clean = states[:, 1:] if noise_on == "targets" else states
            noisy = clean + np.sqrt(noise_variance) * np.asarray(normal(noise_key, clean.shape))
            states, targets = (states, noisy) if noise_on == "targets" else (noisy, None)
    return Trajectories(np.tile(times, (trajectories, 1)), states, targets)


def _in_blocks(compute: Callable[[States], Array], initial: States) -> np.ndarray:
    """`compute` of all initial states, in calls of one shape."""
    rows = np.pad(np.arange(len(initial)), (0, -len(initial) % BLOCK), mode="edge").reshape(-1, BLOCK)
    return np.concatenate([compute(initial[block]) for block in rows])[: len(initial)]


@partial(jax.jit, static_argnums=0)
def _energies(hamiltonian: Hamiltonian, states: States) -> Float[Array, " batch"]:
    return jax.vmap(hamiltonian)(states)
