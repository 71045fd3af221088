"""The figure of the forms that a motion preserves."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from .figures import GREY, LEARNED

LEAST = 1e-4
"""The smallest value that is drawn, those below at the edge."""


def forms_figure(symmetry: Mapping[str, Any]) -> Figure | None:
    """Singular values of Omega -> Omega F + F^T Omega, the preserved ones in colour; None without a Poisson
    matrix, or one that is not constant.
    """
    bracket = symmetry.get("bracket")
    if not bracket or not bracket["spectrum"] or bracket["kind"] in ("form", "unknown"):
        return None
    values, count = np.maximum(bracket["spectrum"], LEAST), bracket["n_forms"]
    figure = Figure(figsize=(5.2, 3.2), layout="constrained")
    axes = figure.subplots()
    numbers = np.arange(1, len(values) + 1)
    colours = [LEARNED if number <= count else GREY for number in numbers]
    axes.vlines(numbers, LEAST, values, colors=colours, linewidth=1)
    axes.scatter(numbers, values, color=colours, zorder=3)
    axes.set_yscale("log")
    axes.set_ylim(LEAST / 1.5, 2)
    axes.set_xticks(numbers)
    axes.set_xlabel("form")
    axes.set_ylabel("change by the motion")
    axes.set_title(f"{count} of {len(values)} {'is' if count == 1 else 'are'} preserved", fontsize=10)
    axes.spines[["top", "right"]].set_visible(False)
    return figure
