"""Follow the charges of a training run, or find the symmetries of a network, in a run folder."""

import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from ...discovery import RunError
from ...files import write_whole, written_whole
from ...learning import (
    Classifier,
    DivergedError,
    Labelled,
    LearningRule,
    Recorded,
    Series,
    SymmetryError,
    SymmetryReport,
    TrackedTraining,
    cross_entropy,
    find_symmetries,
    series_of,
    summarise_charges,
)
from ...random import derived_seed
from ...reporting import charges_report, symmetries_report
from ...training import Checkpoint
from ..config import ConfigError, LearningConfig, parse_learning
from .configured import flatten

SEARCHED, NAMED = 12, 200
"""Batches on which symmetries are looked for, and gradients that are enough to name those of single units."""


class LearningFolder(NamedTuple):
    """config.json, symmetries.json, charges.json, series.npz, checkpoint/, report.md, report.html,
    figures/.
    """

    path: Path

    @property
    def config(self) -> Path:
        return self.path / "config.json"

    @property
    def symmetries(self) -> Path:
        return self.path / "symmetries.json"

    @property
    def charges(self) -> Path:
        return self.path / "charges.json"

    @property
    def series(self) -> Path:
        return self.path / "series.npz"

    @property
    def checkpoint(self) -> Checkpoint:
        return Checkpoint(self.path / "checkpoint")

    def require_free(self, config: LearningConfig, resume: bool) -> None:
        """See that the folder holds no run, or with `resume` one of this configuration. Raises `RunError`
        and `ConfigError`.
        """
        if not self.config.exists():
            return
        if not resume:
            raise RunError(f"{self.path}: already holds a run, use --resume to go on or choose another --out")
        try:
            kept = parse_learning(json.loads(self.config.read_text(encoding="utf-8")), str(self.config))
        except (OSError, ValueError) as error:
            raise RunError(f"{self.config}: damaged ({error})") from None
        ours, theirs = flatten(config.model_dump()), flatten(kept.model_dump())
        for key in sorted(ours):
            if ours[key] != theirs.get(key):
                raise ConfigError(
                    f"{self.config}: holds a run with another configuration: {key} is {theirs.get(key)!r} "
                    f"there, {ours[key]!r} here"
                )

    def begin(self, config: LearningConfig, report: SymmetryReport) -> None:
        """Write symmetries.json and config.json, as soon as there is something to keep: what was refused
        blocks no next run.
        """
        if not self.config.exists():
            self.write(self.symmetries, report.to_json())
            write_whole(self.config, json.dumps(config.model_dump(mode="json"), indent=2) + "\n")

    def same_symmetries(self, report: SymmetryReport) -> SymmetryReport:
        """A report with the families that the run in this folder follows; without a run as it is. Raises
        `RunError`.
        """
        if not self.config.exists():
            return report
        try:
            return report.with_families(json.loads(self.symmetries.read_text(encoding="utf-8")))
        except SymmetryError as error:
            raise RunError(f"{self.path}: {error}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise RunError(f"{self.symmetries}: damaged ({error})") from None

    def write(self, path: Path, found: dict[str, Any]) -> None:
        """A JSON file, whole."""
        write_whole(path, json.dumps(found, indent=1) + "\n")


def build_network(config: LearningConfig, data: Labelled) -> Classifier:
    """The network of a configuration at its start. Raises `ConfigError`."""
    try:
        rngs = nnx.Rngs(derived_seed(config.seed, "network"))
        return Classifier(config.model.shape, data.features, data.classes, rngs=rngs)
    except ValueError as error:
        raise ConfigError(f"model: {error}") from None


def search(
    config: LearningConfig, model: Classifier, data: Labelled, few: int | None = None
) -> SymmetryReport:
    """The symmetries of a network, from `few` gradients unless told otherwise. Raises `ConfigError`."""
    rows = data.batches(SEARCHED, config.training.batch, derived_seed(config.seed, "search"))
    batches = [(data.inputs[some], data.labels[some]) for some in rows]
    try:
        return find_symmetries(
            model, cross_entropy, batches, method=config.search.method, rows=config.search.rows or few
        )
    except SymmetryError as error:
        raise ConfigError(f"search: {error}") from None


def symmetries_run(config: LearningConfig, path: Path, *, resume: bool = False) -> str:
    """Find the symmetries of a configuration's network; write symmetries.json, report and figures into a
    folder, and return the report's text. Raises `RunError`, `ConfigError`.
    """
    folder = LearningFolder(path)
    # What is wrong with the data is said before anything is written.
    data = config.data.read()
    network = build_network(config, data)
    folder.require_free(config, resume)
    report = search(config, network, data)
    folder.begin(config, report)
    found = report.to_json()
    folder.write(folder.symmetries, found)
    symmetries_report(path, str(report), found)
    return str(report)


def charges_run(
    config: LearningConfig,
    path: Path,
    *,
    resume: bool = False,
    progress: Callable[[int, float], None] = lambda step, loss: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Train a configuration's network and follow its charges; write charges.json, symmetries.json, report and
    figures into a folder, and return the report's text.

    A run that was stopped goes on from its checkpoint with `resume`, to the same numbers. Raises `RunError`,
    `ConfigError`, `CheckpointError`; `KeyboardInterrupt` when `interrupted`, after a checkpoint.
    """
    folder = LearningFolder(path)
    optimizer = config.make_optimizer()
    rule = LearningRule.from_optax(optimizer)
    data = config.data.read()
    if (batch := config.training.batch) > (rows := len(data.inputs)):
        raise ConfigError(f"training.batch: got {batch}, but there are {rows} rows to train on")
    model = build_network(config, data)
    folder.require_free(config, resume)
    few = NAMED if config.search.method == "slices" else None
    report = folder.same_symmetries(search(config, model, data, few))
    if not report.charges:
        raise ConfigError("model: no symmetry was found, so there is no charge to follow")
    seed = derived_seed(config.seed, "batches")
    batches = data.batches(config.training.steps, config.training.batch, seed)
    training = TrackedTraining(model, data, optimizer, report.charges, batches)
    started = time.perf_counter()
    begin = partial(folder.begin, config, report)
    state, series = _train(training, folder, config, begin, progress, interrupted)
    found = summarise_charges(rule, series, report, order=config.charges.order)
    found |= {
        "accuracy": training.accuracy(state),
        "steps": len(batches),
        "seed": config.seed,
        "seconds": time.perf_counter() - started,
        "optimizer": config.optimizer.model_dump(),
    }
    folder.write(folder.charges, found)
    return charges_report(path, found, rule, series, report)


def _train(
    training: TrackedTraining,
    folder: LearningFolder,
    config: LearningConfig,
    begin: Callable[[], None],
    progress: Callable[[int, float], None],
    interrupted: Callable[[], bool],
) -> tuple[Any, Series]:
    start = training.start()
    state, recorded = start, []
    if (kept := folder.checkpoint.restore(start)) is not None:
        state = kept[0]
        recorded = [_read_series(folder.series, start, training, int(state.step))]
    saved = time.perf_counter()
    try:
        for after, part in training.run(state):
            state = after
            recorded.append(part)
            progress(int(state.step), float(part.loss[-1]))
            last = int(state.step) == len(training.batches)
            stop = interrupted() and not last
            if last or stop or time.perf_counter() - saved > config.training.checkpoint_seconds:
                begin()
                _write_series(folder.series, recorded)
                folder.checkpoint.save(state, {})
                saved = time.perf_counter()
            if stop:
                raise KeyboardInterrupt
    except DivergedError as error:
        raise RunError(f"{folder.path}: {error}") from None
    return state, series_of(start, recorded, training.symmetries)


def _write_series(path: Path, recorded: list[Recorded]) -> None:
    joined = jax.tree.map(lambda *parts: np.concatenate(parts), *recorded)
    leaves = jax.tree.leaves(joined)
    with written_whole(path) as temporary:
        np.savez(temporary, **{f"part{k:03d}": leaf for k, leaf in enumerate(leaves)})


def _read_series(path: Path, start: Any, training: TrackedTraining, steps: int) -> Recorded:
    """What was recorded in the first steps. Raises `RunError` where it is not there."""
    tree = jax.tree.structure(Recorded(jnp.zeros(0), start.optimizer.charges))
    try:
        with np.load(path, allow_pickle=False) as file:
            leaves = [file[f"part{k:03d}"][:steps] for k in range(tree.num_leaves)]
    except (OSError, ValueError, KeyError) as error:
        raise RunError(f"{path}: damaged ({error})") from None
    if any(len(leaf) != steps for leaf in leaves):
        raise RunError(f"{path}: has fewer steps than the checkpoint beside it")
    return jax.tree.unflatten(tree, leaves)
