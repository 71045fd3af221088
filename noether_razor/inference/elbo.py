"""The ELBO, a lower bound on the log marginal likelihood, per transition."""

import threading
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpyro
from numpyro.infer import TraceMeanField_ELBO

from ..devices import full_precision
from ..typing import PRNGKey, Scalar
from .estimator import Estimator
from .flow import flow_of
from .likelihoods.base import OBSERVED, Rows, likelihood_of
from .matrix_normal import IsotropicNormal, optimal_precision
from .posterior import Posterior, Weights

PriorPrecision = float | Literal["optimal", "learned"]
"""lambda of every layer: its closed-form optimum, a parameter of the ELBO, or one fixed number."""

HANDLERS = threading.RLock()
"""Held while NumPyro's handlers are in use, which is while tracing: their stack is one for all threads."""


class ELBOTerms(NamedTuple):
    """-ELBO / N = nll + sum of kl, in nats per transition.

    `nll` is what the data cost, with the KL divergence of their latent variables; `kl` has one entry per
    weight matrix, by site.
    """

    nll: Scalar
    kl: dict[str, Scalar]

    def negative_elbo(self, kl_weight: Scalar | float = 1.0) -> Scalar:
        """nll + kl_weight * sum(kl); -ELBO / N itself at `kl_weight` = 1."""
        return self.nll + kl_weight * self.total_kl()

    def total_kl(self) -> Scalar:
        """The KL divergence of all weight matrices."""
        return sum(self.kl.values(), start=jnp.zeros_like(self.nll))


@runtime_checkable
class Objective(Protocol):
    """What `fit` minimises: one draw of it, for a model, a key and a batch of rows. Hashable, as it is
    compiled with the training loop.

    estimator: how many draws are averaged, and of which part of a batch each. total: transitions by which
    the terms have been divided.
    """

    @property
    def estimator(self) -> Estimator: ...

    @property
    def total(self) -> int: ...

    def __call__(
        self, posterior: Posterior, key: PRNGKey, batch: Any, *, group_scale: Scalar | float = 1.0
    ) -> ELBOTerms:
        """`group_scale` multiplies the coordinates of the group elements, for a warm-up."""
        ...


@dataclass(frozen=True)
class ELBO:
    """-ELBO / N of a model on data of `total` transitions, whatever the likelihood of their rows.

    rows: how many there are of them; None: as many as transitions. See `Estimator` and `PriorPrecision`.
    """

    total: int
    estimator: Estimator
    prior_precision: PriorPrecision = "optimal"
    rows: int | None = None

    @classmethod
    def of(cls, data: Rows, estimator: Estimator, prior_precision: PriorPrecision = "optimal") -> "ELBO":
        """The ELBO of all `data`."""
        return cls(len(likelihood_of(data).moves(data)), estimator, prior_precision, data.size)

    @full_precision()
    def __call__(
        self,
        posterior: Posterior,
        key: PRNGKey,
        batch: Any,
        *,
        group_scale: Scalar | float = 1.0,
        weights: Weights | None = None,
    ) -> ELBOTerms:
        """An estimate by one draw of weights, group elements and latent variables, `batch` standing for all
        data without bias. `weights` is that draw where it has been made already.

        NumPyro scales the likelihood and keeps the books; the KL of each site is the registered closed form.
        """
        scale = (self.total if self.rows is None else self.rows) / batch.size
        for_weights, for_model = jax.random.split(key)
        weights = posterior.draw(for_weights) if weights is None else weights
        drawn = numpyro.handlers.substitute(partial(guide, posterior, batch, scale), data=dict(weights))
        model = partial(self.model, posterior, batch, scale, group_scale)
        with HANDLERS:
            sites = TraceMeanField_ELBO(sum_sites=False).loss(for_model, {}, model, drawn)
        terms = {site: value / self.total for site, value in sites.items()}  # type: ignore[attr-defined]
        kl = {site: terms.pop(site) for site in posterior.means()}
        nll = terms.pop(OBSERVED)
        return ELBOTerms(sum(terms.values(), start=nll), kl)

    def model(self, posterior: Posterior, rows: Any, scale: float, group_scale: Scalar | float = 1.0) -> None:
        """p(theta) p(rows | flow), a NumPyro model of rows that stand for `scale` times as many."""
        weights = {
            site: numpyro.sample(site, IsotropicNormal(self._precision(posterior, site), mean.shape))
            for site, mean in posterior.means().items()
        }
        key = numpyro.prng_key()
        advance = flow_of(posterior, weights, key, self.estimator, group_scale=group_scale)  # type: ignore[arg-type]
        with numpyro.handlers.scale(scale=scale):
            likelihood_of(rows).model(posterior, rows, advance)

    def _precision(self, posterior: Posterior, site: str) -> Scalar:
        if self.prior_precision == "optimal":
            return optimal_precision(posterior.distribution(site))
        if self.prior_precision == "learned":
            return jnp.exp(posterior.log_prior_precisions[site][...])
        return jnp.asarray(self.prior_precision, posterior.means()[site].dtype)


def guide(posterior: Posterior, rows: Any, scale: float) -> None:
    """q(theta), one matrix normal per weight matrix, and q of the latent variables of rows that stand for
    `scale` times as many.
    """
    for site in posterior.means():
        numpyro.sample(site, posterior.distribution(site))
    with numpyro.handlers.scale(scale=scale):
        likelihood_of(rows).guide(posterior, rows)
