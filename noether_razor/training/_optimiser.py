"""What training is asked to do, and the optimiser that does it: one optax group for each kind of parameter."""

from collections.abc import Hashable
from dataclasses import dataclass, field

import jax
import optax
from flax import nnx

from ..inference import PriorPrecision


@dataclass(frozen=True)
class Rates:
    """Peak step sizes of Adam, all decayed to 0 by a cosine over the run.

    weights: means and biases of the network. scales: logarithms of the posterior's row and column scales. correlations: its off-diagonal
    factors. quantities: the conserved quantities. hyper: learned noise variance and prior precisions.
    """

    weights: float = 5e-3
    scales: float = 2e-2
    correlations: float = 1e-3
    quantities: float = 1e-2
    hyper: float = 1e-2


@dataclass(frozen=True)
class Training:
    """How to maximise the bound.

    steps: gradient steps. batch: transitions a step, None for all. rates: step sizes. second_moment: Adam's beta_2; the gradients fall by
    orders of magnitude within a hundred steps, so its memory must be short. clip: global norm to which gradients are clipped.
    prior_precision: see `PriorPrecision`. learn_quantities, learn_noise_variance: whether these move. kl_warmup: steps over which the KL
    divergence is faded in. log_every: steps between reports.
    """

    steps: int
    batch: int | None = None
    rates: Rates = field(default_factory=Rates)
    second_moment: float = 0.95
    clip: float | None = None
    prior_precision: PriorPrecision = "optimal"
    learn_quantities: bool = True
    learn_noise_variance: bool = False
    kl_warmup: int = 0
    log_every: int = 100

    def __post_init__(self) -> None:
        for name in ("steps", "log_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")

    def optimiser(self) -> optax.GradientTransformation:
        """Adam with a cosine schedule for each group of ``nnx.state(posterior)``; what is not learned stays as it is."""

        def adam(rate: float, learned: bool = True) -> optax.GradientTransformation:
            if not learned:
                return optax.set_to_zero()
            return optax.adam(optax.cosine_decay_schedule(rate, self.steps), b2=self.second_moment)

        groups: dict[Hashable, optax.GradientTransformation] = {
            "weights": adam(self.rates.weights),
            "scales": adam(self.rates.scales),
            "correlations": adam(self.rates.correlations),
            "quantities": adam(self.rates.quantities, self.learn_quantities),
            "noise_variance": adam(self.rates.hyper, self.learn_noise_variance),
            "prior_precision": adam(self.rates.hyper, self.prior_precision == "learned"),
        }
        grouped = optax.multi_transform(groups, _groups)
        return grouped if self.clip is None else optax.chain(optax.clip_by_global_norm(self.clip), grouped)


_GROUP_OF_FIELD = {
    "network": "weights",
    "log_row_scales": "scales",
    "log_column_scales": "scales",
    "row_factors": "correlations",
    "column_factors": "correlations",
    "quantities": "quantities",
    "log_noise_variance": "noise_variance",
    "log_prior_precisions": "prior_precision",
}


def _groups(params: nnx.State) -> nnx.State:
    """The group of each parameter, by the field of `Posterior` that it belongs to."""
    return jax.tree_util.tree_map_with_path(lambda path, _: _GROUP_OF_FIELD[path[0].key], params)
