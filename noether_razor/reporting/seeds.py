"""Numbers of several runs that differ by their seeds, and the picture of those of several settings."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .figures import GREY, LEARNED

DECADE = 10.0


def mean_and_stderr(values: Sequence[float]) -> dict[str, Any]:
    """Mean, its standard error over seeds (None for fewer than two), and the values themselves."""
    stderr = None
    if len(values) > 1:
        stderr = float(np.std(values, ddof=1) / math.sqrt(len(values)))
    return {"mean": float(np.mean(values)), "stderr": stderr, "values": [float(v) for v in values]}


def mean_cell(numbers: Mapping[str, Any] | None, form: str) -> str:
    """Mean ± standard error of `mean_and_stderr`, as a cell of a table; empty where there are none."""
    if numbers is None or numbers["mean"] is None:
        return ""
    error = "" if numbers["stderr"] is None else " ± " + form.format(numbers["stderr"])
    return form.format(numbers["mean"]) + error


def settings_figure(settings: Sequence[str], panels: Mapping[str, Sequence[Sequence[float]]]) -> Figure:
    """A panel for each number: its values over seeds, a list for each of `settings`, with their mean and its
    standard error. Positive numbers that spread over more than a decade have a logarithmic axis.
    """
    size = (1.5 + 3.2 * max(1, len(panels)), 1.2 + 0.35 * len(settings))
    figure = Figure(figsize=size, layout="constrained")
    row = figure.subplots(1, max(1, len(panels)), squeeze=False, sharey=True)[0]
    for axes, (title, values) in zip(row, panels.items(), strict=False):
        every = [value for own in values for value in own if math.isfinite(value)]
        if every and min(every) > 0 and max(every) > DECADE * min(every):
            axes.set_xscale("log")
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.ticklabel_format(axis="x", scilimits=(-2, 4))
        for place, own in enumerate(values):
            finite = [value for value in own if math.isfinite(value)]
            if not finite:
                continue
            numbers = mean_and_stderr(finite)
            axes.plot(finite, [place] * len(finite), ".", color=GREY, alpha=0.6)
            axes.errorbar(numbers["mean"], place, xerr=numbers["stderr"], fmt="o", color=LEARNED, capsize=3)
        axes.set(title=title, yticks=range(len(settings)), yticklabels=settings)
        axes.set_ylim(len(settings) - 0.5, -0.5)
        axes.grid(alpha=0.3)
    return figure
