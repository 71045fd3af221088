"""The figures of a report, one function each; every one returns the matplotlib figure that it drew."""

from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

LEARNED, TRUE, GREY = "#1f6fb4", "#d1495b", "#6b6b6b"
HALF, MOST = (0.25, 0.75), (0.05, 0.95)
"""Quantiles of the 50 % and 90 % bands."""


def bound_figure(metrics: Sequence[dict[str, Any]], floor: float | None) -> Figure:
    """-ELBO / N and its two parts over the steps, in nats per transition, and the noise floor."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps = [line["step"] for line in metrics]
    for key, label, colour in (
        ("negative_elbo", "-ELBO / N", "black"),
        ("kl", "KL / N", GREY),
        ("nll", "NLL / N", LEARNED),
    ):
        axes.plot(steps, [line[key] for line in metrics], label=label, color=colour)
    if floor is not None:
        axes.axhline(floor, color=TRUE, linestyle="--", linewidth=1, label="noise floor of NLL / N")
    axes.set_yscale("symlog", linthresh=5)
    axes.set(xlabel="step", ylabel="nats per transition", title="Bound during training")
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
    levels = np.linspace(0, max(np.quantile(energy, 0.97) for energy in shifted.values()), 16)
    filled = None
    dof = states.shape[2] // 2
    for axes, (title, energy) in zip(panels, shifted.items(), strict=True):
        filled = axes.contourf(position, momentum, energy, levels=levels, cmap="viridis", extend="max")
        axes.contour(position, momentum, energy, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        for k, trajectory in enumerate(states[:50]):
            label = "data" if k == 0 else None
            axes.plot(
                trajectory[:, 0],
                trajectory[:, dof],
                ".-",
                color="white",
                markersize=3,
                linewidth=0.7,
                label=label,
            )
        axes.set(xlabel=names[0], title=title)
        axes.set_xlim(position[0], position[-1])
        axes.set_ylim(momentum[0], momentum[-1])
    panels[0].set_ylabel(names[1])
    legend = panels[0].legend(loc="upper right", facecolor="black", framealpha=0.4, labelcolor="white")
    legend.set_zorder(5)
    if filled is not None:
        figure.colorbar(filled, ax=list(panels), label="energy above the minimum")
    return figure


def generator_figure(
    rows: Sequence[tuple[str, Float[np.ndarray, "dim augmented"], Float[np.ndarray, "dim augmented"] | None]],
    names: Sequence[str],
) -> Figure:
    """Generators [J A | J b] as labelled matrices, and, where one is known, beside what was learned its
    projection on the true algebra.
    """
    compared = any(known is not None for _, _, known in rows)
    columns = 2 if compared else 1
    dim = len(names)
    size = max(2.6, 0.45 * dim + 1)
    figure = Figure(figsize=(size * columns + 1.6, size * len(rows) + 0.5), layout="constrained")
    panels = figure.subplots(len(rows), columns, squeeze=False)
    image = None
    for row, (title, learned, known) in enumerate(rows):
        scale = np.abs(learned).max()
        for column, (kind, matrix) in enumerate((("learned", learned), ("nearest true", known))[:columns]):
            axes = panels[row, column]
            if matrix is None:
                axes.set_axis_off()
                continue
            image = axes.imshow(matrix / scale, vmin=-1, vmax=1, cmap="RdBu_r")
            axes.set_xticks(range(dim + 1), [*names, "1"])
            axes.set_yticks(range(dim), [f"d{name}/dt" for name in names])
            named = (f"{title}, {kind}" if compared else title) if column == 0 else kind
            axes.set_title(fill(named, int(12 * size)), fontsize=9)
            if dim <= 6:
                for i, j in np.ndindex(matrix.shape):
                    value = matrix[i, j] / scale
                    colour = "white" if abs(value) > 0.6 else "black"
                    axes.text(j, i, f"{value:z.2f}", ha="center", va="center", fontsize=8, color=colour)
    if image is not None:
        figure.colorbar(image, ax=panels.ravel().tolist(), label="entry over the largest", shrink=0.8)
    return figure


def spectrum_figure(values: Sequence[float], parallelness: Sequence[float] | None) -> Figure:
    """Singular values of the stacked generators, and how far each direction lies in the known algebra."""
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    index = np.arange(1, len(values) + 1)
    axes.bar(index, values, color=LEARNED, width=0.6)
    axes.set_yscale("log")
    axes.set_xticks(index)
    axes.set(xlabel="direction", ylabel="singular value", title="Learned generators")
    if parallelness is not None:
        right = axes.twinx()
        right.plot(index, parallelness, "o", color=TRUE)
        right.set_ylim(0, 1.05)
        right.set_ylabel("parallelness with the truth", color=TRUE)
    return figure


def spectra_figure(
    spectra: Mapping[str, tuple[Sequence[Sequence[float]], Sequence[Sequence[float]], int]], title: str
) -> Figure:
    """Singular values (above) and parallelness (below) against the index of the direction, one column a
    system and one line a seed; a dashed line after the number of true quantities.

    Each entry holds singular values and parallelness, a list a seed, and that number.
    """
    figure = Figure(figsize=(3.2 * len(spectra) + 0.4, 5), layout="constrained")
    panels = figure.subplots(2, len(spectra), squeeze=False, sharex="col", sharey="row")
    for column, (name, (values, parallelness, known)) in enumerate(spectra.items()):
        above, below = panels[:, column]
        for axes, curves, colour in ((above, values, LEARNED), (below, parallelness, TRUE)):
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
    panels[1, 0].set_ylabel("parallelness with the truth")
    figure.suptitle(title)
    return figure


def rollout_figure(
    times: Float[np.ndarray, "traj time"],
    truth: Float[np.ndarray, "traj time dim"],
    samples: Float[np.ndarray, "samples traj time dim"],
    names: Sequence[str],
    title: str,
) -> Figure:
    """Predicted trajectories: mean, 50 % and 90 % bands, and what really happened, for the first coordinate
    and its momentum.
    """
    count, dof = truth.shape[0], truth.shape[2] // 2
    figure = Figure(figsize=(3.6 * count + 0.5, 4.8), layout="constrained")
    panels = figure.subplots(2, count, squeeze=False, sharex=True)
    for column in range(count):
        for row, coordinate in enumerate((0, dof)):
            axes = panels[row, column]
            draws = samples[:, column, :, coordinate]
            for (low, high), alpha, label in ((MOST, 0.18, "90 % band"), (HALF, 0.35, "50 % band")):
                below, above = np.quantile(draws, [low, high], axis=0)
                axes.fill_between(
                    times[column], below, above, color=LEARNED, alpha=alpha, label=label, linewidth=0
                )
            axes.plot(times[column], draws.mean(0), color=LEARNED, label="predictive mean")
            axes.plot(times[column], truth[column, :, coordinate], "--", color=TRUE, label="truth")
            axes.set_ylabel(names[coordinate])
            axes.grid(alpha=0.3)
        panels[1, column].set_xlabel("time")
    panels[0, 0].legend(fontsize=8)
    figure.suptitle(title)
    return figure
