"""The bound of a trained posterior, estimated until it is known well enough."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from ..integrators import midpoint_step
from ..symmetry import Averaging
from ..typing import PRNGKey
from .estimator import Estimator
from .model import PriorPrecision
from .observations import Observations, in_single_precision, observed_bound_terms, steps_a_row
from .posterior import Posterior, Weights

COARSE_SHARE = 0.1
"""Cost of a coarse evaluation of a transition against that of its gradient in training."""
MAX_SHARE = 0.3
"""Of the cost of training: where a smaller error would cost more, the one reached has to do."""
ROUND = 256
"""Weight samples a compiled call, about; at least one sweep, at most 32."""
PART = 8
"""Transitions that share a weight sample, at most: few, for errors of neighbours are alike."""
PARTS = 14
"""Weight samples a sweep, at least."""
BLOCK = 32
"""Weight samples that share their noise up to signs."""
LEAST = 4
"""Coarse sweeps before their variance is believed."""
COARSE_GROUP_SAMPLES = 8


class BoundEstimate(NamedTuple):
    """-ELBO / N and its parts, in nats per transition; `nll_stderr` is the Monte Carlo standard error of the
    likelihood part.
    """

    negative_elbo: float
    nll: float
    nll_stderr: float
    kl: float


@partial(jax.jit, static_argnames=("graph", "total", "averaging", "estimator", "prior_precision"))
def _sweeps(
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    keys: Key[Array, " sweeps"],
    parts: Observations,
    total: int,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision,
) -> Float[Array, "sweeps blocks 2"]:
    """NLL and KL divergence per transition of `parts`, whose axes are (blocks, parts, rows) and which stand
    for `total` transitions, from each block.
    """
    posterior = nnx.merge(graph, params)
    blocks, count = parts.dt.shape[:2]
    bound = partial(
        observed_bound_terms,
        posterior,
        total=total,
        averaging=averaging,
        estimator=estimator,
        prior_precision=prior_precision,
    )

    def block(pair: tuple[PRNGKey, Observations]) -> Float[Array, " 2"]:
        for_weights, for_orbits = jax.random.split(pair[0])
        weights = posterior.flipped_draws(for_weights, count)
        keys = jax.random.split(for_orbits, count)

        def part(key: PRNGKey, rows: Observations, drawn: Weights) -> Float[Array, " 2"]:
            terms = bound(key, rows, weights=drawn)
            return jnp.stack([terms.nll, terms.total_kl()])

        return jnp.mean(jax.vmap(part)(keys, pair[1], weights), axis=0)

    def sweep(key: PRNGKey) -> Float[Array, "blocks 2"]:
        return jax.lax.map(block, (jax.random.split(key, blocks), parts))

    return jax.lax.map(sweep, keys)


def random_part(data: Observations, key: PRNGKey, transitions: int) -> Observations:
    """Random rows of `data` that hold about so many `transitions`, or all rows, in their order."""
    rows = max(1, transitions // steps_a_row(data))
    chosen = np.sort(np.asarray(jax.random.permutation(key, data.size))[:rows])
    return jax.tree.map(lambda x: np.asarray(x)[chosen], data)


def _dealt(data: Observations, key: PRNGKey) -> Observations:
    """Rows in random order, dealt out: axes (blocks, parts, rows)."""
    count = data.size
    size = max(1, min(PART // steps_a_row(data), count // PARTS))
    block = min(count // size, BLOCK)
    blocks = count // (size * block)
    order = np.asarray(jax.random.permutation(key, count))[: blocks * block * size]
    return jax.tree.map(
        lambda x: x[order].reshape(blocks, block, size, *np.shape(x)[1:]), in_single_precision(data)
    )


def _sweeps_a_round(dealt: Observations) -> int:
    blocks, block = dealt.dt.shape[:2]
    return min(max(ROUND // (blocks * block), 1), 32)


def estimate_bound(
    posterior: Posterior,
    key: PRNGKey,
    data: Observations,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    stderr: float = 0.02,
    trained: int | None = None,
) -> BoundEstimate:
    """The bound on `total` transitions, estimated on the random part `data` of them.

    A sweep deals the data out in parts of at most `PART` transitions, or of one window, each with weights and
    group elements of its own. Most of the variance is that of the weights, so most sweeps are coarse
    (midpoint steps, few group samples), and fewer sweeps estimate the difference to `estimator`, with the
    same weights in both: the sum is unbiased for `estimator` (multilevel Monte Carlo, Giles 2008). Sweeps are
    added to either level where they reduce the standard error of the likelihood part most for their cost,
    until it is at most `stderr`, or the cost `MAX_SHARE` of that of training on `trained` transitions, steps
    times batch (None: whatever it costs). A predictive distribution with heavy tails, that of a network which
    has learned little, would take longer to evaluate than to train.
    """
    graph, params = nnx.split(posterior)
    for_order, *for_levels = jax.random.split(key, 3)
    dealt = _dealt(data, for_order)
    blocks, block, size = dealt.dt.shape[:3]
    used, sweeps = blocks * block * size, _sweeps_a_round(dealt)
    coarse = replace(
        estimator, step=midpoint_step, group_samples=min(COARSE_GROUP_SAMPLES, estimator.group_samples)
    )
    run = partial(
        _sweeps, graph, params, parts=dealt, total=total, averaging=averaging, prior_precision=prior_precision
    )

    def coarse_round(keys: Key[Array, " sweeps"]) -> Float[np.ndarray, "sweeps blocks 2"]:
        return np.asarray(run(keys=keys, estimator=coarse), dtype=np.float64)

    def difference_round(keys: Key[Array, " sweeps"]) -> Float[np.ndarray, "sweeps blocks 2"]:
        return np.asarray(run(keys=keys, estimator=estimator), dtype=np.float64) - coarse_round(keys)

    def variance(values: Float[np.ndarray, "sweeps blocks 2"]) -> float:
        """Of the mean likelihood part; of few sweeps each block counts as a sample, which errs upwards."""
        nll = values[..., 0].mean(1) if len(values) >= LEAST else values[..., 0].ravel()
        return float(np.var(nll, ddof=1) / len(nll))

    # Four field evaluations a step instead of two, and the coarse ones again.
    price = 1 + 2 * estimator.group_samples / coarse.group_samples
    rounds, costs = (coarse_round, difference_round), np.array([1.0, price])
    affordable = np.inf if trained is None else MAX_SHARE / COARSE_SHARE * trained / used
    values = [np.zeros((0, blocks, 2)), np.zeros((0, blocks, 2))]
    level, spent, error = 0, 0.0, np.inf
    while len(values[1]) == 0 or (error > stderr and spent < affordable):
        keys = jax.random.split(jax.random.fold_in(for_levels[level], len(values[level])), sweeps)
        values[level] = np.concatenate([values[level], rounds[level](keys)])
        spent += costs[level] * sweeps
        if len(values[0]) < LEAST or len(values[1]) == 0:
            level = int(len(values[0]) >= LEAST)
            continue
        variances = np.array([variance(v) for v in values])
        error = float(np.sqrt(variances.sum()))
        # Where another round takes most off the variance for its cost.
        level = int(np.argmax(variances / costs / [len(v) + sweeps for v in values]))
    nll, kl = (float(part) for part in values[0].mean((0, 1)) + values[1].mean((0, 1)))
    return BoundEstimate(nll + kl, nll, error, kl)
