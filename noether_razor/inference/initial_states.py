"""The true states at which windows of a trajectory begin, as far as the data tell them."""

import jax.numpy as jnp
import numpyro.distributions as dist
from flax import nnx
from jaxtyping import Array, Int

from ..typing import Scalar, States


class InitialStates(nnx.Module):
    """q(z) of the true initial states of all windows, normal and independent in every coordinate.

    `offsets` and `log_scales` (windows, 2n) are the difference of its mean from the measured state and the
    logarithm of its standard deviation, both in standard deviations of the noise: 0 is what the measured
    state alone says.
    """

    def __init__(self, windows: int, dim: int):
        self.offsets = nnx.Param(jnp.zeros((windows, dim)))
        self.log_scales = nnx.Param(jnp.zeros((windows, dim)))

    @property
    def count(self) -> int:
        """The number of windows."""
        return self.offsets[...].shape[0]

    def distribution(self, measured: States, index: Int[Array, " batch"], noise: Scalar) -> dist.Distribution:
        """q(z) for the windows `index`, given their measured initial states (batch, 2n) and the standard
        deviation of the noise on them.
        """
        means = measured + noise * self.offsets[...][index]
        return dist.Normal(means, noise * jnp.exp(self.log_scales[...][index])).to_event(2)
