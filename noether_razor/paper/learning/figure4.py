"""Implicit adaptation: free against fixed norms, and the steady angle."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ...learning import LearningRule, steady_angle
from ..claims import Verdict
from .experiment import MEASURED, setting_name
from .sphere import Sphere

LAW = "#d1495b"
RATES = (0.001, 0.01, 0.1, 0.5, 1.0)
STEADY = ((0.1, 0.0, 0.06), (0.1, 0.0, 0.02), (0.1, 0.5, 0.02), (0.02, 0.9, 0.015))


def run_figure4(seed: int, quick: bool) -> dict[str, Any]:
    """Accuracy by learning rate with free and fixed norms; steady angles."""
    sphere, numbers = Sphere(seed), {}
    batches = jnp.asarray(sphere.data.batches(33 if quick else 330, 128, seed))
    for rate in RATES:
        for called, fixed in (("free", False), ("fixed", True)):
            params, _ = sphere.run(sphere.params, batches, rate, 0.9, 0.0, fixed=fixed)
            numbers[f"accuracy, {called} norm, eta {rate:g}"] = sphere.accuracy(params)
    drawn = {}
    noisy = sphere.data.with_noise(0.3, seed)
    sphere.relabel(noisy.labels)
    batches = jnp.asarray(noisy.batches(264 if quick else 2640, 32, seed))
    for setting in STEADY:
        _, (_, _, angles, _) = sphere.run(sphere.params, batches, *setting)
        angles = np.sqrt(np.mean(np.asarray(angles) ** 2, axis=1))
        rule = LearningRule(setting[0], setting[1], decay=setting[2])
        measured = float(np.sqrt(np.mean(angles[-len(angles) // 4 :] ** 2)))
        numbers[f"steady angle, {setting_name(setting)}"] = measured
        numbers[f"steady angle over prediction, {setting_name(setting)}"] = measured / steady_angle(rule)
        drawn[setting_name(setting)] = {"angles": angles[::8].tolist(), "predicted": steady_angle(rule)}
    return {"numbers": numbers, "series": drawn}


def judge_figure4(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """Steady angles are as predicted, and free norms help at a large rate."""
    verdicts = []
    for setting in STEADY:
        key = f"steady angle over prediction, {setting_name(setting)}"
        worst = max(abs(value - 1) for value in table[key])
        verdicts.append(Verdict(f"{key} within 5% of 1", worst <= 0.05, f"off by {worst:.1%}"))
    free, fixed = (float(np.mean(table[f"accuracy, {kind} norm, eta 1"])) for kind in ("free", "fixed"))
    gain = f"{100 * (free - fixed):.1f} points"
    return [
        *verdicts,
        Verdict("free norms beat fixed ones at eta 1 by 1 point of accuracy", free - fixed > 0.01, gain),
    ]


def draw_figure4(series: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """Accuracies of all seeds on the left, angles of the first on the right."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    for kind, colour in (("free", MEASURED), ("fixed", LAW)):
        rows = [numbers[f"accuracy, {kind} norm, eta {rate:g}"] for rate in RATES]
        left.errorbar(
            RATES,
            [r["mean"] for r in rows],
            [r["stderr"] or 0 for r in rows],
            color=colour,
            marker="o",
            capsize=3,
            label=f"{kind} norm",
        )
    left.set_xscale("log")
    left.set(xlabel="learning rate", ylabel="accuracy", title="Free norms are an adaptive rate")
    for (setting, entry), colour in zip(
        series.items(), (MEASURED, "#3f9d6b", "#e0a93b", "#8d5bb5"), strict=True
    ):
        right.plot(
            8 * np.arange(len(entry["angles"])), entry["angles"], color=colour, linewidth=0.8, label=setting
        )
        right.axhline(entry["predicted"], color=colour, linestyle="--", linewidth=1.2)
    right.set_yscale("log")
    right.set(xlabel="step", ylabel="radians", title="Angle of a step; dashed: predicted")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure
