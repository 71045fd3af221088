"""Charges and their closed forms: the translation, scale and rescale panels of Neural Mechanics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ...learning import (
    Classifier,
    LearningRule,
    Member,
    NetworkShape,
    Symmetry,
    TrackedTraining,
    digits,
    largest_error,
    make_optimizer,
    predict_charge,
    train_tracked,
)
from ..claims import Verdict
from .experiment import LAW, MEASURED, SYMBOLS, Numbers, above, below, setting_name

KINDS = {"translation": "#3f9d6b", "rescale": "#8d5bb5", "scale": "#e0a93b"}
MLP = NetworkShape(epsilon=1e-8)
CNN = NetworkShape("cnn", (8, 16), ("batch", "batch"), epsilon=1e-8)
CNN_SETTING = (0.1, 0.9, 1e-3)
SETTINGS = ((0.1, 0.0, 0.0), (0.1, 0.0, 5e-3), (0.02, 0.9, 5e-3), (0.1, 0.9, 0.0))
COLLAPSE = (0.05, 0.9, 1e-2)
ORDERS = ("exact", "2", "1")


def _mlp_families() -> list[Symmetry]:
    return [
        Symmetry("scale", "scale", (Member("layers.1.kernel", (1,)),), 64),
        Symmetry(
            "rescale",
            "rescale",
            (
                Member("layers.2.kernel", (1,)),
                Member("layers.2.bias", (0,)),
                Member("layers.3.kernel", (0,), -1.0),
            ),
            32,
        ),
        Symmetry("translation", "translation", (Member("layers.4.kernel", (0,)),), 32),
    ]


def _cnn_families() -> list[Symmetry]:
    return [
        Symmetry("scale", "scale", (Member("layers.1.kernel", (3,)),), 16),
        Symmetry(
            "rescale",
            "rescale",
            (
                Member("norms.0.scale", (0,)),
                Member("norms.0.bias", (0,)),
                Member("layers.1.kernel", (2,), -1.0),
            ),
            8,
        ),
        Symmetry("translation", "translation", (Member("layers.2.kernel", (0,)),), 64),
    ]


def _tracked(shape: NetworkShape, setting: tuple[float, float, float], seed: int, steps: int) -> Any:
    rate, beta, decay = setting
    data = digits()
    model = Classifier(shape, data.features, data.classes, rngs=nnx.Rngs(seed))
    optimizer = make_optimizer("momentum", rate, momentum=beta, decay=decay)
    families = _mlp_families() if shape.kind == "mlp" else _cnn_families()
    training = TrackedTraining(model, data, optimizer, families, data.batches(steps, 128, seed))
    state, series = train_tracked(training)
    return families, LearningRule.from_optax(optimizer), series, training.accuracy(state)


def run_figure5(seed: int, quick: bool) -> dict[str, Any]:
    """Charges of every setting, and how far the closed forms are from them."""
    numbers: Numbers = {}
    drawn: dict[str, Any] = {}
    runs = [("mlp", MLP, setting, 660) for setting in SETTINGS]
    runs += [("mlp", replace(MLP, epsilon=1e-5), COLLAPSE, 660), ("cnn", CNN, CNN_SETTING, 220)]
    for net, shape, setting, steps in runs:
        families, rule, series, accuracy = _tracked(shape, setting, seed, steps // 10 if quick else steps)
        at = f"{net}, {setting_name(setting)}"
        for k, family in enumerate(families):
            values, size = series.values(k), np.asarray(series.charges[k].scale[-1], float)
            for order in ORDERS:
                found = predict_charge(rule, values[0], series.kinetic(k), order, quadratic=family.quadratic)
                numbers[f"{at}, {family.name}: order {order}"] = largest_error(found, values, size)
                if net == "mlp" and setting in (SETTINGS[1], SETTINGS[2], SETTINGS[3]):
                    units, every = slice(0, family.count, family.count // 4), slice(None, None, 6)
                    drawn.setdefault(setting_name(setting), {}).setdefault(family.name, {"measured": None})
                    entry = drawn[setting_name(setting)][family.name]
                    entry["measured"] = values[every, units].tolist()
                    if order != "2":
                        entry[order] = found[every, units].tolist()
        numbers[f"{at}: breaking of the scale"] = float(np.asarray(series.charges[0].breaking).max())
        numbers[f"{at}: accuracy"] = accuracy
    return {"numbers": numbers, "series": drawn}


def judge_figure5(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """The closed forms hold, each order better than the next; where epsilon counts, it breaks a scale."""
    verdicts = []
    for net, setting in [*(("mlp", s) for s in SETTINGS), ("cnn", CNN_SETTING)]:
        for name in ("scale", "rescale", "translation"):
            at = f"{net}, {setting_name(setting)}, {name}"
            verdicts += [below(table, f"{at}: order exact", 1e-4), below(table, f"{at}: order 2", 5e-3)]
            if setting[1] > 0 and name != "translation":
                worst = [max(table[f"{at}: order {k}"]) for k in ORDERS]
                closer = worst[0] < worst[1] < worst[2]
                shown = ", ".join(f"{value:.2g}" for value in worst)
                verdicts.append(Verdict(f"{at}: each order is closer than the next", closer, shown))
    collapse = f"mlp, {setting_name(COLLAPSE)}: breaking of the scale"
    return [*verdicts, above(table, collapse, 1e-2)]


def draw_figure5(series: Mapping[str, Mapping[str, Any]], numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """A column a setting. A row a kind of charge, of the first seed; the last row: errors of all seeds."""
    figure = Figure(figsize=(3.6 * len(series), 9.6), layout="constrained")
    panels = figure.subplots(4, len(series), squeeze=False)
    lines: tuple[tuple[str, str, dict[str, Any]], ...] = (
        ("measured", "measured", {"color": MEASURED, "linewidth": 2.6, "alpha": 0.55}),
        ("1", "order 1, without inertia", {"color": LAW, "linewidth": 1.1}),
        ("exact", "exact law", {"color": "black", "linewidth": 1.1, "linestyle": (0, (4, 3))}),
    )
    for column, (setting, families) in zip(panels.T, series.items(), strict=True):
        *above, last = column
        for axes, (kind, colour) in zip(above, KINDS.items(), strict=True):
            entry = families[kind]
            steps = 6 * np.arange(len(entry["measured"]))
            for key, _, style in lines:
                axes.plot(steps, entry[key], **style)
            axes.set_title(f"{kind}: {setting}", fontsize=9)
            axes.set_xlabel("step", fontsize=8)
            rows = [numbers[f"mlp, {setting}, {kind}: order {order}"] for order in ORDERS]
            means, errors = [row["mean"] for row in rows], [row["stderr"] or 0 for row in rows]
            last.errorbar(
                ORDERS, means, errors, color=colour, marker="o", markersize=4, capsize=3, label=kind
            )
        last.set_yscale("log")
        last.set_title(f"errors: {setting}", fontsize=9)
        last.set_xlabel("prediction: exact law, or of order 2 or 1", fontsize=8)
    for axes in panels.ravel():
        axes.grid(alpha=0.3)
    for axes in panels[:3, 0]:
        axes.set_ylabel("charge", fontsize=8)
    panels[3, 0].set_ylabel("largest error / (|q| |xi(q)|)", fontsize=8)
    panels[3, 0].legend(fontsize=8)
    handles = [Line2D([], [], label=label, **style) for _, label, style in lines]
    figure.legend(
        handles=handles, loc="outside upper center", ncols=3, fontsize=9, title=SYMBOLS, title_fontsize=9
    )
    return figure
