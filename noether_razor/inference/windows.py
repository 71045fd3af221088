"""The likelihood of whole windows of a trajectory, whose initial states are measured with noise, too."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from jaxtyping import Array, Bool, Float, Int
from numpyro.infer import TraceMeanField_ELBO

from ..scaling import whole_turns
from ..symmetry import Averaging
from ..trajectories import Trajectories
from ..typing import PRNGKey, Scalar, States
from .bound import OBSERVED, BoundTerms
from .estimator import Estimator
from .initial_states import InitialStates
from .model import HANDLERS, PriorPrecision, guide, sampled_flow
from .posterior import Posterior, Weights

INITIAL = "initial"


class Windows(NamedTuple):
    """Pieces of trajectories of L steps, one beginning where the one before it ends.

    states: as measured, at L + 1 times. dt: between them, 0 where there is no further one. measured: whether
    the state at the end of a step was measured. number: of the window, among all.
    """

    states: Float[Array | np.ndarray, "windows times dim"]
    dt: Float[Array | np.ndarray, "windows steps"]
    measured: Bool[Array | np.ndarray, "windows steps"]
    number: Int[Array | np.ndarray, " windows"]

    @property
    def size(self) -> int:
        """The number of windows."""
        return self.dt.shape[0]

    @property
    def transitions(self) -> int:
        """The number of measured steps."""
        return int(np.sum(self.measured))


def windows_of(trajectories: Trajectories, steps: int) -> Windows:
    """Every trajectory cut into windows of `steps` steps, the last of each shorter where they do not fit.

    Each step is in one window; a state where two windows meet ends one and begins the other. Raises
    ValueError for fewer than 1 step, and for stored targets: their inputs have no noise.
    """
    if steps < 1:
        raise ValueError(f"steps must be at least 1, got {steps}")
    if trajectories.targets is not None:
        raise ValueError(
            "windows are for noise on all states, but these data have noisy targets and exact inputs"
        )
    states, dt, measured = [], [], []
    for times, path in trajectories.segments():
        for start in range(0, len(times) - 1, steps):
            at = np.arange(start, start + steps + 1)
            kept = np.minimum(at, len(times) - 1)
            piece = path[kept]
            # However many turns there are before it, float32 holds a window that begins near 0.
            states.append(piece - whole_turns(piece[:1], trajectories.periods))
            dt.append(np.diff(times[kept]))
            measured.append(at[1:] < len(times))
    return Windows(np.stack(states), np.stack(dt), np.stack(measured), np.arange(len(states)))


def _input_noise(posterior: Posterior, input_variance: float | None) -> Scalar:
    variance = posterior.noise_variance()
    return jnp.sqrt(variance if input_variance is None else jnp.asarray(input_variance, variance.dtype))


def window_guide(
    posterior: Posterior,
    initial: InitialStates,
    batch: Windows,
    total: int,
    *,
    input_variance: float | None = None,
) -> None:
    """q(theta) q(z) for a batch that stands for `total` windows."""
    guide(posterior)
    noise = _input_noise(posterior, input_variance)
    first, index = jnp.asarray(batch.states)[:, 0], jnp.asarray(batch.number)
    with numpyro.handlers.scale(scale=total / batch.size):
        numpyro.sample(INITIAL, initial.distribution(first, index, noise))


def window_model(
    posterior: Posterior,
    batch: Windows,
    total: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    orbit_scale: Scalar | float = 1.0,
    input_variance: float | None = None,
) -> None:
    """p(theta) prod_w p(z_w | y_w0) prod_k N(y_wk; Phi_H^(t_k - t_0)(z_w), sigma^2 I) over windows w, a batch
    standing for `total` of them.

    The true initial state z is N(y_0, sigma^2 I) given the measured one y_0 and a flat prior, so this is the
    probability of all later states of a window given its first; `input_variance` takes the place of sigma^2
    there where the first states have other noise. As it goes to 0, windows of one step are the one-step
    likelihood of `transition_model`.
    """
    advance = sampled_flow(
        posterior,
        averaging=averaging,
        estimator=estimator,
        prior_precision=prior_precision,
        orbit_scale=orbit_scale,
    )
    states, dt = jnp.asarray(batch.states), jnp.asarray(batch.dt)
    noise = jnp.sqrt(posterior.noise_variance())
    with numpyro.handlers.scale(scale=total / batch.size):
        first = dist.Normal(states[:, 0], _input_noise(posterior, input_variance)).to_event(2)
        start = jnp.asarray(numpyro.sample(INITIAL, first))

        def move(at: States, step: Float[Array, " batch"]) -> tuple[States, States]:
            following = jax.vmap(advance)(at, step)
            return following, following

        path = jnp.swapaxes(jax.lax.scan(move, start, dt.T)[1], 0, 1)
        measured = jnp.asarray(batch.measured)[:, :, None]
        numpyro.sample(OBSERVED, dist.Normal(path, noise).mask(measured).to_event(3), obs=states[:, 1:])


def window_bound_terms(
    posterior: Posterior,
    initial: InitialStates,
    key: PRNGKey,
    batch: Windows,
    windows: int,
    transitions: int,
    *,
    averaging: Averaging,
    estimator: Estimator,
    prior_precision: PriorPrecision = "optimal",
    orbit_scale: Scalar | float = 1.0,
    input_variance: float | None = None,
    weights: Weights | None = None,
) -> BoundTerms:
    """An estimate of the bound by one draw of weights and initial states, in nats per transition; `batch`
    stands for all `windows` and their `transitions`. `weights` is that draw where it has been made already.

    `kl` has one entry a weight matrix, and ``initial`` for what the data say about the initial states.
    """
    for_weights, for_model = jax.random.split(key)
    weights = posterior.draw(for_weights) if weights is None else weights
    drawn = numpyro.handlers.substitute(
        partial(window_guide, posterior, initial, batch, windows, input_variance=input_variance),
        data=dict(weights),
    )
    model = partial(
        window_model,
        posterior,
        batch,
        windows,
        averaging=averaging,
        estimator=estimator,
        prior_precision=prior_precision,
        orbit_scale=orbit_scale,
        input_variance=input_variance,
    )
    with HANDLERS:
        sites = TraceMeanField_ELBO(sum_sites=False).loss(for_model, {}, model, drawn)
    per_transition = {site: value / transitions for site, value in sites.items()}  # type: ignore[attr-defined]
    return BoundTerms(nll=per_transition.pop(OBSERVED), kl=per_transition)
