"""One optax optimiser, a group of parameters each."""

from dataclasses import dataclass

import jax
import optax
from flax import nnx


@dataclass(frozen=True)
class Rates:
    """Peak step sizes of Adam, all decayed to 0 by a cosine over the run.

    weights: means and biases of the network. scales: logarithms of the posterior's row and column scales. correlations: its off-diagonal
    factors. quantities: the conserved quantities. hyper: learned noise variance and prior precisions.
    second_moment: Adam's beta_2. The gradients fall by orders of magnitude within a hundred steps, so it must be short.
    clip: global norm to which gradients are clipped; None for no clipping.
    """

    weights: float = 5e-3
    scales: float = 2e-2
    correlations: float = 1e-3
    quantities: float = 1e-2
    hyper: float = 1e-2
    second_moment: float = 0.95
    clip: float | None = None


_GROUP_OF_PATH = {
    "network": "weights",
    "log_row_scales": "scales",
    "log_column_scales": "scales",
    "row_factors": "correlations",
    "column_factors": "correlations",
    "quantities": "quantities",
    "log_noise_variance": "noise_variance",
    "log_prior_precisions": "prior_precision",
}


def optimiser(
    steps: int,
    rates: Rates,
    *,
    learn_quantities: bool,
    learn_noise_variance: bool,
    learn_prior_precision: bool,
) -> optax.GradientTransformation:
    """Adam with a cosine schedule for each group of ``nnx.state(posterior)``; what is not learned stays as it is."""

    def adam(rate: float) -> optax.GradientTransformation:
        return optax.adam(optax.cosine_decay_schedule(rate, steps), b2=rates.second_moment)

    def learned(rate: float, flag: bool) -> optax.GradientTransformation:
        return adam(rate) if flag else optax.set_to_zero()

    groups = {
        "weights": adam(rates.weights),
        "scales": adam(rates.scales),
        "correlations": adam(rates.correlations),
        "quantities": learned(rates.quantities, learn_quantities),
        "noise_variance": learned(rates.hyper, learn_noise_variance),
        "prior_precision": learned(rates.hyper, learn_prior_precision),
    }

    def labels(params: nnx.State) -> nnx.State:
        return jax.tree_util.tree_map_with_path(lambda path, _: _GROUP_OF_PATH[path[0].key], params)

    grouped = optax.multi_transform(groups, labels)
    return grouped if rates.clip is None else optax.chain(optax.clip_by_global_norm(rates.clip), grouped)
