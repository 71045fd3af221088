"""The gradient of an objective, from all weight samples of its estimator."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from ..devices import DATA, divided, division, mesh_size
from ..typing import PRNGKey, Scalar
from .elbo import ELBOTerms, Objective
from .estimator import Estimator
from .posterior import Posterior


def batch_axes(size: int, estimator: Estimator) -> dict[int, int]:
    """The axes along which a batch of `size` rows may be divided among devices, and their lengths: once it is
    dealt out, weight samples and the rows of each. Weight samples one after the other cannot be divided.
    """
    if estimator.share_batch:
        return {0: size}
    rows = {1: size // estimator.weight_samples}
    return rows if estimator.sequential else {0: estimator.weight_samples} | rows


def elbo_and_gradient(
    objective: Objective,
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    batch: Any,
    *,
    kl_weight: Scalar | float = 1.0,
    group_scale: Scalar | float = 1.0,
) -> tuple[ELBOTerms, nnx.State]:
    """The terms of `objective` from all weight samples of its estimator, and their gradient with respect to
    `params`.

    `graph` and `params` are ``nnx.split(posterior)``. Unless the estimator shares the batch, its weight
    samples take equal parts of it in order, so the batch must be shuffled and a multiple of
    ``weight_samples`` long (ValueError otherwise). On a mesh of devices the weight samples are divided among
    them, or the rows of each.
    """
    estimator, samples = objective.estimator, objective.estimator.weight_samples
    batch = jax.tree.map(jnp.asarray, batch)
    keys = jax.random.split(key, samples)
    if not estimator.share_batch and batch.size % samples:
        raise ValueError(
            f"a batch of {batch.size} transitions or segments does not divide among {samples} weight samples"
        )
    axes = batch_axes(batch.size, estimator)
    if not estimator.share_batch:
        batch = jax.tree.map(lambda x: x.reshape(samples, -1, *x.shape[1:]), batch)
    batch = divided(batch, DATA, list(axes)[division(list(axes.values()), mesh_size(DATA))])

    def loss(params: nnx.State, key: PRNGKey, part: Any) -> tuple[Scalar, ELBOTerms]:
        terms = objective(nnx.merge(graph, params), key, part, group_scale=group_scale)
        return terms.negative_elbo(kl_weight), terms

    def mean_loss(params: nnx.State) -> tuple[Scalar, ELBOTerms]:
        axes = (None, 0, None if estimator.share_batch else 0)
        losses, terms = jax.vmap(loss, in_axes=axes)(params, keys, batch)
        return jnp.mean(losses), jax.tree.map(jnp.mean, terms)

    if not estimator.sequential:
        gradient, terms = jax.grad(mean_loss, has_aux=True)(params)
        return terms, gradient

    def one(index: Int[Array, ""] | int) -> tuple[nnx.State, ELBOTerms]:
        part = batch if estimator.share_batch else jax.tree.map(lambda x: x[index], batch)
        return jax.grad(loss, has_aux=True)(params, keys[index], part)

    def accumulate(
        carry: tuple[nnx.State, ELBOTerms], index: Int[Array, ""]
    ) -> tuple[tuple[nnx.State, ELBOTerms], None]:
        return jax.tree.map(lambda a, b: a + b / samples, carry, one(index)), None

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(lambda: one(0)))
    (gradient, terms), _ = jax.lax.scan(accumulate, zeros, jnp.arange(samples))
    return terms, gradient
