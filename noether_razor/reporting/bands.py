"""The figure of predictions beyond the data."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from ..prediction import Bands

COLOURS = ("#1f6fb4", "#d1495b", "#3a7d44", "#8e5ea2", "#e08a00", "#4b4b4b")
SHOWN = 6
"""Initial states that are drawn, one colour each."""


def bands_figure(
    times: Float[np.ndarray, " time"], bands: Bands, names: Sequence[str], units: Sequence[str]
) -> Figure:
    """Means with 50 % and 90 % bands over `times`, one panel a coordinate, one colour an initial state."""
    figure = Figure(figsize=(7, 1.6 * len(names) + 0.8), layout="constrained")
    panels = figure.subplots(len(names), 1, squeeze=False, sharex=True)[:, 0]
    low = {level: k for k, level in enumerate(bands.levels)}
    for coordinate, axes in enumerate(panels):
        for row, colour in zip(range(len(bands.mean)), COLOURS[:SHOWN], strict=False):
            for below, above, alpha in ((0.05, 0.95, 0.15), (0.25, 0.75, 0.3)):
                axes.fill_between(
                    times,
                    bands.quantiles[low[below], row, :, coordinate],
                    bands.quantiles[low[above], row, :, coordinate],
                    color=colour,
                    alpha=alpha,
                    linewidth=0,
                )
            axes.plot(times, bands.mean[row, :, coordinate], color=colour, linewidth=1.2)
        unit = units[coordinate]
        axes.set_ylabel(f"{names[coordinate]} [{unit}]" if unit else names[coordinate])
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("time")
    figure.suptitle("Prediction: mean, 50 % and 90 % bands")
    return figure
