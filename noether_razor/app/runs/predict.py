"""Predictions of a trained run, in the units of its data."""

import csv
import io
import os
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...prediction import Bands, bands, posterior_rollouts
from ...trajectories import DataFileError, Layout, read_states
from ..config import Config, file_layout, stream
from .folder import RunError, RunFolder, write_whole
from .held_out import measurement_noise
from .run import load_run

LARGEST_OUTPUT = 10_000_000
"""Numbers that a prediction may hold a sample; more would not fit the memory of a laptop."""


class Prediction(NamedTuple):
    """Rollouts from initial states (batch, 2n) at times (time,), in the units of the run's data."""

    times: Float[np.ndarray, " time"]
    bands: Bands
    names: tuple[str, ...]
    units: tuple[str, ...]


def predict_run(
    folder: RunFolder,
    initial: Path,
    times: Float[np.ndarray, " time"],
    *,
    samples: int = 100,
    observed: bool = False,
) -> Prediction:
    """Posterior-predictive rollouts of a run from the states of the file `initial` through `times`, of which
    the first is that of these states.

    Columns of the file are read as those of the run's own data file. With `observed` the bands are those of
    measurements: observation noise is included. Where `discover_run` has held the run's rollouts against
    held-out data, their spread is scaled as these ask for. Raises `RunError` for a folder without a trained
    run, `DataFileError` for the file, and FloatingPointError where a rollout does not stay finite.
    """
    run = load_run(folder)
    problem = run.problem
    states = read_states(initial, _layout(run.config, initial))
    if states.shape[1] != 2 * problem.data.dof:
        raise DataFileError(
            initial,
            "",
            f"states have {states.shape[1]} coordinates, the run in {folder.path} has {2 * problem.data.dof}",
        )
    if states.size * len(times) > LARGEST_OUTPUT:
        raise RunError(
            f"{initial}: {len(states)} states at {len(times)} times are more than can be predicted at once, "
            "give fewer of either"
        )
    scale = problem.scale
    paths = posterior_rollouts(
        run.posterior,
        stream(run.config.seed, "prediction"),
        scale.states(states),
        np.tile(scale.times(times), (len(states), 1)),
        averaging=problem.averaging,
        estimator=replace(problem.evaluator, weight_samples=samples),
        longest_step=float(np.quantile(problem.data.transitions().dt, 0.95)),
        noise_variance=measurement_noise(run) / scale.scales**2 if observed else 0.0,
        spread_scale=folder.spread_scale(),
    )
    in_units = scale.states_back(paths.astype(np.float64))
    return Prediction(times, bands(in_units), problem.measured.names, problem.measured.units)


def _layout(config: Config, initial: Path) -> Layout:
    if config.data.file is None or Path(f"{initial}.toml").is_file():
        return Layout.beside(initial)
    return file_layout(config)


def save_prediction(path: Path, prediction: Prediction) -> None:
    """Write a ``.csv`` (one row a state and time, columns such as q1_mean and q1_q05) or an ``.npz`` (arrays
    times, mean, quantiles, levels, names and units), whole or not at all.
    """
    times, (mean, quantiles, levels), names, units = prediction
    if path.suffix == ".npz":
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f".{path.name}.{os.getpid()}.npz")
        try:
            np.savez_compressed(
                temporary,
                times=times,
                mean=mean,
                quantiles=quantiles,
                levels=np.array(levels),
                names=np.array(names),
                units=np.array(units),
            )
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
        return
    kinds = ["mean", *(f"q{round(100 * level):02d}" for level in levels)]
    table = np.concatenate([mean[None], quantiles])
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["trajectory", "time", *(f"{name}_{kind}" for name in names for kind in kinds)])
    for row in range(mean.shape[0]):
        for column, time in enumerate(times.tolist()):
            writer.writerow([row, time, *table[:, row, column].T.reshape(-1).tolist()])
    write_whole(path, text.getvalue())
