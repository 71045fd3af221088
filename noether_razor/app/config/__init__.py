"""TOML to objects."""

from .build import (
    build_problem,
    build_system,
    file_layout,
    read_data,
    simulate_data,
    simulate_test_sets,
)
from .embedding import EmbeddingConfig
from .load import (
    ConfigError,
    load_config,
    load_recipe,
    load_tables,
    parse_config,
    parse_tables,
    with_overrides,
)
from .schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "EmbeddingConfig",
    "build_problem",
    "build_system",
    "file_layout",
    "load_config",
    "load_recipe",
    "load_tables",
    "parse_config",
    "parse_tables",
    "read_data",
    "simulate_data",
    "simulate_test_sets",
    "with_overrides",
]
