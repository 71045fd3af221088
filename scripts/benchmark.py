"""Step time of the estimators on one problem, in one process; see `scripts/benchmark`."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx

from noether_razor.app.config import build_problem, load_config
from noether_razor.inference import ELBO, ELBOTerms, Posterior, elbo_and_gradient, paper_estimator
from noether_razor.modelling import Problem
from noether_razor.phase_space import hamiltonian_field
from noether_razor.symmetry import Box, flow_samples, symmetrised
from noether_razor.training import initial_state, make_loop
from noether_razor.trajectories import Transitions

CONFIG = Path(__file__).parents[1] / "configs" / "oscillator" / "learned.toml"
EFFICIENT_STEPS = 50
EULER_STEPS, GROUP_SAMPLES, WEIGHT_SAMPLES = 20, 200, 20


def timed(call: Callable[[], Any], repeats: int) -> float:
    """Median seconds of a call whose result is waited for."""
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        jax.block_until_ready(call())
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)


def compiled(function: Callable[..., Any], *arguments: Any) -> tuple[Callable[..., Any], float]:
    """The function compiled for its arguments, and the seconds that took."""
    start = time.perf_counter()
    executable = jax.jit(function).lower(*arguments).compile()
    return executable, time.perf_counter() - start


def matmul_rate() -> float:
    """Floating-point operations a second of a 2048 x 2048 float32 matrix product."""
    matrix = jax.random.normal(jax.random.key(0), (2048, 2048))
    product, _ = compiled(jnp.matmul, matrix, matrix)
    product(matrix, matrix)
    return 2 * 2048**3 / timed(lambda: product(matrix, matrix), 9)


def efficient(problem: Problem) -> tuple[dict[str, float], float]:
    """The training loop as `fit` runs it, optimiser included, and the matrix products of one step in
    operations.
    """
    graph, _ = nnx.split(problem.posterior)
    transitions = problem.data.transitions()
    batch = transitions.size // problem.estimator.weight_samples * problem.estimator.weight_samples
    loop = make_loop(graph, problem.training, problem.objective)
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), transitions)
    state, key = initial_state(problem.posterior, problem.training), jax.random.key(0)
    stop = jnp.asarray(EFFICIENT_STEPS, jnp.int32)
    run, compile_seconds = compiled(loop, state, data, key, stop)
    run(state, data, key, stop)
    seconds = timed(lambda: run(state, data, key, stop), 5) / EFFICIENT_STEPS
    points = batch * problem.estimator.group_samples * 4 * problem.estimator.substeps
    # Value, input gradient, and the reverse of both: six products a weight matrix and point.
    operations = 6 * points * sum(2 * mean.size for mean in problem.posterior.means().values())
    return {"step_ms": 1e3 * seconds, "compile_s": compile_seconds}, operations


def paper_gradient(
    graph: nnx.GraphDef[Posterior], params: nnx.State, key: jax.Array, data: Transitions
) -> tuple[jax.Array, nnx.State]:
    """The paper's estimator with the matrix exponentials inside every evaluation of the field."""

    def loss(params: nnx.State, key: jax.Array) -> jax.Array:
        posterior = nnx.merge(graph, params)
        for_weights, for_group = jax.random.split(key)
        sites = list(posterior.means())
        weights = {
            site: posterior.distribution(site).sample(k)
            for site, k in zip(sites, jax.random.split(for_weights, len(sites)), strict=True)
        }
        network, quantities = posterior.network_with(weights), posterior.quantities
        assert quantities is not None
        w = Box().sample(for_group, quantities.count, GROUP_SAMPLES, independent=True)
        dt = data.dt[0] / EULER_STEPS

        def euler(states: jax.Array, _: None) -> tuple[jax.Array, None]:
            # The barrier ties w to the step, or the compiler would hoist the exponentials out of the loop.
            here, states = jax.lax.optimization_barrier((w, states))
            field = hamiltonian_field(symmetrised(network, flow_samples(quantities, here)))
            return states + dt * jax.vmap(field)(states), None

        predicted, _ = jax.lax.scan(euler, jnp.asarray(data.states), length=EULER_STEPS)
        residual = jnp.sum((predicted - data.targets) ** 2, axis=1) / (2 * posterior.noise_variance())
        return jnp.mean(residual)

    def accumulate(carry: Any, key: jax.Array) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, carry, jax.value_and_grad(loss)(params, key)), None

    zeros = (jnp.zeros(()), jax.tree.map(jnp.zeros_like, params))
    total, _ = jax.lax.scan(accumulate, zeros, jax.random.split(key, WEIGHT_SAMPLES))
    return total


def paper(problem: Problem, *, hoisted: bool) -> dict[str, float]:
    """One gradient of the paper's estimator on the whole data set as one batch, with its exponentials taken
    once or everywhere.
    """
    graph, params = nnx.split(problem.posterior)
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), problem.data.transitions())
    estimator = paper_estimator(
        substeps=EULER_STEPS, group_samples=GROUP_SAMPLES, weight_samples=WEIGHT_SAMPLES
    )

    def library(params: nnx.State, key: jax.Array) -> tuple[ELBOTerms, nnx.State]:
        return elbo_and_gradient(ELBO.of(data, estimator), graph, params, key, data)

    def inside(params: nnx.State, key: jax.Array) -> tuple[jax.Array, nnx.State]:
        return paper_gradient(graph, params, key, data)

    step, compile_seconds = compiled(library if hoisted else inside, params, jax.random.key(0))
    return {
        "step_ms": 1e3 * timed(lambda: step(params, jax.random.key(1)), 2),
        "compile_s": compile_seconds,
    }


def main() -> None:
    """Print the comparison as one JSON object."""
    if len(sys.argv) > 1:
        sys.exit(
            "scripts/benchmark takes no arguments but --scaling, --charges, --devices or --flows, "
            f"got {' '.join(sys.argv[1:])}"
        )
    config = load_config(CONFIG)
    problem = build_problem(config)
    problem = problem._replace(training=replace(problem.training, batch=None))
    rate = matmul_rate()
    fast, operations = efficient(problem)
    inside, hoisted = paper(problem, hoisted=False), paper(problem, hoisted=True)
    rate = statistics.mean([rate, matmul_rate()])
    print(
        json.dumps(
            {
                "efficient": fast,
                "paper": inside,
                "paper_hoisted": hoisted,
                "ratio": inside["step_ms"] / fast["step_ms"],
                "ratio_hoisted": hoisted["step_ms"] / fast["step_ms"],
                "matmul_share": operations / (fast["step_ms"] / 1e3) / rate,
                "matmul_gflops": rate / 1e9,
                "device": jax.devices()[0].device_kind,
                "jax": jax.__version__,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
