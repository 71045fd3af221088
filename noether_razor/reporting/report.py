"""The report of a run: what was found, how well it predicts, and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..inference import Estimator, Posterior
from ..prediction import learned_hamiltonian, posterior_rollouts
from ..quantities import QuadraticQuantities, nearest_generators
from ..scaling import PhaseScale
from ..symmetry import Averaging
from ..systems import HamiltonianSystem
from ..trajectories import Trajectories
from ..typing import Hamiltonian, PRNGKey
from .discovery import discovery_section
from .figures import bound_figure, contour_figure, generator_figure, rollout_figure, spectrum_figure
from .symmetry import symmetry_section

GRID = 41
SHOWN_DIRECTIONS = 6
SHOWN_TRAJECTORIES, SHOWN_POINTS = 3, 100
BAND_SAMPLES = 64


class ReportData(NamedTuple):
    """What a report is made of."""

    title: str
    summary: Mapping[str, Any]
    metrics: Sequence[dict[str, Any]]
    posterior: Posterior
    averaging: Averaging
    evaluator: Estimator
    data: Trajectories
    test_sets: Mapping[str, Trajectories]
    system: HamiltonianSystem | None
    key: PRNGKey
    scale: PhaseScale | None = None
    """Of the coordinates that the posterior works in; `data` are in their own units."""
    symmetry: Mapping[str, Any] | None = None
    """The contents of symmetry.json, of a run that has been analysed."""
    spread_scale: float = 1.0
    """The factor of the spread of rollouts that held-out data asked for."""


def summary_text(summary: Mapping[str, Any]) -> str:
    """The numbers of summary.json as a Markdown section that a person can read."""
    train, symmetry = summary["train"], summary["symmetry"]
    lines = [
        f"trained {summary['steps']} steps in {summary['wall_seconds']:.0f} s "
        f"(compilation {summary['compile_seconds']:.0f} s) on {summary['device']}, seed {summary['seed']}",
        "",
        "| nats per transition | -ELBO | NLL | KL |",
        "|---|---|---|---|",
        f"| {summary['transitions']} transitions | {train['negative_elbo']:.3f} | "
        f"{train['nll']:.3f} ± {train['nll_stderr']:.3f} | {train['kl']:.3f} |",
        "",
        "| mean squared error | one step | mean weights | rollout | energy error |",
        "|---|---|---|---|---|",
        f"| train (noisy targets) | {train['mse']:.2e} | | | |",
    ]
    for name, errors in summary["test"].items():
        energy = errors.get("energy_error")
        one_step = f"{errors['mse']:.2e} ± {errors['mse_stderr']:.0e} | {errors['mse_mean_weights']:.2e}"
        drift = "" if energy is None else f"{energy:.1%}"
        lines.append(f"| {name} | {one_step} | {errors['rollout_mse']:.2e} | {drift} |")
    chosen = summary.get("likelihood", {}).get("text")
    if chosen:
        lines += ["", f"Likelihood of {chosen}."]
    lines += _data_lines(summary.get("data"))
    values = symmetry["singular_values"]
    if values:
        known = symmetry.get("parallelness")
        truth = ("", "") if known is None else (" parallelness with the truth |", "---|")
        lines += ["", f"| direction | singular value |{truth[0]}", f"|---|---|{truth[1]}"]
        for k, value in enumerate(values):
            lines.append(f"| {k + 1} | {value:.4g} |" + ("" if known is None else f" {known[k]:.4f} |"))
        lines += _generator_lines(symmetry["strongest"])
    integrator = summary["integrator"]
    if not integrator["error"] <= integrator["limit"]:
        lines += [
            "",
            f"**Warning:** {integrator['substeps']} integrator steps a transition are too few for the "
            f"learned Hamiltonian: error {integrator['error']:.1e}, limit {integrator['limit']:.1e}. "
            "Set `inference.substeps` higher.",
        ]
    return "\n".join(lines) + "\n"


def _data_lines(data: Mapping[str, Any] | None) -> list[str]:
    """Where data of a file stand: their units, the coordinates of training, the noise, and what was noted."""
    if data is None:
        return []
    time = f"{data['time_scale']:.6g} {data['time_unit']}".rstrip()
    lines = [
        "",
        f"Errors are in the units of the data, the bound and the generators in scaled coordinates and times "
        f"over {time}:",
        "",
        "| coordinate | unit | shift | scale | noise |",
        "|---|---|---|---|---|",
    ]
    columns = ("names", "units", "shifts", "scales", "noise_standard_deviations")
    rows = zip(*(data[key] for key in columns), strict=True)
    for name, unit, shift, scale, noise in rows:
        lines.append(f"| {name} | {unit} | {shift:.6g} | {scale:.6g} | {noise:.3g} |")
    for note in data["notes"]:
        lines += ["", f"**Note:** {note}."]
    return lines


def write_report(figures: Path, data: ReportData) -> str:
    """Draw the figures into the folder `figures` and return the Markdown that shows them, relative to its
    parent.
    """
    figures.mkdir(parents=True, exist_ok=True)
    for_energy, for_rollouts = jax.random.split(data.key)
    drawn: list[tuple[str, str, Figure]] = [
        (
            "bound",
            "The bound and its parts during training; the price of the weights is the KL part.",
            bound_figure(data.metrics, _noise_floor(data)),
        ),
        (
            "hamiltonian",
            "The learned energy on the first phase plane, other coordinates at 0.",
            _contours(data, for_energy),
        ),
    ]
    quantities = data.posterior.quantities
    if isinstance(quantities, QuadraticQuantities):
        drawn.append(
            (
                "generators",
                "The strongest generators [J A | J b] of x' = J A x + J b, beside the nearest true ones.",
                _generators(quantities, data),
            )
        )
        symmetry = data.summary["symmetry"]
        if len(symmetry["singular_values"]) > 1:
            figure = spectrum_figure(symmetry["singular_values"], symmetry.get("parallelness"))
            drawn.append(("spectrum", "Singular values of the stacked generators.", figure))
    rollouts = _rollouts(data, for_rollouts)
    if rollouts is not None:
        drawn.append(
            ("rollouts", "Posterior-predictive trajectories from states that were not trained on.", rollouts)
        )

    lines = [f"# {data.title}", "", summary_text(data.summary)]
    if data.symmetry is not None:
        section, found = symmetry_section(data.symmetry)
        lines += [section, discovery_section(data.symmetry)]
        drawn = [*found, *drawn]
    for name, caption, figure in drawn:
        temporary = figures / f".{name}.png"
        figure.savefig(temporary, dpi=130)
        temporary.replace(figures / f"{name}.png")
        lines += [f"![{caption}]({figures.name}/{name}.png)", "", f"*{caption}*", ""]
    return "\n".join(lines)


def _generator_lines(strongest: Mapping[str, Any]) -> list[str]:
    """A generator as a block of text, beside its projection on the true ones."""
    learned = np.asarray(strongest["learned"])
    blocks = {"learned [J A | J b]": learned}
    if strongest["true"] is not None:
        blocks["nearest true"] = np.asarray(strongest["true"])
    names = [f"d{name}/dt" for name in strongest["names"]]
    width = 8 * learned.shape[1]
    lines = [" " * 8 + "   ".join(title.ljust(width) for title in blocks)]
    for row, name in enumerate(names):
        # Adding 0 turns the -0 of rounding into 0.
        rows = (np.round(block[row], 3) + 0.0 for block in blocks.values())
        cells = ["".join(f"{value:8.3f}" for value in values) for values in rows]
        lines.append(name.ljust(8) + "   ".join(cells))
    return ["", "```", *(line.rstrip() for line in lines), "```"]


def _generators(quantities: QuadraticQuantities, data: ReportData) -> Figure:
    known = data.system.known_quantities() if data.system else None
    rows = [
        (f"direction {k + 1} ({pair.value:.2g})", pair.learned, pair.known)
        for k, pair in enumerate(nearest_generators(quantities, known)[:SHOWN_DIRECTIONS])
    ]
    return generator_figure(rows, data.data.names)


def _noise_floor(data: ReportData) -> float:
    """NLL / N of the true Hamiltonian. Windows of L steps pay for their noisy first states, too: the
    determinant of I + sum_k F_k^T F_k, of the flow's derivatives F_k, is (1 + L)^2n for rotations and more
    for other flows.
    """
    dim, steps = data.data.states.shape[2], data.summary.get("likelihood", {}).get("window_steps")
    floor = dim / 2 * (float(np.log(2 * np.pi * data.posterior.noise_variance())) + 1)
    return floor + (dim / 2 * float(np.log1p(steps)) / steps if steps else 0.0)


def _contours(data: ReportData, key: PRNGKey) -> Figure:
    states, dof = data.data.states, data.data.dof
    reach = [1.3 * max(np.abs(states[:, :, k]).max(), 1e-12) for k in (0, dof)]
    position, momentum = (np.linspace(-r, r, GRID) for r in reach)
    grid = np.zeros((GRID, GRID, 2 * dof))
    grid[:, :, 0], grid[:, :, dof] = np.meshgrid(position, momentum)
    learned = learned_hamiltonian(data.posterior, key, averaging=data.averaging, estimator=data.evaluator)
    scale = data.scale or PhaseScale.identity(dof)

    def energy(hamiltonian: Hamiltonian, points: np.ndarray) -> np.ndarray:
        flat = jnp.asarray(points.reshape(-1, 2 * dof), jnp.float32)
        return np.asarray(jax.jit(jax.vmap(hamiltonian))(flat)).reshape(GRID, GRID)

    panels = {"learned H": scale.energy * energy(learned, scale.states(grid))}
    if data.system is not None:
        panels["true H"] = energy(data.system.hamiltonian, grid)
    return contour_figure(position, momentum, panels, states, (data.data.names[0], data.data.names[dof]))


def _rollouts(data: ReportData, key: PRNGKey) -> Figure | None:
    name, shown = next(iter(data.test_sets.items()), ("training data", data.data))
    shown = shown[:SHOWN_TRAJECTORIES].first(SHOWN_POINTS)
    scale = data.scale or PhaseScale.identity(shown.dof)
    try:
        samples = posterior_rollouts(
            data.posterior,
            key,
            scale.states(shown.states[:, 0]),
            scale.times(shown.times),
            averaging=data.averaging,
            estimator=replace(data.evaluator, weight_samples=BAND_SAMPLES),
            spread_scale=data.spread_scale,
        )
    except FloatingPointError:  # a network that has learned little: there is nothing to show
        return None
    states = scale.states_back(np.asarray(samples, np.float64))
    return rollout_figure(shown.times, shown.states, states, shown.names, f"Rollouts on {name}")
