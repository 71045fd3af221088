"""The numbers of a trained model: its ELBO, errors, symmetry and integrator."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import numpy as np

from ..prediction import learned_substep_error, one_step_errors, prediction_errors
from ..quantities import (
    alignment,
    direction_quantities,
    nearest_generators,
    principal_cosines,
    quadratic_of,
    singular_directions,
)
from ..random import stream
from ..trajectories import Trajectories, scaled_trajectories
from ..typing import PRNGKey
from .comparison import Bound, elbo_estimate
from .fitted import Fitted
from .learned import Gradients, parallelness


def summarise(
    fitted: Fitted,
    test_sets: Mapping[str, Trajectories],
    *,
    steps: int,
    seconds: Mapping[str, float],
    file: str | None = None,
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    """The contents of summary.json of a model trained for `steps` steps in wall and compile `seconds`; of
    measured trajectories with what connects its coordinates with the user's, their `file` and `notes`.
    """
    problem, posterior = fitted.problem, fitted.posterior
    key = stream(problem.seed, "evaluation")
    for_subset, for_bound, for_errors, for_substeps = jax.random.split(key, 4)
    common: dict[str, Any] = {"estimator": problem.predictor}
    transitions = problem.data.transitions()
    device = jax.config.jax_default_device  # type: ignore[attr-defined]

    def errors() -> tuple[float, dict[str, Any], float]:
        with jax.default_device(device):
            refined = learned_substep_error(posterior, for_substeps, transitions, **common)
            return *_errors(fitted, test_sets, for_errors, common), refined

    # Small products leave half of the cores idle: bound and errors share them.
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(errors)
        bound = elbo_estimate(problem, posterior, for_subset, for_bound)
        train_mse, test, substep_error = waiting.result()
    about_file = {} if problem.truth else {"data": _about_data(fitted, file, notes)}
    return {
        **about_file,
        "seed": problem.seed,
        "steps": steps,
        "wall_seconds": seconds["wall_seconds"],
        "compile_seconds": seconds["compile_seconds"],
        "evaluation_seconds": 0.0,
        "device": jax.devices()[0].platform,
        "transitions": transitions.size,
        "likelihood": problem.likelihood._asdict(),
        "train": {**bound._asdict(), "mse": train_mse},
        "test": test,
        "symmetry": _symmetry(fitted),
        "integrator": {
            "substeps": problem.estimator.substeps,
            "error": substep_error,
            "limit": float(np.sqrt(posterior.noise_variance())) / 10,
        },
    }


def _errors(
    fitted: Fitted, test_sets: Mapping[str, Trajectories], key: PRNGKey, common: Mapping[str, Any]
) -> tuple[float, dict[str, Any]]:
    """The mean squared error on the training data, and all errors on each test set."""
    problem, posterior = fitted.problem, fitted.posterior
    hamiltonian = problem.system.hamiltonian if problem.system else None
    keys = jax.random.split(key, 1 + len(test_sets))
    train_errors = one_step_errors(posterior, keys[0], problem.data, scale=problem.scale, **common)
    test = {
        name: prediction_errors(
            posterior,
            key,
            scaled_trajectories(trajectories, problem.scale),
            hamiltonian=hamiltonian,
            scale=problem.scale,
            **common,
        )._asdict()
        for key, (name, trajectories) in zip(keys[1:], test_sets.items(), strict=True)
    }
    return float(train_errors.mean()), test


def _about_data(fitted: Fitted, file: str | None, notes: Sequence[str]) -> dict[str, Any]:
    """What connects the coordinates of training with the user's: scales, and the noise in his units."""
    problem = fitted.problem
    data, scale = problem.measured, problem.scale
    noise = np.sqrt(float(fitted.posterior.noise_variance())) * scale.scales
    return {
        "file": file,
        "trajectories": len(data),
        "held_out_trajectories": len(problem.recorded) - len(data),
        "names": list(data.names),
        "units": list(data.units),
        "time_unit": data.time_unit,
        "scales": scale.scales.tolist(),
        "shifts": list(scale.shifts),
        "time_scale": scale.time,
        "noise_standard_deviations": noise.tolist(),
        "notes": list(notes),
    }


def _symmetry(fitted: Fitted) -> dict[str, Any]:
    problem, quantities = fitted.problem, quadratic_of(fitted.posterior.quantities)
    if quantities is None:
        return _general_symmetry(fitted)
    values, directions = singular_directions(quantities)
    result: dict[str, Any] = {"quantities": quantities.count, "singular_values": values.tolist()}
    known = problem.system.known_quantities() if problem.system else None
    if known is not None:
        result["parallelness"] = alignment(directions, known).tolist()
        result["principal_cosines"] = principal_cosines(directions, known).tolist()
    if problem.system is None:
        mapped = problem.scale.quantities_back(direction_quantities(directions))
        parts = zip(mapped.matrices, mapped.vectors, strict=True)
        result["in_units"] = [{"A": a.tolist(), "b": b.tolist()} for a, b in parts]
    strongest = nearest_generators(quantities, known)[0]
    result["strongest"] = {
        "names": list(problem.data.names),
        "learned": strongest.learned.tolist(),
        "true": None if strongest.known is None else strongest.known.tolist(),
    }
    return result


def _general_symmetry(fitted: Fitted) -> dict[str, Any]:
    """Of other families: strengths of the combinations that are uncorrelated (see `Gradients`)."""
    if fitted.problem.options.symmetry.mode != "learned":
        return {"quantities": 0, "singular_values": []}
    frame = Gradients.of(fitted)
    result = {"quantities": len(frame.strengths), "singular_values": frame.strengths.tolist()}
    if fitted.problem.system is not None:
        result["parallelness"] = parallelness(fitted, frame)
    return result


def reached(summary: Mapping[str, Any]) -> Bound:
    """The bound that a summary tells of."""
    total, train = summary["transitions"], summary["train"]
    return Bound(((total * train["negative_elbo"],),), (total * train["nll_stderr"],))
