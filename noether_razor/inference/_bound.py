"""The variational bound on the marginal likelihood, per transition."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from flax import nnx
from jaxtyping import Array, Int
from numpyro.infer import TraceMeanField_ELBO

from ..data import Transitions
from ..symmetry import Averaging
from ..typing import PRNGKey, Scalar
from ._estimator import Estimator
from ._model import HANDLERS, PriorPrecision, guide, transition_model
from ._posterior import Posterior, Weights

OBSERVED = "target"


class BoundTerms(NamedTuple):
    """-ELBO / N = nll + sum of kl, in nats per transition; `kl` has one entry a weight matrix, by site."""

    nll: Scalar
    kl: dict[str, Scalar]

    def negative_elbo(self, kl_weight: Scalar | float = 1.0) -> Scalar:
        """nll + kl_weight * sum(kl); the bound itself at `kl_weight` = 1."""
        return self.nll + kl_weight * self.total_kl()

    def total_kl(self) -> Scalar:
        """The KL divergence of all weight matrices."""
        return sum(self.kl.values(), start=jnp.zeros_like(self.nll))


def bound_terms(
    posterior: Posterior,
    key: PRNGKey,
    batch: Transitions,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    orbit_scale: Scalar | float = 1.0,
    weights: Weights | None = None,
) -> BoundTerms:
    """An estimate of the bound by one draw of the weights, `batch` standing for `total` transitions without
    bias. `weights` is that draw where it has been made already.

    NumPyro scales the likelihood and keeps the books; the KL of each site is the registered closed form.
    """
    model = partial(
        transition_model,
        averaging=averaging,
        estimator=estimator,
        prior_precision=prior_precision,
        orbit_scale=orbit_scale,
    )
    arguments = (
        posterior,
        jnp.asarray(batch.states),
        jnp.asarray(batch.dt),
        jnp.asarray(batch.targets),
        total,
    )
    for_weights, for_model = jax.random.split(key)
    weights = posterior.draw(for_weights) if weights is None else weights
    drawn = numpyro.handlers.substitute(guide, data=dict(weights))
    with HANDLERS:
        sites = TraceMeanField_ELBO(sum_sites=False).loss(for_model, {}, model, drawn, *arguments)
    per_transition = {site: value / total for site, value in sites.items()}  # type: ignore[attr-defined]
    return BoundTerms(nll=per_transition.pop(OBSERVED), kl=per_transition)


def bound_and_gradient(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    key: PRNGKey,
    batch: Transitions,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    kl_weight: Scalar | float = 1.0,
    orbit_scale: Scalar | float = 1.0,
) -> tuple[BoundTerms, nnx.State]:
    """The estimate of `estimator` from all its weight samples, and its gradient with respect to `params`.

    `graph` and `params` are ``nnx.split(posterior)``. Unless the estimator shares the batch, its weight
    samples take equal parts of it in order, so the batch must be shuffled and a multiple of
    ``weight_samples`` long (ValueError otherwise).
    """
    samples = estimator.weight_samples
    batch = jax.tree.map(jnp.asarray, batch)
    keys = jax.random.split(key, samples)
    if not estimator.share_batch:
        if batch.size % samples:
            raise ValueError(
                f"a batch of {batch.size} transitions does not divide among {samples} weight samples"
            )
        batch = jax.tree.map(lambda x: x.reshape(samples, -1, *x.shape[1:]), batch)
    axes = (None, 0, None if estimator.share_batch else 0)

    def loss(params: nnx.State, key: PRNGKey, part: Transitions) -> tuple[Scalar, BoundTerms]:
        terms = bound_terms(
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


def _first(batch: Transitions, estimator: Estimator) -> Transitions:
    return batch if estimator.share_batch else jax.tree.map(lambda x: x[0], batch)
