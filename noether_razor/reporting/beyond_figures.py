"""The figures of what is conserved beyond degree two: H as a formula, and how many laws can exist."""

import re
from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..formula import FormulaError, parse_formula
from ..typing import Hamiltonian
from .figures import GREY, LEARNED, TRUE

HIGHEST = 0.97
"""Quantile of the energy up to which contours are drawn."""
LEVELS = 14
TWISTED, CHAOTIC = 0.5, 2.2
"""Exponents of growth between which a pair of directions holds one quantity."""
LOWEST, TOP = -0.8, 4.0
"""Exponents beyond which dots are drawn at the edge."""


def formula_of(beyond: Mapping[str, Any], names: tuple[str, ...]) -> Hamiltonian | None:
    """H of the "beyond" of symmetry.json as a function of the state; None where there is no formula."""
    energy = beyond["hamiltonian"]
    if energy is None or not energy["coefficients"]:
        return None
    parts = []
    for term, (value, _) in energy["coefficients"].items():
        for short, meaning in beyond["legend"].items():
            term = re.sub(rf"(?<!\w){re.escape(short)}(?!\w)", f"({meaning})", term)
        parts.append(f"({value!r})*({term})")
    try:
        return parse_formula(" + ".join(parts), names)
    except FormulaError:
        return None


def formula_figure(
    axes_of: tuple[Float[np.ndarray, " nq"], Float[np.ndarray, " np"]],
    learned: Float[np.ndarray, "np nq"],
    formula: Float[np.ndarray, "np nq"],
    difference: Float[np.ndarray, "np nq"],
    states: Float[np.ndarray, "rows two"],
    names: tuple[str, str],
    said: str,
) -> Figure:
    """Contours of the learned H and of the formula on a plane, at the same levels, and their `difference` as
    a share of the spread of H over the data, with the measured `states` of that plane.
    """
    position, momentum = axes_of
    figure = Figure(figsize=(12.6, 4.1), layout="constrained")
    panels = figure.subplots(1, 3, sharex=True, sharey=True)
    both = np.concatenate([learned, formula])
    lowest, highest = np.nanmin(both), np.nanquantile(both, HIGHEST)
    levels = MaxNLocator(LEVELS).tick_values(lowest, max(highest, lowest + 1e-12))
    filled = None
    for axes, title, energy in zip(panels, ("learned H", "H as a formula"), (learned, formula), strict=False):
        filled = axes.contourf(position, momentum, energy, levels=levels, cmap="viridis", extend="max")
        axes.contour(position, momentum, energy, levels=levels, colors="white", linewidths=0.4, alpha=0.6)
        axes.set_title(title)
    if filled is not None:
        figure.colorbar(filled, ax=list(panels[:2]), label="energy", ticks=levels[::4])
    most = max(float(np.nanquantile(np.abs(difference), HIGHEST)), 1e-6)
    shown = panels[2].pcolormesh(
        position,
        momentum,
        100 * difference,
        cmap="RdBu",
        vmin=-100 * most,
        vmax=100 * most,
        shading="nearest",
    )
    figure.colorbar(shown, ax=panels[2], label="% of the spread of H over the data")
    panels[2].set_title(f"difference\n{said}", fontsize="medium")
    for axes, colour in zip(panels, ("white", "white", "black"), strict=True):
        axes.plot(*states.T, ".", color=colour, markersize=1.5, alpha=0.5)
        axes.set(xlabel=names[0], xlim=(position[0], position[-1]), ylim=(momentum[0], momentum[-1]))
    panels[0].set_ylabel(names[1])
    return figure


def ceiling_figure(symmetry: Mapping[str, Any]) -> Figure | None:
    """How fast neighbouring motions of H separate: exponents of growth of each pair of directions of each
    motion, and what they leave room for; None where that was not measured.
    """
    beyond = symmetry.get("beyond")
    if beyond is None or not beyond.get("exponents"):
        return None
    exponents = np.array(beyond["exponents"])
    exponents = exponents[np.argsort(exponents.max(axis=1))]
    figure = Figure(figsize=(8.4, 4.2), layout="constrained")
    axes = figure.subplots()
    bands = (
        (LOWEST, TWISTED, "does not grow:\nroom for two", "#3a8f5b"),
        (TWISTED, CHAOTIC, "grows like time:\nroom for one", LEARNED),
        (CHAOTIC, TOP, "grows faster, chaos:\nroom for none", TRUE),
    )
    for low, high, text, colour in bands:
        axes.axhspan(low, high, color=colour, alpha=0.13, linewidth=0)
        middle = (low + high) / 2
        axes.text(1.01, middle, text, color=colour, va="center", transform=axes.get_yaxis_transform())
    number = np.arange(1, len(exponents) + 1)
    for k, marker in zip(range(exponents.shape[1]), "osD^vP*X" * 9, strict=False):
        shown = np.clip(exponents[:, k], LOWEST + 0.1, TOP - 0.1)
        label = f"pair {k + 1} of directions"
        axes.plot(number, shown, marker, color=GREY, markeredgecolor="black", alpha=0.8, label=label)
    axes.set(xlabel="motion, the most orderly first", ylabel="exponent of growth", xlim=(0, len(number) + 1))
    axes.set_ylim(LOWEST, TOP)
    count, found = beyond["ceiling"], beyond["independent"]
    can = "quantity" if count == 1 else "quantities"
    axes.set_title(f"At most {count} independent {can} can exist, {found} found")
    if exponents.shape[1] > 1:
        axes.legend(loc="upper left")
    return figure
