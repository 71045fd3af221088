"""Checks of a trained model: can it be believed, and how far."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, NamedTuple, TypeVar

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
from ..prediction import learned_hamiltonian, learned_substep_error
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
                at_noise=found.at_noise,
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


class _Tested(NamedTuple):
    """What a model is tested on, in the coordinates of training, and the variance of its noise there."""

    trajectories: Trajectories
    noise: Float[np.ndarray, " dim"]
    fresh: bool

    @classmethod
    def of(cls, fitted: Fitted) -> "_Tested":
        problem = fitted.problem
        test = kept_aside(problem, fitted.posterior)
        noise = np.broadcast_to(test.noise_variance, problem.scale.scales.shape) / problem.scale.scales**2
        return cls(scaled_trajectories(test.trajectories, problem.scale), noise, test.fresh)


class _Keys(NamedTuple):
    """Randomness of each check."""

    field: PRNGKey
    structure: PRNGKey
    energy: PRNGKey
    bands: PRNGKey

    @classmethod
    def of(cls, fitted: Fitted) -> "_Keys":
        return cls(*jax.random.split(stream(fitted.problem.seed, "checks"), 4))


def check_model(
    fitted: Fitted,
    plain: Posterior | None,
    field: Posterior | None,
    calibration: Calibration | None,
    failed: dict[str, str],
) -> Checks:
    """All checks of a model of measured trajectories; what fails is named in `failed`.

    Whether there is a Hamiltonian is asked of `plain`, the fit without symmetry, which differs from the
    unstructured `field` (see `unstructured_field`, None: there is none to compare with) in nothing else;
    None: of the model itself. `calibration` is that of `calibrated_bands`.
    """
    problem = fitted.problem
    scaled, noise, fresh = _Tested.of(fitted)
    keys = _Keys.of(fitted)
    predictor = problem.predictor
    model = fitted.posterior if plain is None else plain
    hamiltonian = learned_hamiltonian(
        model, keys.energy, estimator=replace(predictor, weight_samples=ENERGY_SAMPLES)
    )

    def structure() -> StructureCheck:
        few = scaled[:CHECKED_TRAJECTORIES]
        every = scaled_trajectories(problem.recorded[:CHECKED_TRAJECTORIES], problem.scale)
        return structure_check(
            model,
            field,
            keys.structure,
            few.first(max(2, CHECKED_POINTS // len(few))),
            noise_variance=noise,
            hamiltonian=hamiltonian,
            estimator=predictor,
            along=every.first(max(2, CHECKED_POINTS // len(every))),
        )

    def sampling() -> SamplingCheck:
        transitions, variance = problem.data.transitions(), float(model.noise_variance())

        def error(substeps: int) -> float:
            finer = replace(predictor, substeps=substeps)
            return learned_substep_error(model, keys.energy, transitions, estimator=finer)

        return sampling_check(error, problem.data, noise_variance=variance)

    return Checks(
        trajectories=len(problem.measured),
        held_out_trajectories=len(problem.recorded) - len(problem.measured),
        transitions=problem.data.transitions().size,
        structure=_checked("structure", structure, failed),
        sampling=_checked("sampling", sampling, failed),
        calibration=calibration,
        kept_aside=fresh,
    )


def _checked(name: str, make: Callable[[], Check], failed: dict[str, str]) -> Check | None:
    """What a check says; None where it fails, which `failed` says."""
    try:
        return make()
    except Exception as error:  # whatever a check fails of costs that check alone
        failed[name] = f"{type(error).__name__}: {error}"
        return None


def unstructured_field(
    fitted: Fitted, failed: dict[str, str], keep: Keep = in_memory, tell: Tell = say_nothing
) -> Posterior | None:
    """The unstructured field fitted to the same data; None where the fit fails."""
    problem, network = fitted.problem, fitted.problem.options.network
    kept = keep("field", [network.layers, network.width, problem.training.steps])

    for_start, for_fit = jax.random.split(_Keys.of(fitted).field)
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


def calibrated_bands(fitted: Fitted, failed: dict[str, str]) -> Calibration | None:
    """Coverage of rollouts on the trajectories that a model is tested on; None where they fail."""
    problem, tested = fitted.problem, _Tested.of(fitted)
    followed = tested.trajectories.first(CALIBRATED_LENGTH)

    def bands() -> Calibration:
        return rollout_calibration(
            fitted.posterior,
            _Keys.of(fitted).bands,
            followed[: max(2, CALIBRATED_POINTS // followed.times.shape[1])],
            estimator=problem.predictor,
            longest_step=float(np.quantile(problem.data.transitions().dt, 0.95)),
            noise_variance=tested.noise,
        )

    return _checked("calibration", bands, failed)
