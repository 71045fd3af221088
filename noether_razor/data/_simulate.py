"""Simulated data sets."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np

from ..integrators import rollout
from ..systems import HamiltonianSystem, normal_states
from ..typing import PRNGKey
from ._trajectories import Trajectories


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
    noise_variance: float = 0.0,
    noise_on: Literal["targets", "states"] = "targets",
    noise_key: PRNGKey | None = None,
) -> Trajectories:
    """Integrate `system` from normal initial states: adaptive order 8 in float64, rtol = atol = 1e-10.

    `trajectories` of `transitions` steps of `dt`. Gaussian noise of `noise_variance`, drawn from `noise_key`
    (needed then), is added to copies of the next states, ``targets`` (the paper's protocol: inputs stay
    exact), or to all ``states`` (what an observer has). Raises ValueError on impossible sizes and
    FloatingPointError where the energy is not finite.
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
        initial = normal_states(
            key, trajectories, system.dof, scale_q=scale_q, scale_p=scale_p, shift_q=shift_q
        )
        energies = jax.vmap(system.hamiltonian)(initial)
        if not bool(jnp.isfinite(energies).all()):
            where = int(jnp.argmin(jnp.isfinite(energies)))
            raise FloatingPointError(
                f"the Hamiltonian is {energies[where]} at the initial state {np.asarray(initial[where])}"
            )
        times = jnp.tile(dt * jnp.arange(transitions + 1), (trajectories, 1))
        states = np.asarray(rollout(system.hamiltonian, initial, times))
        targets = None
        if noise_variance > 0:
            assert noise_key is not None
            clean = states[:, 1:] if noise_on == "targets" else states
            noisy = clean + np.sqrt(noise_variance) * np.asarray(jax.random.normal(noise_key, clean.shape))
            states, targets = (states, noisy) if noise_on == "targets" else (noisy, None)
    return Trajectories(np.asarray(times), states, targets)
