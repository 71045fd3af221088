"""Multiple shooting: segments of trajectories whose initial states are measured with noise, too."""

from typing import ClassVar, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from ...scaling import whole_turns
from ...trajectories import Trajectories
from ...typing import Scalar, States
from ..posterior import Posterior
from .base import OBSERVED, Flow, register_likelihood

INITIAL = "initial"


class Segments(NamedTuple):
    """Pieces of trajectories of L steps, one beginning where the one before it ends.

    states: as measured, at L + 1 times. dt: between them, 0 where there is no further one. measured: whether
    the state at the end of a step was measured. number: of the segment, among all.
    """

    states: Float[Array | np.ndarray, "segments times dim"]
    dt: Float[Array | np.ndarray, "segments steps"]
    measured: Bool[Array | np.ndarray, "segments steps"]
    number: Int[Array | np.ndarray, " segments"]

    @property
    def size(self) -> int:
        """The number of segments."""
        return self.dt.shape[0]


class InitialStates(nnx.Module):
    """q(z) of the true initial states of all segments, normal and independent in every coordinate.

    `offsets` and `log_scales` (segments, 2n) are the difference of its mean from the measured state and the
    logarithm of its standard deviation, both in standard deviations of the noise: 0 is what the measured
    state alone says.
    """

    def __init__(self, segments: int, dim: int):
        self.offsets = nnx.Param(jnp.zeros((segments, dim)))
        self.log_scales = nnx.Param(jnp.zeros((segments, dim)))

    def distribution(self, measured: States, index: Int[Array, " batch"], noise: Scalar) -> dist.Distribution:
        """q(z) of the segments `index`, given their measured initial states (batch, 2n) and the standard
        deviation of the noise on them.
        """
        means = measured + noise * self.offsets[...][index]
        return dist.Normal(means, noise * jnp.exp(self.log_scales[...][index])).to_event(2)


@register_likelihood
class SegmentLikelihood:
    """prod_s p(z_s | y_s0) prod_k N(y_sk; Phi_H^(t_k - t_0)(z_s), sigma^2 I) over segments s.

    The true initial state z is N(y_0, sigma^2 I) given the measured one y_0 and a flat prior, so this is the
    probability of all later states of a segment given its first.
    """

    kind: ClassVar[str] = "windows"
    rows: ClassVar[type] = Segments
    several_steps: ClassVar[bool] = True
    noisy_inputs: ClassVar[bool] = True

    def text(self, steps: int) -> str:
        return f"multiple shooting over {steps} steps"

    def cut(self, trajectories: Trajectories, steps: int) -> Segments:
        """Every trajectory in segments of `steps` steps, the last of each shorter where they do not fit.

        Each step is in one segment; a state where two meet ends one and begins the other. Raises ValueError
        for fewer than 1 step, and for stored targets: their inputs have no noise.
        """
        if steps < 1:
            raise ValueError(f"steps must be at least 1, got {steps}")
        if trajectories.targets is not None:
            raise ValueError(
                "multiple shooting is for noise on all states, but these data have noisy targets and exact "
                "inputs"
            )
        states, dt, measured = [], [], []
        for times, path in trajectories.segments():
            for start in range(0, len(times) - 1, steps):
                at = np.arange(start, start + steps + 1)
                kept = np.minimum(at, len(times) - 1)
                piece = path[kept]
                # However many turns there are before it, float32 holds a segment that begins near 0.
                states.append(piece - whole_turns(piece[:1], trajectories.periods))
                dt.append(np.diff(times[kept]))
                measured.append(at[1:] < len(times))
        return Segments(np.stack(states), np.stack(dt), np.stack(measured), np.arange(len(states)))

    def moves(self, rows: Segments) -> Float[np.ndarray, "transitions dim"]:
        states = np.asarray(rows.states, np.float64)
        return (states[:, 1:] - states[:, :1])[np.asarray(rows.measured)]

    def noise_floor(self, dim: int, variance: float, steps: int) -> float:
        """Segments of L steps pay for their noisy first states, too: the determinant of I + sum_k F_k^T F_k,
        of the flow's derivatives F_k, is (1 + L)^2n for rotations and more for other flows.
        """
        return dim / 2 * (float(np.log(2 * np.pi * variance)) + 1 + float(np.log1p(steps)) / steps)

    def latents(self, rows: Segments) -> InitialStates:
        return InitialStates(rows.size, rows.states.shape[-1])

    def guide(self, posterior: Posterior, rows: Segments) -> None:
        assert isinstance(posterior.latents, InitialStates), "segments need a posterior with initial states"
        noise = jnp.sqrt(posterior.noise_variance())
        first, index = jnp.asarray(rows.states)[:, 0], jnp.asarray(rows.number)
        numpyro.sample(INITIAL, posterior.latents.distribution(first, index, noise))

    def model(self, posterior: Posterior, rows: Segments, advance: Flow) -> None:
        states, noise = jnp.asarray(rows.states), jnp.sqrt(posterior.noise_variance())
        start = jnp.asarray(numpyro.sample(INITIAL, dist.Normal(states[:, 0], noise).to_event(2)))

        def move(at: States, step: Float[Array, " batch"]) -> tuple[States, States]:
            following = jax.vmap(advance)(at, step)
            return following, following

        path = jnp.swapaxes(jax.lax.scan(move, start, jnp.asarray(rows.dt).T)[1], 0, 1)
        measured = jnp.asarray(rows.measured)[:, :, None]
        numpyro.sample(OBSERVED, dist.Normal(path, noise).mask(measured).to_event(3), obs=states[:, 1:])
