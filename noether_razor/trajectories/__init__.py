"""Measured or simulated trajectories: the checked data set, files, simulation."""

from .assemble import DataFile
from .canonical import CanonicalMap
from .dataset import UNPAIRED, Trajectories, Transitions
from .error import DataFileError
from .files import (
    DataFileWarning,
    load_trajectories,
    read_arrays,
    read_data_file,
    read_states,
    save_trajectories,
)
from .hold_out import hold_out
from .layout import Layout
from .points import PointTable, read_labelled_points, read_points
from .scaled import fit_scale, scaled_trajectories, velocity_scale
from .simulation import EscapeError, GaussianNoise, simulate, with_velocities

__all__ = [
    "UNPAIRED",
    "CanonicalMap",
    "DataFile",
    "DataFileError",
    "DataFileWarning",
    "EscapeError",
    "GaussianNoise",
    "Layout",
    "PointTable",
    "Trajectories",
    "Transitions",
    "fit_scale",
    "hold_out",
    "load_trajectories",
    "read_arrays",
    "read_data_file",
    "read_labelled_points",
    "read_points",
    "read_states",
    "save_trajectories",
    "scaled_trajectories",
    "simulate",
    "velocity_scale",
    "with_velocities",
]
