"""Posterior-predictive trajectories."""

from functools import partial

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float
from numpyro.infer import Predictive

from ..symmetry import Averaging
from ..typing import PRNGKey, States
from ._estimator import Estimator
from ._model import guide, rollout_model
from ._posterior import Posterior


@partial(jax.jit, static_argnames=("graph", "averaging", "estimator", "mean_weights"))
def _rollouts(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    initial: States,
    times: Float[Array, "batch time"],
    averaging: Averaging,
    estimator: Estimator,
    mean_weights: bool,
) -> Float[Array, "samples batch time dim"]:
    posterior = nnx.merge(graph, params)
    model = partial(rollout_model, averaging=averaging, estimator=estimator)
    if mean_weights:
        means = jax.tree.map(lambda mean: mean[None], posterior.means())
        predictive = Predictive(model, posterior_samples=means, return_sites=["rollout"])
    else:
        predictive = Predictive(
            model, guide=guide, num_samples=estimator.weight_samples, return_sites=["rollout"]
        )
    return predictive(key, posterior, initial, times)["rollout"]


def predict(
    posterior: Posterior,
    key: PRNGKey,
    initial: Float[Array, "batch dim"],
    times: Float[Array, "batch time"],
    *,
    averaging: Averaging,
    estimator: Estimator,
    mean_weights: bool = False,
) -> Float[Array, "samples batch time dim"]:
    """Trajectories from `initial` through `times`, one set a draw of the weights and of the group elements.

    The integrator, its sub-steps an interval and the numbers of samples are those of `estimator`. The mean over samples is the
    posterior-predictive mean; for one step give times of two columns. With `mean_weights` the one sample uses the mean weights, as the
    paper does.
    """
    graph, params = nnx.split(posterior)
    return _rollouts(
        graph,
        params,
        key,
        jnp.asarray(initial, jnp.float32),
        jnp.asarray(times - times[:, :1], jnp.float32),
        averaging,
        estimator,
        mean_weights,
    )
