"""Whether a Hamiltonian explains the data at all, and if not, what speaks against it."""

from collections.abc import Callable
from dataclasses import replace
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float

from ..inference import Estimator, Objective, Posterior, Rows, likelihood_of
from ..networks import VectorFieldNetwork
from ..prediction import predict
from ..scaling import Periods
from ..thinning import evenly
from ..training import NonFiniteELBOError, Report, Training, TrainState, fit
from ..trajectories import Trajectories
from ..typing import Hamiltonian, PRNGKey
from .calibration import standard_error

SIGNIFICANT = 3.0
"""Standard errors."""
EXPLAINED, PARTLY = 0.1, 0.5
"""R.m.s. error over the motion, noise taken away from both, up to which the motion is explained, or
partly."""
AT_NOISE = 1.5
"""Mean squared error over that of the noise up to which errors are those of the noise."""
ABOVE_NOISE = 4.0
"""Mean squared motion over that of the noise from which it can be seen what explains it."""
WORSE = 1.3
"""The factor by which the Hamiltonian fit's mean squared error must exceed the free one's: fits are never
equally good."""
VISIBLE = 0.05
"""The share of the motion by which that excess error must show: below it, noise-free data would tell fits
apart that both follow the motion."""
ASYMMETRIC = 0.15
"""R.m.s. of the antisymmetric part of J^-1 Df over that of the whole, from which it is named."""
SYMMETRIC = 0.05
"""The same up to which the field is Hamiltonian itself, and only fits better."""
DRIFT = 0.05
"""The share of its standard deviation by which energy must change along a trajectory to count."""
ATTEMPTS = 4
"""Fits of an unstructured field that are tried, each with half the step size of the one before."""
PREDICTIONS = 1000
"""At most, of the motion."""
FIELD_POINTS, FIELD_DRAWS = 200, 8
"""States at which, and draws of weights over which, derivatives of a field are taken."""

Verdict = Literal["explained", "partly explained", "not explained"]
Reason = Literal["velocities", "friction", "coordinates", "energy"]


class Asymmetry(NamedTuple):
    """What of the derivatives of a field x' = f(x) no Hamiltonian in these coordinates has: J^-1 Df must be
    symmetric.

    R.m.s. over states, over that of J^-1 Df. whole: all of the antisymmetric part. turning: a force at right
    angles to the velocity (antisymmetric d p'/d p), as of a magnetic field or in a rotating frame where
    momenta are taken for mass times velocity. friction: d q'/d q + (d p'/d p)^T without that. curl: of d p'/d
    q and d q'/d p.
    """

    whole: float
    turning: float
    friction: float
    curl: float


class StructureCheck(NamedTuple):
    """A Hamiltonian fit, beside an unstructured field of the same size where there is one, on held-out rows.

    rows: how many rows ahead states are predicted: as many as it takes for motion to exceed noise. motion:
    mean squared change of a coordinate in them, floor: what noise alone adds to it, and to errors.
    mse_hamiltonian, mse_field: mean squared errors of the posterior-predictive means (nan without a field).
    difference, difference_stderr: of the two over their sum, along each trajectory: those that move more do
    not outweigh the others.

    energy_trend, energy_trend_stderr: the change of the learned energy along a trajectory, by a straight line
    through its values, in standard deviations of the energy over the set. correlation, correlation_stderr: of
    the energy with time. Along data of a Hamiltonian system both are 0; friction makes them negative. nan for
    a single trajectory. asymmetry: see `Asymmetry`, None without a field.
    """

    rows: int
    motion: float
    floor: float
    mse_hamiltonian: float
    mse_field: float
    difference: float
    difference_stderr: float
    energy_trend: float
    energy_trend_stderr: float
    correlation: float
    correlation_stderr: float
    asymmetry: Asymmetry | None

    @property
    def unexplained(self) -> float:
        """R.m.s. error over r.m.s. motion, noise taken away from both."""
        return self._share(self.mse_hamiltonian)

    @property
    def unexplained_by_field(self) -> float:
        """The same of the unstructured field."""
        return self._share(self.mse_field)

    def _share(self, error: float) -> float:
        signal = max(self.motion - self.floor, 1e-2 * self.motion, np.finfo(np.float64).tiny)
        return float(np.sqrt(np.maximum(error - self.floor, 0.0) / signal))

    @property
    def at_noise(self) -> bool:
        """Whether nothing but noise is left of motion that is larger."""
        return self.mse_hamiltonian <= AT_NOISE * self.floor and self.floor < self.motion / 2

    @property
    def verdict(self) -> Verdict:
        """Whether the Hamiltonian fit explains the motion."""
        if self.at_noise or self.unexplained <= EXPLAINED:
            return "explained"
        return "partly explained" if self.unexplained <= PARTLY else "not explained"

    @property
    def field_is_better(self) -> bool:
        """Whether the unstructured field predicts better: beyond chance, by nearly a third, and visibly; and
        by what no Hamiltonian has.
        """
        if self.asymmetry is not None and self.asymmetry.whole <= SYMMETRIC:
            return False
        return (
            self.difference > SIGNIFICANT * self.difference_stderr
            and self.mse_hamiltonian > WORSE * self.mse_field
            and self.mse_hamiltonian - self.mse_field > VISIBLE**2 * max(self.motion - self.floor, 0.0)
        )

    @property
    def energy_drifts(self) -> bool:
        """Whether the learned energy changes along trajectories, beyond chance and by a twentieth."""
        steady = abs(self.correlation) > SIGNIFICANT * self.correlation_stderr
        return steady and abs(self.energy_trend) > DRIFT and self.verdict != "not explained"

    @property
    def hamiltonian(self) -> bool | None:
        """False where something speaks against a Hamiltonian, None where the fits explain too little to
        say.
        """
        if self.field_is_better or self.energy_drifts:
            return False
        return None if self.verdict == "not explained" else True

    @property
    def reason(self) -> Reason | None:
        """What speaks against a Hamiltonian in these coordinates."""
        if self.hamiltonian is not False:
            return None
        # A field that follows the motion tells what it has of friction or turning, though H predicts better.
        telling = self.field_is_better or self.unexplained_by_field <= PARTLY
        if telling and self.asymmetry is not None and self.asymmetry.whole > ASYMMETRIC:
            _, turning, friction, curl = self.asymmetry
            largest = max(turning, friction, curl)
            return (
                "velocities" if turning == largest else "friction" if friction == largest else "coordinates"
            )
        return "energy" if self.energy_drifts else "coordinates"

    def text(self) -> str:
        """One sentence for a report."""
        ahead = "1 time step" if self.rows == 1 else f"{self.rows} time steps"
        error = f"error over {ahead} {100 * self.unexplained:.1f} % of the motion"
        if self.mse_hamiltonian <= AT_NOISE * self.floor:
            error = f"error over {ahead} at the noise level"
        said = f"Hamiltonian: motion {self.verdict}, {error}"
        if np.isfinite(self.mse_field):
            said += f" (unstructured field {100 * self.unexplained_by_field:.1f} %)"
        if np.isfinite(self.energy_trend):
            said += (
                f"; the learned energy drifts by {self.energy_trend:+.2g} ± {self.energy_trend_stderr:.1g} "
                "standard deviations along a trajectory"
            )
        return said


def vector_field_posterior(
    data: Rows,
    key: PRNGKey,
    *,
    layers: int,
    width: int,
    alpha: float = 1.0,
    noise_variance: float = 1e-3,
    periods: Periods = (),
) -> Posterior:
    """A posterior for an unstructured vector field x' = f(x), without symmetry, to be learned from `data`;
    `periods` are those of angles.
    """
    network = VectorFieldNetwork(
        data.states.shape[-1], layers=layers, width=width, alpha=alpha, periods=periods, rngs=nnx.Rngs(key)
    )
    latents = likelihood_of(data).latents(data)
    return Posterior(network, noise_variance=noise_variance, latents=latents)


def fit_vector_field(
    posterior: Posterior,
    data: Rows,
    objective: Objective,
    training: Training,
    *,
    key: PRNGKey,
    resume: Callable[[TrainState], TrainState | None] | None = None,
    callback: Callable[[Report], None] | None = None,
) -> Posterior:
    """The fit of a `vector_field_posterior`, by the same objective and loop as that of a Hamiltonian (`fit`,
    which takes `resume` and tells `callback`).

    Nothing holds the volume of such a flow, so over segments of many steps it can run away: where the ELBO is
    not finite the fit begins anew with half the step size of the means, up to `ATTEMPTS` times in all. Raises
    as `fit` does.
    """
    left = ATTEMPTS
    while True:
        try:
            result = fit(posterior, data, objective, training, key=key, resume=resume, callback=callback)
            return result.posterior
        except NonFiniteELBOError:
            left -= 1
            if not left:
                raise
            resume = None
            slower = replace(training.rates, weights=training.rates.weights / 2)
            training = replace(training, rates=slower)


def structure_check(
    posterior: Posterior,
    field: Posterior | None,
    key: PRNGKey,
    held_out: Trajectories,
    *,
    noise_variance: Float[np.ndarray, " dim"],
    hamiltonian: Hamiltonian,
    estimator: Estimator,
    along: Trajectories | None = None,
) -> StructureCheck:
    """How well a Hamiltonian `posterior`, and an unstructured `field` (`fit_vector_field`), predict
    `held_out`, in the coordinates that they work in, with noise of `noise_variance` (2n,) on the states.

    The energy is followed `along` these trajectories (None: `held_out`); more of them show a trend better,
    and those that were learned from can only hide one. `hamiltonian` is the learned one
    (`learned_hamiltonian`). Of each trajectory as many predictions are made, at most `PREDICTIONS` in all.
    """
    floor = 2 * float(np.mean(noise_variance))
    rows, starts, times, targets, owner = _predictions(held_out, floor, PREDICTIONS)
    for_ours, for_field, for_slopes = jax.random.split(key, 3)

    def errors(model: Posterior, model_key: PRNGKey) -> np.ndarray:
        samples = predict(model, model_key, starts, times, estimator=estimator)
        squared = np.mean((samples[:, :, -1].mean(axis=0) - targets) ** 2, axis=1)
        squared = np.where(np.isfinite(squared), squared, np.inf)
        return np.bincount(owner, squared) / np.bincount(owner)

    ours = errors(posterior, for_ours)
    free = np.full(len(ours), np.nan) if field is None else errors(field, for_field)
    difference = (ours - free) / np.maximum(ours + free, np.finfo(np.float64).tiny)
    trend, correlation = _energy_trends(hamiltonian, held_out if along is None else along)
    return StructureCheck(
        rows=rows,
        motion=float(np.mean((targets - starts) ** 2)),
        floor=floor,
        mse_hamiltonian=float(ours.mean()),
        mse_field=float(free.mean()),
        difference=float(difference.mean()),
        difference_stderr=standard_error(difference),
        energy_trend=float(trend.mean()) if len(trend) > 1 else float("nan"),
        energy_trend_stderr=standard_error(trend),
        correlation=float(correlation.mean()) if len(trend) > 1 else float("nan"),
        correlation_stderr=standard_error(correlation),
        asymmetry=None if field is None else field_asymmetry(field, for_slopes, held_out.points()),
    )


def _predictions(
    trajectories: Trajectories, floor: float, most: int
) -> tuple[int, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """How many rows ahead motion exceeds noise, and initial states, times, targets and trajectories of
    predictions over these.
    """
    segments = trajectories.segments()
    longest = max(len(times) for times, _ in segments) - 1
    rows = 1
    while rows < longest // 2:
        moved = [path[rows:] - path[:-rows] for _, path in segments if len(path) > rows]
        if np.mean(np.concatenate(moved) ** 2) > (1 + ABOVE_NOISE) * floor:
            break
        rows += 1
    each = max(1, most // len(segments))
    starts, times_of, targets, owner = [], [], [], []
    for number, (times, path) in enumerate(segments[:most]):
        if len(times) <= rows:
            continue
        first = evenly(len(times) - rows, each)
        starts.append(path[first])
        times_of.append(times[first[:, None] + np.arange(rows + 1)] - times[first, None])
        targets.append(path[first + rows])
        owner.append(np.full(len(first), number))
    numbers = np.unique(np.concatenate(owner), return_inverse=True)[1].reshape(-1)
    return rows, np.concatenate(starts), np.concatenate(times_of), np.concatenate(targets), numbers


def field_asymmetry(field: Posterior, key: PRNGKey, states: Float[np.ndarray, "points dim"]) -> Asymmetry:
    """`Asymmetry` of the posterior mean of an unstructured field at some of `states`."""
    few = states[evenly(len(states), FIELD_POINTS)]
    keys = jax.random.split(key, FIELD_DRAWS)

    def mean(state: jax.Array) -> jax.Array:
        return jnp.mean(jax.lax.map(lambda k: field.network_with(field.draw(k))(state), keys), axis=0)

    slopes = np.asarray(jax.jit(jax.vmap(jax.jacfwd(mean)))(jnp.asarray(few, jnp.float32)), np.float64)
    half = slopes.shape[1] // 2
    a, b = slopes[:, :half, :half], slopes[:, :half, half:]
    c, d = slopes[:, half:, :half], slopes[:, half:, half:]
    size = np.sqrt(np.mean(np.sum(slopes**2, axis=(1, 2)))) + np.finfo(np.float64).tiny

    def share(*parts: np.ndarray) -> float:
        return float(np.sqrt(sum(np.mean(np.sum(part**2, axis=(1, 2))) for part in parts)) / size)

    mixed = a + d.mT
    return Asymmetry(
        whole=share((b - b.mT) / 2, (c - c.mT) / 2, mixed / np.sqrt(2)),
        turning=share((mixed - mixed.mT) / 2),
        friction=share((mixed + mixed.mT) / 2),
        curl=share((b - b.mT) / 2, (c - c.mT) / 2),
    )


def _energy_trends(hamiltonian: Hamiltonian, trajectories: Trajectories) -> tuple[np.ndarray, np.ndarray]:
    """The change along each trajectory of a straight line through its energies, over their deviation in the
    set; and the correlation of energy and time along each.
    """
    points = jnp.asarray(trajectories.states, jnp.float32)
    energy = np.asarray(jax.jit(jax.vmap(jax.vmap(hamiltonian)))(points), np.float64)
    deviation = max(float(energy[trajectories.present()].std()), np.finfo(np.float64).tiny)
    changes, correlations = [], []
    for values, (times, _) in zip(energy, trajectories.segments(), strict=True):
        values = values[: len(times)]
        slope = np.polynomial.polynomial.polyfit(times - times.mean(), values, 1)[1]
        changes.append(slope * (times[-1] - times[0]) / deviation)
        correlations.append(slope * times.std() / max(values.std(), 1e-6 * deviation))
    return np.array(changes), np.array(correlations)
