"""Figure 1 of the embedding paper: a line and a circle, by the authors' penalty and by the tube."""

import math
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from scipy.optimize import minimize

from ...embedding import Latent, LatentMap, VariationalManifoldEmbedding, functional
from ..claims import AtLeast, AtMost, Claim
from ..seeded_target import Column, Measured

NOISE = 0.1
LENGTH = 10 / 7
PENALTY, ONE_TURN = 0.01, 2 / (2 * math.pi) ** 2
"""The authors' weight of E tr J^T J, and that for which the optimal length is a turn of the unit circle."""
DEGREE = 40
NODES = 400
COLUMNS = (
    Column("length", "length", "{:.3f}"),
    Column("law", "length by the law", "{:.3f}"),
    Column("covered", "times covered", "{:.2f}"),
    Column("objective", "objective", "{:.4f}"),
    Column("bound", "its bound", "{:.4f}"),
    Column("negative_kl", "-KL", "{:.1e}"),
    Column("excess", "-KL over its standard error", "{:.2f}"),
)
CLAIMS: tuple[Claim, ...] = (
    AtMost("off", "line, penalty, zigzag", 0.05),
    AtMost("gap", "line, penalty, zigzag", 0.01),
    AtMost("off", "circle, penalty", 0.1),
    AtMost("off", "circle, penalty for one turn", 0.1),
    AtLeast("gain", "line, penalty", 0.5),
    AtLeast("covered", "line, penalty", 5.0),
    AtLeast("negative_kl", "line, tube", -1e-4),
    AtMost("off", "line, tube", 0.01),
    AtMost("excess", "line, tube", 3.0),
    AtMost("excess", "circle, tube", 3.0),
    AtMost("off", "circle, tube", 0.01),
)


def line(x: Float[Array, " 2"]) -> Float[Array, ""]:
    """log p of a segment of length 10/7 along the first axis, blurred by noise 0.1."""
    normal = jax.scipy.stats.norm
    near = jnp.abs(x[0]) < LENGTH / 2 + 0.4
    inside = normal.cdf((x[0] + LENGTH / 2) / NOISE) - normal.cdf((x[0] - LENGTH / 2) / NOISE)
    far = normal.logcdf((LENGTH / 2 - jnp.abs(x[0])) / NOISE)
    along = jnp.where(near, jnp.log(jnp.where(near, inside, 1.0)), far) - math.log(LENGTH)
    return along + normal.logpdf(x[1], scale=NOISE)


def ring(x: Float[Array, " 2"]) -> Float[Array, ""]:
    """log p of a ring of radius 1 and normal profile of width 0.1."""
    volume = 2 * math.pi * math.sqrt(2 * math.pi) * NOISE
    return -((jnp.sqrt(x @ x) - 1) ** 2) / (2 * NOISE**2) - math.log(volume)


def optimal_length(penalty: float) -> float:
    """Of a curve over [-1, 1]: log speed - penalty speed^2 is largest at the speed 1 / sqrt(2 penalty)."""
    return 2 / math.sqrt(2 * penalty)


def penalty_bound(penalty: float, highest: float) -> float:
    """The objective less log 2 of the prior is at most this, with `highest` the maximum of log p; curves that
    run to and fro where p is largest come near it.
    """
    return -math.log(2 * penalty) / 2 - 0.5 + highest


def run_figure1(seed: int, quick: bool) -> Measured:
    """One sample of each; our tube knows the density, as the authors' objective does."""
    draws = np.random.default_rng(seed)
    rows: dict[str, dict[str, float]] = {}
    curves: dict[str, Any] = {}
    turns = (1, 4) if quick else (1, 4, 7, 10, 13)
    best, once = _zigzags(turns)
    rows["line, penalty"], curves["line, penalty"] = best
    rows["line, penalty, zigzag"] = _saw()
    rows["line, penalty, once"] = once
    rows["line, penalty"]["gain"] = best[0]["objective"] - once["objective"]
    for name, penalty in (("circle, penalty", PENALTY), ("circle, penalty for one turn", ONE_TURN)):
        rows[name], curves[name] = _wound(penalty, (0.5, 1.0) if quick else (0.5, 1.0, 1.5, 2.0, 2.5, 3.0))
    for name, log_density, latent in (("line", line, "uniform"), ("circle", ring, "circle")):
        points = _sample(name, draws)
        model = VariationalManifoldEmbedding(
            1,
            latent=latent,
            density=log_density,
            objective="reverse",
            noise=NOISE,
            degree=3,
            seed=seed,
            chart="pca",
        ).fit(points)
        reach = 1.0 if latent == "uniform" else math.pi
        path = model.inverse_transform(np.linspace(-reach, reach, 2001)[:, None], "latent")
        length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
        truth = LENGTH if name == "line" else 2 * math.pi * best_radius()
        facts = model.diagnostics_
        rows[f"{name}, tube"] = {
            "length": length,
            "covered": length / truth,
            "negative_kl": facts["negative_kl"],
            "excess": facts["negative_kl"] / facts["negative_kl_stderr"],
            "off": abs(length - truth),
        }
        curves[f"{name}, tube"], curves[f"{name}, points"] = path.tolist(), points.tolist()
    return Measured(rows, curves)


def _sample(name: str, draws: np.random.Generator) -> Float[np.ndarray, "n 2"]:
    if name == "line":
        points = np.stack([LENGTH * draws.uniform(-0.5, 0.5, 300), np.zeros(300)], axis=1)
    else:
        angles = draws.uniform(-np.pi, np.pi, 300)
        points = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return points + NOISE * draws.normal(size=points.shape)


def best_radius() -> float:
    """The radius of the circle whose tube of noise is nearest to `ring`: one-dimensional quadrature."""
    from scipy.optimize import minimize_scalar
    from scipy.special import i0e

    r = np.linspace(1e-6, 2.5, 50001)

    def divergence(radius: float) -> float:
        log = -((r - radius) ** 2) / (2 * NOISE**2) + np.log(i0e(r * radius / NOISE**2))
        gain = log + (r - 1) ** 2 / (2 * NOISE**2)
        return float(np.trapezoid(np.exp(log) * r * gain, r))

    found: Any = minimize_scalar(divergence, bounds=(0.9, 1.1), method="bounded", options={"xatol": 1e-9})
    return float(found.x)


def _ascend(log_density: Any, penalty: float, start: LatentMap) -> tuple[float, LatentMap]:
    """The authors' objective (less log 2) of the best map near a start, and that map."""
    latent = start.latent
    nodes, weights = latent.quadrature(NODES)
    with jax.enable_x64(True):
        points = jnp.asarray(nodes), jnp.asarray(weights)
        slopes = jnp.asarray(latent.gradients(nodes))

        def loss(flat: Float[Array, " n"]) -> Float[Array, ""]:
            phi = LatentMap(latent, flat.reshape(start.coefficients.shape))
            value = functional(phi, log_density, lambda z: jnp.zeros(()), *points)
            return -value + penalty * points[1] @ jnp.sum((slopes @ phi.coefficients) ** 2, axis=(1, 2))

        both = jax.jit(jax.value_and_grad(loss))

        def called(flat: np.ndarray) -> tuple[float, np.ndarray]:
            value, gradient = both(jnp.asarray(flat))
            return float(value), np.asarray(gradient)

        found = minimize(
            called, start.coefficients.ravel(), jac=True, method="L-BFGS-B", options={"maxiter": 400}
        )
    return -float(found.fun), LatentMap(latent, found.x.reshape(start.coefficients.shape))


def _described(
    found: tuple[float, LatentMap], penalty: float, highest: float, once: float
) -> tuple[dict[str, float], list[list[float]]]:
    value, phi = found
    path = phi(np.linspace(-1, 1, 4001)[:, None])
    length = float(np.linalg.norm(np.diff(path, axis=0), axis=1).sum())
    facts = {
        "length": length,
        "law": optimal_length(penalty),
        "covered": length / once,
        "objective": value,
        "bound": penalty_bound(penalty, highest),
        "off": abs(length / optimal_length(penalty) - 1),
    }
    return facts, path[::10].tolist()


def _zigzags(
    covers: tuple[int, ...],
) -> tuple[tuple[dict[str, float], list[list[float]]], dict[str, float]]:
    """The best of starts that run to and fro along the line, and the line covered once at its own length."""
    highest = float(line(jnp.zeros(2)))
    latent = Latent("uniform", 1, DEGREE)
    z = np.linspace(-1, 1, 2000)[:, None]
    found = []
    for count in covers:
        phase = (z[:, 0] + 1) / 2 * count
        saw = np.abs(np.mod(phase, 2) - 1) - 0.5
        path = np.stack([LENGTH * saw, 0.02 * z[:, 0]], axis=1)
        coefficients = np.linalg.lstsq(latent.values(z), path, rcond=None)[0]
        found.append(_ascend(line, PENALTY, LatentMap(latent, coefficients)))
    best = max(found, key=lambda one: one[0])
    straight = LatentMap(Latent("uniform", 1, 1), np.array([[0.0, 0.0], [LENGTH / 2 / math.sqrt(3), 0.0]]))
    nodes, weights = straight.latent.quadrature(NODES)
    with jax.enable_x64(True):
        value = functional(straight, line, lambda z: jnp.zeros(()), jnp.asarray(nodes), jnp.asarray(weights))
    own = float(value) - PENALTY * (LENGTH / 2) ** 2
    once, _ = _described((own, straight), PENALTY, highest, LENGTH)
    return _described(best, PENALTY, highest, LENGTH), once


def _saw() -> dict[str, float]:
    """The best polygon that runs to and fro between -a and a on the line, over its a and its turns."""
    positions = np.linspace(-LENGTH / 2, LENGTH / 2, 401)
    with jax.enable_x64(True):
        highest = float(line(jnp.zeros(2)))
        heights = np.asarray(jax.vmap(line)(jnp.asarray(np.stack([positions, 0 * positions], axis=1))))
    found = []
    for half in np.linspace(0.1, 1, 46) * LENGTH / 2:
        height = float(heights[np.abs(positions) <= half].mean())
        for count in range(1, 60):
            # Over [-1, 1] the polygon has the length 2 half count.
            speed = half * count
            found.append((math.log(speed) - PENALTY * speed**2 + height, 2 * speed))
    value, length = max(found)
    bound = penalty_bound(PENALTY, highest)
    return {
        "length": length,
        "law": optimal_length(PENALTY),
        "covered": length / LENGTH,
        "objective": value,
        "bound": bound,
        "gap": bound - value,
        "off": abs(length / optimal_length(PENALTY) - 1),
    }


def _wound(penalty: float, turns: tuple[float, ...]) -> tuple[dict[str, float], list[list[float]]]:
    """The best of starts that wind around the ring."""
    latent = Latent("uniform", 1, DEGREE // 2)
    z = np.linspace(-1, 1, 2000)[:, None]
    found = []
    for count in turns:
        angle = math.pi * count * z[:, 0]
        path = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        coefficients = np.linalg.lstsq(latent.values(z), path, rcond=None)[0]
        found.append(_ascend(ring, penalty, LatentMap(latent, coefficients)))
    highest = float(ring(jnp.array([1.0, 0.0])))
    return _described(max(found, key=lambda one: one[0]), penalty, highest, 2 * math.pi)


def draw_figure1(found: Sequence[Measured]) -> Figure:
    """The curves of the first seed over its points."""
    rows, curves = found[0]
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, 3)
    shown = (
        ("line", ("line, penalty", "line, tube")),
        ("circle", ("circle, penalty", "circle, penalty for one turn", "circle, tube")),
    )
    for own, (name, listed) in zip(panels, shown, strict=True):
        for axes, row in zip(own, listed, strict=False):
            axes.plot(*np.array(curves[f"{name}, points"]).T, ".", color="grey", markersize=2)
            axes.plot(*np.array(curves[row]).T, color="#d1495b", linewidth=1)
            axes.set_title(f"{row}\nlength {rows[row]['length']:.2f}", fontsize=9)
            axes.set(aspect="equal", xlim=(-1.35, 1.35), ylim=(-1.35, 1.35))
        for axes in own[len(listed) :]:
            penalties = np.geomspace(1e-3, 0.3, 50)
            axes.loglog(penalties, [optimal_length(value) for value in penalties], color="grey", label="law")
            for row, mark in (
                ("line, penalty, zigzag", "d"),
                ("line, penalty", "s"),
                ("circle, penalty", "o"),
            ):
                axes.plot(PENALTY, rows[row]["length"], mark, label=row)
            axes.plot(ONE_TURN, rows["circle, penalty for one turn"]["length"], "^", label="circle, one turn")
            axes.set(xlabel="penalty λ", ylabel="length")
            axes.legend(fontsize=7)
    return figure
