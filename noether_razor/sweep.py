"""Runs of one configuration for all combinations of settings and several seeds, their table and picture."""

import csv
import io
import json
import re
import zlib
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

from .app.config import Config, ConfigError, combinations, load_config, parse_value
from .app.runs import Listener, require_same, train_run
from .discovery import RunFolder
from .files import finite_only, write_whole, written_whole
from .reporting import mean_and_stderr, mean_cell, png_of, settings_figure
from .workers import Progress, share_out

TABLE = "table.json"
LONGEST_NAME = 120
"""Characters of a folder's name."""
NUMBERS = {"train.negative_elbo": "-ELBO / N", "train.nll": "NLL / N", "train.kl": "KL / N"}
"""What the summary shows of training; of each test set it shows the one-step error."""


class SweepRun(NamedTuple):
    """One run: the values of all settings, the seed, and the folder, which is named for what differs."""

    settings: dict[str, Any]
    seed: int
    config: Config
    folder: RunFolder

    @property
    def name(self) -> str:
        """The name of its folder."""
        return self.folder.path.name


def plan_sweep(path: Path, overrides: Sequence[str], *, seeds: int, out: Path) -> list[SweepRun]:
    """The runs of a configuration for all combinations of ``table.key=value,value,...`` with the seeds 0 to
    `seeds` - 1, in folders under `out`. Raises `ConfigError` for settings that cannot be.
    """
    found = combinations(overrides, seeds=seeds)
    swept = [key for key in found[0] if len({one[key] for one in found}) > 1]
    runs = []
    for texts in found:
        words = [f"{key}={text}" for key, text in texts.items()]
        settings = {key: parse_value(text) for key, text in texts.items()}
        for seed in range(seeds):
            config = load_config(path, [*words, f"seed={seed}"])
            name = _folder_name({key: texts[key] for key in swept}, seed)
            runs.append(SweepRun(settings, seed, config, RunFolder(out / name)))
    return runs


def _folder_name(texts: Mapping[str, str], seed: int) -> str:
    whole = "_".join([*(f"{key}={text}" for key, text in texts.items()), f"seed={seed}"])
    plain = re.sub(r"[^\w.=+-]+", "-", whole, flags=re.ASCII)
    if plain == whole and len(whole) <= LONGEST_NAME:
        return whole
    return f"{plain[:LONGEST_NAME]}-{zlib.crc32(whole.encode()):08x}"


def run_sweep(
    runs: Sequence[SweepRun],
    out: Path,
    *,
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    on_run: Callable[[SweepRun, str | None], None] = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> dict[str, Any]:
    """Train `runs` side by side, see `share_out`, and return the contents of ``table.json``.

    A run that fails costs that run: its row has the error. Finished runs are read, others go on from their
    checkpoints. After every run ``table.json`` and ``table.csv`` in `out` hold what is known; at the end
    ``summary.md`` and ``summary.png`` give means over seeds. `on_run` is told each run that is done, with its
    error. Raises `ConfigError` before anything is trained where a folder holds another configuration, and
    where workers write to disks that this process does not see.
    """
    for run in runs:
        if run.folder.holds_run():
            require_same(run.config, run.folder)
    rows: dict[int, dict[str, Any]] = {}

    def keep(index: int, error: str | None) -> None:
        rows[index] = _row(runs[index], error)
        _write_table([rows[k] for k in sorted(rows)], out)

    def done(index: int, error: str | None) -> None:
        keep(index, error)
        on_run(runs[index], error)

    finished = [k for k, run in enumerate(runs) if run.folder.summary.exists()]
    for index in finished:
        keep(index, None)
    left = [k for k in range(len(runs)) if k not in rows]
    share_out(
        [partial(_trained, runs[k].config, runs[k].folder.path) for k in left],
        scheduler=scheduler,
        on_progress=on_progress,
        interrupted=interrupted,
        on_result=lambda k, _: done(left[k], None),
        on_failure=lambda k, error: done(left[k], " ".join(str(error).split())),
    )
    table = [rows[k] for k in range(len(runs))]
    content = _write_table(table, out)
    write_whole(out / "summary.md", sweep_text(content))
    with written_whole(out / "summary.png") as temporary:
        temporary.write_bytes(png_of(_figure(content)))
    return content


def _trained(config: Config, path: Path, *, on_progress: Progress, interrupted: Callable[[], bool]) -> None:
    listener = Listener(progress=partial(on_progress, path.name), interrupted=interrupted)
    train_run(config, RunFolder(path), resume=True, listener=listener)


def _row(run: SweepRun, error: str | None) -> dict[str, Any]:
    summary = None
    if error is None:
        if not run.folder.summary.exists():
            raise ConfigError(
                f"{run.folder.path}: written by a worker, not seen here: a shared disk is needed"
            )
        summary = run.folder.read_summary()
    return {
        "run": run.name,
        "settings": run.settings,
        "seed": run.seed,
        "error": error,
        "summary": summary,
    }


def _write_table(rows: Sequence[Mapping[str, Any]], out: Path) -> dict[str, Any]:
    content = finite_only({"rows": list(rows), "means": _means(rows)})
    write_whole(out / TABLE, json.dumps(content, indent=1, allow_nan=False) + "\n")
    numbers = [numbers_of(row["summary"]) for row in rows]
    names = list(dict.fromkeys(name for own in numbers for name in own if name != "seed"))
    settings = list(dict.fromkeys(key for row in rows for key in row["settings"]))
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(["run", *settings, "seed", "error", *names])
    for row, own in zip(rows, numbers, strict=True):
        values = [value_text(row["settings"][key]) for key in settings]
        lines.writerow(
            [row["run"], *values, row["seed"], row["error"] or "", *(own.get(n, "") for n in names)]
        )
    write_whole(out / "table.csv", text.getvalue())
    return content


def numbers_of(summary: Any, name: str = "") -> dict[str, int | float]:
    """All numbers of nested tables and lists, by dotted key, those of lists by their places from 1."""
    if isinstance(summary, Mapping):
        parts = list(summary.items())
    elif isinstance(summary, list | tuple):
        parts = list(enumerate(summary, start=1))
    elif isinstance(summary, int | float) and not isinstance(summary, bool):
        return {name: summary}
    else:
        return {}
    return {
        key: number
        for part, value in parts
        for key, number in numbers_of(value, f"{name}.{part}".lstrip(".")).items()
    }


def value_text(value: Any) -> str:
    """A setting as a cell of a table."""
    return value if isinstance(value, str) else json.dumps(value)


def _means(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """For all settings, each number of their runs: its mean over seeds and the standard error of that."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault(json.dumps(row["settings"]), []).append(row)
    means = []
    for own in groups.values():
        summaries = [numbers_of(row["summary"]) for row in own if row["error"] is None]
        names = list(dict.fromkeys(name for one in summaries for name in one if name != "seed"))
        means.append(
            {
                "settings": own[0]["settings"],
                "runs": len(summaries),
                "failed": len(own) - len(summaries),
                "numbers": {
                    n: mean_and_stderr([float(one[n]) for one in summaries if n in one]) for n in names
                },
            }
        )
    return means


def _shown(content: Mapping[str, Any]) -> dict[str, str]:
    """The numbers that the summary shows, and their titles."""
    names = dict.fromkeys(name for means in content["means"] for name in means["numbers"])
    errors = {name: f"MSE, {name.split('.')[1]}" for name in names if re.fullmatch(r"test\.[^.]+\.mse", name)}
    return NUMBERS | errors


def _swept(content: Mapping[str, Any]) -> list[str]:
    """The settings that have several values."""
    return [
        key
        for key in content["means"][0]["settings"]
        if len({value_text(means["settings"][key]) for means in content["means"]}) > 1
    ]


def sweep_text(content: Mapping[str, Any]) -> str:
    """The Markdown of a sweep: mean ± standard error over seeds for all settings, and what failed."""
    shown, settings = _shown(content), _swept(content)
    titles = [*settings, "runs", *shown.values()]
    lines = [f"| {' | '.join(titles)} |", "|---" * len(titles) + "|"]
    for means in content["means"]:
        cells = [value_text(means["settings"][key]) for key in settings]
        cells.append(str(means["runs"]))
        cells += [
            mean_cell(means["numbers"].get(name), "{:.3f}" if name in NUMBERS else "{:.2e}") for name in shown
        ]
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", "Mean ± standard error over seeds; N transitions; MSE of one step.", ""]
    lines += [f"- failed: {row['run']}: {row['error']}" for row in content["rows"] if row["error"]]
    return "\n".join(lines).rstrip() + "\n"


def _figure(content: Mapping[str, Any]) -> Any:
    shown = {name: title for name, title in _shown(content).items() if name not in ("train.nll", "train.kl")}
    panels = {
        title: [
            [value for value in means["numbers"].get(name, {"values": []})["values"] if value is not None]
            for means in content["means"]
        ]
        for name, title in shown.items()
    }
    labels = [
        ", ".join(f"{key.split('.')[-1]} {value_text(means['settings'][key])}" for key in _swept(content))
        for means in content["means"]
    ]
    return settings_figure(labels, panels)
