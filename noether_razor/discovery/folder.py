"""The files of one run, each written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..files import finite_only, write_whole
from ..training import Checkpoint
from .keeping import KeptFit


class RunError(ValueError):
    """A run folder that cannot be used as asked: which one, why, and what to do."""


class RunFolder:
    """Paths and files of a run: config.json, data.npz, metrics.jsonl, checkpoint/, summary.json,
    refits/, symmetry.json, report.md, report.html, figures/.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config = self.path / "config.json"
        self.data = self.path / "data.npz"
        self.metrics = self.path / "metrics.jsonl"
        self.summary = self.path / "summary.json"
        self.symmetry = self.path / "symmetry.json"
        self.report = self.path / "report.md"
        self.page = self.path / "report.html"
        self.figures = self.path / "figures"
        self.checkpoint = Checkpoint(self.path / "checkpoint")
        self.refits = self.path / "refits"

    def holds_run(self) -> bool:
        """Whether anything was written here by a run."""
        return self.config.exists()

    def read_tables(self) -> dict[str, Any]:
        """The tables of the run's configuration. Raises `RunError` when there are none that can be read."""
        if not self.path.is_dir():
            raise RunError(f"{self.path}: no such run folder")
        return self._read_json(self.config)

    def write_tables(self, tables: Mapping[str, Any]) -> None:
        """Keep the tables of the configuration, with every default."""
        write_whole(self.config, json.dumps(tables, indent=2) + "\n")

    def keep(self, name: str, about: Any) -> KeptFit:
        """Where a refit of this run is kept: see `KeptFit`."""
        return KeptFit(self.refits, name, about)

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
        write_whole(self.symmetry, json.dumps(finite_only(symmetry), indent=2, allow_nan=False) + "\n")

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
