"""The section of a report on what an analysis found, and its figures."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from ..phase_space import symplectic_matrix
from .answer import symmetry_text
from .figures import GREY, LEARNED, TRUE, generator_figure

SHOWN_QUANTITIES = 9
"""Generators and drifts that are drawn; all are in symmetry.json."""


def symmetry_section(symmetry: Mapping[str, Any]) -> tuple[str, list[tuple[str, str, Figure]]]:
    """The Markdown of symmetry.json, and its figures as (name, caption, figure)."""
    lines = ["## Conserved quantities", "", "```", symmetry_text(symmetry).rstrip(), "```", ""]
    for k, quantity in enumerate(symmetry["quantities"]):
        lines.append(f"- $C_{{{k + 1}}} = {quantity['latex']}$")
    if symmetry["quantities"]:
        lines.append("")
    figures = [
        (
            "drifts",
            "How much combinations of monomials change along trajectories, over what noise does: "
            "those that stay constant are listed as conserved, or have one value in the whole file.",
            drift_figure(symmetry),
        )
    ]
    if symmetry["evidence"]:
        caption = (
            "Total bound of refits with the found space built in, with none, and of the run: lower is better."
        )
        figures.append(("evidence", caption, evidence_figure(symmetry["evidence"])))
    if symmetry["quantities"]:
        figures.append(
            (
                "found_generators",
                "Generators [J A | J b] of the found quantities, in the units of the data.",
                found_figure(symmetry),
            )
        )
    if symmetry.get("along"):
        caption = "Change of the found quantities along trajectories, over their spread in the data."
        figures.append(("along", caption, along_figure(symmetry["along"])))
    return "\n".join(lines), figures


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
        (staying, LEARNED, f"stay constant: {data['staying']}"),
        (~staying, GREY, "change"),
    ):
        axes.plot(index[chosen], ratios[chosen], "o", color=colour, label=label)
    axes.axhline(1.0, color=TRUE, linestyle="--", linewidth=1, label="noise")
    axes.set_yscale("log")
    axes.set(
        xlabel="combination of monomials",
        ylabel="change / noise (r.m.s.)",
        title="What does not change along trajectories",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    return figure


def evidence_figure(evidence: Mapping[str, Any]) -> Figure:
    """Total -ELBO in nats with standard errors; fits that have not converged are hollow."""
    figure = Figure(figsize=(5, 3), layout="constrained")
    axes = figure.subplots()
    for row, fit in enumerate(evidence.values()):
        axes.errorbar(
            fit["negative_elbo_total"],
            row,
            xerr=fit["stderr"],
            fmt="o",
            color=LEARNED,
            mfc=LEARNED if fit.get("converged", True) else "none",
            capsize=3,
        )
    axes.set_yticks(range(len(evidence)), list(evidence))
    axes.set(xlabel="-ELBO, nats (hollow: not converged)", title="Evidence")
    axes.locator_params(axis="x", nbins=5)
    axes.margins(y=0.3)
    axes.grid(alpha=0.3)
    return figure


def found_figure(symmetry: Mapping[str, Any]) -> Figure:
    """The sparse generators of the found quantities as labelled matrices."""
    rows = []
    for k, quantity in enumerate(symmetry["quantities"][:SHOWN_QUANTITIES]):
        gradient = np.concatenate([np.array(quantity["A"]), np.array(quantity["b"])[:, None]], axis=1)
        symplectic = np.asarray(symplectic_matrix(len(gradient) // 2), dtype=np.float64)
        rows.append((f"C{k + 1} = {quantity['formula']}", symplectic @ gradient, None))
    return generator_figure(rows, symmetry["names"])


def along_figure(along: Mapping[str, Any]) -> Figure:
    """(C(t) - C(0)) / spread along a few trajectories, one panel a quantity."""
    values = along["values"][:SHOWN_QUANTITIES]
    figure = Figure(figsize=(7, 1.4 * len(values) + 0.8), layout="constrained")
    panels = figure.subplots(len(values), 1, squeeze=False, sharex=True)[:, 0]
    for k, (axes, curves) in enumerate(zip(panels, values, strict=True)):
        for times, curve in zip(along["times"], curves, strict=True):
            axes.plot(times, curve, color=LEARNED, alpha=0.7, linewidth=1)
        axes.axhline(0, color=GREY, linewidth=0.8)
        axes.set_ylim(-1, 1)
        axes.set_ylabel(f"C{k + 1}")
        axes.grid(alpha=0.3)
    panels[-1].set_xlabel("time")
    return figure
