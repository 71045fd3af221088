"""SGD with normalisation and weight decay is RMSProp on the sphere."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ...learning import LearningRule, largest_error, radius_from_gradients, rmsprop_equivalent
from ..claims import Verdict
from .experiment import MEASURED, above, below
from .sphere import Sphere, filter_norms, filters, step_angles, with_norms

LIVE = ((0.1, 5e-3), (0.05, 1e-2), (0.2, 2e-3))


def _on_the_sphere(sphere: Sphere, batches: Any, rate: float, decay: float) -> Any:
    """Scalar RMSProp of unit filters; everything else by SGD with the same decay."""
    rms = rmsprop_equivalent(LearningRule(rate, decay=decay))
    starts = filters(sphere.params)
    averages = [jnp.asarray(rms.start(np.asarray(jnp.sum(w**2, axis=0))), jnp.float32) for w in starts]

    def step(carry: Any, rows: Any) -> tuple[Any, Any]:
        params, averages = carry
        value, gradients = jax.value_and_grad(sphere.loss)(params, rows)
        moved = jax.tree.map(lambda q, g: q - rate * (g + decay * q), params, gradients)
        updated = []
        for k, (w, g, average) in enumerate(zip(filters(params), filters(gradients), averages, strict=True)):
            new = w - rms.learning_rate / jnp.sqrt(average) * g
            weight = moved["layers"][k]["kernel"]
            moved["layers"][k]["kernel"] = weight.replace(new / jnp.sqrt(jnp.sum(new**2, axis=0)))
            updated.append(rms.rho * average + rms.source * jnp.sum(g**2, axis=0))
        return (moved, updated), (value, step_angles(params, moved))

    start = with_norms(sphere.params, [w / jnp.sqrt(jnp.sum(w**2, axis=0)) for w in starts])
    return jax.jit(lambda carry: jax.lax.scan(step, carry, batches)[1])((start, averages))


def run_rmsprop(seed: int, quick: bool) -> dict[str, Any]:
    """Both trainings side by side, and norms of filters from the gradients alone."""
    sphere, numbers, drawn = Sphere(seed), {}, {}
    batches = jnp.asarray(sphere.data.batches(44 if quick else 440, 128, seed))
    for rate, decay in LIVE:
        at = f"eta {rate:g}, k {decay:g}"
        _, (loss, _, angles, _) = sphere.run(sphere.params, batches, rate, 0.0, decay)
        other, others = _on_the_sphere(sphere, batches, rate, decay)
        numbers[f"{at}: difference of losses"] = float(np.abs(np.asarray(loss) - np.asarray(other)).max())
        pair = np.corrcoef(np.asarray(angles).ravel(), np.asarray(others).ravel())
        numbers[f"{at}: correlation of angles"] = float(pair[0, 1])
        drawn[at] = {"live": np.asarray(loss)[::4].tolist(), "rmsprop": np.asarray(other)[::4].tolist()}
    for beta, rate in ((0.0, 0.1), (0.5, 0.05), (0.9, 0.02)):
        _, (_, squares, _, norms) = sphere.run(sphere.params, batches, rate, beta, 5e-3)
        norms = np.concatenate([np.asarray(filter_norms(sphere.params))[None], np.asarray(norms)]) ** 2
        rule = LearningRule(rate, beta, decay=5e-3)
        for called, persistent in (("independent", False), ("persistent", True)):
            found = radius_from_gradients(rule, norms[0], np.asarray(squares, float), persistent=persistent)
            key = f"beta {beta:g}: error of r, {called} gradients"
            numbers[key] = largest_error(np.sqrt(found), np.sqrt(norms))
    return {"numbers": numbers, "series": drawn}


def judge_rmsprop(table: Mapping[str, Sequence[float]]) -> list[Verdict]:
    """Losses and angles agree, and norms follow from gradients that are independent."""
    verdicts = []
    for rate, decay in LIVE:
        at = f"eta {rate:g}, k {decay:g}"
        verdicts += [
            below(table, f"{at}: difference of losses", 2e-3),
            above(table, f"{at}: correlation of angles", 0.999),
        ]
    for beta, limit in ((0.0, 2e-4), (0.5, 1e-2), (0.9, 0.1)):
        verdicts.append(below(table, f"beta {beta:g}: error of r, independent gradients", limit))
    white, kept = (
        max(table[f"beta 0.9: error of r, {kind} gradients"]) for kind in ("independent", "persistent")
    )
    said = f"{white:.2g} against {kept:.2g}"
    return [
        *verdicts,
        Verdict("with momentum, independent gradients explain r better than persistent", white < kept, said),
    ]


def draw_rmsprop(series: Mapping[str, Any], numbers: Mapping[str, Mapping[str, Any]]) -> Figure:
    """The losses of both with the first seed, a panel a setting; titles tell of all seeds."""
    figure = Figure(figsize=(3.7 * len(series), 3.7), layout="constrained")
    figure.suptitle("eta: learning rate, k: weight decay", fontsize=9)
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
        off = numbers[f"{setting}: difference of losses"]
        error = "" if off["stderr"] is None else f" ± {off['stderr']:.1g}"
        axes.set_title(f"{setting}\nlargest difference {off['mean']:.1g}{error}", fontsize=9)
        axes.set(xlabel="step", ylabel="loss")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure
