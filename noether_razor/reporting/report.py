"""The report of a run: what was found, how well it predicts, and the pictures."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..files import written_whole
from ..invariants import measured_text
from .answer import measured_terms, symmetry_text
from .beyond import beyond_section
from .data import ReportData
from .discovery import discovery_section
from .html import report_html
from .pictures import Drawn, draw_pictures


def summary_text(summary: Mapping[str, Any]) -> str:
    """The numbers of summary.json as a Markdown section that a person can read."""
    train, symmetry = summary["train"], summary["symmetry"]
    lines = [
        f"trained {summary['steps']} steps in {summary['wall_seconds']:.0f} s "
        f"(compilation {summary['compile_seconds']:.0f} s) on {summary['device']}, seed {summary['seed']}",
        "",
        "| nats per transition | -ELBO | NLL | KL |",
        "|---|---|---|---|",
        f"| {summary['transitions']} transitions | {train['negative_elbo']:.3f} | "
        f"{train['nll']:.3f} ± {train['nll_stderr']:.3f} | {train['kl']:.3f} |",
        "",
        "| mean squared error | one step | mean weights | rollout | energy error |",
        "|---|---|---|---|---|",
        f"| train (noisy targets) | {train['mse']:.2e} | | | |",
    ]
    for name, errors in summary["test"].items():
        energy = errors.get("energy_error")
        one_step = f"{errors['mse']:.2e} ± {errors['mse_stderr']:.0e} | {errors['mse_mean_weights']:.2e}"
        drift = "" if energy is None else f"{energy:.1%}"
        lines.append(f"| {name} | {one_step} | {errors['rollout_mse']:.2e} | {drift} |")
    chosen = summary.get("likelihood", {}).get("text")
    if chosen:
        lines += ["", f"Likelihood: {chosen}."]
    lines += _data_lines(summary.get("data"))
    values = symmetry["singular_values"]
    if values:
        known = symmetry.get("parallelness")
        truth = ("", "") if known is None else (" alignment with the truth |", "---|")
        lines += ["", f"| direction | singular value |{truth[0]}", f"|---|---|{truth[1]}"]
        for k, value in enumerate(values):
            lines.append(f"| {k + 1} | {value:.4g} |" + ("" if known is None else f" {known[k]:.4f} |"))
    integrator = summary["integrator"]
    if not integrator["error"] <= integrator["limit"]:
        lines += [
            "",
            f"**Warning:** too few integrator steps per transition ({integrator['substeps']}) for the "
            f"learned Hamiltonian: error {integrator['error']:.1e}, limit {integrator['limit']:.1e}. "
            "Increase `inference.substeps`.",
        ]
    return "\n".join(lines) + "\n"


def _data_lines(data: Mapping[str, Any] | None) -> list[str]:
    """Where data of a file stand: their units, the coordinates of training, the noise, and what was noted."""
    if data is None:
        return []
    time = f"{data['time_scale']:.6g} {data['time_unit']}".rstrip()
    lines = [
        "",
        "Errors are in the units of the data. The ELBO and the generators are in scaled coordinates, with "
        f"time in units of {time}:",
        "",
        "| coordinate | unit | shift | scale | noise of a prediction |",
        "|---|---|---|---|---|",
    ]
    columns = ("names", "units", "shifts", "scales", "noise_standard_deviations")
    rows = zip(*(data[key] for key in columns), strict=True)
    for name, unit, shift, scale, noise in rows:
        lines.append(f"| {name} | {unit} | {shift:.6g} | {scale:.6g} | {noise:.3g} |")
    for note in data["notes"]:
        lines += ["", f"**Note:** {note}."]
    return lines


def symmetry_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of symmetry.json."""
    lines = ["## Conserved quantities", "", "```", symmetry_text(symmetry).rstrip(), "```", ""]
    for k, quantity in enumerate(symmetry["quantities"]):
        measured = measured_text(measured_terms(quantity))
        lines.append(f"- $C_{{{k + 1}}} = {quantity['latex']}$" + (f"; {measured}" if measured else ""))
    if symmetry["quantities"]:
        lines.append("")
    return "\n".join(lines)


class Reports(NamedTuple):
    """The report of a run in two forms; report.md refers to the figures beside it, report.html holds them."""

    markdown: str
    html: str


def write_report(figures: Path, data: ReportData) -> Reports:
    """Draw the figures into the folder `figures` and return the reports, of which the Markdown shows them
    relative to the folder's parent.
    """
    drawn, failed = draw_pictures(data)
    for name, _, png, _ in drawn:
        with written_whole(figures / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    return Reports(_markdown(data, drawn, failed, figures.name), report_html(data, drawn, failed))


def _markdown(data: ReportData, drawn: Sequence[Drawn], failed: Mapping[str, str], folder: str) -> str:
    lines = [f"# {data.title}", "", summary_text(data.summary)]
    if data.symmetry is not None:
        lines += [
            symmetry_section(data.symmetry),
            beyond_section(data.symmetry),
            discovery_section(data.symmetry),
        ]
    for name, caption, _, _ in drawn:
        lines += [f"![{caption}]({folder}/{name}.png)", "", f"*{caption}*", ""]
    lines += [f"**Figure left out:** {name}: {why}\n" for name, why in failed.items()]
    if "strongest" in data.summary["symmetry"]:
        lines += [
            "## Appendix: the strongest learned generator",
            *_generator_lines(data.summary["symmetry"]["strongest"]),
            "",
        ]
    return "\n".join(lines)


def _generator_lines(strongest: Mapping[str, Any]) -> list[str]:
    """A generator as a block of text, beside its projection on the true ones."""
    learned = np.asarray(strongest["learned"])
    blocks = {"learned [J A | J b]": learned}
    if strongest["true"] is not None:
        blocks["nearest true"] = np.asarray(strongest["true"])
    names = [f"d{name}/dt" for name in strongest["names"]]
    width = 8 * learned.shape[1]
    lines = [" " * 8 + "   ".join(title.ljust(width) for title in blocks)]
    for row, name in enumerate(names):
        # Adding 0 turns the -0 of rounding into 0.
        rows = (np.round(block[row], 3) + 0.0 for block in blocks.values())
        cells = ["".join(f"{value:8.3f}" for value in values) for values in rows]
        lines.append(name.ljust(8) + "   ".join(cells))
    return ["", "```", *(line.rstrip() for line in lines), "```"]
