"""The configuration of a run folder."""

from typing import Any

from ...discovery import RunFolder
from ...trajectories import DataFile, save_trajectories
from ..config import Config, ConfigError, parse_config


def config_of(folder: RunFolder) -> Config:
    """The resolved configuration of a run. Raises `RunError` when there is none that can be read."""
    return parse_config(folder.read_tables(), source=str(folder.config))


def keep_inputs(config: Config, folder: RunFolder, data: DataFile | None) -> None:
    """Write the data of a run, None where the folder has them, and its configuration: that comes last, as it
    marks a folder as a run.
    """
    if data is not None:
        save_trajectories(folder.data, data.trajectories, data.notes)
    folder.write_tables(config.model_dump(mode="json"))


def require_same(config: Config, folder: RunFolder) -> None:
    """Raise `ConfigError` naming the first key in which a configuration and that of a run differ."""
    ours, theirs = flatten(config.model_dump()), flatten(config_of(folder).model_dump())
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            raise ConfigError(
                f"{folder.config}: holds a run with another configuration: "
                f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here"
            )


def flatten(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested tables by dotted keys, tuples as lists: JSON knows no tuples."""
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= flatten(value, name + ".")
        else:
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat
