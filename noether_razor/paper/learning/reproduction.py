"""One command for each experiment on learning dynamics (arXiv 2012.04728 and 2105.02716): run its seeds, then
write it beside its claims.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from ...files import write_whole
from ...reporting import mean_and_stderr
from ...workers import Progress, share_out
from ..claims import Verdict
from ..writing import save_figure, verdict_lines
from . import figure4, figure5, network_symmetries, rmsprop
from .experiment import Experiment

EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        Experiment(
            "mechanics-figure5",
            "Neural Mechanics: translation, rescale and scale charges, measured and predicted",
            "Digits of scikit-learn by a dense and a convolutional network, instead of the paper's VGG-16 on "
            "Tiny ImageNet. The figure itself could not be read: the three kinds of charges are those of the "
            "paper's text, the predictions come from the formulas. Errors are shares of |q| |xi(q)|.",
            figure5.run_figure5,
            figure5.judge_figure5,
            figure5.draw_figure5,
        ),
        Experiment(
            "learning-figure4",
            "Noether's learning dynamics: free norms adapt the learning rate, decay sets the angle of a step",
            "Digits, network 64-64-64-10 with batch normalisation, momentum 0.9 on the left; on the right "
            "30 % of labels are noise. The paper's figure could not be read: this follows its formulas.",
            figure4.run_figure4,
            figure4.judge_figure4,
            figure4.draw_figure4,
        ),
        Experiment(
            "learning-rmsprop",
            "SGD with normalisation and weight decay is RMSProp on the sphere",
            "Digits, network 64-64-64-10, the same batches for both; r is the norm of each filter.",
            rmsprop.run_rmsprop,
            rmsprop.judge_rmsprop,
            rmsprop.draw_rmsprop,
        ),
        Experiment(
            "network-symmetries",
            "Symmetries of networks, found from gradients",
            "Digits by 64-24-24-16-16-10, the first two layers normalised; small networks on noise.",
            network_symmetries.run_symmetries,
            network_symmetries.judge_symmetries,
            network_symmetries.draw_symmetries,
        ),
    )
}
"""What `reproduce` makes besides the tables of Noether's Razor."""


def reproduce_experiment(
    name: str,
    *,
    seeds: int,
    budget: str,
    out: Path,
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Run an experiment for seeds 0 to `seeds` - 1 and write ``<name>.md``, ``.json``, ``.png`` and ``.pdf``.

    A seed that is in ``out/runs/<budget>`` is not run again. Budget quick takes a tenth of the steps; paper
    is standard. `scheduler`: see `share_out`.
    """
    experiment = EXPERIMENTS[name]
    paths = [out / "runs" / budget / f"{name}-{seed}.json" for seed in range(seeds)]
    missing = [(seed, path) for seed, path in enumerate(paths) if not path.exists()]
    jobs = [partial(_run_seed, name, seed, budget == "quick", path) for seed, path in missing]
    share_out(jobs, scheduler=scheduler, on_progress=on_progress, interrupted=interrupted)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    table = {key: [float(one["numbers"][key]) for one in found] for key in found[0]["numbers"]}
    numbers = {key: mean_and_stderr(values) for key, values in table.items()}
    verdicts = experiment.claims(table)
    result = {"budget": budget, "numbers": numbers, "claims": [v._asdict() for v in verdicts]}
    write_whole(out / f"{name}.json", json.dumps(result, indent=2) + "\n")
    figure = experiment.draw(found[0]["series"], numbers)
    save_figure(figure, out, name)
    seconds = sum(one["seconds"] for one in found)
    text = _text(experiment, budget, numbers, verdicts, seconds, len(found))
    write_whole(out / f"{name}.md", text)
    return text


def _run_seed(
    name: str,
    seed: int,
    quick: bool,
    path: Path,
    *,
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> None:
    del on_progress, interrupted  # a seed takes less than a minute or two
    started = time.process_time()
    found = EXPERIMENTS[name].run(seed, quick)
    found["seconds"] = time.process_time() - started
    write_whole(path, json.dumps(found) + "\n")


def _text(
    experiment: Experiment,
    budget: str,
    numbers: Mapping[str, Mapping[str, Any]],
    verdicts: Sequence[Verdict],
    seconds: float,
    seeds: int,
) -> str:
    lines = [f"# {experiment.title}", ""]
    if budget == "quick":
        lines += ["**Smoke run** (budget quick): its numbers mean nothing.", ""]
    lines += [experiment.about, "", f"{seeds} seeds, {seconds:.0f} s of CPU.", ""]
    if seeds > 1:
        lines += ["Means over seeds ± their standard errors.", ""]
    lines += [f"![{experiment.title}]({experiment.name}.png)", "", *_tables(numbers)]
    lines += ["Claims:", "", *verdict_lines([v._asdict() for v in verdicts])]
    return "\n".join([*lines, ""])


def _tables(numbers: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Numbers called "row: column"; rows with the same columns share a table."""
    rows: dict[str, dict[str, str]] = {}
    for key, value in numbers.items():
        row, _, column = key.rpartition(": ")
        error = "" if value["stderr"] is None else f" ± {value['stderr']:.1g}"
        rows.setdefault(row, {})[column] = f"{value['mean']:.4g}{error}"
    tables: dict[tuple[str, ...], list[str]] = {}
    for row, cells in rows.items():
        tables.setdefault(tuple(cells), []).append(f"| {row} | {' | '.join(cells.values())} |")
    lines = []
    for columns, cells in tables.items():
        lines += [f"| | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|", *cells, ""]
    return lines
