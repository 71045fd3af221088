"""Trajectories: made by simulation or read from a file, and the transitions to learn from."""

from ._assemble import DataFile as DataFile
from ._error import DataFileError as DataFileError
from ._files import DataFileWarning as DataFileWarning
from ._files import load_trajectories as load_trajectories
from ._files import read_data_file as read_data_file
from ._files import read_states as read_states
from ._files import save_trajectories as save_trajectories
from ._hold_out import hold_out as hold_out
from ._layout import Layout as Layout
from ._scaled import fit_scale as fit_scale
from ._scaled import scaled_trajectories as scaled_trajectories
from ._simulate import EscapeError as EscapeError
from ._simulate import simulate as simulate
from ._trajectories import Trajectories as Trajectories
from ._trajectories import Transitions as Transitions
