"""What is computed on one device and on four of a CPU, in a process of its own: prints one JSON object.

Started by test_devices.py, as the number of devices is fixed when JAX starts.
"""

import json
import re
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax.sharding import AxisType, Mesh

from noether_razor.devices import DATA, SAMPLES, divided, on_every_device, rows_on_devices
from noether_razor.inference import ELBO, Estimator, Posterior, elbo_and_gradient, paper_estimator
from noether_razor.integrators import euler_step
from noether_razor.learning import Member, Symmetry, charges_of, track_charges
from noether_razor.networks import HamiltonianNetwork
from noether_razor.quantities import QuadraticQuantities
from noether_razor.systems import Oscillators
from noether_razor.training import CompiledLoop, Training, fit
from noether_razor.trajectories import GaussianNoise, Transitions, simulate

KEY = jax.random.key(5)
FOUR = tuple(jax.devices())
EFFICIENT = Estimator(step=euler_step, group_samples=4, weight_samples=4)


def grid(data: int, samples: int) -> Mesh:
    """The four devices, so many along each axis."""
    devices = np.array(FOUR).reshape(data, samples)
    return Mesh(devices, (DATA, SAMPLES), axis_types=(AxisType.Auto, AxisType.Auto))


BOUNDS: dict[str, tuple[Estimator, Mesh]] = {
    "rows, in uneven parts": (replace(EFFICIENT, weight_samples=2), grid(4, 1)),
    "group samples": (EFFICIENT, grid(2, 2)),
    "the paper's": (paper_estimator(substeps=2, group_samples=6, weight_samples=2), grid(2, 2)),
}


def problem() -> tuple[Posterior, Transitions]:
    """28 transitions of two oscillators, and a model with three quantities."""
    data = simulate(
        Oscillators((1.0, 1.0)),
        jax.random.key(0),
        trajectories=7,
        transitions=4,
        dt=0.2,
        noise=GaussianNoise(1e-3, jax.random.key(1)),
    )
    network = HamiltonianNetwork(4, layers=2, width=8, rngs=nnx.Rngs(0))
    return Posterior(network, QuadraticQuantities.random(jax.random.key(2), 3, 2, 0.1)), data.transitions()


def difference(found: Any, expected: Any) -> float:
    """|found - expected| / |expected| of all numbers of a tree."""
    f, e = (
        np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)
        for tree in (found, expected)
    )
    return float(np.linalg.norm(f - e) / np.linalg.norm(e))


def bounds(posterior: Posterior, data: Transitions) -> dict[str, float]:
    """How far bound and gradient on four devices are from those on one, the further of the two."""
    graph, params = nnx.split(posterior)
    errors = {}
    for name, (estimator, mesh) in BOUNDS.items():

        def evaluate(params: nnx.State, key: Any, batch: Any, estimator: Estimator = estimator) -> Any:
            return elbo_and_gradient(ELBO.of(data, estimator), graph, params, key, batch)

        alone = jax.jit(evaluate)(params, KEY, jax.tree.map(jnp.asarray, data))
        arguments = on_every_device((params, KEY), mesh)
        with jax.set_mesh(mesh):
            shared = jax.jit(evaluate)(*arguments, rows_on_devices(data, mesh))
        errors[name] = max(difference(a, b) for a, b in zip(shared, alone, strict=True))
    return errors


def fits(posterior: Posterior, data: Transitions) -> dict[str, Any]:
    """A fit on one device and on four, of rows that do not divide among them."""
    rows = Transitions(*(np.asarray(part)[:27] for part in data))
    training = Training(steps=4, batch=12, log_every=2)
    shared = replace(training, devices=FOUR)
    objective = ELBO.of(rows, EFFICIENT)
    one, four = (fit(posterior, rows, objective, each, key=KEY) for each in (training, shared))
    loop = CompiledLoop(posterior, rows, objective, shared, KEY)
    text = loop.program.as_text()
    assert loop.mesh is not None
    return {
        "parameters": difference(four.state.params, one.state.params),
        "reports": difference([r[3:7] for r in four.history], [r[3:7] for r in one.history]),
        "mesh": dict(loop.mesh.shape),
        "rows held": [len(shard.data) for shard in loop.data.dt.addressable_shards],
        "result on": len(jax.tree.leaves(four.state)[0].sharding.device_set),
        "communication": {
            kind: len(re.findall(rf"\b{kind}(?:-start)?\(", text))
            for kind in ("all-reduce", "all-gather", "all-to-all", "collective-permute")
        },
    }


def charges() -> dict[str, float]:
    """Charges that an optimiser follows while batches are divided, against those on one device."""
    symmetry = Symmetry("scale", "columns", (Member("w", (1,)),), 4)
    tracked = track_charges(optax.sgd(0.1, 0.9), [symmetry], every=1)
    mesh = grid(4, 1)

    def loss(params: Any, x: jax.Array) -> jax.Array:
        y = divided(x, DATA) @ params["w"]
        return jnp.mean(jnp.sin(3 * (y - y.mean(0)) / jnp.sqrt(y.var(0))))

    def step(params: Any, state: Any, x: jax.Array) -> tuple[Any, Any]:
        updates, state = tracked.update(jax.grad(loss)(params, x), state, params)
        return optax.apply_updates(params, updates), state

    def run() -> Any:
        params = {"w": jax.random.normal(jax.random.key(0), (6, 4))}
        state, stepped = tracked.init(params), jax.jit(step)
        for n in range(5):
            params, state = stepped(params, state, jax.random.normal(jax.random.key(n), (30, 6)))
        return charges_of(state, [symmetry])[0]

    alone = run()
    with jax.set_mesh(mesh):
        shared = run()
    return {
        "value": difference((shared.value, shared.kinetic), (alone.value, alone.kinetic)),
        "violation": float(np.max(np.asarray(shared.violation))),
    }


def main() -> None:
    posterior, data = problem()
    result = {
        "devices": len(FOUR),
        "bounds": bounds(posterior, data),
        "fit": fits(posterior, data),
        "charges": charges(),
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
