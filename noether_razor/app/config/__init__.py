"""TOML to objects."""

from .build import (
    Problem,
    build_problem,
    build_system,
    default_quantities,
    derived_seed,
    file_layout,
    read_data,
    simulate_data,
    simulate_test_sets,
    stream,
)
from .load import ConfigError, load_config, load_recipe, parse_config
from .schema import Config, RatesTable, SymmetryTable

__all__ = [
    "Config",
    "ConfigError",
    "Problem",
    "RatesTable",
    "SymmetryTable",
    "build_problem",
    "build_system",
    "default_quantities",
    "derived_seed",
    "file_layout",
    "load_config",
    "load_recipe",
    "parse_config",
    "read_data",
    "simulate_data",
    "simulate_test_sets",
    "stream",
]
