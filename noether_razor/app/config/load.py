"""Reading TOML configurations: `extends`, overrides, and errors that name the key."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, ValidationError

from ...spelling import suggestion
from .schema import Config

PACKAGE = Path(__file__).parents[2]
SHIPPED = PACKAGE / "configs"
"""Configurations inside an installed wheel; a checkout has them beside the package."""


Model = TypeVar("Model", bound=BaseModel)


class ConfigError(ValueError):
    """A configuration that cannot be used: one line naming the file, each key, what was got and what is
    expected.
    """


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a TOML file, the files it `extends`, then ``table.key=value`` overrides, and check the whole.

    `extends` is relative to the file that names it, or absolute. A path that does not exist is also looked up
    among the configurations that the package ships. Raises `ConfigError`.
    """
    path = find_config(Path(path))
    tables = _read(path, ())
    for override in overrides:
        _override(tables, override)
    return parse_config(tables, source=str(path))


def load_recipe(
    recipe: str | Path, data: Mapping[str, Any], overrides: Iterable[str] = (), *, source: str
) -> Config:
    """The configuration `recipe` with `data` in place of its data table: what it says of simulated data, such
    as their noise, is not true of others. Overrides come last; errors name `source`. Raises `ConfigError`.
    """
    tables = _read(find_config(Path(recipe)), ()) | {"data": dict(data)}
    for override in overrides:
        _override(tables, override)
    return parse_config(tables, source=source)


def parse_config(tables: dict[str, Any], source: str = "config") -> Config:
    """Check tables that are already in memory. Raises `ConfigError` naming every wrong key at once."""
    return parse_tables(Config, tables, source)


def load_tables(
    model: type[Model], path: str | Path, given: Mapping[str, Any], overrides: Iterable[str] = ()
) -> Model:
    """A configuration of another kind than that of trajectories, read as by `load_config`; see
    `with_overrides` for `given`.
    """
    path = find_config(Path(path))
    return with_overrides(model, _read(path, ()), given, overrides, str(path))


def with_overrides(
    model: type[Model],
    tables: dict[str, Any],
    given: Mapping[str, Any],
    overrides: Iterable[str],
    source: str,
) -> Model:
    """Tables with values that are `given` by dotted key, then with ``table.key=value`` overrides, checked as
    a model. Raises `ConfigError`.
    """
    for name, value in given.items():
        _put(tables, name.split("."), value, name)
    for override in overrides:
        _override(tables, override)
    return parse_tables(model, tables, source)


def parse_tables(model: type[Model], tables: dict[str, Any], source: str) -> Model:
    """Check tables as a model. Raises `ConfigError` naming every wrong key at once."""
    try:
        return model.model_validate(tables)
    except ValidationError as error:
        explained = "; ".join(_explain(item, model) for item in error.errors())
        raise ConfigError(f"{source}: {explained}") from None


def find_config(path: Path) -> Path:
    """`path`, or the shipped configuration of that name."""
    if path.exists():
        return path
    relative = Path(*path.parts[1:]) if path.parts[:1] == ("configs",) else path
    for root in (SHIPPED, PACKAGE.parent / "configs"):
        if not path.is_absolute() and (root / relative).is_file():
            return root / relative
    raise ConfigError(f"{path}: no such file")


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        raise ConfigError(f"{path}: extends itself")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        named = f" (extended by {seen[-1]})" if seen else ""
        raise ConfigError(f"{path}: no such file{named}") from None
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from None
    parent = tables.pop("extends", None)
    if parent is None:
        return tables
    if not isinstance(parent, str):
        raise ConfigError(f"{path}: extends: got {parent!r}, expected a file path")
    return _merge(_read(path.parent / parent, (*seen, resolved)), tables)


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = _merge(merged[key], value) if both else value
    return merged


def _override(tables: dict[str, Any], override: str) -> None:
    name, separator, text = override.partition("=")
    parts = name.strip().split(".")
    if not separator or not all(parts):
        raise ConfigError(f"--set {override}: expected table.key=value")
    _put(tables, parts, parse_value(text), f"--set {override}")


def parse_value(text: str) -> Any:
    """A TOML value. A bare word is a string, so that the shell needs no second quotes."""
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        return text.strip()


def _put(tables: dict[str, Any], parts: list[str], value: Any, source: str) -> None:
    """Set the value of a dotted key, whose tables are made where there are none."""
    *path, last = parts
    for part in path:
        tables = tables.setdefault(part, {})
        if not isinstance(tables, dict):
            raise ConfigError(f"{source}: {part} is not a table")
    tables[last] = value


def _explain(item: Any, model: type) -> str:
    where = [part for part in item["loc"] if isinstance(part, str)]
    # Members of a union add their own names to the path; those are no keys of the file.
    known = _known_path(where, model)
    path = ".".join(known) or "config"
    if item["type"] in ("extra_forbidden", "unexpected_keyword_argument"):
        names = _fields(known[:-1], model)
        return f"{path}: unknown key, {suggestion(known[-1], names)}"
    message = item["msg"].removeprefix("Value error, ")
    message = message[0].lower() + message[1:]
    got = item.get("input")
    return f"{path}: {message}" + ("" if isinstance(got, dict | BaseModel) else f", got {got!r}")


def _known_path(where: list[str], model: type) -> list[str]:
    table: type | None = model
    path: list[str] = []
    for part in where:
        path.append(part)
        table = _annotations(table).get(part) if table else None
        if table is None:
            break
    return path


def _fields(path: list[str], model: type) -> list[str]:
    table: type | None = model
    for part in path:
        table = _annotations(table).get(part)
        if table is None:
            return []
    return sorted(_annotations(table))


def _annotations(table: type) -> dict[str, type | None]:
    """The keys of a table, and the class of those that are tables themselves, None for plain values."""
    if issubclass(table, BaseModel):
        annotations: dict[str, Any] = {name: info.annotation for name, info in table.model_fields.items()}
    else:
        hints = get_type_hints(table)
        annotations = {field.name: hints[field.name] for field in fields(table)}
    return {name: _table(annotation) for name, annotation in annotations.items()}


def _table(annotation: Any) -> type | None:
    """The class of a table that may be left out or not, None for a plain value."""
    for kind in (annotation, *get_args(annotation)):
        if isinstance(kind, type) and (issubclass(kind, BaseModel) or is_dataclass(kind)):
            return kind
    return None
