"""The compiled training loop: many steps a call, stopped by the first ELBO that is not finite."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from jaxtyping import Array, Bool, Int

from ..devices import full_precision, undivided
from ..inference import ELBOTerms, Estimator, Objective, Posterior, Rows, elbo_and_gradient, steps_a_row
from ..typing import PRNGKey, Scalar
from .optimiser import Training


class TrainState(NamedTuple):
    """All that training changes; with the root key it determines every later step."""

    params: nnx.State
    optimiser: optax.OptState
    step: Int[Array, ""]


class Progress(NamedTuple):
    """Means over the steps of one call of the loop."""

    terms: ELBOTerms
    gradient_norm: Scalar


Loop = Callable[[TrainState, Any, PRNGKey, Int[Array, ""]], tuple[TrainState, Progress, Bool[Array, ""]]]
"""``loop(state, data, key, stop)`` trains on float32 `data` up to, not including, step `stop`: the new state,
its progress, and whether all was finite.
"""


def batch_size(count: int, wanted: int | None, estimator: Estimator) -> int:
    """Rows a step: at most `wanted` (None: all) of `count`, and a multiple of the weight samples that share
    them out.

    Raises ValueError when there are fewer than one for each weight sample.
    """
    size = count if wanted is None else min(wanted, count)
    if estimator.share_batch:
        return size
    if size < estimator.weight_samples:
        raise ValueError(
            f"a batch of {size} transitions or segments cannot be split evenly among "
            f"{estimator.weight_samples} weight samples"
        )
    return size // estimator.weight_samples * estimator.weight_samples


def rows_a_step(data: Rows, wanted: int | None, estimator: Estimator, count: int | None = None) -> int:
    """`batch_size` for about `wanted` transitions: so many rows, or as many whole segments as have no
    more, but one for each weight sample at least. `count`: how many rows there are; None: all of `data`.
    """
    steps = steps_a_row(data)
    if wanted is not None and steps > 1:
        wanted = max(wanted // steps, 1 if estimator.share_batch else estimator.weight_samples)
    return batch_size(data.size if count is None else count, wanted, estimator)


def make_loop(
    graph: nnx.GraphDef[Posterior], training: Training, objective: Objective, rows: int | None = None
) -> Loop:
    """The loop that minimises `objective`, to be jitted; the data and `stop` are arguments, so that one
    compilation serves a whole run, and every run of one shape.

    Step t depends on (key, t) alone: a run that is stopped and resumed takes the same steps. Once in every
    pass over the data their rows are shuffled anew, and dealt out in batches without repetition while they
    last. The KL divergence enters with a weight that rises linearly to 1 over the first `training.kl_warmup`
    steps, the group coordinates with a factor that does so over `training.group_warmup` from
    `training.quantities_after` on. Where the objective or a gradient is not finite, the state before that
    step is returned. The loop raises ValueError for a batch that does not fit the estimator. `rows` is how
    many of the data's rows count, where others follow that only fill up the devices; None: all.
    """
    optimiser = training.optimiser(objective.total)

    def ramp(step: Int[Array, ""], steps: int, after: int = 0) -> Scalar | float:
        return jnp.clip((step + 1 - after) / steps, 0.0, 1.0) if steps else 1.0

    # Jitted, it is traced once for its shapes and for the loop.
    @jax.jit
    def update(
        state: TrainState, data: Any, key: PRNGKey, drawn: Int[Array, " batch"]
    ) -> tuple[TrainState, Progress, Bool[Array, ""]]:
        terms, gradient = elbo_and_gradient(
            objective,
            graph,
            state.params,
            jax.random.fold_in(key, state.step),
            jax.tree.map(lambda x: undivided(x[undivided(drawn)]), data),
            kl_weight=ramp(state.step, training.kl_warmup),
            group_scale=ramp(state.step, training.group_warmup, training.quantities_after),
        )
        updates, optimiser_state = optimiser.update(gradient, state.optimiser, state.params)
        params = optax.apply_updates(state.params, updates)
        norm = optax.tree.norm(gradient)
        finite = jnp.isfinite(terms.negative_elbo()) & jnp.isfinite(norm)
        new = TrainState(params, optimiser_state, state.step + 1)  # type: ignore[arg-type]
        kept = jax.tree.map(lambda a, b: jnp.where(finite, a, b), new, state)
        return kept, Progress(terms, norm), finite

    @full_precision()
    def loop(
        state: TrainState, data: Any, key: PRNGKey, stop: Int[Array, ""]
    ) -> tuple[TrainState, Progress, Bool[Array, ""]]:
        count = data.size if rows is None else rows
        batch = rows_a_step(data, training.batch, objective.estimator, count)
        shuffle_every = max(1, count // batch)

        def shuffled(key: PRNGKey, step: Int[Array, ""]) -> Int[Array, " rows"]:
            epoch = jax.random.fold_in(key, step // shuffle_every)
            # Compiles in a fraction of the time that jax.random.permutation needs.
            return jnp.argsort(jax.random.bits(epoch, (count,)))

        for_batches, for_steps = jax.random.split(key)
        start, order = state.step, shuffled(for_batches, state.step)

        def body(carry):  # type: ignore[no-untyped-def]
            state, summed, order, _ = carry
            order = jax.lax.cond(
                state.step % shuffle_every == 0, lambda: shuffled(for_batches, state.step), lambda: order
            )
            drawn = order[(state.step % shuffle_every * batch + jnp.arange(batch)) % count]
            state, progress, finite = update(state, data, for_steps, drawn)
            return state, jax.tree.map(jnp.add, summed, progress), order, finite

        shapes = jax.eval_shape(update, state, data, for_steps, order[:batch])[1]
        zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        state, summed, _, finite = jax.lax.while_loop(
            lambda carry: (carry[0].step < stop) & carry[3], body, (state, zeros, order, jnp.array(True))
        )
        steps = jnp.maximum(state.step - start, 1)
        return state, jax.tree.map(lambda x: x / steps, summed), finite

    return loop
