"""The ELBO of a trained model, estimated until it is known well enough."""

from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float, Key

from ..integrators import midpoint_step
from ..typing import PRNGKey
from .elbo import ELBO
from .likelihoods.base import Rows, in_single_precision, steps_a_row
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


class ELBOEstimate(NamedTuple):
    """-ELBO / N and its parts, in nats per transition; `nll_stderr` is the Monte Carlo standard error of the
    likelihood part.
    """

    negative_elbo: float
    nll: float
    nll_stderr: float
    kl: float


@partial(jax.jit, static_argnames=("objective", "graph"))
def _sweeps(
    objective: ELBO,
    graph: nnx.GraphDef[Posterior],
    params: nnx.State,
    parts: Any,
    keys: Key[Array, " sweeps"],
) -> Float[Array, "sweeps blocks 2"]:
    """NLL and KL divergence per transition of `parts`, whose axes are (blocks, parts, rows), from each
    block.
    """
    posterior = nnx.merge(graph, params)
    blocks, count = parts.dt.shape[:2]

    def block(pair: tuple[PRNGKey, Any]) -> Float[Array, " 2"]:
        for_weights, for_groups = jax.random.split(pair[0])
        weights = posterior.flipped_draws(for_weights, count)
        keys = jax.random.split(for_groups, count)

        def part(key: PRNGKey, rows: Any, drawn: Weights) -> Float[Array, " 2"]:
            terms = objective(posterior, key, rows, weights=drawn)
            return jnp.stack([terms.nll, terms.total_kl()])

        return jnp.mean(jax.vmap(part)(keys, pair[1], weights), axis=0)

    def sweep(key: PRNGKey) -> Float[Array, "blocks 2"]:
        return jax.lax.map(block, (jax.random.split(key, blocks), parts))

    return jax.lax.map(sweep, keys)


def random_part(data: Rows, key: PRNGKey, transitions: int) -> Any:
    """Random rows of `data` that hold about so many `transitions`, or all rows, in their order."""
    rows = max(1, transitions // steps_a_row(data))
    chosen = np.sort(np.asarray(jax.random.permutation(key, data.size))[:rows])
    return jax.tree.map(lambda x: np.asarray(x)[chosen], data)


def _dealt(data: Rows, key: PRNGKey) -> Any:
    """Rows in random order, dealt out: axes (blocks, parts, rows)."""
    count = data.size
    size = max(1, min(PART // steps_a_row(data), count // PARTS))
    block = min(count // size, BLOCK)
    blocks = count // (size * block)
    order = np.asarray(jax.random.permutation(key, count))[: blocks * block * size]
    dealt = lambda x: np.asarray(x)[order].reshape(blocks, block, size, *np.shape(x)[1:])  # noqa: E731
    return in_single_precision(jax.tree.map(dealt, data))


class _Level:
    """Sweeps of one level of the estimate, and what one of them costs."""

    def __init__(self, key: PRNGKey, cost: float, blocks: int):
        self.key, self.cost = key, cost
        self.values = np.zeros((0, blocks, 2))

    def __len__(self) -> int:
        return len(self.values)

    def keys(self, sweeps: int) -> Key[Array, " sweeps"]:
        """Those of the next sweeps."""
        return jax.random.split(jax.random.fold_in(self.key, len(self)), sweeps)

    def add(self, values: Float[Array | np.ndarray, "sweeps blocks 2"]) -> None:
        self.values = np.concatenate([self.values, np.asarray(values, np.float64)])

    def mean(self) -> Float[np.ndarray, " 2"]:
        return self.values.mean((0, 1))

    def variance(self) -> float:
        """Of the mean likelihood part; of few sweeps each block counts as a sample, which errs upwards."""
        nll = self.values[..., 0].mean(1) if len(self) >= LEAST else self.values[..., 0].ravel()
        return float(np.var(nll, ddof=1) / len(nll))


def estimate_elbo(
    objective: ELBO,
    posterior: Posterior,
    key: PRNGKey,
    data: Rows,
    *,
    stderr: float = 0.02,
    trained: int | None = None,
) -> ELBOEstimate:
    """The ELBO of a model, estimated on the random part `data` of what `objective` is of.

    A sweep deals the data out in parts of at most `PART` transitions, or of one segment, each with weights
    and group elements of its own. Most of the variance is that of the weights, so most sweeps are coarse
    (midpoint steps, few group samples), and fewer sweeps estimate the difference to the estimator of
    `objective`, with the same weights in both: the sum is unbiased for it (multilevel Monte Carlo, Giles
    2008). Sweeps are added to either level where they reduce the standard error of the likelihood part most
    for their cost, until it is at most `stderr`, or the cost `MAX_SHARE` of that of training on `trained`
    transitions, steps times batch (None: whatever it costs). A predictive distribution with heavy tails, that
    of a network which has learned little, would take longer to evaluate than to train.
    """
    graph, params = nnx.split(posterior)
    for_order, *for_levels = jax.random.split(key, 3)
    dealt, fine = _dealt(data, for_order), objective.estimator
    blocks, block, size = dealt.dt.shape[:3]
    sweeps = min(max(ROUND // (blocks * block), 1), 32)
    groups = min(COARSE_GROUP_SAMPLES, fine.group_samples)
    coarsened = replace(objective, estimator=replace(fine, step=midpoint_step, group_samples=groups))
    # Four field evaluations a step instead of two, and the coarse ones again.
    costs = 1.0, 1 + 2 * fine.group_samples / groups
    coarse, difference = levels = tuple(
        _Level(k, cost, blocks) for k, cost in zip(for_levels, costs, strict=True)
    )
    affordable = np.inf if trained is None else MAX_SHARE / COARSE_SHARE * trained / (blocks * block * size)
    level, spent, error = coarse, 0.0, np.inf
    while len(difference) == 0 or (error > stderr and spent < affordable):
        keys = level.keys(sweeps)
        found = np.asarray(_sweeps(coarsened, graph, params, dealt, keys), np.float64)
        if level is difference:
            found = np.asarray(_sweeps(objective, graph, params, dealt, keys), np.float64) - found
        level.add(found)
        spent += level.cost * sweeps
        if len(coarse) < LEAST or len(difference) == 0:
            level = difference if len(coarse) >= LEAST else coarse
            continue
        error = float(np.sqrt(sum(each.variance() for each in levels)))
        # Where another round takes most off the variance for its cost.
        level = max(levels, key=lambda each: each.variance() / each.cost / (len(each) + sweeps))
    nll, kl = (float(part) for part in coarse.mean() + difference.mean())
    return ELBOEstimate(nll + kl, nll, error, kl)
