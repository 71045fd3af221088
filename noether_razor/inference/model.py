"""The probabilistic model and its guide, in NumPyro."""

import threading
from collections.abc import Callable
from functools import partial
from typing import Literal, cast

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ..integrators import transition
from ..networks import VectorFieldNetwork
from ..phase_space import hamiltonian_field
from ..symmetry import Averaging, symmetrised
from ..typing import PRNGKey, Scalar, State, States, VectorField
from .estimator import Estimator
from .matrix_normal import IsotropicNormal, optimal_precision
from .posterior import Posterior

PriorPrecision = float | Literal["optimal", "learned"]
"""lambda of every layer: its closed-form optimum, a parameter of the bound, or one fixed number."""

HANDLERS = threading.RLock()
"""Held while NumPyro's handlers are in use, which is while tracing: their stack is one for all threads."""


def guide(posterior: Posterior, *_: object, **__: object) -> None:
    """q(theta): one matrix normal a weight matrix."""
    for site in posterior.means():
        numpyro.sample(site, posterior.distribution(site))


def _prior_precision(posterior: Posterior, site: str, setting: PriorPrecision) -> Scalar:
    if setting == "optimal":
        return optimal_precision(posterior.distribution(site))
    if setting == "learned":
        return jnp.exp(posterior.log_prior_precisions[site][...])
    return jnp.asarray(setting, posterior.means()[site].dtype)


def _fresh_key() -> PRNGKey:
    """A typed key from the seed handler; `Predictive` hands on raw ones."""
    key = jnp.asarray(numpyro.prng_key())
    return key if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else jax.random.wrap_key_data(key)


def sampled_flow(
    posterior: Posterior,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    orbit_scale: Scalar | float = 1.0,
) -> Callable[[State, Scalar], State]:
    """Sample weights, p(theta), and group elements: the flow (x, dt) -> Phi_H^dt(x) that they make."""
    weights = {
        site: numpyro.sample(
            site, IsotropicNormal(_prior_precision(posterior, site, prior_precision), mean.shape)
        )
        for site, mean in posterior.means().items()
    }
    orbit = averaging.orbit(
        _fresh_key(),
        posterior.quantities,
        estimator.group_samples,
        independent=estimator.independent,
        scale=orbit_scale,
    )
    network = posterior.network_with(weights)  # type: ignore[arg-type]
    if isinstance(posterior.network, VectorFieldNetwork):
        field = cast(VectorField, network)
    else:
        field = hamiltonian_field(symmetrised(network, orbit, chunk=estimator.chunk))
    return partial(transition, field, substeps=estimator.substeps, step=estimator.step)


def transition_model(
    posterior: Posterior,
    states: States,
    dt: Float[Array, " batch"],
    targets: States | None = None,
    total: int | None = None,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    orbit_scale: Scalar | float = 1.0,
) -> None:
    """p(theta) prod_t N(x_{t+1}; Phi_H^dt(x_t), sigma^2 I), a batch standing for `total` transitions (None:
    for itself).

    Its means are the deterministic site ``prediction``; without `targets` the observed site ``target`` is
    drawn.
    """
    advance = sampled_flow(
        posterior,
        averaging=averaging,
        estimator=estimator,
        prior_precision=prior_precision,
        orbit_scale=orbit_scale,
    )
    predicted = numpyro.deterministic("prediction", jax.vmap(advance)(states, dt))
    noise = jnp.sqrt(posterior.noise_variance())
    with numpyro.handlers.scale(scale=1.0 if total is None else total / dt.shape[0]):
        numpyro.sample("target", dist.Normal(predicted, noise).to_event(2), obs=targets)
