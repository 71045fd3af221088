"""One command for each experiment of numbers by seed: run its seeds, then write it beside its claims."""

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ..app.config import ConfigError
from ..files import write_whole
from ..reporting import mean_and_stderr, mean_cell
from ..workers import Progress, share_out, side_by_side
from .beyond.target import BEYOND
from .bracket.target import BRACKET
from .embedding import EMBEDDING_TARGETS
from .seeded_target import Measured, SeededTarget
from .writing import save_figure, verdict_lines

PACKAGES = {"sklearn": "scikit-learn", "umap": "umap-learn"}
SEEDED_TARGETS: dict[str, SeededTarget] = {
    target.name: target for target in (*EMBEDDING_TARGETS, BEYOND, BRACKET)
}


def reproduce_seeded(
    name: str,
    *,
    seeds: int,
    quick: bool,
    out: Path,
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Run an experiment for seeds 0 to `seeds` - 1, side by side, and return its Markdown. `scheduler`: see
    `share_out`.

    Writes ``<name>.md``, ``<name>.json`` and the figures, each whole or not at all. What each seed, or part
    of one, gave is kept under ``out/runs/<budget>`` and not measured again. Raises `ConfigError` where a
    package of the extra ``datasets`` is missing.
    """
    target = SEEDED_TARGETS[name]
    missing = [PACKAGES[key] for key in PACKAGES if importlib.util.find_spec(key) is None]
    if target.datasets and missing:
        raise ConfigError(f"{name}: needs {' and '.join(missing)}: pip install 'noether-razor[datasets]'")
    started = time.monotonic()
    kept = out / "runs" / ("quick" if quick else "standard")
    jobs = [target.jobs(seed, quick) for seed in range(seeds)]
    measured = share_out(
        [
            partial(_run, name, seed, quick, job, kept / f"{job}.json")
            for seed, own in enumerate(jobs)
            for job in own
        ],
        scheduler=scheduler,
        on_progress=on_progress,
        interrupted=interrupted,
    )
    parts = iter(measured)
    found = [target.joined([next(parts) for _ in own]) for own in jobs]
    result = seeded_result(target, found)
    about = {
        "seeds": list(range(seeds)),
        "budget": "quick" if quick else "standard",
        "wall_seconds": time.monotonic() - started,
        "processes": side_by_side(len(measured), scheduler),
    }
    notes = [one.notes for one in found] if target.draw is None else None
    content = about | result | ({"settings": notes} if notes else {})
    write_whole(out / f"{name}.json", json.dumps(content, indent=1) + "\n")
    if target.draw is not None:
        save_figure(target.draw(found), out, name)
    text = "\n".join(_lines(target, content)) + "\n"
    write_whole(out / f"{name}.md", text)
    return text


def _run(
    name: str,
    seed: int,
    quick: bool,
    job: str,
    kept: Path,
    *,
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> Measured:
    """A job of one seed, as it was measured before where it was."""
    del on_progress
    if interrupted():
        raise KeyboardInterrupt
    if kept.exists():
        with contextlib.suppress(ValueError, TypeError):
            return Measured(**json.loads(kept.read_text(encoding="utf-8")))
    found = SEEDED_TARGETS[name].jobs(seed, quick)[job]()
    write_whole(kept, json.dumps(found._asdict()) + "\n")
    return found


def seeded_result(target: SeededTarget, found: Sequence[Measured]) -> dict[str, Any]:
    """The numbers of all seeds by row and metric, as in the tables of the paper, with the claims judged."""
    rows = {
        row: {
            metric: mean_and_stderr([one.rows[row][metric] for one in found]) for metric in found[0].rows[row]
        }
        for row in found[0].rows
    }
    verdicts = [claim.judge(rows, {}) for claim in target.claims]
    aims = [] if target.aims is None else target.aims(rows)
    # JSON knows no nan.
    for metrics in rows.values():
        for numbers in metrics.values():
            numbers["mean"] = numbers["mean"] if math.isfinite(numbers["mean"]) else None
            numbers["values"] = [v if math.isfinite(v) else None for v in numbers["values"]]
            stderr = numbers["stderr"]
            numbers["stderr"] = stderr if stderr is not None and math.isfinite(stderr) else None
    return {
        "rows": rows,
        "claims": [verdict._asdict() for verdict in verdicts],
        "aims": [verdict._asdict() for verdict in aims],
    }


def _lines(target: SeededTarget, content: Mapping[str, Any]) -> list[str]:
    lines = [f"# {target.title}", ""]
    if content["budget"] == "quick":
        lines += ["**Smoke run** (budget quick): its numbers mean nothing.", ""]
    lines += [
        f"Seeds {', '.join(map(str, content['seeds']))}, {content['wall_seconds']:.0f} s, "
        f"{content['processes']} runs at a time.",
        "",
        *(f"{text}\n" for text in target.about),
    ]
    if target.draw is not None:
        lines += [f"![{target.title}]({target.name}.png)", ""]
    lines += ["| | " + " | ".join(column.title for column in target.columns) + " |"]
    lines += ["|---" * (len(target.columns) + 1) + "|"]
    for row, metrics in content["rows"].items():
        cells = [mean_cell(metrics.get(column.metric), column.form) for column in target.columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", "Claims:", "", *verdict_lines(content["claims"])]
    if content["aims"]:
        lines += ["", "Beyond what is claimed:", "", *verdict_lines(content["aims"])]
    return lines
