"""Single transitions, whose inputs are taken as exact."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Float

from ...trajectories import Trajectories, Transitions
from ..posterior import Posterior
from .base import OBSERVED, Flow, register_likelihood


@register_likelihood
class TransitionLikelihood:
    """prod_t N(x_{t+1}; Phi_H^dt(x_t), sigma^2 I)."""

    kind: ClassVar[str] = "transitions"
    rows: ClassVar[type] = Transitions
    several_steps: ClassVar[bool] = False
    noisy_inputs: ClassVar[bool] = False

    def text(self, steps: int) -> str:
        del steps
        return "transitions"

    def cut(self, trajectories: Trajectories, steps: int) -> Transitions:
        del steps
        return trajectories.transitions()

    def moves(self, rows: Transitions) -> Float[np.ndarray, "transitions dim"]:
        return np.asarray(rows.targets, np.float64) - np.asarray(rows.states, np.float64)

    def noise_floor(self, dim: int, variance: float, steps: int) -> float:
        del steps
        return dim / 2 * (float(np.log(2 * np.pi * variance)) + 1)

    def latents(self, rows: Transitions) -> None:
        del rows

    def guide(self, posterior: Posterior, rows: Transitions) -> None:
        del posterior, rows

    def model(self, posterior: Posterior, rows: Transitions, advance: Flow) -> None:
        predicted = jax.vmap(advance)(jnp.asarray(rows.states), jnp.asarray(rows.dt))
        noise = jnp.sqrt(posterior.noise_variance())
        numpyro.sample(OBSERVED, dist.Normal(predicted, noise).to_event(2), obs=jnp.asarray(rows.targets))
