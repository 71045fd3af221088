"""The reports of charges and of symmetries of a network: Markdown, one page of HTML, and their figures."""

from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter

from ..files import write_whole, written_whole
from ..learning import (
    LearningRule,
    Series,
    SymmetryReport,
    angles_of,
    budget_of,
    effective_learning_rate,
    predicted_values,
    scales,
    steady_angle,
)
from .html import figures_section, html_table, page, section
from .pictures import Drawn, Picture, drawn_pictures

SHOWN_FAMILIES, SHOWN_UNITS = 6, 5
MEASURED, LAW = "#2a7fc9", "#d1495b"
PARTS = ("#d1495b", "#2a7fc9", "#e0a93b")


def charges_figure(rule: LearningRule, series: Series, report: SymmetryReport, order: Any) -> Figure:
    """Charges of some units of each family over the steps, measured and predicted; of adaptive rules the
    momentum charges, whose law holds.
    """
    kinds = ("scale", "rescale", "translation")
    order_of = [(one.count == 1, kinds.index(getattr(one, "kind", "scale"))) for one in report.charges]
    chosen = sorted(range(len(order_of)), key=order_of.__getitem__)[:SHOWN_FAMILIES]
    shown = [(k, report.charges[k]) for k in chosen]
    rows = -(-len(shown) // 2)
    figure = Figure(figsize=(9, 2.6 * rows), layout="constrained")
    panels = figure.subplots(rows, min(2, len(shown)), squeeze=False, sharex=True).ravel()
    for axes, (k, family) in zip(panels, shown, strict=False):
        values, predicted = series.charges[k].momentum, series.charges[k].momentum_predicted
        if not rule.adaptive:
            values = series.values(k)
            predicted = predicted_values(rule, series, k, family.quadratic, order)
        units = np.unique(np.linspace(0, family.count - 1, SHOWN_UNITS).astype(int))
        axes.plot(values[:, units], color=MEASURED, linewidth=2.6, alpha=0.55)
        axes.plot(predicted[:, units], color=LAW, linewidth=1.0, linestyle=(0, (4, 3)))
        axes.set_title(family.name, fontsize=9)
        axes.grid(alpha=0.3)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    for axes in panels[max(0, len(shown) - 2) : len(shown)]:
        axes.set_xlabel("step")
    for axes in panels[: len(shown) : 2]:
        axes.set_ylabel("momentum charge" if rule.adaptive else "charge")
    panels[0].plot([], [], color=MEASURED, linewidth=2.6, alpha=0.55, label="measured")
    law = "exact law" if order == "exact" or rule.adaptive else f"law of order {order}"
    panels[0].plot([], [], color=LAW, linestyle="--", label=f"predicted from the start ({law})")
    panels[0].legend(fontsize=8)
    return figure


def budget_figure(parts: Mapping[str, np.ndarray], name: str) -> Figure:
    """The parts of the budget of a family's momentum charge, stacked, and the change that they add up to."""
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    *stacked, total = parts.items()
    count = len(total[1])
    width = max(1, count // 110)
    steps = np.arange(count // width) * width

    def mean(values: np.ndarray) -> np.ndarray:
        return values[: len(steps) * width].reshape(-1, width).mean(axis=1)

    above, below = np.zeros(len(steps)), np.zeros(len(steps))
    for (label, values), colour in zip(stacked, PARTS, strict=True):
        heights = mean(values)
        bottom = np.where(heights > 0, above, below)
        axes.bar(steps, heights, width, bottom, align="edge", color=colour, label=label)
        above, below = above + np.clip(heights, 0, None), below + np.clip(heights, None, 0)
    axes.step(steps, mean(total[1]), where="post", color="#1b1c1e", linewidth=1.2, label=total[0])
    size = max(above.max(), -below.min(), 1e-30)
    axes.set_ylim(-1.15 * size, 1.15 * size)
    axes.set(xlabel="step", ylabel="change in a step", title=f"Momentum charge, {name}")
    axes.legend(fontsize=8, ncols=2)
    axes.grid(alpha=0.3)
    return figure


def _quantiles(axes: Any, values: np.ndarray, label: str, colour: str) -> None:
    steps = np.arange(len(values))
    low, middle, high = np.quantile(values, [0.1, 0.5, 0.9], axis=1)
    axes.fill_between(steps, low, high, color=colour, alpha=0.25, linewidth=0)
    axes.plot(steps, middle, color=colour, label=label)


def rate_figure(rule: LearningRule, series: Series, report: SymmetryReport) -> Figure | None:
    """The effective learning rate of scale-invariant vectors, median and middle 80 %."""
    chosen = scales(report)
    if not chosen or rule.adaptive:
        return None
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for k, colour in zip(chosen, _colours(len(chosen)), strict=True):
        norms = series.values(k)
        rates = effective_learning_rate(rule, norms[:-1].T, np.arange(len(norms) - 1)).T
        _quantiles(axes, rates, report.charges[k].name, colour)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.set(xlabel="step", ylabel="effective learning rate")
    axes.set_title("Effective learning rate: median and middle 80 % of units")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def angle_figure(rule: LearningRule, series: Series, report: SymmetryReport) -> Figure | None:
    """The angle of each step, root mean square over units, and the steady angle that is predicted."""
    chosen = scales(report)
    if not chosen:
        return None
    figure = Figure(figsize=(8, 3.6), layout="constrained")
    axes = figure.subplots()
    for k, colour in zip(chosen, _colours(len(chosen)), strict=True):
        angles = np.sqrt(np.mean(angles_of(series, k) ** 2, axis=1))
        axes.plot(angles, color=colour, linewidth=0.9, label=report.charges[k].name)
    if rule.constant and rule.decay and not rule.adaptive:
        axes.axhline(steady_angle(rule), color=LAW, linestyle="--", label="steady angle predicted")
    axes.set_yscale("log")
    axes.set(xlabel="step", ylabel="angle, radians", title="Angle of a step, root mean square over units")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return figure


def _colours(count: int) -> list[str]:
    palette = ("#2a7fc9", "#3f9d6b", "#e0a93b", "#8d5bb5", "#6b7785")
    return [palette[k % len(palette)] for k in range(count)]


SPECTRA = {"diagonal": "scales and rescalings", "translation": "shifts", "linear": "linear symmetries"}


def symmetry_spectrum_figure(
    spectra: Mapping[str, Sequence[float]], counts: Mapping[str, Mapping[str, int]]
) -> Figure:
    """Singular values of the features of gradients; those of symmetries vanish, beyond a gap."""
    figure = Figure(figsize=(4.8 * len(spectra), 4.6), layout="constrained")
    panels = figure.subplots(1, len(spectra), squeeze=False)[0]
    for axes, (kind, spectrum) in zip(panels, spectra.items(), strict=True):
        values = np.maximum(np.sort(np.asarray(spectrum))[::-1], 1e-18)
        index = np.arange(1, len(values) + 1)
        parts = {name: int(count) for name, count in counts[kind].items() if count}
        quasi, exact = parts.pop("quasi", 0), parts.get("exact", 0)
        ends = (0, len(values) - sum(parts.values()) - quasi, len(values) - sum(parts.values()), len(values))
        vanishing = ", ".join(f"{count} {name}" for name, count in parts.items())
        labels = (f"{ends[1]} broken", f"{quasi} quasi-symmetries", f"vanish: {vanishing}")
        for low, high, label, colour in zip(ends, ends[1:], labels, (MEASURED, PARTS[2], LAW), strict=False):
            if high > low:
                axes.plot(index[low:high], values[low:high], ".", color=colour, markersize=4, label=label)
        axes.set_yscale("log")
        axes.set(xlabel="number of the singular value", ylabel="singular value, as a share of the largest")
        axes.set_title(f"{SPECTRA[kind]}: {exact} exact" + (f", {quasi} quasi" if quasi else ""))
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18))
    return figure


def charges_pictures(
    rule: LearningRule, series: Series, report: SymmetryReport, order: Any
) -> tuple[Picture, ...]:
    """The pictures of a tracked run."""

    def budget(_: Any) -> Figure | None:
        chosen = scales(report) or [0]
        k = chosen[0]
        return budget_figure(budget_of(rule, series, report, k), report.charges[k].name)

    def picture(name: str, caption: str, draw: Callable[[], Figure | None]) -> Picture:
        return Picture(name, caption, lambda _: draw())

    return (
        picture(
            "charges",
            "Noether charges of up to six families, a line for each of up to five units, over the steps of "
            "training: measured (wide), and predicted from the start by the law (dashed). Where the law "
            "holds, they lie on each other.",
            lambda: charges_figure(rule, series, report, order),
        ),
        picture(
            "budget",
            "What changes the momentum charges of one family in a step, summed over its units: dissipation "
            "(the average of gradients forgets), kinetic breaking of the symmetry (by the learning rule), "
            "and explicit breaking (by weight decay, and by the epsilon of a normalisation). The black line "
            "is their sum.",
            lambda: budget(None),
        ),
        picture(
            "effective_rate",
            "Effective learning rate of scale-invariant vectors: median, and the middle 80 % of units.",
            lambda: rate_figure(rule, series, report),
        ),
        picture(
            "angle",
            "The angle by which scale-invariant vectors turn in a step. Weight decay drives it to the dashed "
            "line as long as gradients do not vanish.",
            lambda: angle_figure(rule, series, report),
        ),
    )


def spectrum_picture(found: Mapping[str, Any]) -> Picture:
    """The picture of a search for symmetries."""
    return Picture(
        "spectrum",
        "Singular values of the gradients' features. Directions that no gradient ever sees lie at rounding, "
        "below the gap: exact symmetries, and with them parameters without effect and combinations that move "
        "nothing (trivial). Quasi-symmetries lie between.",
        lambda _: (
            None
            if found["rows"] < found["features"]
            else symmetry_spectrum_figure(found["spectra"], found["counts"])
        ),
    )


def charges_report(
    folder: Path, found: Mapping[str, Any], rule: LearningRule, series: Series, report: SymmetryReport
) -> str:
    """Write report.md, report.html and figures of a tracked run, and return what stands on the terminal."""
    pictures = (*charges_pictures(rule, series, report, found["order"]), spectrum_picture(report.to_json()))
    drawn, failed = drawn_pictures(pictures, None)
    text = charges_text(found)
    body = f"<h1>Charges of a training run</h1>\n{_run_html(found)}{_families_html(found)}"
    body += figures_section(drawn, failed) + section("Symmetries", f"<pre>{escape(str(report))}</pre>\n")
    _write(folder, "Charges of a training run", f"{text}\n\n```\n{report}\n```", body, drawn, failed)
    return text


def symmetries_report(folder: Path, text: str, found: Mapping[str, Any]) -> None:
    """Write report.md, report.html and the spectrum of a search for symmetries."""
    drawn, failed = drawn_pictures((spectrum_picture(found),), None)
    about = f"{found['rows']} gradients, {found['features']} features, method {found['method']}."
    body = f"<h1>Symmetries of a network</h1>\n<p>{about}</p>\n<pre>{escape(text)}</pre>\n"
    _write(
        folder,
        "Symmetries of a network",
        f"{about}\n\n```\n{text}\n```",
        body + figures_section(drawn, failed),
        drawn,
        failed,
    )


def _write(
    folder: Path, title: str, text: str, body: str, drawn: Sequence[Drawn], failed: Mapping[str, str]
) -> None:
    lines = [f"# {title}", "", text, ""]
    for name, caption, png, _ in drawn:
        with written_whole(folder / "figures" / f"{name}.png") as temporary:
            temporary.write_bytes(png)
        lines += [f"![{caption}](figures/{name}.png)", "", f"*{caption}*", ""]
    lines += [f"**Figure left out:** {name}: {why}\n" for name, why in failed.items()]
    write_whole(folder / "report.md", "\n".join(lines))
    write_whole(folder / "report.html", page(title, body))


def _run_lines(found: Mapping[str, Any]) -> list[str]:
    first, last = found["loss"]
    lines = [
        f"{found['steps']} steps of {found['optimizer']['kind']}, seed {found['seed']}: loss {first:.3g} to "
        f"{last:.3g}, accuracy {found['accuracy']:.1%} on test data."
    ]
    scale = found["scale"]
    if scale is not None:
        angle = f"Scale-invariant vectors turn by {scale['angle']:.3g} rad a step in the last quarter"
        if scale["steady_angle"] is not None:
            angle += (
                f"; the steady angle predicted is {scale['steady_angle']:.3g}, approached in "
                f"{scale['settling_steps']:.0f} steps by a factor e"
            )
            if scale["angle"] < 0.5 * scale["steady_angle"]:
                angle += " (not reached: the run is too short, or gradients vanish)"
        lines.append(f"{angle}.")
        if "effective_rate" in scale:
            low, middle, high = scale["effective_rate"]
            lines.append(f"Their effective learning rate at the end: {middle:.3g} ({low:.3g} to {high:.3g}).")
        lines += [f"For another angle: {text}." for text in scale["suggest"]]
    return lines


HEADER = (
    "family",
    "units",
    "charge at the start",
    "at the end",
    "violation",
    "error of the prediction",
    "breaking",
)


def _rows(found: Mapping[str, Any]) -> list[list[str]]:
    rows = []
    for entry in found["families"]:
        spans = ["{:.3g} to {:.3g}".format(*entry[key]) for key in ("start", "end")]
        error = "" if entry["error"] is None else f"{entry['error']:.1e}"
        numbers = [f"{entry['violation']:.1e}", error, f"{entry['breaking']:.1e}"]
        rows.append([entry["name"], str(entry["count"]), *spans, *numbers])
    return rows


EXPLAINED = (
    "Violation: of the exact law, as a share of the charge's largest size. Error of the prediction: of the "
    "order {order}. Breaking: the largest |<g, xi>| / |g| |xi|."
)


def charges_text(found: Mapping[str, Any]) -> str:
    """What charges.json says, as Markdown that reads well on a terminal."""
    lines = [*_run_lines(found), "", "| " + " | ".join(HEADER) + " |", "|---" * len(HEADER) + "|"]
    lines += ["| " + " | ".join(row) + " |" for row in _rows(found)]
    lines += ["", EXPLAINED.format(order=found["order"])]
    return "\n".join([*lines, *(f"\n**Warning:** {text}." for text in found["warnings"])])


def _run_html(found: Mapping[str, Any]) -> str:
    told = "".join(f"<p>{escape(line)}</p>\n" for line in _run_lines(found))
    return told + "".join(
        f'<p class="against"><strong>Warning</strong> {escape(text)}.</p>\n' for text in found["warnings"]
    )


def _families_html(found: Mapping[str, Any]) -> str:
    rows = [[escape(cell) for cell in row] for row in _rows(found)]
    explained = f'<p class="soft">{escape(EXPLAINED.format(order=found["order"]))}</p>\n'
    return section("Charges", html_table(HEADER, rows) + explained)
