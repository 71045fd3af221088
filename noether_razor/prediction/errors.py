"""Prediction errors of a trained posterior on trajectories."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..inference import Estimator, Posterior
from ..integrators import Step, transition
from ..phase_space import energies_of, hamiltonian_field
from ..scaling import PhaseScale
from ..symmetry import NoAveraging
from ..thinning import evenly
from ..trajectories import Trajectories, Transitions
from ..typing import Hamiltonian, PRNGKey
from .predictive import predict


class PredictionErrors(NamedTuple):
    """Mean squared errors a coordinate, of the posterior-predictive mean unless said otherwise.

    mse, mse_stderr: over one step, and its standard error over trajectories. mse_mean_weights: over one step,
        by the mean weights (the paper's metric). rollout_mse: over whole trajectories from their first
        states. energy_error: r.m.s. change of the true energy along those predictions, over the standard
        deviation of the energy in the set; None where the truth is unknown.
    """

    mse: float
    mse_stderr: float
    mse_mean_weights: float
    rollout_mse: float
    energy_error: float | None


POINT_BUDGET = 300_000
"""Network evaluations that one-step errors may cost; rollouts may cost as many again."""


def _affordable(posterior: Posterior, estimator: Estimator) -> int:
    """Transitions that `POINT_BUDGET` pays for."""
    images = 1 if isinstance(posterior.averaging, NoAveraging) else estimator.group_samples
    return POINT_BUDGET // (4 * estimator.substeps * estimator.weight_samples * images)


def one_step_errors(
    posterior: Posterior,
    key: PRNGKey,
    trajectories: Trajectories,
    *,
    estimator: Estimator,
    mean_weights: bool = False,
    scale: PhaseScale | None = None,
) -> Float[np.ndarray, " trajectories"]:
    """Mean squared error of one-step predictions a coordinate, along each trajectory.

    In the units of the trajectories, or of what they were before `scale`. Where all transitions would cost
    more than `POINT_BUDGET` network evaluations, the same number is taken from every trajectory, at times
    that differ between them.
    """
    count, length, dim = trajectories.states.shape
    each = max(1, min(length - 1, _affordable(posterior, estimator) // count))
    rows = np.arange(count)[:, None]
    steps = trajectories.lengths[:, None] - 1
    columns = (rows + np.arange(each) * steps // each) % steps
    initial = trajectories.states[rows, columns].reshape(-1, dim)
    times = np.stack([trajectories.times[rows, columns], trajectories.times[rows, columns + 1]], -1)
    following = trajectories.states[:, 1:] if trajectories.targets is None else trajectories.targets
    targets = following[rows, columns]
    paths = predict(
        posterior, key, initial, times.reshape(-1, 2), estimator=estimator, mean_weights=mean_weights
    )
    predicted = paths[:, :, 1].mean(0)
    units = np.ones(dim) if scale is None else scale.scales
    return np.mean(((predicted.reshape(targets.shape) - targets) * units) ** 2, axis=(1, 2))


def prediction_errors(
    posterior: Posterior,
    key: PRNGKey,
    trajectories: Trajectories,
    *,
    estimator: Estimator,
    hamiltonian: Hamiltonian | None = None,
    scale: PhaseScale | None = None,
) -> PredictionErrors:
    """Errors on `trajectories` by the integrator, sub-steps and sample numbers of `estimator`.

    In the units of the trajectories, or of what they were before `scale`. One-step errors are those of
    `one_step_errors`; where rollouts of all trajectories would cost more than `POINT_BUDGET` network
    evaluations, the first few are followed.
    """
    for_step, for_means, for_rollout = jax.random.split(key, 3)
    count, length, dim = trajectories.states.shape
    one_step = partial(
        one_step_errors, posterior, trajectories=trajectories, estimator=estimator, scale=scale
    )
    errors, by_means = one_step(for_step), one_step(for_means, mean_weights=True)
    few = trajectories[: min(count, max(7, _affordable(posterior, estimator) // length))]
    rollouts = predict(posterior, for_rollout, few.states[:, 0], few.times, estimator=estimator)
    units = np.ones(dim) if scale is None else scale.scales
    return PredictionErrors(
        mse=float(errors.mean()),
        mse_stderr=float(errors.std(ddof=1) / np.sqrt(count)) if count > 1 else float("nan"),
        mse_mean_weights=float(by_means.mean()),
        rollout_mse=float(np.mean(((rollouts.mean(0) - few.states)[few.present()] * units) ** 2)),
        energy_error=None if hamiltonian is None else _energy_error(hamiltonian, rollouts, few, trajectories),
    )


def _energy_error(
    hamiltonian: Hamiltonian, rollouts: np.ndarray, followed: Trajectories, trajectories: Trajectories
) -> float:
    # Along each sample: the energy of the mean over samples would also fall where they merely disagree on the
    # phase.
    with jax.enable_x64(True):
        energy = np.asarray(energies_of(hamiltonian, jnp.asarray(rollouts, jnp.float64)))
        initial = np.asarray(energies_of(hamiltonian, jnp.asarray(trajectories.states[:, 0])))
    change = np.sqrt(np.mean((energy - energy[:, :, :1])[:, followed.present()] ** 2))
    return float(change / max(np.std(initial), np.finfo(np.float64).tiny))


@partial(jax.jit, static_argnames=("hamiltonian", "substeps", "step"))
def _refinement(
    hamiltonian: Hamiltonian, transitions: Transitions, substeps: int, step: Step
) -> Float[Array, ""]:
    field = hamiltonian_field(hamiltonian)
    coarse, fine = (
        jax.vmap(partial(transition, field, substeps=n, step=step))(transitions.states, transitions.dt)  # type: ignore[arg-type]
        for n in (substeps, 2 * substeps)
    )
    return jnp.sqrt(jnp.mean((coarse - fine) ** 2))


def substep_error(
    hamiltonian: Hamiltonian, transitions: Transitions, *, estimator: Estimator, max_transitions: int = 1000
) -> float:
    """R.m.s. difference between `estimator.substeps` and twice as many integrator steps a transition, in the
    data's units.

    The integrator is fine enough when it stays below a tenth of the noise's standard deviation.
    """
    rows = evenly(transitions.size, max_transitions)
    few = jax.tree.map(lambda x: jnp.asarray(np.asarray(x)[rows], jnp.float32), transitions)
    return float(_refinement(hamiltonian, few, estimator.substeps, estimator.step))


def learned_substep_error(
    posterior: Posterior,
    key: PRNGKey,
    transitions: Transitions,
    *,
    estimator: Estimator,
    max_transitions: int = 32,
) -> float:
    """The same for the learned Hamiltonian: the difference of posterior-predictive transitions, the same
    samples in both. Twice as many steps are those of two halves of the interval: nothing else is compiled.
    """
    rows = evenly(transitions.size, max_transitions)
    initial, dt = np.asarray(transitions.states)[rows], np.asarray(transitions.dt)[rows]
    advance = partial(predict, posterior, key, initial, estimator=estimator)
    coarse, fine = (advance(np.outer(dt, parts))[:, :, -1] for parts in ((0, 1), (0, 0.5, 1)))
    return float(np.sqrt(np.mean((coarse - fine) ** 2)))
