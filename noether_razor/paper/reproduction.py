"""One command for each table and figure: train what is missing, then write it beside the claims."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..app.config import Config, build_system
from ..app.runs import load_run
from ..discovery import RunFolder
from ..files import write_whole
from ..prediction import learned_hamiltonian
from ..random import stream
from ..reporting import contour_figure, mean_and_stderr, mean_cell, spectra_figure
from ..typing import Hamiltonian
from ..workers import Progress, side_by_side
from .claims import Claim, Verdict, gap_after, rest_ratio
from .learning import EXPERIMENTS, reproduce_experiment
from .runner import Run, plan, run_all, wall_seconds
from .seeded import SEEDED_TARGETS, reproduce_seeded
from .targets import COLUMNS, TARGETS, Budget, PhasePlane, Spectra, Table
from .writing import save_figure, verdict_lines

SMOKE = "**Smoke run** (budget quick): it shows that all parts work together; its numbers mean nothing."
LEARNED = "learned"
PLANE, GRID = 3.0, 61
"""Half the side of figure 2, where initial positions have standard deviation 1, and its points a side."""


def reproduce(
    target: str,
    *,
    seeds: int,
    budget: Budget,
    out: Path,
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Make a table or figure of the paper in the folder `out` and return its Markdown; "all" makes those of
    Noether's Razor.

    Writes ``<target>.md``, ``<target>.json`` and for figures ``.png`` and ``.pdf``, each whole or not at all.
    Runs go to ``out/runs/<budget>``: those that are finished are not run again, one that was stopped goes on.
    `seeds` is their number, from 0; figure 2 shows seed 0 alone. `scheduler`: see `share_out`. Raises
    ValueError for a target that is not one of `TARGETS`, and what `run_all` raises.
    """
    shared: dict[str, Any] = {"scheduler": scheduler, "on_progress": on_progress, "interrupted": interrupted}
    if target == "all":
        return "\n".join(reproduce(name, seeds=seeds, budget=budget, out=out, **shared) for name in TARGETS)
    if target in SEEDED_TARGETS:
        return reproduce_seeded(target, seeds=seeds, quick=budget == "quick", out=out, **shared)
    if target in EXPERIMENTS:
        return reproduce_experiment(target, seeds=seeds, budget=budget, out=out, **shared)
    if target not in TARGETS:
        known = ", ".join((*TARGETS, *EXPERIMENTS, *SEEDED_TARGETS))
        raise ValueError(f"target must be one of {known} or all, got {target!r}")
    made = TARGETS[target]
    table = made.table if isinstance(made, PhasePlane) else made
    count = 1 if isinstance(made, PhasePlane) else seeds
    runs = plan(table.rows, seeds=count, budget=budget, out=out, paper=table.paper)
    summaries = run_all(runs, **shared)
    about = _about(runs, summaries, budget, scheduler)
    if isinstance(made, Table):
        text = _table(made, runs, summaries, about, out)
    elif isinstance(made, Spectra):
        text = _spectra(made, runs, summaries, about, out)
    else:
        text = _phase_plane(made, runs, about, out)
    write_whole(out / f"{target}.md", text)
    return text


def noise_floors(config: Config) -> dict[str, float]:
    """What a perfect model reaches on targets of noise variance s in d dimensions: train MSE s, and NLL / N =
    d / 2 (log(2 pi s) + 1) nats.
    """
    variance = config.data.noise_variance
    dim = 2 * build_system(config.system).dof
    return {"train_mse": variance, "nll": dim / 2 * (math.log(2 * math.pi * variance) + 1)}


def table_result(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], floors: Mapping[str, float], claims: Sequence[Claim]
) -> dict[str, Any]:
    """The numbers of a table from the summaries of each row, a seed each, and its claims judged.

    Every metric has ``mean``, ``stderr`` (None for one seed) and ``values``; the row "learned" also carries
    ``singular_values``, ``parallelness`` and ``principal_cosines`` with the known quantities, a list a seed
    each.
    """
    numbers: dict[str, dict[str, Any]] = {}
    for name, summaries in rows.items():
        numbers[name] = {
            column.metric: mean_and_stderr([_at(summary, column.path) for summary in summaries])
            for column in COLUMNS
        }
        if name == LEARNED:
            for key in ("singular_values", "parallelness", "principal_cosines"):
                numbers[name][key] = [summary["symmetry"][key] for summary in summaries]
    verdicts = [claim.judge(numbers, floors) for claim in claims]
    return {
        "rows": numbers,
        "floors": dict(floors),
        "claims": [verdict._asdict() for verdict in verdicts],
    }


def _at(summary: Any, path: Sequence[str]) -> float:
    for key in path:
        summary = summary[key]
    return summary


def _by_row(runs: Sequence[Run], summaries: Sequence[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    rows: dict[str, list[dict[str, Any]]] = {}
    for run, summary in zip(runs, summaries, strict=True):
        rows.setdefault(run.row, []).append(summary)
    return rows


def _about(
    runs: Sequence[Run], summaries: Sequence[dict[str, Any]], budget: Budget, scheduler: str | None
) -> dict[str, Any]:
    processes = side_by_side(len(runs), scheduler)
    return {
        "budget": budget,
        "seeds": sorted({run.seed for run in runs}),
        "processes": processes,
        "wall_seconds": wall_seconds(runs, summaries, processes),
        "device": ", ".join(sorted({summary["device"] for summary in summaries})),
    }


def _heading(title: str, about: Mapping[str, Any]) -> list[str]:
    lines = [f"# {title}", ""]
    if about["budget"] == "quick":
        lines += [SMOKE, ""]
    return [
        *lines,
        f"Budget {about['budget']}, seeds {', '.join(map(str, about['seeds']))}, "
        f"{about['wall_seconds']:.0f} s of training and evaluation on {about['device']}, "
        f"{about['processes']} runs at a time.",
        "",
    ]


def _table(
    table: Table,
    runs: Sequence[Run],
    summaries: Sequence[dict[str, Any]],
    about: Mapping[str, Any],
    out: Path,
) -> str:
    result = dict(about) | table_result(_by_row(runs, summaries), noise_floors(runs[0].config), table.claims)
    write_whole(out / f"{table.name}.json", json.dumps(result, indent=2) + "\n")
    return "\n".join([*_heading(table.title, about), *table_lines(result), ""])


def table_lines(result: Mapping[str, Any]) -> list[str]:
    """The Markdown of a `table_result` with its ``seeds``: mean ± standard error, noise floors, claims."""
    lines = [
        "| | " + " | ".join(column.title for column in COLUMNS) + " |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for name, row in result["rows"].items():
        cells = []
        for column in COLUMNS:
            form = "{:.2e}" if column.metric.endswith("mse") else "{:.3f}"
            cells.append(mean_cell(row[column.metric], form))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    floors = result["floors"]
    shown = {"train_mse": "{:.2e}", "nll": "{:.3f}"}
    cells = [shown[c.metric].format(floors[c.metric]) if c.metric in floors else "" for c in COLUMNS]
    lines += ["| *noise floor* | " + " | ".join(cells) + " |", ""]
    lines += [
        "Mean ± standard error over seeds; N transitions; one-step MSE of the posterior-predictive mean, "
        "against noisy targets for train and true ones for the test sets.",
        "",
    ]
    for seed, cosines in zip(result["seeds"], result["rows"][LEARNED]["principal_cosines"], strict=True):
        listed = ", ".join(f"{cosine:.3f}" for cosine in cosines)
        lines.append(f"- principal cosines of learned with the known quantities, seed {seed}: {listed}")
    lines.append("")
    return [*lines, "What the paper claims:", "", *verdict_lines(result["claims"])]


def _spectra(
    figure: Spectra,
    runs: Sequence[Run],
    summaries: Sequence[dict[str, Any]],
    about: Mapping[str, Any],
    out: Path,
) -> str:
    rows: dict[str, dict[str, Any]] = {}
    for name, found in _by_row(runs, summaries).items():
        values = [summary["symmetry"]["singular_values"] for summary in found]
        known = len(found[0]["symmetry"]["principal_cosines"])
        gaps = [gap_after(v, known) for v in values]
        rows[name] = {
            "singular_values": values,
            "parallelness": [summary["symmetry"]["parallelness"] for summary in found],
            "known": known,
            "gap": [gap if math.isfinite(gap) else None for gap in gaps],
            "beyond": [rest_ratio(v, known) for v in values],
            "budget": about["budget"],
            "seeds": about["seeds"],
        }
    verdicts: list[Verdict] = [claim.judge(rows, {}) for claim in figure.claims]
    title = figure.title + (" (smoke run)" if about["budget"] == "quick" else "")
    drawn = spectra_figure(
        {
            f"n = {name}": (row["singular_values"], row["parallelness"], row["known"])
            for name, row in rows.items()
        },
        title,
    )
    save_figure(drawn, out, figure.name)
    write_whole(out / f"{figure.name}.json", json.dumps(rows, indent=2) + "\n")
    lines = [
        *_heading(figure.title, about),
        f"![{figure.title}]({figure.name}.png)",
        "",
        "| n | seed | known | lowest alignment of these | gap after them | largest beyond / largest |",
        "|---|---|---|---|---|---|",
    ]
    for name, row in rows.items():
        for k, seed in enumerate(about["seeds"]):
            lowest = min(row["parallelness"][k][: row["known"]])
            gap = "none" if row["gap"][k] is None else f"{row['gap'][k]:.3g}"
            lines.append(
                f"| {name} | {seed} | {row['known']} | {lowest:.4f} | {gap} | {row['beyond'][k]:.2%} |"
            )
    found = verdict_lines([verdict._asdict() for verdict in verdicts])
    return "\n".join([*lines, "", "What the paper claims:", "", *found, ""])


def _phase_plane(figure: PhasePlane, runs: Sequence[Run], about: Mapping[str, Any], out: Path) -> str:
    axis = np.linspace(-PLANE, PLANE, GRID)
    states = np.stack(np.meshgrid(axis, axis), axis=-1)
    truth = build_system(runs[0].config.system).hamiltonian
    energies = {f"{run.row}": _learned_energy(run.folder, states) for run in runs}
    true_energy = energies["true H"] = _energy(truth, states)
    errors = {
        # The constant is arbitrary: both energies are taken from their means.
        name: float(np.std(energy - true_energy) / np.std(true_energy))
        for name, energy in energies.items()
        if name != "true H"
    }
    data = load_run(runs[0].folder).problem.data
    panels = {f"H of row {name}" if name in errors else name: energy for name, energy in energies.items()}
    drawn = contour_figure(axis, axis, panels, data.states, (data.names[0], data.names[1]))
    if about["budget"] == "quick":
        drawn.suptitle("smoke run")
    save_figure(drawn, out, figure.name)
    write_whole(
        out / f"{figure.name}.json", json.dumps(dict(about) | {"energy_error": errors}, indent=2) + "\n"
    )
    lines = [
        *_heading(figure.title, about),
        f"![{figure.title}]({figure.name}.png)",
        "",
        f"| row | r.m.s. error of H on the square of side {2 * PLANE:g}, over its standard deviation |",
        "|---|---|",
        *(f"| {name} | {error:.1%} |" for name, error in errors.items()),
        "",
    ]
    return "\n".join(lines)


def _learned_energy(folder: RunFolder, states: Float[np.ndarray, "np nq 2"]) -> Float[np.ndarray, "np nq"]:
    run = load_run(folder)
    key = stream(run.config.seed, "report")
    learned = learned_hamiltonian(run.posterior, key, estimator=run.problem.evaluator)
    return _energy(learned, states)


def _energy(hamiltonian: Hamiltonian, states: Float[np.ndarray, "np nq 2"]) -> Float[np.ndarray, "np nq"]:
    points = jnp.asarray(states.reshape(-1, 2), jnp.float32)
    return np.asarray(jax.jit(jax.vmap(hamiltonian))(points), np.float64).reshape(states.shape[:2])
