"""`discover` in a run folder: the library's verb, kept and resumable."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...beyond import LibraryError, LibraryOptions
from ...discovery import (
    BUDGETS,
    LIBRARY,
    Budget,
    Discovery,
    Parts,
    RunFolder,
    Tell,
    Trained,
    check_library,
    first_words,
    with_beyond,
    with_exact,
    with_model,
    without_model,
    write_reports,
)
from ...discovery.discovering import HELD_OUT, MODEL, WORDS, too_few_rows
from ...options import OptionError
from ...quantities import Hypothesis
from ...training import Report
from ...trajectories import DataFile, read_data_file
from ..config import Config, ConfigError, load_recipe, read_data
from .analyse import parsed
from .configured import keep_inputs
from .listening import SILENT, Listener
from .run import evaluated, load_run, refuse_other_run, train_to_end

RECIPE = "systems/measured.toml"


def discover_config(
    data: Path, mapping: Mapping[str, Any] | None = None, overrides: Sequence[str] = ()
) -> Config:
    """The default recipe for a data file: noise learned, a quarter of the trajectories kept aside from
    training. `mapping` are keys of the data table. Raises `ConfigError`.
    """
    table = {"file": str(data), "held_out": HELD_OUT, **(mapping or {})}
    return load_recipe(RECIPE, table, overrides, source="discover")


def budget_named(name: str, repeats: int | None = None) -> Budget:
    """The budget of this name, with `repeats` fits of each kind where they are given. Raises `ConfigError`
    where there is none.
    """
    if name not in BUDGETS:
        raise ConfigError(f"--budget: got {name!r}, expected one of {', '.join(BUDGETS)}")
    return BUDGETS[name] if repeats is None else replace(BUDGETS[name], repeats=repeats, always=True)


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
    budget: Budget = BUDGETS["standard"],
    quantities: Sequence[str] = (),
    family: str = LIBRARY,
    resume: bool = False,
    listener: Listener = SILENT,
    library: LibraryOptions | None = None,
) -> Discovery:
    """Say what the data file of `config` conserves; learn its dynamics into `folder`, check what was learned,
    and write symmetry.json and the reports.

    All trajectories say what is conserved, before anything is learned: that answer is told first, then what
    the exact evidence and the terms of `library` add, while the model is trained. The rest is as in
    `noether_razor.discover`; the steps are those of `config`. With `resume` training and refits go on from
    their checkpoints. Nothing is written before data and formulas have been read; an interrupted run leaves
    the answer so far in symmetry.json and report.html. Raises as `train_run` and `analyse_run` do.
    """
    parts = Parts()
    with parts.timed("reading"):
        kept = refuse_other_run(config, folder, resume) and folder.data.exists()
        data = read_data_file(folder.data) if kept else read_data(config, listener.reading, listener.doing)
    # A wrong formula is said before anything is trained.
    hypotheses = parsed(quantities, data.trajectories)
    library = library or LibraryOptions()
    with parts.timed("the data alone"):
        found = _first_words(data, config, hypotheses, family, library)
    untrained = too_few_rows(found)
    if untrained is not None:
        keep_inputs(config, folder, data)
    listener.answer(found if untrained is None else without_model(found, untrained))
    words = _Words(found, config, None if family != LIBRARY else library, listener)
    try:
        found, trained = parts.side_by_side(
            {
                WORDS: lambda: words.speak(parts),
                MODEL: lambda: untrained or _trained(config, folder, data, listener),
            }
        )
    except BaseException:
        _write_first(words.found, folder)
        raise
    _write_first(found, folder, page=False)
    if isinstance(trained, FloatingPointError):
        found = without_model(found, trained)
    else:
        try:
            tell = _told(listener)
            found = with_model(found, trained, budget, parts=parts, keep=folder.keep, tell=tell)
        except BaseException:
            _write_page(found, folder)
            raise
    folder.write_symmetry(found.to_json())
    with parts.timed("report"):
        found = _reported(found, folder)
    if found.model is not None:
        folder.write_summary({**found.summary, "part_seconds": parts.seconds})
    return replace(found, summary={**found.summary, "part_seconds": parts.seconds})


def _first_words(
    data: DataFile, config: Config, hypotheses: Sequence[Hypothesis], family: str, library: LibraryOptions
) -> Discovery:
    try:
        found = first_words(data.trajectories, config.options(), hypotheses, family=family)
    except OptionError as error:
        raise ConfigError(f"--{error}" if str(error).startswith("family") else str(error)) from None
    try:
        check_library(data.trajectories, library)
    except LibraryError as error:
        raise ConfigError(f"--{error}" if str(error).startswith(("term", "degree")) else str(error)) from None
    return found.with_notes(data.notes)


class _Words:
    """The answer that needs no model, as far as it has been `found`."""

    def __init__(self, found: Discovery, config: Config, library: LibraryOptions | None, listener: Listener):
        self.found, self.library, self.listener = found, library, listener
        self.options = config.options()

    def speak(self, parts: Parts) -> Discovery:
        """Add the exact evidence, and what is conserved in the library, where there is one."""
        if not self.listener.interrupted():
            with parts.timed("exact evidence"):
                self.found = with_exact(self.found)
        if self.library is not None and not self.listener.interrupted():
            with parts.timed("library"):
                self.found = with_beyond(self.found, self.options, self.library)
        if self.listener.interrupted():
            raise KeyboardInterrupt
        self.listener.exact(self.found)
        return self.found


def _told(listener: Listener) -> Tell:
    """What a refit tells; raises where the run is to stop."""

    def told(name: str, report: Report) -> None:
        listener.refit(name, report)
        if listener.interrupted():
            raise KeyboardInterrupt

    return told


def _write_first(found: Discovery, folder: RunFolder, *, page: bool = True) -> None:
    """Write an answer without a model, where there is none yet."""
    if not folder.symmetry.exists():
        folder.write_symmetry(found.to_json())
        if page:
            _write_page(found, folder)


def _write_page(found: Discovery, folder: RunFolder) -> None:
    """Write the page of an answer without a model, where there is none yet."""
    if not folder.page.exists():
        write_reports(found, folder)


def _reported(found: Discovery, folder: RunFolder) -> Discovery:
    """Write the reports; what they fail of is named."""
    try:
        write_reports(found, folder)
    except Exception as error:  # whatever a picture fails of costs the report alone
        why = f"{type(error).__name__}: {error}"
        found = replace(found, failed={**found.failed, "report": why})
        folder.write_symmetry(found.to_json())
    return found


def _trained(
    config: Config, folder: RunFolder, data: DataFile, listener: Listener
) -> Trained | FloatingPointError:
    """The model, trained now or before; why there is none where training fails."""
    if folder.summary.exists():
        run, summary = load_run(folder), folder.read_summary
    else:
        try:
            run = train_to_end(config, folder, listener=listener, data=data, early=True)
        except FloatingPointError as error:
            return error
        summary = partial(evaluated, run, folder)
    return Trained(run.fitted, summary, folder.read_metrics())
