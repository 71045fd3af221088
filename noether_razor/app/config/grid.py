"""Several values of settings, and all their combinations."""

import math
from collections.abc import Iterable
from itertools import product

from .load import ConfigError

MOST_RUNS = 100_000
"""More is a slip of the pen."""


def combinations(overrides: Iterable[str], *, seeds: int = 1) -> list[dict[str, str]]:
    """Each combination of the values of ``table.key=value,value,...``, by key, in TOML; the first key varies
    slowest. Commas in brackets, braces and quotes are part of a value. Raises `ConfigError` for a key without
    values, for an empty value, for a key or a value that comes twice, and for more than `MOST_RUNS` runs with
    so many `seeds` for each.
    """
    values: dict[str, list[str]] = {}
    for override in overrides:
        key, separator, text = (part.strip() for part in override.partition("="))
        found = _split(text)
        if not separator or not key or "" in found:
            raise ConfigError(f"--set {override}: expected table.key=value,value,...")
        if key in values:
            raise ConfigError(f"--set {override}: {key} comes twice, expected all its values in one --set")
        if key == "seed":
            raise ConfigError(f"--set {override}: expected --seeds N for the seeds 0 to N - 1")
        if twice := [value for value in found if found.count(value) > 1]:
            raise ConfigError(f"--set {override}: the value {twice[0]} comes twice")
        values[key] = found
    count = seeds * math.prod(len(found) for found in values.values())
    if count > MOST_RUNS:
        raise ConfigError(
            f"all combinations with {seeds} seeds are {count} runs, expected {MOST_RUNS} at most"
        )
    return [dict(zip(values, chosen, strict=True)) for chosen in product(*values.values())]


def _split(text: str) -> list[str]:
    """At the commas outside of brackets, braces and quotes."""
    parts, depth, quote = [""], 0, ""
    for character in text:
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        else:
            depth += (character in "[{") - (character in "]}")
        if character == "," and not depth and not quote:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]
