"""The files of one run, each written whole or not at all."""

import json
import os
from pathlib import Path
from typing import Any

from ...training import Checkpoint
from ..config import Config, ConfigError, parse_config


class RunError(ValueError):
    """A run folder that cannot be used as asked: which one, why, and what to do."""


def write_whole(path: Path, text: str) -> None:
    """Write a text file by way of a temporary one beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


class RunFolder:
    """Paths and files of a run: config.json, data.npz, metrics.jsonl, checkpoint/, summary.json,
    refits/, symmetry.json, report.md, figures/.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.data = self.path / "data.npz"
        self.metrics = self.path / "metrics.jsonl"
        self.summary = self.path / "summary.json"
        self.symmetry = self.path / "symmetry.json"
        self.report = self.path / "report.md"
        self.figures = self.path / "figures"
        self.checkpoint = Checkpoint(self.path / "checkpoint")
        self.refits = self.path / "refits"

    def holds_run(self) -> bool:
        """Whether anything was written here by a run."""
        return self.config.exists()

    def read_config(self) -> Config:
        """The resolved configuration of the run. Raises `RunError` when there is none that can be read."""
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder")
        return parse_config(self._read_json(self.config), source=str(self.config))

    def write_config(self, config: Config) -> None:
        """Keep the resolved configuration."""
        write_whole(self.config, config.model_dump_json(indent=2) + "\n")

    def read_metrics(self, up_to: int | None = None) -> list[dict[str, Any]]:
        """The logged steps, those after step `up_to` left out: a resumed run takes them again."""
        if not self.metrics.exists():
            return []
        try:
            lines = [json.loads(line) for line in self.metrics.read_text(encoding="utf-8").splitlines()]
            return [line for line in lines if up_to is None or line["step"] <= up_to]
        except (ValueError, KeyError, TypeError, OSError) as error:
            raise RunError(f"{self.metrics}: damaged ({error})") from None

    def write_metrics(self, lines: list[dict[str, Any]]) -> None:
        """Write all logged steps, one JSON object a line."""
        write_whole(self.metrics, "".join(json.dumps(line) + "\n" for line in lines))

    def read_summary(self) -> dict[str, Any]:
        """The summary of a finished run. Raises `RunError` when there is none."""
        return self._read_json(self.summary)

    def write_summary(self, summary: dict[str, Any]) -> None:
        """Write summary.json."""
        write_whole(self.summary, json.dumps(summary, indent=2) + "\n")

    def read_symmetry(self) -> dict[str, Any]:
        """What the analysis of the run found. Raises `RunError` when there is none."""
        return self._read_json(self.symmetry)

    def spread_scale(self) -> float:
        """The factor of the spread of rollouts that held-out data asked for, 1 where none were asked. Raises
        `RunError` for a damaged symmetry.json.
        """
        if not self.symmetry.exists():
            return 1.0
        try:
            calibration = self.read_symmetry().get("checks", {}).get("calibration", {})
            return float(calibration.get("spread_scale", 1.0))
        except (AttributeError, TypeError, ValueError) as error:
            raise RunError(f"{self.symmetry}: damaged ({error})") from None

    def write_symmetry(self, symmetry: dict[str, Any]) -> None:
        """Write symmetry.json."""
        write_whole(self.symmetry, json.dumps(symmetry, indent=2, allow_nan=False) + "\n")

    def _read_json(self, path: Path) -> dict[str, Any]:
        try:
            value = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise RunError(f"{path}: no such file, expected the folder of a trained run") from None
        except (OSError, ValueError) as error:
            raise RunError(f"{path}: damaged ({error})") from None
        if not isinstance(value, dict):
            raise RunError(f"{path}: damaged (expected a JSON object)")
        return value


def require_same(config: Config, stored: Config, path: Path) -> None:
    """Raise `ConfigError` naming the first key in which two configurations differ."""
    ours, theirs = _flatten(config.model_dump()), _flatten(stored.model_dump())
    for key in sorted(set(ours) | set(theirs)):
        if ours.get(key) != theirs.get(key):
            raise ConfigError(
                f"{path}: holds a run of another configuration: "
                f"{key} is {theirs.get(key)!r} there, {ours.get(key)!r} here"
            )


def _flatten(tables: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tables.items():
        name = f"{prefix}{key}"
        if isinstance(value, dict):
            flat |= _flatten(value, name + ".")
        else:
            # JSON knows no tuples.
            flat[name] = list(value) if isinstance(value, tuple) else value
    return flat
