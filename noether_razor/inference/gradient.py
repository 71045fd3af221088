"""The gradient of the bound, from all weight samples of an estimator."""

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Int

from ..symmetry import Averaging
from ..typing import PRNGKey, Scalar
from .bound import BoundTerms
from .estimator import Estimator
from .model import PriorPrecision
from .observations import Observations, observed_bound_terms
from .posterior import Posterior


def bound_and_gradient(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    batch: Observations,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    kl_weight: Scalar | float = 1.0,
    orbit_scale: Scalar | float = 1.0,
) -> tuple[BoundTerms, nnx.State]:
    """The estimate of `estimator` from all its weight samples, and its gradient with respect to `params`.

    `graph` and `params` are ``nnx.split(posterior)``; `batch` stands for `total` transitions. Unless the
    estimator shares the batch, its weight samples take equal parts of it in order, so the batch must be
    shuffled and a multiple of ``weight_samples`` long (ValueError otherwise).
    """
    samples = estimator.weight_samples
    batch = jax.tree.map(jnp.asarray, batch)
    keys = jax.random.split(key, samples)
    if not estimator.share_batch:
        if batch.size % samples:
            raise ValueError(
                f"a batch of {batch.size} transitions or windows does not divide among "
                f"{samples} weight samples"
            )
        batch = jax.tree.map(lambda x: x.reshape(samples, -1, *x.shape[1:]), batch)
    axes = (None, 0, None if estimator.share_batch else 0)

    def loss(params: nnx.State, key: PRNGKey, part: Observations) -> tuple[Scalar, BoundTerms]:
        terms = observed_bound_terms(
            nnx.merge(graph, params),
            key,
            part,
            total,
            averaging=averaging,
            estimator=estimator,
            prior_precision=prior_precision,
            orbit_scale=orbit_scale,
        )
        return terms.negative_elbo(kl_weight), terms

    def mean_loss(params: nnx.State) -> tuple[Scalar, BoundTerms]:
        losses, terms = jax.vmap(loss, in_axes=axes)(params, keys, batch)
        return jnp.mean(losses), jax.tree.map(jnp.mean, terms)

    if not estimator.sequential:
        gradient, terms = jax.grad(mean_loss, has_aux=True)(params)
        return terms, gradient

    def accumulate(
        carry: tuple[nnx.State, BoundTerms], index: Int[Array, ""]
    ) -> tuple[tuple[nnx.State, BoundTerms], None]:
        part = batch if estimator.share_batch else jax.tree.map(lambda x: x[index], batch)
        added = jax.grad(loss, has_aux=True)(params, keys[index], part)
        return jax.tree.map(lambda a, b: a + b / samples, carry, added), None

    shapes = jax.eval_shape(jax.grad(loss, has_aux=True), params, keys[0], _first(batch, estimator))
    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
    (gradient, terms), _ = jax.lax.scan(accumulate, zeros, jnp.arange(samples))
    return terms, gradient


def _first(batch: Observations, estimator: Estimator) -> Observations:
    return batch if estimator.share_batch else jax.tree.map(lambda x: x[0], batch)
