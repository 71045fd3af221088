"""Trajectories: made by simulation or read from a file, and the transitions to learn from."""

from ._files import DataFileError as DataFileError
from ._files import load_trajectories as load_trajectories
from ._files import save_trajectories as save_trajectories
from ._simulate import simulate as simulate
from ._trajectories import Trajectories as Trajectories
from ._trajectories import Transitions as Transitions
