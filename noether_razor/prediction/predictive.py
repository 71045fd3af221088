"""Posterior-predictive trajectories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from numpyro.infer import Predictive

from ..inference import Estimator, Posterior
from ..inference.model import HANDLERS, transition_model
from ..symmetry import Averaging
from ..typing import PRNGKey

BLOCK = 32
"""Transitions a compiled call; shorter ones are padded, so that every data set and length shares one
compilation.
"""


@partial(jax.jit, static_argnames=("graph", "averaging", "estimator", "mean_weights"))
def _advance(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    states: Float[Array, "samples batch dim"],
    dt: Float[Array, " batch"],
    averaging: Averaging,
    estimator: Estimator,
    mean_weights: bool,
) -> Float[Array, "samples batch dim"]:
    posterior = nnx.merge(graph, params)
    model = partial(transition_model, averaging=averaging, estimator=estimator)

    def one_sample(pair: tuple[PRNGKey, Float[Array, "batch dim"]]) -> Float[Array, "batch dim"]:
        key, start = pair
        for_weights, for_orbit = jax.random.split(key)
        weights = posterior.means() if mean_weights else posterior.draw(for_weights)
        sample = jax.tree.map(lambda matrix: matrix[None], weights)
        predictive = Predictive(model, posterior_samples=sample, return_sites=["prediction"])
        with HANDLERS:
            return predictive(for_orbit, posterior, start, dt)["prediction"][0]

    return jax.lax.map(one_sample, (jax.random.split(key, states.shape[0]), states))


def predict(
    posterior: Posterior,
    key: PRNGKey,
    initial: Float[np.ndarray, "batch dim"],
    times: Float[np.ndarray, "batch time"],
    *,
    averaging: Averaging,
    estimator: Estimator,
    mean_weights: bool = False,
) -> Float[np.ndarray, "samples batch time dim"]:
    """Trajectories from `initial` through `times`, one a draw of the weights and of the group elements.

    The integrator, its sub-steps an interval and the numbers of samples are those of `estimator`. The mean
    over samples is the posterior-predictive mean; for one step give times of two columns. With `mean_weights`
    the one sample uses the mean weights, as the paper does. Observation noise is not included.
    """
    graph, params = nnx.split(posterior)
    samples = 1 if mean_weights else estimator.weight_samples
    count, length = times.shape
    padded = -(-count // BLOCK) * BLOCK
    rows = np.minimum(np.arange(padded), count - 1)
    starts = np.asarray(initial, np.float32)[rows]
    steps = np.diff(np.asarray(times, np.float64), axis=1).astype(np.float32)[rows]
    blocks = []
    for begin in range(0, padded, BLOCK):
        part = slice(begin, begin + BLOCK)
        states = jnp.broadcast_to(starts[part], (samples, BLOCK, starts.shape[1]))
        path = [states]
        for step in range(length - 1):
            # The same key in every call: each sample keeps its weights and its group elements along the whole
            # trajectory.
            states = _advance(
                graph, params, key, states, steps[part, step], averaging, estimator, mean_weights
            )
            path.append(states)
        blocks.append(np.stack(path, axis=2))
    return np.concatenate(blocks, axis=1)[:, :count]
