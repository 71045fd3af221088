"""A trained model with everything that it was trained as, and what it is tested on."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..inference import LIKELIHOODS, Posterior
from ..invariants import noise_estimate
from ..modelling import Problem
from ..prediction import learned_hamiltonian
from ..quadratic_forms import Quadratics
from ..quantities import quadratic_of
from ..random import stream
from ..trajectories import Trajectories
from ..typing import Hamiltonian


class Fitted(NamedTuple):
    """A trained model: the problem that it solves, and its posterior."""

    problem: Problem
    posterior: Posterior

    def hamiltonian(self) -> Hamiltonian:
        """The mean of the learned Hamiltonian, in the units of the data."""
        problem = self.problem
        key = stream(problem.seed, "analysis")
        learned = learned_hamiltonian(self.posterior, key, estimator=problem.predictor)
        return problem.scale.hamiltonian_back(learned)

    def quantities(self) -> Quadratics:
        """The learned quantities of degree <= 2 in the units of the data; none of another family."""
        trained = quadratic_of(self.posterior.quantities)
        if trained is None:
            dim = 2 * self.problem.data.dof
            return Quadratics(np.zeros((0, dim, dim)), np.zeros((0, dim)), np.zeros(0))
        return self.problem.scale.quantities_back(
            Quadratics(
                np.asarray(trained.symmetric_matrices(), dtype=np.float64),
                np.asarray(trained.vectors[...], dtype=np.float64),
                np.zeros(trained.count),
            )
        )


class HeldOut(NamedTuple):
    """Trajectories to test on, in their own units, the variance of the noise on their states, of all
    coordinates or of each, and whether the model has not seen them.
    """

    trajectories: Trajectories
    noise_variance: float | Float[np.ndarray, " dim"]
    fresh: bool


def kept_aside(problem: Problem, posterior: Posterior) -> HeldOut:
    """The trajectories that were kept aside of measured ones; those of the model itself where none were."""
    aside = problem.held_out
    test = problem.measured if aside is None else aside
    return HeldOut(test, noise_on_states(problem, posterior, test), aside is not None)


def kept_aside_sets(problem: Problem) -> dict[str, Trajectories]:
    """The test sets of measured trajectories, by name: what was kept aside."""
    return {} if problem.held_out is None else {"held out": problem.held_out}


def noise_on_states(
    problem: Problem, posterior: Posterior, trajectories: Trajectories
) -> float | Float[np.ndarray, " dim"]:
    """The variance of the noise on measured states: named, or estimated from neighbouring rows; where these
    are too far apart for that, the learned one, which holds errors of the model too. That of a likelihood of
    transitions is of noise at both ends.
    """
    if trajectories.targets is not None:
        return 0.0
    if (given := named_noise(problem)) is not None:
        return given
    found = noise_estimate(trajectories)
    if found.told.all():
        return found.variance
    ends = 1 if LIKELIHOODS[problem.likelihood.kind].noisy_inputs else 2
    return float(posterior.noise_variance()) / ends * problem.scale.scales**2


def named_noise(problem: Problem) -> float | None:
    """The variance of the noise on states that the options name, in the units of the data."""
    given = problem.options.inference.noise_variance
    return None if isinstance(given, str) else float(given)
