"""Predictions of a trained run from states in a file."""

from pathlib import Path

import numpy as np
from jaxtyping import Float

from ...discovery import Prediction, RunError, RunFolder, predict_states
from ...trajectories import DataFileError, Layout, read_states
from ..config import Config, file_layout
from .run import load_run


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
    states = read_states(initial, _layout(run.config, initial))
    dim = 2 * run.problem.data.dof
    if states.shape[1] != dim:
        raise DataFileError(
            initial, "", f"states have {states.shape[1]} coordinates, the run in {folder.path} has {dim}"
        )
    try:
        return predict_states(
            run.fitted,
            states,
            times,
            samples=samples,
            observed=observed,
            spread_scale=folder.spread_scale(),
        )
    except ValueError as error:
        raise RunError(f"{initial}: {error}") from None


def _layout(config: Config, initial: Path) -> Layout:
    if config.data.file is None or Path(f"{initial}.toml").is_file():
        return Layout.beside(initial)
    return file_layout(config)
