"""The variational bound on the marginal likelihood, per transition."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpyro
from numpyro.infer import TraceMeanField_ELBO

from ..symmetry import Averaging
from ..trajectories import Transitions
from ..typing import PRNGKey, Scalar
from .estimator import Estimator
from .model import HANDLERS, PriorPrecision, guide, transition_model
from .posterior import Posterior, Weights

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
