"""Implicit adaptation: free against fixed norms, and the steady angle."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ...learning import LearningRule, steady_angle
from ..claims import Verdict, at_least, at_most
from .experiment import LAW, MEASURED, SYMBOLS, setting_name
from .sphere import Sphere

RATES = (0.001, 0.01, 0.1, 0.5, 1.0)
STEADY = ((0.1, 0.0, 0.06), (0.1, 0.0, 0.02), (0.1, 0.5, 0.02), (0.02, 0.9, 0.015))


def run_figure4(seed: int, quick: bool) -> dict[str, Any]:
    """Accuracy by learning rate with free and fixed norms; steady angles."""
    sphere, numbers = Sphere(seed), {}
    batches = jnp.asarray(sphere.data.batches(33 if quick else 330, 128, seed))
    for rate in RATES:
        for called, fixed in (("free", False), ("fixed", True)):
            params, _ = sphere.run(sphere.params, batches, rate, 0.9, 0.0, fixed=fixed)
            numbers[f"eta {rate:g}: accuracy, {called} norm"] = sphere.accuracy(params)
    drawn = {}
    noisy = sphere.data.with_noise(0.3, seed)
    sphere.relabel(noisy.labels)
    batches = jnp.asarray(noisy.batches(264 if quick else 2640, 32, seed))
    for setting in STEADY:
        _, (_, gradients, angles, _) = sphere.run(sphere.params, batches, *setting)
        # Strong decay kills some units behind a ReLU: their gradients vanish, and their filters stand still.
        alive = (np.asarray(gradients)[-len(angles) // 4 :] > 0).all(axis=0)
        angles = np.sqrt(np.mean(np.asarray(angles)[:, alive] ** 2, axis=1))
        rule = LearningRule(setting[0], setting[1], decay=setting[2])
        measured = float(np.sqrt(np.mean(angles[-len(angles) // 4 :] ** 2)))
        numbers[f"{setting_name(setting)}: filters with gradients"] = float(alive.mean())
        numbers[f"{setting_name(setting)}: steady angle"] = measured
        numbers[f"{setting_name(setting)}: angle / prediction"] = measured / steady_angle(rule)
        drawn[setting_name(setting)] = {"angles": angles[::8].tolist(), "predicted": steady_angle(rule)}
    return {"numbers": numbers, "series": drawn}


def judge_figure4(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """Steady angles are as predicted, and free norms help at a large rate."""
    verdicts = []
    for setting in STEADY:
        off = np.abs(np.asarray(table[f"{setting_name(setting)}: angle / prediction"]) - 1)
        what = f"relative error of the predicted steady angle, {setting_name(setting)}"
        verdicts.append(at_most(what, off, 0.05, each=True))
    free, fixed = (np.asarray(table[f"eta 1: accuracy, {kind} norm"]) for kind in ("free", "fixed"))
    gain = at_least("gain in accuracy of free over fixed norms at eta 1", free - fixed, 0.01)
    return [*verdicts, gain]


def draw_figure4(series: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Accuracies of all seeds on the left, angles of the first on the right."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    # At small rates both are the same: the wide line shows behind the other.
    for kind, colour, width in (("fixed", LAW, 5.0), ("free", MEASURED, 1.5)):
        rows = [numbers[f"eta {rate:g}: accuracy, {kind} norm"] for rate in RATES]
        left.errorbar(
            RATES,
            [r["mean"] for r in rows],
            [r["stderr"] or 0 for r in rows],
            color=colour,
            linewidth=width,
            elinewidth=1.5,
            alpha=0.6 if kind == "fixed" else 1.0,
            marker="o",
            capsize=3,
            label=f"{kind} norm",
        )
    left.set_xscale("log")
    left.set(xlabel="learning rate", ylabel="accuracy on test images")
    left.set_title("Norms that are free to grow lower the rate")
    for (setting, entry), colour in zip(
        series.items(), (MEASURED, "#3f9d6b", "#e0a93b", "#8d5bb5"), strict=True
    ):
        right.plot(
            8 * np.arange(len(entry["angles"])), entry["angles"], color=colour, linewidth=0.8, label=setting
        )
        right.axhline(entry["predicted"], color=colour, linestyle="--", linewidth=1.2)
    right.set_yscale("log")
    right.set(xlabel="step", ylabel="angle, radians", title="Angle of a step; dashed: predicted")
    for axes, title in ((left, None), (right, SYMBOLS)):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7, title=title, title_fontsize=7)
    return figure
