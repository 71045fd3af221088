"""The bound of a trained posterior, estimated until it is known well enough."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..data import Transitions
from ..inference import Estimator, Posterior, PriorPrecision, bound_terms
from ..symmetry import Averaging
from ..typing import PRNGKey

MAX_SWEEPS = 1536
SWEEPS_A_ROUND = 16
PART = 8
"""Transitions that share a weight sample: few, for their errors are then nearly independent."""
PARTS_AT_ONCE = 32


class BoundEstimate(NamedTuple):
    """-ELBO / N and its parts, in nats per transition; `nll_stderr` is the Monte Carlo standard error of the
    likelihood part.
    """

    negative_elbo: float
    nll: float
    nll_stderr: float
    kl: float


@partial(jax.jit, static_argnames=("graph", "averaging", "estimator", "prior_precision"))
def _sweeps(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    keys: PRNGKey,
    parts: Transitions,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision,
) -> tuple[Float[Array, " sweeps"], Float[Array, ""]]:
    posterior = nnx.merge(graph, params)
    bound = partial(
        bound_terms, posterior, averaging=averaging, estimator=estimator, prior_precision=prior_precision
    )
    total = parts.states.shape[0] * parts.states.shape[1]

    def sweep(key: PRNGKey) -> tuple[Float[Array, ""], Float[Array, ""]]:
        part_keys = jax.random.split(key, parts.states.shape[0])
        terms = jax.lax.map(
            lambda pair: bound(pair[0], pair[1], total), (part_keys, parts), batch_size=PARTS_AT_ONCE
        )
        return jnp.mean(terms.nll), jnp.mean(terms.total_kl())

    nll, kl = jax.lax.map(sweep, keys)
    return nll, kl[0]


def estimate_bound(
    posterior: Posterior,
    key: PRNGKey,
    transitions: Transitions,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    stderr: float = 0.02,
) -> BoundEstimate:
    """The bound on `total` transitions, estimated on all of them or on the random subset `transitions`.

    A sweep deals the transitions out in parts of at most `PART`, each with weights and group elements of its
    own; rounds of 16 sweeps are added until the standard error of the likelihood part is at most `stderr`,
    1536 sweeps at most.
    """
    count = transitions.size
    size = max(1, min(PART, count // estimator.weight_samples))
    parts = count // size
    used = parts * size
    graph, params = nnx.split(posterior)
    for_order, for_sweeps = jax.random.split(key)
    order = np.asarray(jax.random.permutation(for_order, count))[:used]
    dealt = jax.tree.map(
        lambda x: jnp.asarray(x, jnp.float32)[order].reshape(parts, -1, *np.shape(x)[1:]), transitions
    )
    values: list[float] = []
    error = np.inf
    kl = 0.0
    while len(values) < MAX_SWEEPS and error > stderr:
        keys = jax.random.split(jax.random.fold_in(for_sweeps, len(values)), SWEEPS_A_ROUND)
        nll, divergence = _sweeps(graph, params, keys, dealt, averaging, estimator, prior_precision)
        values += np.asarray(nll, dtype=np.float64).tolist()
        # A sweep's KL is per transition of the subset; the bound counts it once for all `total`.
        kl = float(divergence) * used / total
        error = float(np.std(values, ddof=1) / np.sqrt(len(values)))
    mean = float(np.mean(values))
    return BoundEstimate(mean + kl, mean, error, kl)
