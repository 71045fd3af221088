"""The Hamiltonian and the flow of one draw of a model."""

from functools import partial
from typing import cast

import jax

from ..devices import full_precision
from ..integrators import transition
from ..networks import FieldNetwork
from ..phase_space import hamiltonian_field
from ..symmetry import GroupDraws, symmetrised
from ..typing import Hamiltonian, PRNGKey, Scalar, VectorField
from .estimator import Estimator
from .likelihoods.base import Flow
from .posterior import Posterior, Weights


def hamiltonian_of(
    posterior: Posterior,
    weights: Weights,
    key: PRNGKey,
    estimator: Estimator,
    *,
    group_scale: Scalar | float = 1.0,
) -> Hamiltonian:
    """H with these `weights`, averaged over group elements drawn with `key`, their coordinates times
    `group_scale`.
    """
    draws = GroupDraws(estimator.group_samples, estimator.independent, group_scale)
    with full_precision():
        samples = posterior.averaging.sample(key, posterior.quantities, draws)
    return full_precision()(symmetrised(posterior.network_with(weights), samples, chunk=estimator.chunk))


def flow_of(
    posterior: Posterior,
    weights: Weights,
    key: PRNGKey,
    estimator: Estimator,
    *,
    group_scale: Scalar | float = 1.0,
) -> Flow:
    """Its flow, by the integrator of `estimator`; of a `FieldNetwork` that of its field."""
    if isinstance(posterior.network, FieldNetwork):
        field = full_precision()(cast(VectorField, posterior.network_with(weights)))
    else:
        field = hamiltonian_field(hamiltonian_of(posterior, weights, key, estimator, group_scale=group_scale))
    # Jitted, it is traced once for all stages of a step.
    return partial(transition, jax.jit(field), substeps=estimator.substeps, step=estimator.step)
