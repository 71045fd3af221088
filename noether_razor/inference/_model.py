"""The probabilistic model and its guide, in NumPyro."""

from collections.abc import Callable
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Float

from ..data import Transitions
from ..integrators import fixed_step_rollout, transition
from ..phase_space import hamiltonian_field
from ..symmetry import Averaging, symmetrised
from ..typing import Hamiltonian, Scalar, States
from ._estimator import Estimator
from ._matrix_normal import IsotropicNormal, optimal_precision
from ._posterior import Posterior

PriorPrecision = float | Literal["optimal", "learned"]
"""lambda of every layer: its closed-form optimum, a parameter of the bound, or one fixed number."""


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


def _sample_hamiltonian(
    posterior: Posterior, averaging: Averaging, estimator: Estimator, prior_precision: PriorPrecision
) -> Hamiltonian:
    """H for weights drawn at NumPyro's sample sites and group elements of its own."""
    weights = {
        site: numpyro.sample(
            site, IsotropicNormal(_prior_precision(posterior, site, prior_precision), mean.shape)
        )
        for site, mean in posterior.means().items()
    }
    orbit = averaging.orbit(
        numpyro.prng_key(),  # type: ignore[arg-type]
        posterior.quantities,
        estimator.group_samples,
        independent=estimator.independent,
    )
    return symmetrised(posterior.network_with(weights), orbit)  # type: ignore[arg-type]


def transition_model(
    posterior: Posterior,
    batch: Transitions,
    total: float,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision,
) -> None:
    """p(theta) prod_t N(x_{t+1}; Phi_H^dt(x_t), sigma^2 I), a batch standing for `total` transitions."""
    hamiltonian = _sample_hamiltonian(posterior, averaging, estimator, prior_precision)
    advance = partial(
        transition, hamiltonian_field(hamiltonian), substeps=estimator.substeps, step=estimator.step
    )
    predicted = jax.vmap(advance)(batch.states, batch.dt)  # type: ignore[arg-type]
    noise = jnp.sqrt(posterior.noise_variance())
    with numpyro.handlers.scale(scale=total / batch.count):
        numpyro.sample("target", dist.Normal(predicted, noise).to_event(2), obs=batch.targets)


def rollout_model(
    posterior: Posterior,
    initial: States,
    times: Float[Array, "batch time"],
    *,
    averaging: Averaging,
    estimator: Estimator,
) -> None:
    """Trajectories under one draw of the weights, at the deterministic site ``rollout``: (batch, time, 2n)."""
    hamiltonian = _sample_hamiltonian(posterior, averaging, estimator, "optimal")
    advance: Callable[..., Array] = partial(
        fixed_step_rollout, hamiltonian_field(hamiltonian), substeps=estimator.substeps, step=estimator.step
    )
    numpyro.deterministic("rollout", jax.vmap(advance)(initial, times))
