"""Experiments on learning dynamics (arXiv 2012.04728 and 2105.02716) with digits, and claims about their
numbers.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

from ..files import write_whole, written_whole
from ..learning import (
    Classifier,
    LearningRule,
    Member,
    NetworkShape,
    Symmetry,
    TrackedTraining,
    cross_entropy,
    digits,
    find_symmetries,
    largest_error,
    make_optimizer,
    predict_charge,
    radius_from_gradients,
    rmsprop_equivalent,
    steady_angle,
    train_tracked,
)
from ..reporting import png_of, symmetry_spectrum_figure
from .claims import Verdict, mean_and_stderr
from .workers import Progress, share_out

MEASURED, LAW, GREY = "#2a7fc9", "#d1495b", "#808080"
Numbers = dict[str, float]


@dataclass(frozen=True)
class Experiment:
    """What is run for a seed (its `numbers`, and a `series` to draw), claimed of all seeds, and drawn of
    one.
    """

    name: str
    title: str
    about: str
    run: Callable[[int, bool], dict[str, Any]]
    claims: Callable[[Mapping[str, Sequence[float]]], list[Verdict]]
    draw: Callable[[Mapping[str, Any], Mapping[str, Mapping[str, Any]]], Figure]


def reproduce_experiment(
    name: str,
    *,
    seeds: int,
    budget: str,
    out: Path,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
) -> str:
    """Run an experiment for seeds 0 to `seeds` - 1 and write ``<name>.md``, ``.json``, ``.png`` and ``.pdf``.

    A seed that is in ``out/runs/<budget>`` is not run again. Budget quick takes a tenth of the steps; paper
    is standard.
    """
    experiment = EXPERIMENTS[name]
    paths = [out / "runs" / budget / f"{name}-{seed}.json" for seed in range(seeds)]
    missing = [(seed, path) for seed, path in enumerate(paths) if not path.exists()]
    jobs = [partial(_run_seed, name, seed, budget == "quick", path) for seed, path in missing]
    share_out(jobs, on_progress=on_progress, interrupted=interrupted)
    found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    table = {key: [one["numbers"][key] for one in found] for key in found[0]["numbers"]}
    numbers = {key: mean_and_stderr(values) for key, values in table.items()}
    verdicts = experiment.claims(table)
    result = {"budget": budget, "numbers": numbers, "claims": [v._asdict() for v in verdicts]}
    write_whole(out / f"{name}.json", json.dumps(result, indent=2) + "\n")
    figure = experiment.draw(found[0]["series"], numbers)
    for suffix in ("png", "pdf"):
        with written_whole(out / f"{name}.{suffix}") as temporary:
            if suffix == "png":
                temporary.write_bytes(png_of(figure))
            else:
                figure.savefig(temporary)
    seconds = sum(one["seconds"] for one in found)
    text = _text(experiment, budget, numbers, verdicts, seconds, len(found))
    write_whole(out / f"{name}.md", text)
    return text


def _run_seed(
    name: str,
    seed: int,
    quick: bool,
    path: Path,
    *,
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> None:
    del on_progress, interrupted  # a seed takes less than a minute or two
    started = time.perf_counter()
    found = EXPERIMENTS[name].run(seed, quick)
    found["seconds"] = time.perf_counter() - started
    write_whole(path, json.dumps(found) + "\n")


def _text(
    experiment: Experiment,
    budget: str,
    numbers: Mapping[str, Mapping[str, Any]],
    verdicts: Sequence[Verdict],
    seconds: float,
    seeds: int,
) -> str:
    lines = [f"# {experiment.title}", ""]
    if budget == "quick":
        lines += ["**Smoke run** (budget quick): its numbers mean nothing.", ""]
    lines += [experiment.about, "", f"{seeds} seeds, {seconds:.0f} s of computation.", ""]
    lines += ["| | mean | standard error |", "|---|---|---|"]
    for key, value in numbers.items():
        error = "" if value["stderr"] is None else f"{value['stderr']:.1e}"
        lines.append(f"| {key} | {value['mean']:.4g} | {error} |")
    lines += ["", "Claims:", ""]
    lines += [f"- {'held' if v.held else '**not held**'}: {v.claim}; {v.detail}" for v in verdicts]
    return "\n".join([*lines, ""])


def _below(table: Mapping[str, Sequence[float]], key: str, limit: float) -> Verdict:
    worst = max(table[key])
    return Verdict(f"{key} at most {limit:g}", worst <= limit, f"largest {worst:.3g}")


def _above(table: Mapping[str, Sequence[float]], key: str, limit: float) -> Verdict:
    least = min(table[key])
    return Verdict(f"{key} at least {limit:g}", least >= limit, f"least {least:.6g}")


# Charges and their closed forms: the translation, scale and rescale panels of Neural Mechanics.

MLP = NetworkShape(epsilon=1e-8)
CNN = NetworkShape("cnn", (8, 16), ("batch", "batch"), epsilon=1e-8)
CNN_SETTING = (0.1, 0.9, 1e-3)
SETTINGS = ((0.1, 0.0, 0.0), (0.1, 0.0, 5e-3), (0.02, 0.9, 5e-3), (0.1, 0.9, 0.0))
COLLAPSE = (0.05, 0.9, 1e-2)
ORDERS = ("exact", "2", "1")


def _called(setting: tuple[float, float, float]) -> str:
    return "eta {:g}, beta {:g}, k {:g}".format(*setting)


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


def _figure5(seed: int, quick: bool) -> dict[str, Any]:
    numbers: Numbers = {}
    drawn: dict[str, Any] = {}
    runs = [("mlp", MLP, setting, 660) for setting in SETTINGS]
    runs += [("mlp", replace(MLP, epsilon=1e-5), COLLAPSE, 660), ("cnn", CNN, CNN_SETTING, 220)]
    for net, shape, setting, steps in runs:
        families, rule, series, accuracy = _tracked(shape, setting, seed, steps // 10 if quick else steps)
        at = f"{net}, {_called(setting)}"
        for k, family in enumerate(families):
            values, size = series.values(k), np.asarray(series.charges[k].scale[-1], float)
            for order in ORDERS:
                found = predict_charge(rule, values[0], series.kinetic(k), order, quadratic=family.quadratic)
                numbers[f"{at}: {family.name}, order {order}"] = largest_error(found, values, size)
                if net == "mlp" and setting in (SETTINGS[1], SETTINGS[2], SETTINGS[3]):
                    units, every = slice(0, family.count, family.count // 4), slice(None, None, 6)
                    drawn.setdefault(_called(setting), {}).setdefault(family.name, {"measured": None})
                    entry = drawn[_called(setting)][family.name]
                    entry["measured"] = values[every, units].tolist()
                    if order != "2":
                        entry[order] = found[every, units].tolist()
        numbers[f"{at}: breaking of the scale"] = float(np.asarray(series.charges[0].breaking).max())
        numbers[f"{at}: accuracy"] = accuracy
    return {"numbers": numbers, "series": drawn}


def _figure5_claims(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    verdicts = []
    for net, setting in [*(("mlp", s) for s in SETTINGS), ("cnn", CNN_SETTING)]:
        for name in ("scale", "rescale", "translation"):
            at = f"{net}, {_called(setting)}: {name}"
            verdicts += [_below(table, f"{at}, order exact", 1e-4), _below(table, f"{at}, order 2", 5e-3)]
            if setting[1] > 0 and name != "translation":
                order = [max(table[f"{at}, order {k}"]) for k in ORDERS]
                verdicts.append(
                    Verdict(
                        f"{at}: each order is closer than the next",
                        order[0] < order[1] < order[2],
                        str(order),
                    )
                )
    collapse = f"mlp, {_called(COLLAPSE)}: breaking of the scale"
    return [*verdicts, _above(table, collapse, 1e-2)]


def _figure5_draw(series: Mapping[str, Any], numbers: Any) -> Figure:
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


# Implicit adaptation: free against fixed norms, and the steady angle.

FREE = NetworkShape("mlp", (64, 64), ("batch", "batch"), epsilon=1e-8, bias=False)
RATES = (0.001, 0.01, 0.1, 0.5, 1.0)
STEADY = ((0.1, 0.0, 0.06), (0.1, 0.0, 0.02), (0.1, 0.5, 0.02), (0.02, 0.9, 0.015))


class _Sphere:
    """Heavy-ball SGD of the free network, whose normalised filters may be kept at their norms; one
    compilation serves all rates, momenta and decays.
    """

    def __init__(self, seed: int):
        self.data = digits()
        model = Classifier(FREE, self.data.features, self.data.classes, rngs=nnx.Rngs(seed))
        self.graph, self.params, self.rest = nnx.split(model, nnx.Param, ...)
        self.inputs, self.labels = jnp.asarray(self.data.inputs), jnp.asarray(self.data.labels)
        self.run = jax.jit(self._run, static_argnames=("fixed",))

    def loss(self, params: Any, rows: Any) -> Any:
        model = nnx.merge(self.graph, params, self.rest, copy=True)
        return cross_entropy(model, (self.inputs[rows], self.labels[rows]))

    def _run(
        self, params: Any, batches: Any, rate: Any, beta: Any, decay: Any, *, fixed: bool = False
    ) -> Any:
        first = _filters(params)

        def step(carry: Any, rows: Any) -> tuple[Any, Any]:
            params, average = carry
            value, gradients = jax.value_and_grad(self.loss)(params, rows)
            average = jax.tree.map(lambda a, g, q: beta * a + g + decay * q, average, gradients, params)
            moved = jax.tree.map(lambda q, a: q - rate * a, params, average)
            if fixed:
                moved = _with_norms(moved, first)
            pull = [
                jnp.sum(g**2, axis=0) * jnp.sum(q**2, axis=0)
                for g, q in zip(_filters(gradients), _filters(params), strict=True)
            ]
            line = (value, jnp.concatenate(pull), _angles(params, moved), _norms(moved))
            return (moved, average), line

        zero = jax.tree.map(jnp.zeros_like, params)
        (params, _), lines = jax.lax.scan(step, (params, zero), batches)
        return params, lines

    def accuracy(self, params: Any) -> float:
        """With the statistics of the test set, which is one batch."""
        model = nnx.merge(self.graph, params, self.rest, copy=True)
        found = np.asarray(model(jnp.asarray(self.data.test_inputs))).argmax(axis=1)
        return float(np.mean(found == self.data.test_labels))


def _filters(params: Any) -> list[Any]:
    return [params["layers"][k]["kernel"][...] for k in (0, 1)]


def _norms(params: Any) -> Any:
    return jnp.concatenate([jnp.sqrt(jnp.sum(w**2, axis=0)) for w in _filters(params)])


def _angles(before: Any, after: Any) -> Any:
    found = []
    for a, b in zip(_filters(before), _filters(after), strict=True):
        unit = [w / jnp.sqrt(jnp.sum(w**2, axis=0)) for w in (a, b)]
        found.append(2 * jnp.arcsin(jnp.sqrt(jnp.sum((unit[1] - unit[0]) ** 2, axis=0)) / 2))
    return jnp.concatenate(found)


def _with_norms(params: Any, like: Sequence[Any]) -> Any:
    """The same with the norms of the filters `like`."""
    params = jax.tree.map(lambda leaf: leaf, params)
    for k, old in enumerate(like):
        weight = params["layers"][k]["kernel"]
        new = weight[...] * jnp.sqrt(jnp.sum(old**2, axis=0) / jnp.sum(weight[...] ** 2, axis=0))
        params["layers"][k]["kernel"] = weight.replace(new)
    return params


def _figure4(seed: int, quick: bool) -> dict[str, Any]:
    sphere, numbers = _Sphere(seed), {}
    batches = jnp.asarray(sphere.data.batches(33 if quick else 330, 128, seed))
    for rate in RATES:
        for called, fixed in (("free", False), ("fixed", True)):
            params, _ = sphere.run(sphere.params, batches, rate, 0.9, 0.0, fixed=fixed)
            numbers[f"accuracy, {called} norm, eta {rate:g}"] = sphere.accuracy(params)
    drawn = {}
    noisy = sphere.data.with_noise(0.3, seed)
    sphere.labels = jnp.asarray(noisy.labels)
    sphere.run = jax.jit(sphere._run, static_argnames=("fixed",))
    batches = jnp.asarray(noisy.batches(264 if quick else 2640, 32, seed))
    for setting in STEADY:
        _, (_, _, angles, _) = sphere.run(sphere.params, batches, *setting)
        angles = np.sqrt(np.mean(np.asarray(angles) ** 2, axis=1))
        rule = LearningRule(setting[0], setting[1], decay=setting[2])
        measured = float(np.sqrt(np.mean(angles[-len(angles) // 4 :] ** 2)))
        numbers[f"steady angle, {_called(setting)}"] = measured
        numbers[f"steady angle over prediction, {_called(setting)}"] = measured / steady_angle(rule)
        drawn[_called(setting)] = {"angles": angles[::8].tolist(), "predicted": steady_angle(rule)}
    return {"numbers": numbers, "series": drawn}


def _figure4_claims(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    verdicts = []
    for setting in STEADY:
        key = f"steady angle over prediction, {_called(setting)}"
        worst = max(abs(value - 1) for value in table[key])
        verdicts.append(Verdict(f"{key} within 5% of 1", worst <= 0.05, f"off by {worst:.1%}"))
    free, fixed = (float(np.mean(table[f"accuracy, {kind} norm, eta 1"])) for kind in ("free", "fixed"))
    gain = f"{100 * (free - fixed):.1f} points"
    return [
        *verdicts,
        Verdict("free norms beat fixed ones at eta 1 by 1 point of accuracy", free - fixed > 0.01, gain),
    ]


def _figure4_draw(series: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
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


# SGD with normalisation and weight decay is RMSProp on the sphere.

LIVE = ((0.1, 5e-3), (0.05, 1e-2), (0.2, 2e-3))


def _on_the_sphere(sphere: _Sphere, batches: Any, rate: float, decay: float) -> Any:
    """Scalar RMSProp of unit filters; everything else by SGD with the same decay."""
    rms = rmsprop_equivalent(LearningRule(rate, decay=decay))
    starts = _filters(sphere.params)
    averages = [jnp.asarray(rms.start(np.asarray(jnp.sum(w**2, axis=0))), jnp.float32) for w in starts]

    def step(carry: Any, rows: Any) -> tuple[Any, Any]:
        params, averages = carry
        value, gradients = jax.value_and_grad(sphere.loss)(params, rows)
        moved = jax.tree.map(lambda q, g: q - rate * (g + decay * q), params, gradients)
        updated = []
        for k, (w, g, average) in enumerate(
            zip(_filters(params), _filters(gradients), averages, strict=True)
        ):
            new = w - rms.learning_rate / jnp.sqrt(average) * g
            weight = moved["layers"][k]["kernel"]
            moved["layers"][k]["kernel"] = weight.replace(new / jnp.sqrt(jnp.sum(new**2, axis=0)))
            updated.append(rms.rho * average + rms.source * jnp.sum(g**2, axis=0))
        return (moved, updated), (value, _angles(params, moved))

    start = _with_norms(sphere.params, [w / jnp.sqrt(jnp.sum(w**2, axis=0)) for w in starts])
    return jax.jit(lambda carry: jax.lax.scan(step, carry, batches)[1])((start, averages))


def _rmsprop(seed: int, quick: bool) -> dict[str, Any]:
    sphere, numbers, drawn = _Sphere(seed), {}, {}
    batches = jnp.asarray(sphere.data.batches(44 if quick else 440, 128, seed))
    for rate, decay in LIVE:
        at = f"eta {rate:g}, k {decay:g}"
        _, (loss, _, angles, _) = sphere.run(sphere.params, batches, rate, 0.0, decay)
        other, others = _on_the_sphere(sphere, batches, rate, decay)
        numbers[f"difference of losses, {at}"] = float(np.abs(np.asarray(loss) - np.asarray(other)).max())
        pair = np.corrcoef(np.asarray(angles).ravel(), np.asarray(others).ravel())
        numbers[f"correlation of angles, {at}"] = float(pair[0, 1])
        drawn[at] = {"live": np.asarray(loss)[::4].tolist(), "rmsprop": np.asarray(other)[::4].tolist()}
    for beta, rate in ((0.0, 0.1), (0.5, 0.05), (0.9, 0.02)):
        _, (_, squares, _, norms) = sphere.run(sphere.params, batches, rate, beta, 5e-3)
        norms = np.concatenate([np.asarray(_norms(sphere.params))[None], np.asarray(norms)]) ** 2
        rule = LearningRule(rate, beta, decay=5e-3)
        for called, persistent in (("independent", False), ("persistent", True)):
            found = radius_from_gradients(rule, norms[0], np.asarray(squares, float), persistent=persistent)
            key = f"error of r from {called} gradients, beta {beta:g}"
            numbers[key] = largest_error(np.sqrt(found), np.sqrt(norms))
    return {"numbers": numbers, "series": drawn}


def _rmsprop_claims(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    verdicts = []
    for rate, decay in LIVE:
        at = f"eta {rate:g}, k {decay:g}"
        verdicts += [
            _below(table, f"difference of losses, {at}", 2e-3),
            _above(table, f"correlation of angles, {at}", 0.999),
        ]
    for beta, limit in ((0.0, 2e-4), (0.5, 1e-2), (0.9, 0.1)):
        verdicts.append(_below(table, f"error of r from independent gradients, beta {beta:g}", limit))
    white, kept = (
        max(table[f"error of r from {kind} gradients, beta 0.9"]) for kind in ("independent", "persistent")
    )
    said = f"{white:.2g} against {kept:.2g}"
    return [
        *verdicts,
        Verdict("with momentum, independent gradients explain r better than persistent", white < kept, said),
    ]


def _rmsprop_draw(series: Mapping[str, Any], numbers: Any) -> Figure:
    del numbers
    figure = Figure(figsize=(3.7 * len(series), 3.4), layout="constrained")
    for axes, (setting, entry) in zip(
        figure.subplots(1, len(series), squeeze=False)[0], series.items(), strict=True
    ):
        steps = 4 * np.arange(len(entry["live"]))
        axes.plot(steps, entry["live"], color=MEASURED, linewidth=2, alpha=0.7, label="SGD with decay")
        axes.plot(
            steps,
            entry["rmsprop"],
            color="black",
            linewidth=0.9,
            linestyle="--",
            label="RMSProp on the sphere",
        )
        axes.set_yscale("log")
        axes.set(xlabel="step", title=setting)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure


# Symmetries that are found.

SEARCHED = NetworkShape("mlp", (24, 24, 16, 16), ("batch", "batch", "none", "none"), epsilon=0.0)
SMALL = {
    "relu 6-5-4-3": ((5, 4), "relu", 17, 15),
    "linear 6-4-3": ((4,), "linear", 28, 16),
    "gelu 6-5-3": ((5,), "gelu", 9, 7),
    "leaky relu 6-5-3": ((5,), "leaky_relu", 14, 12),
}


def _search(shape: NetworkShape, seed: int, quick: bool) -> Any:
    data = digits()
    model = Classifier(shape, data.features, data.classes, rngs=nnx.Rngs(seed))
    rows = data.batches(14, 128, seed)
    batches = [(data.inputs[some], data.labels[some]) for some in rows]
    return find_symmetries(
        model, cross_entropy, batches, rows=40 if quick else None, key=jax.random.key(seed)
    )


def _symmetries(seed: int, quick: bool) -> dict[str, Any]:
    numbers: Numbers = {}
    exact = _search(SEARCHED, seed, quick)
    broken = _search(replace(SEARCHED, epsilon=1e-5), seed, quick)
    for called, report in (("epsilon 0", exact), ("epsilon 1e-5", broken)):
        for kind, dimension in report.dimensions.items():
            numbers[f"{kind} dimensions, {called}"] = dimension
            numbers[f"unnamed {kind} dimensions, {called}"] = report.unnamed[kind] or 0
        numbers[f"quasi-symmetries, {called}"] = sum(family.count for family in report.quasi)
    rng = np.random.default_rng(seed)
    batches = [(rng.normal(size=(32, 6)), rng.integers(0, 3, 32)) for _ in range(8)]
    for name, (layers, activation, _, _) in SMALL.items():
        shape = NetworkShape("mlp", layers, ("none",) * len(layers), activation)
        model = Classifier(shape, 6, 3, rngs=nnx.Rngs(seed))
        found = find_symmetries(model, cross_entropy, batches, method="linear", key=jax.random.key(seed))
        assert found.algebra is not None
        numbers[f"{name}: dimension"] = found.algebra.dimension
        numbers[f"{name}: charges"] = found.algebra.charges
        numbers[f"{name}: closure error"] = found.algebra.closure_error
    drawn = {
        "spectra": {kind: list(map(float, values)) for kind, values in broken.spectra.items()},
        "dimensions": dict(broken.dimensions),
        "quasi": {"diagonal": numbers["quasi-symmetries, epsilon 1e-5"]},
    }
    return {"numbers": numbers, "series": drawn}


def _symmetries_claims(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    expected = {
        "diagonal dimensions, epsilon 0": 184,
        "translation dimensions, epsilon 0": 73,
        "diagonal dimensions, epsilon 1e-5": 136,
        "quasi-symmetries, epsilon 1e-5": 48,
        "unnamed diagonal dimensions, epsilon 0": 0,
    }
    for name, (_, _, dimension, charges) in SMALL.items():
        expected |= {f"{name}: dimension": dimension, f"{name}: charges": charges}
    verdicts = [
        Verdict(f"{key} is {value}", set(table[key]) == {value}, f"found {sorted(set(table[key]))}")
        for key, value in expected.items()
    ]
    return [*verdicts, *(_below(table, f"{name}: closure error", 2e-14) for name in SMALL)]


def _symmetries_draw(series: Mapping[str, Any], numbers: Any) -> Figure:
    del numbers
    quasi = {kind: int(count) for kind, count in series["quasi"].items()}
    return symmetry_spectrum_figure(series["spectra"], series["dimensions"], quasi)


EXPERIMENTS: dict[str, Experiment] = {
    one.name: one
    for one in (
        Experiment(
            "mechanics-figure5",
            "Neural Mechanics: translation, rescale and scale charges, measured and predicted",
            "Digits of scikit-learn by a dense and a convolutional network, instead of the paper's VGG-16 on "
            "Tiny ImageNet. The figure itself could not be read: the three kinds of charges are those of the "
            "paper's text, the predictions come from the formulas. Errors are shares of |q| |xi(q)|.",
            _figure5,
            _figure5_claims,
            _figure5_draw,
        ),
        Experiment(
            "learning-figure4",
            "Noether's learning dynamics: free norms adapt the learning rate, decay sets the angle of a step",
            "Digits, network 64-64-64-10 with batch normalisation, momentum 0.9 on the left; on the right "
            "30 % of labels are noise. The paper's figure could not be read: this follows its formulas.",
            _figure4,
            _figure4_claims,
            _figure4_draw,
        ),
        Experiment(
            "learning-rmsprop",
            "SGD with normalisation and weight decay is RMSProp on the sphere",
            "Digits, network 64-64-64-10, the same batches for both; r is the norm of each filter.",
            _rmsprop,
            _rmsprop_claims,
            _rmsprop_draw,
        ),
        Experiment(
            "network-symmetries",
            "Symmetries of networks, found from gradients",
            "Digits by 64-24-24-16-16-10, the first two layers normalised; small networks on noise.",
            _symmetries,
            _symmetries_claims,
            _symmetries_draw,
        ),
    )
}
"""What `reproduce` makes besides the tables of Noether's Razor."""
