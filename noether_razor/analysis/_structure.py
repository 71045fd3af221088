"""Whether the data are those of a Hamiltonian system at all."""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ..data import Trajectories
from ..inference import Estimator, InitialStates, Observations, Posterior, Windows, predict
from ..networks import VectorFieldNetwork
from ..phase_space import Periods
from ..symmetry import Averaging, NoAveraging
from ..training import NonFiniteBoundError, Report, Training, fit
from ..typing import Hamiltonian, PRNGKey

SIGNIFICANT = 3.0
"""Standard errors."""
WORSE = 1.3
"""The factor by which the Hamiltonian fit's error must exceed the free one's: fits are never equally good."""
VISIBLE = 0.1
"""The share of a step's motion by which that excess error must show: below it, noise-free data would tell
fits apart that both follow the motion.
"""
DRIFT = 0.05
"""The share of its standard deviation by which energy must change along a trajectory to count."""
ATTEMPTS = 4
"""Fits of an unstructured field that are tried, each with half the step size of the one before."""


class StructureCheck(NamedTuple):
    """A Hamiltonian fit beside an unstructured vector field of the same size, on held-out trajectories.

    mse_hamiltonian, mse_field: mean squared one-step errors of the posterior-predictive means, a coordinate;
        noise in the data is in both. difference, difference_stderr: of the two over their sum, along each
        trajectory, from -1 to 1: trajectories that move more do not outweigh the others. motion: mean squared
        change of a coordinate in a step, noise included.
    energy_trend, energy_trend_stderr: the change of the learned energy along a trajectory, by a straight line
        through its values, in standard deviations of the energy over the set: mean and standard error over
        trajectories. Along data of a Hamiltonian system it is 0; friction makes it negative. correlation,
        correlation_stderr: of the energy with time along a trajectory, likewise.
    """

    mse_hamiltonian: float
    mse_field: float
    difference: float
    difference_stderr: float
    energy_trend: float
    energy_trend_stderr: float
    correlation: float
    correlation_stderr: float
    motion: float

    @property
    def field_is_better(self) -> bool:
        """Whether the unstructured field predicts better: beyond chance, by nearly a third, and by what can
        be seen in the motion.
        """
        return (
            self.difference > SIGNIFICANT * self.difference_stderr
            and self.mse_hamiltonian > WORSE * self.mse_field
            and self.mse_hamiltonian - self.mse_field > VISIBLE**2 * self.motion
        )

    @property
    def energy_drifts(self) -> bool:
        """Whether the learned energy changes along trajectories, beyond chance and by a twentieth."""
        steady = abs(self.correlation) > SIGNIFICANT * self.correlation_stderr
        return steady and abs(self.energy_trend) > DRIFT

    @property
    def hamiltonian(self) -> bool:
        """False where either sign speaks against a Hamiltonian."""
        return not (self.field_is_better or self.energy_drifts)

    def text(self) -> str:
        """One sentence for a report."""
        ratio = self.mse_hamiltonian / max(self.mse_field, np.finfo(np.float64).tiny)
        share = np.sqrt(self.mse_hamiltonian / max(self.motion, np.finfo(np.float64).tiny))
        numbers = (
            f"one-step error {share:.1%} of the motion (squared {ratio:.2f} times that of an unstructured "
            f"field), learned energy changes along a trajectory by "
            f"{self.energy_trend:+.2f} ± {self.energy_trend_stderr:.2f} standard deviations"
        )
        return f"{'consistent with a Hamiltonian' if self.hamiltonian else 'non-Hamiltonian'}: {numbers}"


def fit_vector_field(
    data: Observations,
    training: Training,
    *,
    key: PRNGKey,
    layers: int,
    width: int,
    alpha: float = 1.0,
    noise_variance: float = 1e-3,
    relative_scale: float = 0.1,
    periods: Periods = (),
    estimator: Estimator,
    callback: Callable[[Report], None] | None = None,
) -> Posterior:
    """A posterior for an unstructured vector field x' = f(x), on the same bound and by the same loop as that
    of a Hamiltonian (`fit`, which tells `callback`), without symmetry; `periods` are those of angles.

    Nothing holds the volume of such a flow, so over windows of many steps it can run away: where the bound is
    not finite the fit begins anew with half the step size of the means, up to `ATTEMPTS` times in all. Raises
    as `fit` does.
    """
    for_start, for_fit = jax.random.split(key)
    dim = data.states.shape[-1]
    network = VectorFieldNetwork(
        dim, layers=layers, width=width, alpha=alpha, periods=periods, rngs=nnx.Rngs(for_start)
    )
    posterior = Posterior(
        network,
        noise_variance=noise_variance,
        relative_scale=relative_scale,
        initial_states=InitialStates(data.size, dim) if isinstance(data, Windows) else None,
    )
    left = ATTEMPTS
    while True:
        try:
            return fit(
                posterior,
                data,
                training,
                key=for_fit,
                averaging=NoAveraging(),
                estimator=estimator,
                callback=callback,
            ).posterior
        except NonFiniteBoundError:
            left -= 1
            if not left:
                raise
            slower = replace(training.rates, weights=training.rates.weights / 2)
            training = replace(training, rates=slower)


def structure_check(
    posterior: Posterior,
    field: Posterior,
    key: PRNGKey,
    held_out: Trajectories,
    *,
    hamiltonian: Hamiltonian,
    averaging: Averaging,
    estimator: Estimator,
    along: Trajectories | None = None,
    most_transitions: int = 2000,
) -> StructureCheck:
    """Compare a Hamiltonian `posterior` with the unstructured `field` (`fit_vector_field`) on `held_out`.

    The energy is followed `along` these trajectories (None: `held_out`); more of them show a trend better,
    and those that were learned from can only hide one.
    `hamiltonian` is the learned one (`learned_hamiltonian`). Where there are more than `most_transitions`,
    the first of each trajectory are used for one-step errors. Raises ValueError for fewer than 2
    trajectories, which have no standard error.
    """
    count = len(held_out)
    if count < 2:
        raise ValueError(f"at least 2 held-out trajectories are needed, got {count}")
    each = max(1, most_transitions // count)
    short = [
        (times[: each + 1], states[: each + 1]) for times, states in held_out.segments()[:most_transitions]
    ]
    rows = np.concatenate([np.full(len(times) - 1, k) for k, (times, _) in enumerate(short)])
    pairs = Trajectories.of_segments(short).transitions()
    for_ours, for_field = jax.random.split(key)
    errors = []
    for model, model_key, average in (
        (posterior, for_ours, averaging),
        (field, for_field, NoAveraging()),
    ):
        times = np.stack([np.zeros(pairs.size), np.asarray(pairs.dt)], axis=1)
        initial = np.asarray(pairs.states)
        samples = predict(model, model_key, initial, times, averaging=average, estimator=estimator)
        squared = np.mean((samples[:, :, 1].mean(axis=0) - np.asarray(pairs.targets)) ** 2, axis=1)
        errors.append(np.bincount(rows, squared) / np.bincount(rows))
    ours, free = errors
    difference = (ours - free) / np.maximum(ours + free, np.finfo(np.float64).tiny)
    trend, correlation = _energy_trends(hamiltonian, held_out if along is None else along)
    return StructureCheck(
        mse_hamiltonian=float(ours.mean()),
        mse_field=float(free.mean()),
        difference=float(difference.mean()),
        difference_stderr=_stderr(difference),
        energy_trend=float(trend.mean()),
        energy_trend_stderr=_stderr(trend),
        correlation=float(correlation.mean()),
        correlation_stderr=_stderr(correlation),
        motion=float(np.mean((np.asarray(pairs.targets) - np.asarray(pairs.states)) ** 2)),
    )


def _stderr(values: np.ndarray) -> float:
    return float(values.std(ddof=1) / np.sqrt(len(values)))


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
