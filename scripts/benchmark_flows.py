"""Orbits of general quantities by a scan of Runge-Kutta steps and by diffrax; see `scripts/benchmark`.

For the quantities of three configurations, at random starts: the r.m.s. error of the ends of orbits of full
length, in spreads of the data, and the time of the ends of a batch with their gradient, over that of the
scan, every way in turn in one process.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from noether_razor.app.config import build_problem, load_config
from noether_razor.integrators import transition
from noether_razor.symmetry.limited import LENGTH, limited_field

CONFIGS = "beyond/learned_resonance.toml", "beyond/learned_central.toml", "beyond/learned_pendulum.toml"
BATCH, ROUNDS = 512, 15
Way = Callable[[Callable[[jax.Array], jax.Array], jax.Array], jax.Array]
"""The ends of the orbits of many states by the field of them all: one problem with common steps, which is
several times faster for diffrax than one problem each.
"""


def scan(steps: int) -> Way:
    """`steps` Runge-Kutta steps, as the bound takes them."""
    return lambda field, states: transition(field, states, jnp.asarray(LENGTH, jnp.float32), substeps=steps)


def by_diffrax(solver: Any, *, steps: int | None = None, tolerance: float | None = None) -> Way:
    """A solver of diffrax with so many equal `steps`, or with steps that meet a `tolerance`."""
    equal = tolerance is None
    control = diffrax.ConstantStepSize() if equal else diffrax.PIDController(rtol=tolerance, atol=tolerance)
    most = 4096 if steps is None else steps
    first = None if steps is None else LENGTH / steps

    def end(field: Callable[[jax.Array], jax.Array], states: jax.Array) -> jax.Array:
        solution = diffrax.diffeqsolve(
            diffrax.ODETerm(lambda _, x, __: field(x)),
            solver,
            0.0,
            LENGTH,
            first,
            states,
            stepsize_controller=control,
            max_steps=most,
        )
        assert solution.ys is not None
        return solution.ys[-1]

    return end


def ends(graph: Any, values: Any, states: jax.Array, way: Way, spreads: tuple[float, ...]) -> jax.Array:
    """Ends of the orbits by the first quantity."""
    quantities = nnx.merge(graph, values)
    only = jnp.zeros(quantities.count, states.dtype).at[0].set(1)
    field = limited_field(quantities.gradient(only), spreads)
    return way(jax.vmap(field), states)


def exact_ends(graph: Any, values: Any, states: np.ndarray, spreads: tuple[float, ...]) -> np.ndarray:
    """The ends in float64, by steps of order 8 that meet a tolerance of 1e-11."""
    with jax.enable_x64(True):
        double = jax.tree.map(
            lambda x: x.astype(jnp.float64) if jnp.issubdtype(x.dtype, jnp.floating) else x, values
        )
        way = by_diffrax(diffrax.Dopri8(), tolerance=1e-11)
        return np.asarray(ends(graph, double, jnp.asarray(states, jnp.float64), way, spreads))


def compared(config: str) -> dict[str, Any]:
    """Every way, for the quantities of one configuration."""
    options = load_config(Path(config))
    problem = build_problem(options)
    steps = options.symmetry.flow_steps
    spreads = problem.training.spreads
    assert spreads is not None
    graph, values = nnx.split(problem.posterior.quantities)
    points = np.asarray(problem.data.points(), np.float32)
    states = points[np.random.default_rng(0).choice(len(points), BATCH)]
    ways = {
        "scan of Runge-Kutta 4": scan(steps),
        "diffrax Bosh3, equal steps": by_diffrax(diffrax.Bosh3(), steps=2 * steps),
        "diffrax Tsit5, equal steps": by_diffrax(diffrax.Tsit5(), steps=max(1, 2 * steps // 3)),
        "diffrax Tsit5, tolerance 1e-3": by_diffrax(diffrax.Tsit5(), tolerance=1e-3),
        "diffrax Tsit5, tolerance 1e-5": by_diffrax(diffrax.Tsit5(), tolerance=1e-5),
    }
    exact = exact_ends(graph, values, states, spreads)
    errors, calls = {}, {}
    for name, way in ways.items():

        def loss(values: Any, way: Way = way) -> tuple[jax.Array, jax.Array]:
            found = ends(graph, values, jnp.asarray(states), way, spreads)
            return jnp.sum(found**2), found

        call = jax.jit(jax.value_and_grad(loss, has_aux=True, allow_int=True))
        (_, found), _ = call(values)
        off = (np.asarray(found, np.float64) - exact) / np.asarray(spreads)
        errors[name] = float(np.sqrt(np.mean(np.sum(off**2, axis=1))))
        calls[name] = call
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            jax.block_until_ready(call(values))
            seconds[name].append(time.perf_counter() - start)
    scanned = statistics.median(seconds["scan of Runge-Kutta 4"])
    return {
        "steps of the scan": steps,
        "milliseconds of the scan": 1e3 * scanned,
        "ways": {
            name: {"error": errors[name], "time": statistics.median(seconds[name]) / scanned} for name in ways
        },
    }


def main() -> None:
    """All configurations."""
    found = {config: compared(config) for config in CONFIGS}
    json.dump({"device": jax.devices()[0].device_kind, "batch": BATCH, "flows": found}, sys.stdout, indent=1)
    print()


if __name__ == "__main__":
    main()
