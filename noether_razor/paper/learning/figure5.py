"""Charges and their closed forms: the translation, scale and rescale panels of Neural Mechanics."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from flax import nnx
from matplotlib.figure import Figure

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
from .experiment import MEASURED, Numbers, above, below, setting_name

GREY = "#808080"
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
                numbers[f"{at}: {family.name}, order {order}"] = largest_error(found, values, size)
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
            at = f"{net}, {setting_name(setting)}: {name}"
            verdicts += [below(table, f"{at}, order exact", 1e-4), below(table, f"{at}, order 2", 5e-3)]
            if setting[1] > 0 and name != "translation":
                order = [max(table[f"{at}, order {k}"]) for k in ORDERS]
                verdicts.append(
                    Verdict(
                        f"{at}: each order is closer than the next",
                        order[0] < order[1] < order[2],
                        str(order),
                    )
                )
    collapse = f"mlp, {setting_name(COLLAPSE)}: breaking of the scale"
    return [*verdicts, above(table, collapse, 1e-2)]


def draw_figure5(series: Mapping[str, Any], numbers: Any) -> Figure:
    """A column a setting, a row a kind of charge."""
    del numbers
    kinds = ("translation", "rescale", "scale")
    figure = Figure(figsize=(3.6 * len(series), 7.6), layout="constrained")
    panels = figure.subplots(3, len(series), squeeze=False, sharex=True)
    for column, (setting, families) in zip(panels.T, series.items(), strict=True):
        for axes, kind in zip(column, kinds, strict=True):
            entry = families[kind]
            steps = 6 * np.arange(len(entry["measured"]))
            axes.plot(steps, entry["measured"], color=MEASURED, linewidth=1.8, alpha=0.8)
            axes.plot(steps, entry["1"], color=GREY, linewidth=0.9, linestyle=":")
            axes.plot(steps, entry["exact"], color="black", linewidth=0.9, linestyle="--")
            axes.set_title(f"{kind}: {setting}", fontsize=8)
            axes.grid(alpha=0.3)
        column[-1].set_xlabel("step")
    for label, style in (("measured", "-"), ("exact law", "--"), ("order 1, no inertia", ":")):
        colour = {"-": MEASURED, "--": "black", ":": GREY}[style]
        panels[0, 0].plot([], [], style, color=colour, label=label)
    panels[0, 0].legend(fontsize=7)
    return figure
