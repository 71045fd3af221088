"""What following the charges costs of a training step; see `scripts/benchmark`."""

import json
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import nnx

from noether_razor.app.config import load_learning
from noether_razor.learning import Classifier, cross_entropy, digits, find_symmetries, track_charges

ROUNDS, STEPS = 40, 100
"""Rounds, in each of which every way to train takes that many steps, one way after the other."""
FEATURES = 200
"""Gradients that are enough to find the symmetries of this network."""


def make_step(model: nnx.Module, optimizer: optax.GradientTransformation) -> tuple[Any, Any]:
    """A function (state, batch) -> state that takes one step, and the state at the start."""
    graph, params, rest = nnx.split(model, nnx.Param, ...)

    def step(state: Any, batch: Any) -> Any:
        params, rest, kept = state

        def objective(params: Any) -> Any:
            model = nnx.merge(graph, params, rest, copy=True)
            return cross_entropy(model, batch), nnx.split(model, nnx.Param, ...)[2]

        gradients, rest = jax.grad(objective, has_aux=True)(params)
        updates, kept = optimizer.update(gradients, kept, params)
        return optax.apply_updates(params, updates), rest, kept

    return step, (params, rest, optimizer.init(params))


def scan(model: nnx.Module, optimizer: optax.GradientTransformation, batches: Any) -> Callable[[], Any]:
    """All steps in one compiled loop."""
    step, start = make_step(model, optimizer)
    run = jax.jit(lambda state, batches: jax.lax.scan(lambda s, b: (step(s, b), None), state, batches)[0])
    return lambda: run(start, batches)


def steps(model: nnx.Module, optimizer: optax.GradientTransformation, batches: Any) -> Callable[[], Any]:
    """A compiled step, called for each batch."""
    step, start = make_step(model, optimizer)
    step, rows = jax.jit(step), list(zip(*batches, strict=True))

    def run() -> Any:
        state = start
        for batch in rows:
            state = step(state, batch)
        return state

    return run


def flax_steps(model: nnx.Module, optimizer: optax.GradientTransformation, batches: Any) -> Callable[[], Any]:
    """The loop of the documentation: ``nnx.jit`` of an `nnx.Optimizer`, called for each batch."""
    model = nnx.clone(model)
    kept, rows = nnx.Optimizer(model, optimizer, wrt=nnx.Param), list(zip(*batches, strict=True))

    @nnx.jit
    def step(model: nnx.Module, kept: nnx.Optimizer, batch: Any) -> None:
        kept.update(model, nnx.grad(cross_entropy)(model, batch))

    def run() -> Any:
        for batch in rows:
            step(model, kept, batch)
        return nnx.state(model)

    return run


def compared(ways: dict[str, Callable[[], Any]]) -> dict[str, float]:
    """Milliseconds of CPU a step of both ways, and what the second costs more, as a share: medians over
    rounds, of CPU time, which other programs on the machine change little.
    """
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for run in ways.values():
        jax.block_until_ready(run())
    for _ in range(ROUNDS):
        for name, run in ways.items():
            start = time.process_time()
            jax.block_until_ready(run())
            taken[name].append((time.process_time() - start) / STEPS)
    ratios = [tracked / plain for plain, tracked in zip(*taken.values(), strict=True)]
    shares = {f"{name}_ms": 1e3 * statistics.median(seconds) for name, seconds in taken.items()}
    return shares | {"more": statistics.median(ratios) - 1}


def main() -> None:
    """Print the shares as one JSON object."""
    if len(sys.argv) > 1:
        sys.exit(f"scripts/benchmark --charges takes no further arguments, got {' '.join(sys.argv[1:])}")
    config, data = load_learning("learning/digits.toml"), digits()
    model = Classifier(config.model.shape, data.features, data.classes, rngs=nnx.Rngs(0))
    rows = data.batches(STEPS, config.training.batch, seed=0)
    batches = jnp.asarray(data.inputs[rows]), jnp.asarray(data.labels[rows])
    found = find_symmetries(
        model, cross_entropy, [(x, y) for x, y in zip(*batches, strict=True)][:12], rows=FEATURES
    )
    plain = config.make_optimizer()
    optimizers = {"plain": plain, "tracked": track_charges(plain, found.charges)}
    loops = {"compiled_loop": scan, "jax_jit": steps, "nnx_jit": flax_steps}
    costs = {
        name: compared({way: loop(model, one, batches) for way, one in optimizers.items()})
        for name, loop in loops.items()
    }
    print(
        json.dumps(
            {
                "charges": sum(family.count for family in found.charges),
                **costs,
                "device": jax.devices()[0].device_kind,
                "jax": jax.__version__,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
