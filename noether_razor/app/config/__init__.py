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
from .grid import combinations
from .learning import LearningConfig, load_learning, parse_learning
from .load import (
    ConfigError,
    load_config,
    load_recipe,
    load_tables,
    parse_config,
    parse_tables,
    parse_value,
    with_overrides,
)
from .schema import Config

__all__ = [
    "Config",
    "ConfigError",
    "EmbeddingConfig",
    "LearningConfig",
    "build_problem",
    "build_system",
    "combinations",
    "file_layout",
    "load_config",
    "load_learning",
    "load_recipe",
    "load_tables",
    "parse_config",
    "parse_learning",
    "parse_tables",
    "parse_value",
    "read_data",
    "simulate_data",
    "simulate_test_sets",
    "with_overrides",
]
