"""The whole answer in one figure: the symmetries as flows, and predictions beside the data."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure, SubFigure

from .figures import (
    SHOWN_PLANES,
    SHOWN_POINTS,
    draw_flow,
    draw_rollout,
    fitted,
    plain,
    readable,
    shown_coordinates,
    with_unit,
)
from .flows import Generator

PANELS = 4
"""Panels of a row: quantities above, coordinates below."""


class Predicted(NamedTuple):
    """One trajectory and draws of its prediction, in the units of the data; what it is, and of what time."""

    times: Float[np.ndarray, " time"]
    truth: Float[np.ndarray, "time dim"]
    samples: Float[np.ndarray, "samples time dim"]
    title: str
    time_label: str = "time"


def overview_figure(
    headline: str,
    quantities: Sequence[Mapping[str, Any]],
    points: Float[np.ndarray, "points dim"],
    predicted: Predicted,
    names: Sequence[str],
    units: Sequence[str],
) -> Figure:
    """Above, the flow of each quantity with its formula, on the plane where most happens, through the data
    `points`. Below, one trajectory: its prediction with 50 % and 90 % bands, and the data as dots.

    `headline` is the title; the units are those of the data.
    """
    coordinates = list(shown_coordinates(len(names)))[:PANELS]
    shown = quantities[:PANELS]
    columns = max(len(coordinates), len(shown))
    figure = Figure(figsize=(max(2.5 * columns, 5.0), 5.4), layout="constrained")
    above, below = figure.subfigures(2, 1, squeeze=False, height_ratios=(1.35, 1.0))[:, 0]
    figure.suptitle(fitted(readable(headline), 22 * max(columns, 2)), fontsize=13)
    _flows(above, shown, points, names, units)
    below.suptitle(plain(predicted.title), fontsize=10)
    panels = below.subplots(1, len(coordinates), squeeze=False)[0]
    for axes, k in zip(panels, coordinates, strict=True):
        draw_rollout(axes, predicted.times, predicted.samples[:, :, k], predicted.truth[:, k])
        axes.set_title(plain(with_unit(names[k], units[k])), fontsize=10)
        axes.set_xlabel(plain(predicted.time_label), fontsize=9)
        axes.locator_params(axis="x", nbins=5)
    handles, labels = panels[0].get_legend_handles_labels()
    below.legend(handles, labels, loc="outside lower center", ncols=4, fontsize=9, frameon=False)
    return figure


def _flows(
    room: SubFigure,
    quantities: Sequence[Mapping[str, Any]],
    points: Float[np.ndarray, "points dim"],
    names: Sequence[str],
    units: Sequence[str],
) -> None:
    panels = room.subplots(1, len(quantities), squeeze=False)[0]
    some = points[:: max(1, len(points) // SHOWN_POINTS)]
    for k, (axes, quantity) in enumerate(zip(panels, quantities, strict=True)):
        generator = Generator.of(quantity)
        # Of the planes where most happens, the first has positions.
        plane = generator.planes(some, SHOWN_PLANES)[0]
        draw_flow(axes, generator, plane, some, names, units)
        axes.set_title(fitted(f"C{k + 1} = {readable(quantity['formula'])}", 30), fontsize=10)
