"""`discover` in a run folder: the library's verb, kept and resumable."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ...beyond import LibraryError, LibraryOptions
from ...discovery import (
    BUDGETS,
    LIBRARY,
    Budget,
    Discovery,
    RunFolder,
    check_library,
    first_words,
    with_beyond,
    with_exact,
    with_model,
    without_model,
    write_reports,
)
from ...discovery.discovering import HELD_OUT
from ...options import OptionError
from ...training import Report
from ...trajectories import DataFile, read_data_file
from ..config import Config, ConfigError, load_recipe, read_data
from .analyse import parsed
from .listening import SILENT, Listener
from .run import evaluated, load_run, refuse_other_run, train_to_end

RECIPE = "systems/base.toml"


def discover_config(
    data: Path, mapping: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The default recipe for a data file: noise learned, a quarter of the trajectories kept aside from
    training. `mapping` are keys of the data table. Raises `ConfigError`.
    """
    table = {"file": str(data), "held_out": HELD_OUT, **(mapping or {})}
    return load_recipe(RECIPE, table, overrides, source="discover")


def budget_named(name: str) -> Budget:
    """The budget of this name. Raises `ConfigError` where there is none."""
    if name not in BUDGETS:
        raise ConfigError(f"--budget: got {name!r}, expected one of {', '.join(BUDGETS)}")
    return BUDGETS[name]


def library_named(terms: Sequence[str], degree: int | None, most_terms: int | None) -> LibraryOptions:
    """The library that options of the command line describe. Raises `ConfigError` for what cannot be."""
    given = {} if most_terms is None else {"most_terms": most_terms}
    try:
        return LibraryOptions(tuple(terms), degree, **given)
    except LibraryError as error:
        raise ConfigError(f"--{str(error).replace('most terms', 'most-terms', 1)}") from None


def discover_run(
    config: Config,
    folder: RunFolder,
    *,
    quantities: Sequence[str] = (),
    family: str = LIBRARY,
    repeats: int = 1,
    resume: bool = False,
    listener: Listener = SILENT,
    library: LibraryOptions | None = None,
) -> Discovery:
    """Say what the data file of `config` conserves; learn its dynamics into `folder`, check what was learned,
    and write symmetry.json and the reports.

    All trajectories say what is conserved, before anything is learned: that answer is told first, then what
    the exact evidence and the terms of `library` add, and all are written. The rest is as in
    `noether_razor.discover`, with `repeats` (at least 1) fits of each kind. With `resume` training and refits
    go on from their checkpoints. Nothing is written before data and formulas have been read. Raises as
    `train_run` and `analyse_run` do.
    """
    if repeats < 1:
        raise ValueError(f"repeats must be at least 1, got {repeats}")
    kept = refuse_other_run(config, folder, resume) and folder.data.exists()
    data = read_data_file(folder.data) if kept else read_data(config, listener.reading)
    # A wrong formula is said before anything is trained.
    hypotheses = parsed(quantities, data.trajectories)
    try:
        found = first_words(data.trajectories, config.options(), hypotheses, family=family)
    except OptionError as error:
        raise ConfigError(f"--{error}" if str(error).startswith("family") else str(error)) from None
    library = library or LibraryOptions()
    try:
        check_library(data.trajectories, library)
    except LibraryError as error:
        raise ConfigError(f"--{error}" if str(error).startswith(("term", "degree")) else str(error)) from None
    found = found.with_notes(data.notes)
    listener.answer(found)
    if not listener.interrupted():
        found = with_exact(found)
    if family == LIBRARY and not listener.interrupted():
        found = with_beyond(found, config.options(), library)
    if not folder.symmetry.exists():
        folder.write_symmetry(found.to_json())
    if listener.interrupted():
        raise KeyboardInterrupt
    listener.exact(found)
    found = _with_trained_model(found, config, folder, data, repeats, listener)
    folder.write_symmetry(found.to_json())
    try:
        write_reports(found, folder)
    except Exception as error:  # whatever a picture fails of costs the report alone
        why = f"{type(error).__name__}: {error}"
        found = replace(found, failed={**found.failed, "report": why})
        folder.write_symmetry(found.to_json())
    return found


def _with_trained_model(
    found: Discovery, config: Config, folder: RunFolder, data: DataFile, repeats: int, listener: Listener
) -> Discovery:
    """What the data say and a model adds, trained now or before; without one where training fails."""

    def told(name: str, report: Report) -> None:
        listener.refit(name, report)
        if listener.interrupted():
            raise KeyboardInterrupt

    try:
        if folder.summary.exists():
            run, summary = load_run(folder), folder.read_summary()
        else:
            run = train_to_end(config, folder, listener=listener, data=data, early=True)
            summary = evaluated(run, folder)
    except FloatingPointError as error:
        return without_model(found, error)
    metrics = folder.read_metrics()
    return with_model(found, run.fitted, summary, metrics, repeats=repeats, keep=folder.keep, tell=told)
