"""Posterior-predictive trajectories, and the Hamiltonian of a posterior."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Int

from ..inference import Estimator, Posterior, flow_of, hamiltonian_of
from ..typing import Hamiltonian, PRNGKey

BLOCK = 32
"""Trajectories in a compiled call; fewer are padded, so that all data sets share one compilation."""
STEPS = 64
"""Time steps in a compiled call, at most; fewer take less time, but no compilation of their own."""


def learned_hamiltonian(posterior: Posterior, key: PRNGKey, *, estimator: Estimator) -> Hamiltonian:
    """The posterior mean of H, over `estimator.weight_samples` draws of weights and group elements."""
    keys = jax.random.split(key, estimator.weight_samples)
    return lambda state: jnp.mean(jax.lax.map(lambda k: _drawn(posterior, k, estimator)(state), keys))


def _drawn(posterior: Posterior, key: PRNGKey, estimator: Estimator) -> Hamiltonian:
    """H of one draw of weights and group elements."""
    for_weights, for_group = jax.random.split(key)
    return hamiltonian_of(posterior, posterior.draw(for_weights), for_group, estimator)


def learned_gradients(
    posterior: Posterior, key: PRNGKey, states: Float[np.ndarray, "points dim"], *, estimator: Estimator
) -> Float[np.ndarray, "points dim"]:
    """The gradient of `learned_hamiltonian` at each state, draw by draw: memory of one."""
    graph, params = nnx.split(posterior)
    return np.asarray(_gradients(graph, params, key, jnp.asarray(states, jnp.float32), estimator))


@partial(jax.jit, static_argnames=("graph", "estimator"))
def _gradients(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    states: Float[Array, "points dim"],
    estimator: Estimator,
) -> Float[Array, "points dim"]:
    posterior = nnx.merge(graph, params)
    keys = jax.random.split(key, estimator.weight_samples)
    draws = jax.lax.map(lambda k: jax.vmap(jax.grad(_drawn(posterior, k, estimator)))(states), keys)
    return jnp.mean(draws, axis=0)


@partial(jax.jit, static_argnames=("graph", "estimator", "mean_weights"))
def _followed(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    states: Float[Array, "samples batch dim"],
    dt: Float[Array, "steps batch"],
    count: Int[Array, ""],
    estimator: Estimator,
    mean_weights: bool,
) -> Float[Array, "samples steps batch dim"]:
    """Where each sample is after each of the first `count` time steps; zeros after the others."""
    posterior = nnx.merge(graph, params)

    def one_sample(pair: tuple[PRNGKey, Float[Array, "batch dim"]]) -> Float[Array, "steps batch dim"]:
        key, start = pair
        # Drawn once: weights and group elements hold along the whole trajectory.
        for_weights, for_group = jax.random.split(key)
        weights = posterior.means() if mean_weights else posterior.draw(for_weights)
        advance = jax.vmap(flow_of(posterior, weights, for_group, estimator))

        def move(step, carry):  # type: ignore[no-untyped-def]
            states, path = carry
            states = advance(states, dt[step])
            return states, path.at[step].set(states)

        path = jnp.zeros((dt.shape[0], *start.shape), start.dtype)
        return jax.lax.fori_loop(0, count, move, (start, path))[1]

    return jax.lax.map(one_sample, (jax.random.split(key, states.shape[0]), states))


def follow(
    posterior: Posterior,
    key: PRNGKey,
    starts: Float[np.ndarray, "samples batch dim"],
    times: Float[np.ndarray, "batch time"],
    *,
    estimator: Estimator,
    mean_weights: bool = False,
    block: int = BLOCK,
) -> Float[np.ndarray, "samples batch time dim"]:
    """Trajectories through `times`, each sample with a draw of the weights and of the group elements, from
    initial states of its own.

    `block` trajectories are followed at a time. The other arguments are as in `predict`.
    """
    graph, params = nnx.split(posterior)
    count, length = times.shape
    rows = np.minimum(np.arange(-(-count // block) * block), count - 1)
    every = np.diff(np.asarray(times, np.float64), axis=1).astype(np.float32)[rows].T
    every = np.pad(every, ((0, -(length - 1) % STEPS), (0, 0)))
    blocks = []
    for begin in range(0, len(rows), block):
        part = slice(begin, begin + block)
        path = [np.asarray(starts, np.float32)[:, None, rows[part]]]
        for first in range(0, length - 1, STEPS):
            # The same key in every call: each sample keeps its weights and its group elements.
            steps, states = min(STEPS, length - 1 - first), jnp.asarray(path[-1][:, -1])
            dt = jnp.asarray(every[first : first + STEPS, part])
            moved = _followed(graph, params, key, states, dt, jnp.asarray(steps), estimator, mean_weights)
            path.append(np.asarray(moved)[:, :steps])
        blocks.append(np.concatenate(path, axis=1))
    return np.concatenate(blocks, axis=2)[:, :, :count].transpose(0, 2, 1, 3)


def predict(
    posterior: Posterior,
    key: PRNGKey,
    initial: Float[np.ndarray, "batch dim"],
    times: Float[np.ndarray, "batch time"],
    *,
    estimator: Estimator,
    mean_weights: bool = False,
) -> Float[np.ndarray, "samples batch time dim"]:
    """Trajectories from `initial` through `times`, one for each draw of the weights and group elements.

    The integrator, its sub-steps per interval and the numbers of samples are those of `estimator`. The mean
    over samples is the posterior-predictive mean; for one step give times of two columns. With `mean_weights`
    the one sample uses the mean weights, as the paper does. Observation noise is not included.
    """
    starts = np.broadcast_to(initial, (1 if mean_weights else estimator.weight_samples, *initial.shape))
    return follow(posterior, key, starts, times, estimator=estimator, mean_weights=mean_weights)
