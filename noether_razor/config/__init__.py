"""Configuration files, and the objects that they describe."""

from ._build import Problem as Problem
from ._build import build_problem as build_problem
from ._build import build_system as build_system
from ._build import default_quantities as default_quantities
from ._build import derived_seed as derived_seed
from ._build import file_layout as file_layout
from ._build import read_data as read_data
from ._build import simulate_data as simulate_data
from ._build import simulate_test_sets as simulate_test_sets
from ._build import stream as stream
from ._load import ConfigError as ConfigError
from ._load import load_config as load_config
from ._load import load_recipe as load_recipe
from ._load import parse_config as parse_config
from ._schema import Config as Config
from ._schema import RatesTable as RatesTable
from ._schema import SymmetryTable as SymmetryTable
