"""One command for each experiment on embeddings: run its seeds, then write it beside its claims."""

import contextlib
import importlib.util
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...app.config import ConfigError
from ...files import write_whole
from ..claims import mean_and_stderr
from ..workers import Progress, places, share_out
from ..writing import save_figure, verdict_lines
from . import figure1, manifolds, pca
from .target import EmbeddingTarget, Measured

PACKAGES = {"sklearn": "scikit-learn", "umap": "umap-learn"}
TARGETS = (
    EmbeddingTarget(
        "embedding-figure1",
        "A line and a circle by the authors' penalty and by the tube",
        figure1.run_figure1,
        figure1.COLUMNS,
        figure1.CLAIMS,
        (
            "The penalised functional has no maximum that covers the data once: its optimal length is "
            "2 / sqrt(2 λ) whatever the data are, here λ = 0.01. Curves wind or run to and fro to reach it.",
            "The objective is without the constant log 2 of the prior. The tube maximises -KL(tube || p).",
        ),
        draw=figure1.draw_figure1,
    ),
    EmbeddingTarget(
        "embedding-pca",
        "Principal components: exactly stationary, stable by an exact spectrum",
        pca.run_pca,
        pca.COLUMNS,
        pca.CLAIMS,
        (
            "Angles in radians between the best linear map and the principal axes; residuals of the "
            "Euler-Lagrange equation at 20 points; largest difference of the eigenvalues of the second "
            "variation between formula and autodiff, in a density of variances 4, 1.5, 0.7, 0.3.",
        ),
        draw=pca.draw_pca,
    ),
    EmbeddingTarget(
        "embedding-manifolds",
        "Noisy sheets in space, in two dimensions",
        manifolds.run_sheets,
        manifolds.SHEET_COLUMNS,
        manifolds.SHEET_CLAIMS,
        (
            "1000 training and 400 test points a seed. Every method is tuned on a fifth of the training "
            "points: VME by likelihood, those with a map back by its error, the others by trustworthiness. "
            f"{manifolds.NEIGHBOURS} neighbours; seconds of CPU with tuning.",
        ),
        datasets=True,
    ),
    EmbeddingTarget(
        "embedding-digits",
        "Digits (8 x 8 pixels, 20 principal components) in two dimensions",
        manifolds.run_digits,
        manifolds.DIGIT_COLUMNS,
        manifolds.DIGIT_CLAIMS,
        (
            "1200 training and 597 test digits a seed, tuned as for the sheets. Labels are used by the "
            "classifier alone.",
        ),
        aims=manifolds.aims,
        datasets=True,
    ),
)
EMBEDDING_TARGETS: dict[str, EmbeddingTarget] = {target.name: target for target in TARGETS}


def reproduce_embedding(
    name: str,
    *,
    seeds: int,
    quick: bool,
    out: Path,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Run an experiment for seeds 0 to `seeds` - 1, side by side, and return its Markdown.

    Writes ``<name>.md``, ``<name>.json`` and the figures, each whole or not at all; seeds are kept under
    ``out/runs/<budget>`` and not measured again. Raises `ConfigError`
    where a package of the extra ``datasets`` is missing.
    """
    target = EMBEDDING_TARGETS[name]
    missing = [PACKAGES[key] for key in PACKAGES if importlib.util.find_spec(key) is None]
    if target.datasets and missing:
        raise ConfigError(f"{name}: needs {' and '.join(missing)}: pip install 'noether-razor[datasets]'")
    started = time.monotonic()
    kept = out / "runs" / ("quick" if quick else "standard")
    found = share_out(
        [partial(_run, name, seed, quick, kept / f"{name}-{seed}.json") for seed in range(seeds)],
        on_progress=on_progress,
        interrupted=interrupted,
    )
    result = embedding_result(target, found)
    about = {
        "seeds": list(range(seeds)),
        "budget": "quick" if quick else "standard",
        "wall_seconds": time.monotonic() - started,
        "processes": len(places(seeds)),
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
    kept: Path,
    *,
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> Measured:
    """One seed, as it was measured before where it was."""
    del on_progress
    if interrupted():
        raise KeyboardInterrupt
    if kept.exists():
        with contextlib.suppress(ValueError, TypeError):
            return Measured(**json.loads(kept.read_text(encoding="utf-8")))
    found = EMBEDDING_TARGETS[name].run(seed, quick)
    write_whole(kept, json.dumps(found._asdict()) + "\n")
    return found


def embedding_result(target: EmbeddingTarget, found: Sequence[Measured]) -> dict[str, Any]:
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


def _lines(target: EmbeddingTarget, content: Mapping[str, Any]) -> list[str]:
    lines = [f"# {target.title}", ""]
    if content["budget"] == "quick":
        lines += ["**Smoke run** (budget quick): its numbers mean nothing.", ""]
    lines += [
        f"Seeds {', '.join(map(str, content['seeds']))}, {content['wall_seconds']:.0f} s, "
        f"{content['processes']} seeds at a time.",
        "",
        *(f"{text}\n" for text in target.about),
    ]
    if target.draw is not None:
        lines += [f"![{target.title}]({target.name}.png)", ""]
    lines += ["| | " + " | ".join(column.title for column in target.columns) + " |"]
    lines += ["|---" * (len(target.columns) + 1) + "|"]
    for row, metrics in content["rows"].items():
        cells = [_cell(metrics.get(column.metric), column.form) for column in target.columns]
        lines.append(f"| {row} | " + " | ".join(cells) + " |")
    lines += ["", "Claims:", "", *verdict_lines(content["claims"])]
    if content["aims"]:
        lines += ["", "Beyond what is claimed:", "", *verdict_lines(content["aims"])]
    return lines


def _cell(numbers: Mapping[str, Any] | None, form: str) -> str:
    if numbers is None or numbers["mean"] is None:
        return ""
    error = "" if numbers["stderr"] is None else " ± " + form.format(numbers["stderr"])
    return form.format(numbers["mean"]) + error
