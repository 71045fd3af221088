"""The figures of a report, one function each; every one returns the matplotlib figure that it drew."""

from collections.abc import Mapping, Sequence
from itertools import zip_longest
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .answer import gain_text, of_degree_two
from .flows import Generator, starts

LEARNED, TRUE, GREY = "#2a7fc9", "#d1495b", "#808080"
HALF, MOST = (0.25, 0.75), (0.05, 0.95)
"""Quantiles of the 50 % and 90 % bands."""
SHOWN_QUANTITIES, SHOWN_PLANES, FLOWS_IN_A_ROW = 6, 2, 4
"""Quantities that are drawn, planes of each, and panels of a row; all are in symmetry.json."""
APART = 0.03
"""Of the range of the data, the least distance between two orbits that are drawn."""
ALIKE = 1.5
"""Ratio of the ranges of two coordinates up to which both have the same scale on a plane."""
SHOWN_POINTS, SHOWN_ORBITS = 300, 6
"""Data points on a plane, and orbits through some of them."""
FEW_POINTS = 20
"""Points of a trajectory up to which each is marked on the contours of an energy."""
EVERY_COORDINATE = 4
"""Coordinates up to which rollouts show all of them."""
FITS = {
    "none": "without symmetry",
    "found": "found quantities built in",
    "learned": "learned quantities",
}
"""What the fits of the evidence are called."""


def bound_figure(metrics: Sequence[dict[str, Any]], floor: float | None) -> Figure:
    """-ELBO / N and its two parts over the steps, in nats per transition, and the noise floor."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = [line["step"] for line in metrics]
    for key, label, colour in (
        ("negative_elbo", "-ELBO / N", rcParams["text.color"]),
        ("kl", "KL / N", GREY),
        ("nll", "NLL / N", LEARNED),
    ):
        axes.plot(steps, [line[key] for line in metrics], label=label, color=colour)
    if floor is not None:
        axes.axhline(floor, color=TRUE, linestyle="--", linewidth=1, label="noise floor of NLL / N")
    axes.set_yscale("symlog", linthresh=5)
    axes.set(xlabel="step", ylabel="nats per transition", title="ELBO during training")
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def contour_figure(
    position: Float[np.ndarray, " nq"],
    momentum: Float[np.ndarray, " np"],
    energies: dict[str, Float[np.ndarray, "np nq"]],
    states: Float[np.ndarray, "traj time dim"],
    names: tuple[str, str],
) -> Figure:
    """Energy contours on the plane of the first coordinate and its momentum, one panel each, with the data on
    it.

    Energies are shown from their minimum; panels share their levels, since only the constant is arbitrary.
    """
    figure = Figure(figsize=(4.6 * len(energies), 4.2), layout="constrained")
    panels = figure.subplots(1, len(energies), squeeze=False, sharex=True, sharey=True)[0]
    shifted = {title: energy - energy.min() for title, energy in energies.items()}
    highest = max(np.quantile(energy, 0.97) for energy in shifted.values())
    levels = MaxNLocator(16).tick_values(0, max(highest, 1e-300))
    filled = None
    dof = states.shape[2] // 2
    for axes, (title, energy) in zip(panels, shifted.items(), strict=True):
        filled = axes.contourf(position, momentum, energy, levels=levels, cmap="viridis", extend="max")
        axes.contour(position, momentum, energy, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        for k, trajectory in enumerate(states[:50]):
            label = "data" if k == 0 else None
            # Many points are a line already.
            style = ".-" if len(trajectory) <= FEW_POINTS else "-"
            line = axes.plot(trajectory[:, 0], trajectory[:, dof], style, color="white", label=label)
            line[0].set(markersize=3, linewidth=0.7)
        axes.set(xlabel=names[0], title=title)
        axes.set_xlim(position[0], position[-1])
        axes.set_ylim(momentum[0], momentum[-1])
    panels[0].set_ylabel(names[1])
    legend = panels[0].legend(loc="upper right", facecolor="black", framealpha=0.4, labelcolor="white")
    legend.set_zorder(5)
    if filled is not None:
        figure.colorbar(filled, ax=list(panels), label="energy above the minimum", ticks=levels[::4])
    return figure


def spectrum_figure(values: Sequence[float], alignment: Sequence[float] | None) -> Figure:
    """Singular values of the stacked generators, and how far each direction lies in the known algebra."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    index = np.arange(1, len(values) + 1)
    axes.bar(index, values, color=LEARNED, width=0.6)
    axes.set_yscale("log")
    axes.set_xticks(index)
    axes.set(xlabel="direction", ylabel="singular value", title="Learned generators")
    if alignment is not None:
        right = axes.twinx()
        right.plot(index, alignment, "o", color=TRUE)
        right.set_ylim(0, 1.05)
        right.set_ylabel("alignment with the truth", color=TRUE)
    return figure


def spectra_figure(
    spectra: Mapping[str, tuple[Sequence[Sequence[float]], Sequence[Sequence[float]], int]], title: str
) -> Figure:
    """Singular values (above) and alignment (below) against the index of the direction, one column a
    system and one line a seed; a dashed line after the number of true quantities.

    Each entry holds singular values and alignment, a list a seed, and that number.
    """
    figure = Figure(figsize=(3.2 * len(spectra) + 0.4, 5), layout="constrained")
    panels = figure.subplots(2, len(spectra), squeeze=False, sharex="col", sharey="row")
    for column, (name, (values, alignment, known)) in enumerate(spectra.items()):
        above, below = panels[:, column]
        for axes, curves, colour in ((above, values, LEARNED), (below, alignment, TRUE)):
            for curve in curves:
                axes.plot(np.arange(1, len(curve) + 1), curve, ".-", color=colour, alpha=0.7, linewidth=0.8)
            axes.axvline(known + 0.5, color=GREY, linestyle="--", linewidth=1)
            axes.grid(alpha=0.3)
        above.set_title(name)
        below.set_xlabel("direction")
    # Rounding leaves values where a space has no more directions; they would take up most of the axis.
    largest = max(max(curve) for values, _, _ in spectra.values() for curve in values)
    panels[0, 0].set_yscale("log")
    panels[0, 0].set_ylim(bottom=1e-4 * largest)
    panels[0, 0].set_ylabel("singular value")
    panels[1, 0].set_ylim(0, 1.05)
    panels[1, 0].set_ylabel("alignment with the truth")
    figure.suptitle(title)
    return figure


def rollout_figure(
    times: Float[np.ndarray, "traj time"],
    truth: Float[np.ndarray, "traj time dim"],
    samples: Float[np.ndarray, "samples traj time dim"],
    labels: Sequence[str],
    title: str,
    time_label: str = "time",
) -> Figure:
    """Predicted trajectories, a column each: mean, 50 % and 90 % bands, and the data as dots; all coordinates
    where they are few, else the first and its momentum.
    """
    count = truth.shape[0]
    shown = shown_coordinates(truth.shape[2])
    figure = Figure(figsize=(max(2.6 * count, 4.0), 1.6 * len(shown) + 1.1), layout="constrained")
    panels = figure.subplots(len(shown), count, squeeze=False, sharex="col", sharey="row")
    for column in range(count):
        for row, coordinate in enumerate(shown):
            axes = panels[row, column]
            draw_rollout(axes, times[column], samples[:, column, :, coordinate], truth[column, :, coordinate])
            if column == 0:
                axes.set_ylabel(plain(labels[coordinate]))
        panels[-1, column].set_xlabel(plain(time_label))
        panels[-1, column].locator_params(axis="x", nbins=5)
    handles, names = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=8, frameon=False)
    figure.suptitle(fill(plain(title), 24 * count), fontsize=11)
    return figure


def shown_coordinates(dim: int) -> Sequence[int]:
    """All coordinates where they are few, else the first and its momentum."""
    return range(dim) if dim <= EVERY_COORDINATE else (0, dim // 2)


def draw_rollout(
    axes: Axes,
    times: Float[np.ndarray, " time"],
    draws: Float[np.ndarray, "samples time"],
    truth: Float[np.ndarray, " time"],
) -> None:
    """One coordinate of a prediction: mean, 50 % and 90 % bands, and the data as dots."""
    for (low, high), alpha, label in ((MOST, 0.2, "90 % band"), (HALF, 0.4, "50 % band")):
        below, above = np.quantile(draws, [low, high], axis=0)
        axes.fill_between(times, below, above, color=LEARNED, alpha=alpha, label=label, linewidth=0)
    axes.plot(times, draws.mean(0), color=LEARNED, linewidth=1, label="prediction")
    axes.plot(times, truth, ".", color=TRUE, markersize=3, label="data")
    axes.grid(alpha=0.3)
    axes.ticklabel_format(axis="y", scilimits=(-3, 4), useMathText=True)


def flow_figure(
    quantities: Sequence[Mapping[str, Any]],
    states: Float[np.ndarray, "points dim"],
    names: Sequence[str],
    units: Sequence[str],
) -> Figure | None:
    """The symmetry that each quantity generates: its orbits through data points, on at most two planes where
    it acts. None where there are no quantities.
    """
    some = states[:: max(1, len(states) // SHOWN_POINTS)]
    drawn: list[tuple[str, Generator, tuple[int, int]] | None] = []
    for k, quantity in enumerate(quantities[:SHOWN_QUANTITIES]):
        generator = Generator.of(quantity)
        title = f"C{k + 1} = {readable(quantity['formula'])}"
        planes = generator.planes(some, SHOWN_PLANES)
        # The two planes of a quantity stand side by side.
        drawn += [None] * (len(drawn) % 2) if len(planes) == 2 else []
        drawn += [(title, generator, plane) for plane in planes]
    if not drawn:
        return None
    columns = min(FLOWS_IN_A_ROW, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(2.6 * columns, 3.0 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes, panel in zip_longest(panels, drawn):
        if panel is None:
            axes.set_axis_off()
            continue
        title, generator, plane = panel
        draw_flow(axes, generator, plane, some, names, units)
        axes.set_title(fitted(title, 32), fontsize=9)
    return figure


def draw_flow(
    axes: Axes,
    generator: Generator,
    plane: tuple[int, int],
    states: Float[np.ndarray, "points dim"],
    names: Sequence[str],
    units: Sequence[str],
) -> None:
    """Orbits of a generator on a plane, with arrows, through some of the states (dots)."""
    axes.plot(*states[:, list(plane)].T, ".", color=GREY, markersize=2, alpha=0.6)
    points = states[:, list(plane)]
    size = np.ptp(points, axis=0)
    size = np.where(size > 0, size, 1.0)
    drawn: list[Float[np.ndarray, "along plane"]] = []
    for row in starts(states, plane, SHOWN_ORBITS):
        passed = [np.linalg.norm((other - points[row]) / size, axis=1).min() for other in drawn]
        orbit = generator.orbit(states[row], plane, states)
        if len(orbit) < 3 or min(passed, default=1.0) < APART:
            continue
        drawn.append(orbit)
        axes.plot(*orbit.T, color=LEARNED, linewidth=1)
        at = int(np.argmin(np.linalg.norm((orbit - states[row, list(plane)]) / size, axis=1)))
        before, after = (at, at + 1) if at + 1 < len(orbit) else (at - 1, at)
        arrow = {"arrowstyle": "-|>", "color": LEARNED, "shrinkA": 0, "shrinkB": 0, "mutation_scale": 11}
        axes.annotate("", xy=tuple(orbit[after]), xytext=tuple(orbit[before]), arrowprops=arrow)
    axes.grid(alpha=0.3)
    axes.locator_params(nbins=5)
    axes.ticklabel_format(scilimits=(-3, 4), useMathText=True)
    axes.set_xlabel(plain(with_unit(names[plane[0]], units[plane[0]])))
    axes.set_ylabel(plain(with_unit(names[plane[1]], units[plane[1]])), labelpad=1)
    axes.set_box_aspect(1)
    if units[plane[0]] == units[plane[1]] and size.max() < ALIKE * size.min():
        axes.set_aspect("equal", adjustable="datalim")


def drift_figure(symmetry: Mapping[str, Any]) -> Figure:
    """R.m.s. change over that of noise, of the combinations that change least."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    data = symmetry["data"]
    # Without noise, zeros: what is drawn has a floor.
    ratios = np.sqrt(np.maximum(np.array(data["ratios"], dtype=float), 1e-2))
    index = np.arange(1, len(ratios) + 1)
    staying = index <= data["staying"]
    for chosen, colour, label in (
        (staying, LEARNED, f"constant: {data['staying']}"),
        (~staying, GREY, "drifting"),
    ):
        axes.plot(index[chosen], ratios[chosen], "o", color=colour, label=label)
    axes.axhline(1.0, color=TRUE, linestyle="--", linewidth=1, label="noise")
    axes.set_yscale("log")
    axes.set(
        xlabel=f"combination of {'monomials' if of_degree_two(symmetry) else 'terms'}, smallest drift first",
        ylabel="drift / noise (r.m.s.)",
        title="Drift along trajectories",
    )
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, fontsize=9, frameon=False)
    return figure


def evidence_figure(evidence: Mapping[str, Any]) -> Figure | None:
    """By how many nats each fit's bound exceeds that without symmetry, with paired standard errors; what is
    no evidence is hollow. None without fits to compare.
    """
    if "none" not in evidence or len(evidence) < 2:
        return None
    rows = [(FITS.get(name, name), fit) for name, fit in evidence.items() if name != "none"]
    figure = Figure(figsize=(7, 0.6 * len(rows) + 1.3), layout="constrained")
    axes = figure.subplots()
    axes.axvline(0, color=GREY, linestyle="--", linewidth=1)
    reach = [-1e-9, 1e-9]
    for row, (_, fit) in enumerate(rows):
        nats, error = fit["gain"]["nats"], fit["gain"]["stderr"] or 0.0
        sure = fit["gain"]["stderr"] is not None and not fit.get("why")
        colour = LEARNED if nats >= 0 else TRUE
        axes.barh(row, nats, height=0.5, color=colour if sure else "none", edgecolor=colour)
        if error:
            axes.errorbar(nats, row, xerr=error, color=GREY, capsize=3)
        said = gain_text(fit["gain"]) + ("" if sure else ", no evidence")
        # Beside the bar, on the side where no names of rows stand.
        end = max(nats + error, 0.0)
        axes.annotate(said, (end, row), (6, 0), textcoords="offset points", va="center", fontsize=9)
        reach = [min(reach[0], 1.1 * (nats - error)), max(reach[1], nats + error)]
    axes.set_xlim(reach[0], reach[1] + 0.6 * (reach[1] - reach[0]))
    axes.set_yticks(range(len(rows)), [fill(plain(name), 16) for name, _ in rows])
    axes.set_ylim(len(rows) - 0.4, -0.7)
    axes.set_xlabel("Delta-ELBO against no symmetry, in nats (higher is better)")
    axes.grid(alpha=0.3, axis="x")
    return figure


def along_figure(
    along: Mapping[str, Any], quantities: Sequence[Mapping[str, Any]], time_unit: str = ""
) -> Figure:
    """What a quantity changes about its mean along each of a few trajectories, in per cent of its spread in
    the data, one panel a quantity, and the limit of its change as a band.
    """
    values = along["values"][:SHOWN_QUANTITIES]
    figure = Figure(figsize=(7, 1.5 * len(values) + 0.9), layout="constrained")
    panels = figure.subplots(len(values), 1, squeeze=False, sharex=True)[:, 0]
    for k, (axes, curves) in enumerate(zip(panels, values, strict=True)):
        quantity = quantities[k]
        largest = 0.0
        for times, curve in zip(along["times"], curves, strict=True):
            # About its mean: the noise of the first row is none of the others'.
            change = 100 * (np.asarray(curve) - np.mean(curve))
            largest = max(largest, float(np.abs(change).max(initial=0.0)))
            axes.plot(times, change, color=LEARNED, alpha=0.6, linewidth=0.9)
        limit = quantity.get("limit")
        title = f"C{k + 1} = {readable(quantity['formula'])}"
        if limit is not None:
            label = f"drift within ± {100 * limit:.2g} %"
            axes.axhspan(-100 * limit, 100 * limit, color=TRUE, alpha=0.3, linewidth=0, label=label)
            axes.legend(loc="upper right", fontsize=8)
        reach = max(10.0, 1.15 * largest, 115 * (limit or 0.0))
        axes.set_ylim(-reach, reach)
        axes.set_title(fitted(title, 80), fontsize=9, loc="left")
        axes.set_ylabel("% of spread", fontsize=8)
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel(plain(with_unit("time", time_unit)))
    return figure


def with_unit(name: str, unit: str) -> str:
    """As q1 (m)."""
    return f"{name} ({unit})" if unit else name


def readable(formula: str) -> str:
    """A formula or sentence as text for a picture: q1·p2 - q2·p1."""
    return formula.replace("^2", "²").replace("*", "·").replace("<=", "≤").replace(" - ", " \N{MINUS SIGN} ")


def plain(text: str) -> str:
    """Text of a file for matplotlib, in which no $ begins a formula."""
    return text.replace("$", r"\$")


def fitted(text: str, width: int) -> str:
    """On at most two lines."""
    return fill(plain(text), width, max_lines=2, placeholder=" ...")
