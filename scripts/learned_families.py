"""Quantities that are learned with the bound from random starts, and what a step costs beside quadratic ones.

Prints JSON: for each of `configs/beyond/learned_*.toml` and each seed how much of what was learned lies in
the span of what is conserved, formulas and seconds; and the time of a step over that with quadratic ones,
both measured in one process.
"""

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from noether_razor.app.config import build_problem, load_config
from noether_razor.discovery import Fitted, learned_answer
from noether_razor.modelling import Problem
from noether_razor.random import stream
from noether_razor.training import fit
from noether_razor.typing import State

STEPS = 100
"""Steps by which the cost of one is measured."""


def central(state: State) -> jax.Array:
    """Angular momentum and energy of the r^4 oscillator."""
    q, p = jnp.split(state, 2)
    return jnp.stack([q[0] * p[1] - q[1] * p[0], p @ p / 2 + (q @ q) ** 2 / 4])


def resonance(state: State) -> jax.Array:
    """The cubic pair of oscillators of frequencies 1 and 2, z1^2 conj(z2), and their energies."""
    (q1, q2), (p1, p2) = jnp.split(state, 2)
    real, imaginary = q1**2 - p1**2, 2 * q1 * p1
    pair = [real * q2 + imaginary * p2, imaginary * q2 - real * p2]
    return jnp.stack([*pair, q1**2 + p1**2, q2**2 + p2**2])


def pair(state: State) -> jax.Array:
    """The cubic pair alone."""
    return resonance(state)[:2]


def pendulum(state: State) -> jax.Array:
    """The energy of the pendulum."""
    return jnp.stack([state[1] ** 2 / 2 - jnp.cos(state[0])])


CONSERVED = {"central": central, "resonance": resonance, "pendulum": pendulum}


def gradients(function: Any, problem: Problem) -> np.ndarray:
    """Those of functions at data points, in spreads of the data: (points, K, 2n)."""
    points = jnp.asarray(problem.data.points()[::5], jnp.float32)
    return np.asarray(jax.vmap(jax.jacobian(function))(points)) * np.array(problem.training.spreads)


def shares(problem: Problem, learned: Any, conserved: Any, *, linear: bool = False) -> list[float]:
    """How much of the gradients of uncorrelated combinations of what was learned, strongest first, lies in
    the span of those of what is conserved: at each state, or with `linear` in that of their combinations.
    """
    own, true = gradients(learned, problem), gradients(conserved, problem)
    _, turn = np.linalg.eigh(np.einsum("pki,pli->kl", own, own))
    own = np.einsum("kj,pki->pji", turn[:, ::-1], own)
    if linear:
        basis = np.linalg.qr(np.moveaxis(true, 1, 2).reshape(-1, true.shape[1]))[0]
        inside = np.einsum("rt,rk->tk", basis, np.moveaxis(own, 1, 2).reshape(-1, own.shape[1]))
        return np.sqrt(np.sum(inside**2, axis=0) / np.sum(own**2, axis=(0, 2))).tolist()
    _, sizes, basis = np.linalg.svd(true, full_matrices=False)
    inside = np.einsum("pki,pri->pkr", own, basis * (sizes > 1e-3 * sizes[:, :1])[:, :, None])
    return np.sqrt(np.sum(inside**2, axis=(0, 2)) / np.sum(own**2, axis=(0, 2))).tolist()


def step_ms(problem: Problem) -> float:
    """Milliseconds of a step, compilation apart."""
    reports: list[Any] = []
    training = replace(problem.training, steps=2 * STEPS, log_every=STEPS)
    fit(
        problem.posterior,
        problem.observations,
        problem.objective,
        training,
        key=jax.random.key(0),
        callback=reports.append,
    )
    return 1e3 * (reports[1].seconds - reports[0].seconds) / STEPS


def learn(name: str, overrides: list[str] | None = None) -> dict[str, Any]:
    """Train one of the configurations, and compare what it has learned with what is conserved."""
    path = Path(f"beyond/learned_{name}.toml")
    config = load_config(path, overrides or [])
    problem, conserved = build_problem(config), CONSERVED[name]
    started = time.perf_counter()
    key = stream(config.seed, "training")
    result = fit(problem.posterior, problem.observations, problem.objective, problem.training, key=key)
    seconds = time.perf_counter() - started
    start, learned = problem.posterior.quantities, result.posterior.quantities
    failed: dict[str, str] = {}
    said = learned_answer(Fitted(problem, result.posterior), problem.recorded, failed, 0.0)
    assert said is not None
    found = {
        "family": config.symmetry.family,
        "terms": said.terms,
        "seconds": seconds,
        "at the start": shares(problem, start, conserved),
        "learned": shares(problem, learned, conserved),
        "of each": [
            shares(problem, learned, lambda x, k=k: conserved(x)[k : k + 1])  # type: ignore[misc]
            for k in range(len(conserved(jnp.zeros(2 * problem.data.dof))))
        ],
        "formulas": [{"formula": one.formula, "off": one.off} for one in said.formulas],
        "failed": failed,
    }
    if name == "resonance":
        found["pair"] = shares(problem, learned, pair, linear=True)
        found["pair at the start"] = shares(problem, start, pair, linear=True)
    return found


def cost(name: str) -> float:
    """The time of a step over that with as many quadratic quantities."""
    path = Path(f"beyond/learned_{name}.toml")
    own, quadratic = (
        step_ms(build_problem(load_config(path, more))) for more in ([], ['symmetry.family="quadratic"'])
    )
    return own / quadratic


def main() -> None:
    """All of it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", help=f"of {', '.join(CONSERVED)}; all unless told otherwise")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], help="of the data and the start")
    asked = parser.parse_args()
    found = {
        name: {
            "seeds": {seed: learn(name, [f"seed={seed}"]) for seed in asked.seeds},
            "step over quadratic": cost(name),
        }
        for name in asked.names or CONSERVED
    }
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
