"""The report of a run: what was found, how well it predicts, and the pictures."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from ..analysis import flat_generators, learned_hamiltonian, singular_directions
from ..conserved import QuadraticQuantities
from ..data import Trajectories
from ..inference import Estimator, Posterior, predict
from ..symmetry import Averaging
from ..systems import HamiltonianSystem
from ..typing import Hamiltonian, PRNGKey
from ._figures import bound_figure, contour_figure, generator_figure, rollout_figure, spectrum_figure

GRID = 41
SHOWN_DIRECTIONS = 6
SHOWN_TRAJECTORIES = 3
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
        lines.append(
            f"| {name} | {errors['mse']:.2e} ± {errors['mse_stderr']:.0e} | "
            f"{errors['mse_mean_weights']:.2e} | {errors['rollout_mse']:.2e} | {'' if energy is None else f'{energy:.1%}'} |"
        )
    values = symmetry["singular_values"]
    if values:
        lines += ["", "| direction | singular value | parallelness with the truth |", "|---|---|---|"]
        known = symmetry.get("parallelness", [None] * len(values))
        for k, (value, parallel) in enumerate(zip(values, known, strict=True)):
            lines.append(f"| {k + 1} | {value:.4g} | {'' if parallel is None else f'{parallel:.4f}'} |")
    integrator = summary["integrator"]
    if not integrator["error"] <= integrator["limit"]:
        lines += [
            "",
            f"**Warning:** {integrator['substeps']} integrator steps a transition are too few for the "
            f"learned Hamiltonian: error {integrator['error']:.1e}, limit {integrator['limit']:.1e}. "
            "Set `inference.substeps` higher.",
        ]
    return "\n".join(lines) + "\n"


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
                "The strongest generators [J A | J b], x' = J A x + J b, beside their projection on the truth.",
                _generators(quantities, data),
            )
        )
        symmetry = data.summary["symmetry"]
        drawn.append(
            (
                "spectrum",
                "Singular values of the stacked generators.",
                spectrum_figure(symmetry["singular_values"], symmetry.get("parallelness")),
            )
        )
    rollouts = _rollouts(data, for_rollouts)
    drawn.append(
        ("rollouts", "Posterior-predictive trajectories from states that were not trained on.", rollouts)
    )

    lines = [f"# {data.title}", "", summary_text(data.summary)]
    for name, caption, figure in drawn:
        temporary = figures / f".{name}.png"
        figure.savefig(temporary, dpi=130)
        temporary.replace(figures / f"{name}.png")
        lines += [f"![{caption}]({figures.name}/{name}.png)", "", f"*{caption}*", ""]
    return "\n".join(lines)


def generator_table(
    quantities: QuadraticQuantities, names: Sequence[str], known: QuadraticQuantities | None
) -> str:
    """The strongest generator as text, beside its projection on the true ones."""
    learned, true = _nearest(quantities, known)[0][1:]
    scale = np.abs(learned).max()

    def block(matrix: np.ndarray) -> list[str]:
        return [" ".join(f"{value:7.3f}" for value in row) for row in matrix / scale]

    right = block(true) if true is not None else [""] * len(names)
    width = len(block(learned)[0])
    header = f"{'':>10}{'learned [J A | J b]':<{width}}" + ("   nearest true" if true is not None else "")
    rows = [
        f"d{name}/dt".ljust(10) + a + "   " + b
        for name, a, b in zip(names, block(learned), right, strict=True)
    ]
    return "\n".join([header, *rows]) + "\n"


def _nearest(
    quantities: QuadraticQuantities, known: QuadraticQuantities | None
) -> list[tuple[str, np.ndarray, np.ndarray | None]]:
    values, directions = singular_directions(quantities)
    dim = 2 * quantities.dof
    basis = None
    if known is not None:
        _, known_values, vectors = np.linalg.svd(flat_generators(known), full_matrices=False)
        basis = vectors[known_values > 1e-8 * known_values[0]]
    rows = []
    for k, (value, direction) in enumerate(zip(values, directions, strict=True)):
        # The sign of a singular vector is arbitrary: the largest entry is made positive.
        direction = direction * np.sign(direction[np.abs(direction).argmax()])
        nearest = None if basis is None else (basis.T @ (basis @ direction)).reshape(dim, dim + 1)
        rows.append((f"direction {k + 1} ({value:.2g})", direction.reshape(dim, dim + 1), nearest))
    return rows


def _generators(quantities: QuadraticQuantities, data: ReportData) -> Figure:
    known = data.system.known_quantities() if data.system else None
    return generator_figure(_nearest(quantities, known)[:SHOWN_DIRECTIONS], data.data.names)


def _noise_floor(data: ReportData) -> float:
    dim = data.data.states.shape[2]
    return dim / 2 * (float(np.log(2 * np.pi * data.posterior.noise_variance())) + 1)


def _contours(data: ReportData, key: PRNGKey) -> Figure:
    states, dof = data.data.states, data.data.dof
    reach = [1.3 * max(np.abs(states[:, :, k]).max(), 1e-12) for k in (0, dof)]
    position, momentum = (np.linspace(-r, r, GRID) for r in reach)
    grid = np.zeros((GRID, GRID, 2 * dof))
    grid[:, :, 0], grid[:, :, dof] = np.meshgrid(position, momentum)
    learned = learned_hamiltonian(data.posterior, key, averaging=data.averaging, estimator=data.evaluator)

    def energy(hamiltonian: Hamiltonian) -> np.ndarray:
        points = jnp.asarray(grid.reshape(-1, 2 * dof), jnp.float32)
        return np.asarray(jax.jit(jax.vmap(hamiltonian))(points)).reshape(GRID, GRID)

    panels = {"learned H": energy(learned)}
    if data.system is not None:
        panels["true H"] = energy(data.system.hamiltonian)
    return contour_figure(position, momentum, panels, states, (data.data.names[0], data.data.names[dof]))


def _rollouts(data: ReportData, key: PRNGKey) -> Figure:
    name, shown = next(iter(data.test_sets.items()), ("training data", data.data))
    shown = shown[:SHOWN_TRAJECTORIES]
    follow = partial(predict, data.posterior, key, averaging=data.averaging)
    samples = follow(
        shown.states[:, 0], shown.times, estimator=replace(data.evaluator, weight_samples=BAND_SAMPLES)
    )
    return rollout_figure(shown.times, shown.states, np.asarray(samples), shown.names, f"Rollouts on {name}")
