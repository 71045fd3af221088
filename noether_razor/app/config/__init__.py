"""TOML to objects."""

from .build import (
    build_problem,
    build_system,
    file_layout,
    read_data,
    simulate_data,
    simulate_test_sets,
)
from .load import ConfigError, load_config, load_recipe, parse_config
from .schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "build_problem",
    "build_system",
    "file_layout",
    "load_config",
    "load_recipe",
    "parse_config",
    "read_data",
    "simulate_data",
    "simulate_test_sets",
]
