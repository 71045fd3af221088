"""The embedding of a file of points, in a run folder."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from ...embedding import EmbeddingAnswer, VariationalManifoldEmbedding, checked_points
from ...files import require_writable, write_whole
from ...reporting import write_embedding_report
from ...trajectories import read_points
from ..config import ConfigError, EmbeddingConfig, load_tables, with_overrides

Progress = Callable[[str, int, float], None]


def embedding_config(
    source: Path, given: Mapping[str, Any], overrides: Sequence[str] = ()
) -> EmbeddingConfig:
    """The configuration of a TOML file, or the default one for a data file. Keys that were `given` by dotted
    name, those of None left out, and then `overrides` go before it. Raises `ConfigError`.
    """
    told = {key: value for key, value in given.items() if value is not None}
    if source.suffix.lower() == ".toml":
        return load_tables(EmbeddingConfig, source, told, overrides)
    tables = {"data": {"file": str(source)}}
    return with_overrides(EmbeddingConfig, tables, told, overrides, "embed")


def _standardised(
    points: Float[np.ndarray, "n D"], names: Sequence[str]
) -> tuple[Float[np.ndarray, "n D"], str]:
    """Points with each column divided by its standard deviation, and a sentence that says so. Constant
    columns stay. Raises ValueError as `checked_points` does.
    """
    spread = checked_points(points).std(axis=0)
    units = ", ".join(f"{name} {value:.4g}" for name, value in zip(names, spread, strict=True))
    note = f"coordinates, noise and distances are in standard deviations of the columns: {units}"
    return points / np.where(np.ptp(points, axis=0) > 0, spread, 1.0), note


def embed_run(config: EmbeddingConfig, folder: Path, *, progress: Progress | None = None) -> EmbeddingAnswer:
    """Embed the points of a configuration and write config.json, embedding.csv, embedding.json and the report
    into `folder`. Nothing is written before the data have been read and the map is fitted. Raises
    `ConfigError` for options that do not suit the data and for a folder that holds another run,
    `DataFileError` for the file.
    """
    written = json.dumps(config.model_dump(mode="json"), indent=2) + "\n"
    if (folder / "config.json").exists() and (folder / "config.json").read_text("utf-8") != written:
        raise ConfigError(f"{folder}: holds another run, choose another folder with --out")
    try:
        require_writable(folder)
    except OSError as error:
        raise ConfigError(f"{folder}: cannot be written: {error.strerror}") from None
    table = read_points(config.data.file, columns=config.data.columns, ignore=config.data.ignore)
    if config.embedding.components > len(table.names):
        raise ConfigError(
            f"{config.data.file}: embedding.components: got {config.embedding.components}, but it has"
            f" {len(table.names)} {'column' if len(table.names) == 1 else 'columns'} of numbers"
        )
    estimator = VariationalManifoldEmbedding(**config.embedding.options(), seed=config.seed)
    points, notes = table.values, list(table.notes)
    started = time.monotonic()
    try:
        if config.data.standardise:
            points, note = _standardised(points, table.names)
            notes.append(note)
        estimator.fit(points, progress=progress)
    except ValueError as error:
        raise ConfigError(f"{config.data.file}: {error}") from None
    seconds = time.monotonic() - started
    answer = EmbeddingAnswer(estimator, points, table.names, seconds, tuple(notes), table.others)
    write_whole(folder / "config.json", written)
    write_whole(folder / "embedding.csv", answer.to_csv())
    write_whole(folder / "embedding.json", json.dumps(answer.to_json(), indent=1) + "\n")
    title = f"Embedding of {Path(config.data.file).name}"
    reports = write_embedding_report(answer, folder / "figures", title)
    write_whole(folder / "report.md", reports.markdown)
    write_whole(folder / "report.html", reports.html)
    return answer
