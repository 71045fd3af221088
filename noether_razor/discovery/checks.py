"""Checks of a trained model: can it be believed, and how far."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import jax
import numpy as np
from jaxtyping import Float

from ..diagnostics import (
    Calibration,
    SamplingCheck,
    StructureCheck,
    fit_vector_field,
    rollout_calibration,
    sampling_check,
    structure_check,
    vector_field_posterior,
)
from ..inference import Posterior
from ..prediction import learned_hamiltonian
from ..random import stream
from ..training import Report
from ..trajectories import Trajectories, scaled_trajectories
from ..typing import PRNGKey
from .fitted import Fitted, kept_aside
from .keeping import Keep, Tell, in_memory, say_nothing

CHECKED_TRAJECTORIES, CHECKED_POINTS = 50, 10_000
"""Held-out trajectories and their points for comparing the learned Hamiltonian, at most."""
CALIBRATED_POINTS, CALIBRATED_LENGTH = 500, 100
"""Points of held-out trajectories that rollouts pass, at most, and of one trajectory."""
ENERGY_SAMPLES = 4
"""Draws of weights for the energy along trajectories."""

Check = TypeVar("Check")


@dataclass(frozen=True)
class Checks:
    """What was trained on how much, and what each check says; None where it failed.

    structure: is there a Hamiltonian, and does it explain the motion? sampling: are rows close enough?
    calibration: do the bands hold what they should, on trajectories that were `kept_aside`, or else on those
    that were trained on?
    """

    trajectories: int
    held_out_trajectories: int
    transitions: int
    structure: StructureCheck | None
    sampling: SamplingCheck | None
    calibration: Calibration | None
    kept_aside: bool

    def to_json(self) -> dict[str, Any]:
        """The "checks" of symmetry.json: of each its numbers, its verdicts and a sentence."""
        checks: dict[str, Any] = {
            "trajectories": self.trajectories,
            "held_out_trajectories": self.held_out_trajectories,
            "transitions": self.transitions,
        }
        if (found := self.structure) is not None:
            checks["structure"] = _entry(
                found._replace(asymmetry=None),
                asymmetry=None if found.asymmetry is None else found.asymmetry._asdict(),
                hamiltonian=found.hamiltonian,
                verdict=found.verdict,
                unexplained=found.unexplained if math.isfinite(found.unexplained) else None,
                reason=found.reason,
                text=found.text(),
            )
        if self.sampling is not None:
            checks["sampling"] = _entry(
                self.sampling, fine_enough=self.sampling.fine_enough, text=self.sampling.text()
            )
        if self.calibration is not None:
            text = self.calibration.text(held_out=self.kept_aside)
            checks["calibration"] = _entry(self.calibration, text=text)
        return checks


def _entry(check: Any, **said: Any) -> dict[str, Any]:
    numbers = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in check._asdict().items()
    }
    return numbers | said


def check_model(
    fitted: Fitted,
    plain: Posterior | None,
    failed: dict[str, str],
    *,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> Checks:
    """All checks of a model of measured trajectories; what fails is named in `failed`.

    Whether there is a Hamiltonian is asked of `plain`, the fit without symmetry, which differs from the
    unstructured field in nothing else; None: of the model itself.
    """
    problem = fitted.problem
    test = kept_aside(problem, fitted.posterior)
    scaled = scaled_trajectories(test.trajectories, problem.scale)
    noise = np.broadcast_to(test.noise_variance, problem.scale.scales.shape) / problem.scale.scales**2
    for_field, for_structure, for_energy, for_bands = jax.random.split(stream(problem.seed, "checks"), 4)
    predictor = problem.predictor
    model = fitted.posterior if plain is None else plain
    hamiltonian = learned_hamiltonian(
        model, for_energy, estimator=replace(predictor, weight_samples=ENERGY_SAMPLES)
    )

    def checked(name: str, make: Callable[[], Check]) -> Check | None:
        try:
            return make()
        except Exception as error:  # whatever a check fails of costs that check alone
            failed[name] = f"{type(error).__name__}: {error}"
            return None

    def structure() -> StructureCheck:
        few = scaled[:CHECKED_TRAJECTORIES]
        every = scaled_trajectories(problem.recorded[:CHECKED_TRAJECTORIES], problem.scale)
        return structure_check(
            model,
            _field(fitted, for_field, failed, keep, tell),
            for_structure,
            few.first(max(2, CHECKED_POINTS // len(few))),
            noise_variance=noise,
            hamiltonian=hamiltonian,
            estimator=predictor,
            along=every.first(max(2, CHECKED_POINTS // len(every))),
        )

    def sampling() -> SamplingCheck:
        variance = float(model.noise_variance())
        return sampling_check(hamiltonian, problem.data, noise_variance=variance, estimator=problem.estimator)

    return Checks(
        trajectories=len(problem.measured),
        held_out_trajectories=len(problem.recorded) - len(problem.measured),
        transitions=problem.data.transitions().size,
        structure=checked("structure", structure),
        sampling=checked("sampling", sampling),
        calibration=checked("calibration", lambda: _calibration(fitted, scaled, noise, for_bands)),
        kept_aside=test.fresh,
    )


def _field(fitted: Fitted, key: PRNGKey, failed: dict[str, str], keep: Keep, tell: Tell) -> Posterior | None:
    """The unstructured field fitted to the same data; None where the fit fails."""
    problem, network = fitted.problem, fitted.problem.options.network
    kept = keep("field", [network.layers, network.width, problem.training.steps])

    for_start, for_fit = jax.random.split(key)
    start = vector_field_posterior(
        problem.observations,
        for_start,
        layers=network.layers,
        width=network.width,
        alpha=network.elu_alpha,
        noise_variance=float(problem.posterior.noise_variance()),
        periods=problem.data.periods,
    )

    def told(report: Report) -> None:
        kept.keep(report, problem.training)
        tell("field without structure", report)

    try:
        return fit_vector_field(
            start,
            problem.observations,
            problem.objective,
            problem.training,
            key=for_fit,
            resume=kept.restore,
            callback=told,
        )
    except FloatingPointError as error:
        failed["field without structure"] = str(error)
        return None


def _calibration(
    fitted: Fitted, trajectories: Trajectories, noise: Float[np.ndarray, " dim"], key: PRNGKey
) -> Calibration:
    """Coverage of rollouts on `trajectories` with noise of variance `noise`, in scaled coordinates."""
    problem = fitted.problem
    followed = trajectories.first(CALIBRATED_LENGTH)
    return rollout_calibration(
        fitted.posterior,
        key,
        followed[: max(2, CALIBRATED_POINTS // followed.times.shape[1])],
        estimator=problem.evaluator,
        longest_step=float(np.quantile(problem.data.transitions().dt, 0.95)),
        noise_variance=noise,
    )
