"""The report of an embedding: figures, Markdown and a page."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse

from ..embedding import EmbeddingAnswer, principal_components
from ..files import written_whole
from .answer import sentence
from .figures import GREY, LEARNED, TRUE
from .html import figures_section, html_table, notes_section, page, section
from .pictures import Drawn, drawn_pictures
from .report import Reports

MOST_DOTS = 4000
"""Points that a figure shows."""
ELLIPSES = 9
"""Metric ellipses along the longer side of a map."""
COLOURS = "viridis"
STEPS = 300
"""Points along a curve that is drawn."""
MOST_BARS = 40
LONGEST = 8.0
"""Ratio of the sides of a picture up to which both have one scale."""
MOST_CURRENTS = 6
"""Columns of which currents are drawn."""
MARKS = {"uniform": "o", "normal": "s", "circle": "^", "sphere": "D"}
BESIDE = 0.6
"""Of the distance of two degrees, the width over which latent spaces stand side by side."""
MEANINGS = (
    "The degree is that of the polynomials of the map (on circles its highest frequency).",
    "The stiffness is the weight of the bending of the map against the likelihood of the points: a larger "
    "one makes the map straighter and its coordinates more even.",
    "The angles with the principal components are those between the directions in which the map extends "
    "furthest and the leading principal components of the data: 0° where both span the same space.",
)
"""One sentence for each word of the table of facts that needs it."""


class EmbeddingPicture(NamedTuple):
    """A picture of the report: the name of its file, its caption, and what draws it, or None where there is
    nothing to show.
    """

    name: str
    caption: str
    draw: Callable[[EmbeddingAnswer], Figure | None]


def write_embedding_report(answer: EmbeddingAnswer, figures: Path, title: str) -> Reports:
    """Draw the figures into the folder `figures` and return the reports; what one figure fails of costs that
    figure alone.
    """
    drawn, failed = drawn_pictures(EMBEDDING_PICTURES, answer)
    for name, _, png, _ in drawn:
        with written_whole(figures / f"{name}.png") as temporary:
            temporary.write_bytes(png)
    rows = _facts(answer)
    lines = [f"# {title}", "", f"{_headline(answer)}.", ""]
    if answer.notes:
        lines += ["## Notes", "", *(f"- {sentence(note)}" for note in answer.notes), ""]
    lines += [
        "## The embedding",
        "",
        "| | |",
        "|---|---|",
        *(f"| {name} | {value} |" for name, value in rows),
        "",
    ]
    lines += [*MEANINGS, ""]
    for name, caption, _, _ in drawn:
        lines += [f"![{caption}]({figures.name}/{name}.png)", "", f"*{caption}*", ""]
    lines += [f"**Figure left out:** {name}: {why}\n" for name, why in failed.items()]
    return Reports("\n".join(lines) + "\n", _html(answer, drawn, failed, title))


def _html(answer: EmbeddingAnswer, drawn: Sequence[Drawn], failed: dict[str, str], title: str) -> str:
    facts = [[escape(name), escape(value)] for name, value in _facts(answer)]
    meanings = "".join(f"<p>{escape(text)}</p>\n" for text in MEANINGS)
    body = f"<h1>{escape(_headline(answer))}</h1>\n" + notes_section(answer.notes)
    body += section("The embedding", html_table(("", ""), facts) + meanings)
    tried = answer.estimator.diagnostics_["selection"]
    if tried:
        rows = [
            [
                escape(one["latent"]),
                escape(_chart(one)),
                str(one["degree"]),
                f"{one['stiffness']:g}",
                f"{one['validation']:.3f} ± {one['stderr']:.3f}",
                f"{one['train']:.3f}",
            ]
            for one in sorted(tried, key=lambda one: -one["validation"])
        ]
        header = ("latent", "chart", "degree", "stiffness", "held-out log-likelihood", "of the fit")
        body += section("What was compared", html_table(header, rows))
    return page(title, body + figures_section(drawn, failed))


def _headline(answer: EmbeddingAnswer) -> str:
    rows = answer.estimator.diagnostics_["rows"]
    return f"{rows} points near {answer.shape}: {answer.explained[0]:.1%} of the variance explained"


def _facts(answer: EmbeddingAnswer) -> list[tuple[str, str]]:
    estimator, facts = answer.estimator, answer.estimator.diagnostics_
    rows = [
        ("latent space", f"{facts['latent']}, d = {estimator.n_components}"),
        ("degree, stiffness", f"{facts['degree']}, {facts['stiffness']:g}"),
        ("started from", _chart(facts) if facts["chart"] else "principal components"),
        ("standard deviation of the noise", f"{facts['noise']:.4g}"),
        ("variance explained", f"{answer.explained[0]:.4f}"),
        ("by as many principal components", f"{answer.linear_r2:.4f}"),
        ("mean log-likelihood", f"{facts['log_likelihood']:.4f} nats a point"),
        (
            "angles with principal components",
            ", ".join(f"{value:.3g}°" for value in np.round(np.degrees(estimator.principal_angles_), 6)),
        ),
    ]
    if answer.isometries is not None:
        rows.append(("the density stays the same under", answer.isometries))
    return [*rows, ("seconds", f"{answer.seconds:.1f}")]


def _chart(one: Mapping[str, Any]) -> str:
    """The chart of a setting; Isomap's with its neighbours."""
    name = str(one["chart"] or "given")
    return f"{name}, {one['neighbours']} neighbours" if name == "isomap" else name


def _some(answer: EmbeddingAnswer) -> slice:
    return slice(None, None, max(1, len(answer.points) // MOST_DOTS))


def _plane(answer: EmbeddingAnswer) -> tuple[Callable[[np.ndarray], np.ndarray], tuple[str, str]]:
    """The plane in which data are drawn: their two columns, or leading principal components."""
    if answer.points.shape[1] == 1:
        return lambda x: np.pad(x, ((0, 0), (0, 1))), (answer.names[0], "")
    if answer.points.shape[1] == 2:
        return lambda x: x, (answer.names[0], answer.names[1])
    components = principal_components(answer.points)
    axes = components.axes[:2].T
    return lambda x: (x - components.mean) @ axes, ("principal component 1", "principal component 2")


def _data_figure(answer: EmbeddingAnswer) -> Figure:
    """The data in a plane, coloured by each of the first coordinates; a curve is drawn through them."""
    some = _some(answer)
    count = min(3, answer.estimator.n_components)
    project, labels = _plane(answer)
    shown = project(answer.points[some])
    figure = Figure(figsize=(5.2 * count, _height(4.4, shown)), layout="constrained")
    for axis, axes in enumerate(figure.subplots(1, count, squeeze=False)[0]):
        dots = axes.scatter(
            *shown.T, c=answer.coordinates[some, axis], s=8, cmap=_cycle(answer, axis), linewidths=0
        )
        if answer.estimator.n_components == 1:
            axes.plot(*project(_curve(answer)[1]).T, color=TRUE, linewidth=1.8, label="fitted curve")
            axes.legend(loc="best", fontsize=8)
        axes.set(xlabel=labels[0], ylabel=labels[1], aspect=_aspect(shown))
        figure.colorbar(dots, ax=axes, label=f"coordinate z{axis + 1}", orientation="horizontal", aspect=40)
    return figure


def _aspect(shown: Float[np.ndarray, "n 2"]) -> Literal["equal", "auto"]:
    """One scale for both axes, unless that would leave nothing to see."""
    across, along = np.ptp(shown, axis=0)
    return "equal" if max(across, along) < LONGEST * min(across, along) else "auto"


def _height(width: float, shown: Float[np.ndarray, "n 2"]) -> float:
    """The height of a figure whose axes have such a width and one scale, with room for labels and colours."""
    if _aspect(shown) == "auto":
        return 0.6 * width + 1.4
    across, along = np.ptp(shown, axis=0)
    return float(np.clip(width * along / max(across, 1e-300), 0.25 * width, 1.2 * width)) + 1.4


def _cycle(answer: EmbeddingAnswer, axis: int) -> str:
    """Colours of a coordinate; those of an angle return to where they began."""
    latent = answer.estimator.diagnostics_["latent"]
    return "twilight" if latent == "circle" or (latent == "sphere" and axis == 0) else COLOURS


def _curve(answer: EmbeddingAnswer) -> tuple[Float[np.ndarray, "steps 1"], Float[np.ndarray, "steps D"]]:
    """Coordinates along a one-dimensional image, and its points."""
    low, high = answer.latent.min(), answer.latent.max()
    if answer.estimator.diagnostics_["latent"] == "circle":
        low, high = -np.pi, np.pi
    z = np.linspace(low, high, STEPS)[:, None]
    return answer.estimator.metric_coordinates(z), answer.estimator.inverse_transform(z, "latent")


def _map_figure(answer: EmbeddingAnswer) -> Figure | None:
    """The map of the first two coordinates with ellipses that are circles of one size in the data."""
    if answer.estimator.n_components != 2:
        return None
    some = _some(answer)
    z = answer.coordinates
    figure = Figure(figsize=(6.6, _height(5.8, z[some])), layout="constrained")
    axes = figure.subplots()
    density = answer.estimator.score_samples(answer.points[some])
    dots = axes.scatter(*z[some].T, c=density, s=7, linewidths=0, vmin=float(np.quantile(density, 0.02)))
    figure.colorbar(dots, ax=axes, label="log density, nats", orientation="horizontal", aspect=40)
    low, high = np.quantile(z, 0.01, axis=0), np.quantile(z, 0.99, axis=0)
    side = float((high - low).max()) / ELLIPSES
    grid = [np.arange(low[k] + side / 2, high[k], side) for k in (0, 1)]
    centres = np.stack(np.meshgrid(*grid), axis=-1).reshape(-1, 2)
    near = np.min(np.linalg.norm(centres[:, None] - z[None, some], axis=2), axis=1) < side
    for centre, metric in zip(centres[near], answer.estimator.metric(centres[near]), strict=True):
        _ellipse(axes, centre, metric, 0.3 * side)
    axes.set(xlabel="z1", ylabel="z2", aspect="equal")
    axes.set_xlim(z[:, 0].min() - side / 3, z[:, 0].max() + side / 3)
    axes.set_ylim(z[:, 1].min() - side / 3, z[:, 1].max() + side / 3)
    return figure


def _ellipse(
    axes: Axes, centre: Float[np.ndarray, " 2"], metric: Float[np.ndarray, "2 2"], radius: float
) -> None:
    """The coordinates at a distance in the data space from a centre."""
    values, vectors = np.linalg.eigh(metric)
    width, height = 2 * radius / np.sqrt(np.maximum(values, 1e-300))
    angle = float(np.degrees(np.arctan2(vectors[1, 0], vectors[0, 0])))
    # What is stretched beyond the neighbouring ellipses would only hide them.
    size = [min(float(length), 6 * radius) for length in (width, height)]
    axes.add_patch(
        Ellipse((float(centre[0]), float(centre[1])), *size, angle=angle, fill=False, color=TRUE, linewidth=1)
    )


def _rebuilt_figure(answer: EmbeddingAnswer) -> Figure:
    """How much of each column the coordinates give back, and how far points are from the image."""
    figure = Figure(figsize=(9, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    _, each = answer.explained
    shown = np.arange(min(len(each), MOST_BARS))
    left.bar(shown, 1 - np.nan_to_num(each[shown], nan=1.0), color=LEARNED)
    left.set(ylabel="variance not explained (1 - R²)")
    few = len(shown) <= 12
    left.set_xticks(shown if few else shown[:: max(1, len(shown) // 10)])
    left.set_xticklabels([answer.names[k] for k in left.get_xticks().astype(int)], rotation=45 if few else 90)
    distance = np.linalg.norm(answer.points - answer.rebuilt, axis=1)
    right.hist(distance, bins=40, color=LEARNED)
    normal = answer.points.shape[1] - answer.estimator.n_components
    expected = answer.estimator.noise_ * np.sqrt(max(normal, 0))
    right.axvline(expected, color=TRUE, linestyle="--", label="noise of the tube (r.m.s.)")
    right.set(xlabel="distance from the image", ylabel="points")
    right.legend(loc="lower left", bbox_to_anchor=(0, 1), frameon=False)
    return figure


def _currents_figure(answer: EmbeddingAnswer) -> Figure | None:
    """The currents along a curve; rotations are about the mean of the data."""
    if answer.estimator.n_components != 1:
        return None
    z, _ = _curve(answer)
    found = answer.estimator.currents(z)
    shift = np.asarray(found.translation)[:, 0]
    # About a centre c the field B x is B (x - c): less the translation B c.
    half = np.einsum("i,nk->nik", answer.points.mean(axis=0), shift)
    rotation = np.asarray(found.rotation)[:, 0] - half + np.swapaxes(half, 1, 2)
    columns = range(min(answer.points.shape[1], MOST_CURRENTS))
    names, z = answer.names, z[:, 0]
    figure = Figure(figsize=(7.6, 6.4), layout="constrained")
    above, middle, below = figure.subplots(3, 1, sharex=True)
    above.plot(z, np.asarray(found.reparametrisation) - np.mean(found.reparametrisation), color=LEARNED)
    above.set_ylabel("l(z) less its mean, nats")
    above.set_title("Has the fit settled? Then this line is flat", loc="left", fontsize=10)
    _at_least(above, 0.1)
    _relative(middle, z, {f"along {names[k]}": shift[:, k] for k in columns})
    middle.set_title("Is the density the same along a column? Then its line is flat", loc="left", fontsize=10)
    pairs = [(k, other) for k in columns for other in columns if k < other]
    _relative(below, z, {f"{names[k]} to {names[other]}": rotation[:, k, other] for k, other in pairs})
    below.set_title("Does it turn into itself about the mean? Then its line is flat", loc="left", fontsize=10)
    below.set_xlabel("coordinate z1: the length along the curve")
    return figure


def _relative(
    axes: Axes, z: Float[np.ndarray, " n"], currents: Mapping[str, Float[np.ndarray, " n"]]
) -> None:
    """Currents over the largest value that any of them takes: that of a symmetry is constant. The legend says
    by how much of it each varies; currents that are zero everywhere say nothing and are left out.
    """
    largest = max((float(np.abs(each).max()) for each in currents.values()), default=0.0)
    for name, each in currents.items():
        if np.abs(each).max() > 1e-6 * largest:
            axes.plot(z, each / largest, label=f"{name}: varies by {np.ptp(each) / largest:.0%}")
    axes.set(ylabel="current, relative", ylim=(-1.1, 1.1))
    axes.grid(alpha=0.3)
    if axes.lines:
        axes.legend(loc="center left", bbox_to_anchor=(1.01, 0.5), fontsize=8, frameon=False)


def _at_least(axes: Axes, span: float) -> None:
    """A scale on which what is constant looks so."""
    low, high = axes.get_ylim()
    if high - low < span:
        axes.set_ylim((low + high - span) / 2, (low + high + span) / 2)
    axes.grid(alpha=0.3)


def _likelihood_figure(answer: EmbeddingAnswer) -> Figure | None:
    """The held-out log-likelihood by degree, for each latent space and chart that was tried."""
    tried: list[dict[str, Any]] = answer.estimator.diagnostics_["selection"] or []
    if len(tried) < 2:
        return None
    figure = Figure(figsize=(7.6, 5.2), layout="constrained")
    axes = figure.subplots()
    best = answer.estimator.diagnostics_["chosen"]
    usual = Counter(one["stiffness"] for one in tried).most_common(1)[0][0]
    ticks = sorted({one["degree"] for one in tried})
    latents = [latent for latent in MARKS if any(one["latent"] == latent for one in tried)]
    width = BESIDE * min(np.diff(ticks), default=1)
    sides = np.linspace(-width / 2, width / 2, len(latents)) if len(latents) > 1 else [0.0]
    for side, latent in zip(sides, latents, strict=True):
        own = [one for one in tried if one["latent"] == latent]
        # Degrees are compared with the best chart; the others have one degree.
        chart = Counter(_chart(one) for one in own).most_common(1)[0][0]
        line = [one for one in own if _chart(one) == chart and one["stiffness"] == usual]
        line.sort(key=lambda one: one["degree"])
        drawn = axes.errorbar(
            [one["degree"] + side for one in line],
            [one["validation"] for one in line],
            [one["stderr"] for one in line],
            marker=MARKS[latent],
            markersize=5,
            elinewidth=1,
            label=f"{latent}, {chart}",
        )
        for one in own:
            place = one["degree"] + side, one["validation"]
            if one == best:
                axes.plot(*place, "o", markersize=13, fillstyle="none", color=GREY)
            if one["stiffness"] != usual:
                mark, name = ("x", "less") if one["stiffness"] < usual else ("+", "more")
                label = f"{name} stiffness, {one['stiffness']:g}"
                axes.plot(*place, mark, color=drawn[0].get_color(), markersize=9, label=label)
            elif one not in line:
                axes.plot(*place, MARKS[latent], color=GREY, markersize=4, label=f"{latent}, other charts")
    axes.set_xticks(ticks)
    axes.set(xlabel="degree of the map", ylabel="held-out log-likelihood, nats a point")
    axes.grid(alpha=0.3)
    found = dict(zip(*reversed(axes.get_legend_handles_labels()), strict=True))
    figure.legend(found.values(), found, loc="outside lower center", ncols=3, fontsize=8, frameon=False)
    return figure


EMBEDDING_PICTURES = (
    EmbeddingPicture(
        "data",
        "The data, coloured by their coordinates; in more than two columns in the plane of the leading "
        "principal components.",
        _data_figure,
    ),
    EmbeddingPicture(
        "map",
        "The map: metric coordinates of the data, coloured by log density. Each ellipse is a circle of one "
        "size in the data, so that large ones show where it draws distances too large.",
        _map_figure,
    ),
    EmbeddingPicture(
        "rebuilt",
        "The share of the variance of each column that the coordinates do not give back, and the distances "
        "of points from the image.",
        _rebuilt_figure,
    ),
    EmbeddingPicture(
        "currents",
        "Noether currents along the curve. Each belongs to one change of the points: a shift along a column, "
        "or a turn in the plane of two columns. Where the density of the points stays the same under the "
        "change, the current is constant. At most six columns are shown.",
        _currents_figure,
    ),
    EmbeddingPicture(
        "likelihood",
        "Log-likelihood of rows that were held out, by degree, with standard errors; the grey circle "
        "marks the setting that was taken.",
        _likelihood_figure,
    ),
)
"""In the order of the report."""
