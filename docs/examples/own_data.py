"""Your own data: read a CSV, scale it, train, and map the quantity back to the units of the file."""

import sys
import tempfile
from pathlib import Path

import jax
import numpy as np
from flax import nnx

import noether_razor as nr
from noether_razor.quantities import direction_quantities
from noether_razor.trajectories import Layout, fit_scale, read_data_file, scaled_trajectories


def write_measurements(path: Path) -> None:
    """A mass of 0.3 kg on a spring, in millimetres and milliseconds, as a logger might write it."""
    generator = np.random.default_rng(0)
    lines = ["run,t,x,v"]
    for run in range(12):
        times = np.cumsum(generator.uniform(20, 60, 25))
        amplitude, phase = generator.uniform(5, 20), generator.uniform(0, 6)
        angle = 2 * np.pi * times / 800 + phase
        x = amplitude * np.cos(angle) + 0.1 * generator.standard_normal(25)
        v = -amplitude * 2 * np.pi / 800 * np.sin(angle) + 0.001 * generator.standard_normal(25)
        lines += [f"{run},{a},{b},{c}" for a, b, c in zip(times, x, v, strict=True)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def main(path: Path, steps: int = 1500, width: int = 64) -> np.ndarray:
    """The matrix A of the strongest quantity x^T A x / 2 + b^T x, in the units of the file."""
    layout = Layout(
        trajectory="run",
        time="t",
        positions=("x",),
        velocities=("v",),
        masses=(0.3,),
        units={"x": "mm", "v": "mm/ms", "t": "ms"},
    )
    data, notes = read_data_file(path, layout)
    print(*notes, sep="\n")
    space = nr.conserved_space(data)
    print(f"{space.rank} of degree <= 2 conserved along {len(data)} trajectories, decided: {space.decided}")

    # Networks need numbers of order one. The scaling is canonical, and everything is mapped back exactly.
    scale = fit_scale(data)
    transitions = scaled_trajectories(data, scale).transitions()
    posterior = nr.Posterior(
        nr.HamiltonianNetwork(2, layers=3, width=width, rngs=nnx.Rngs(0)),
        nr.QuadraticQuantities.random(jax.random.key(0), count=1, dof=1, scale=0.1),
        nr.FlowAveraging(nr.Box()),
        noise_variance=1e-3,
    )
    result = nr.fit(
        posterior,
        transitions,
        nr.ELBO.of(transitions, nr.Estimator(weight_samples=4)),
        nr.Training(steps=steps, batch=100, learn_noise_variance=True),
        key=jax.random.key(1),
    )
    noise = np.sqrt(float(result.posterior.noise_variance())) * scale.scales
    for name, unit, value in zip(data.names, data.units, noise, strict=True):
        print(f"noise of {name}: {value:.3g} {unit}")
    quantities = result.posterior.quantities
    assert isinstance(quantities, nr.QuadraticQuantities)
    _, directions = nr.singular_directions(quantities)
    return scale.quantities_back(direction_quantities(directions)).matrices[0]


if __name__ == "__main__":
    if len(sys.argv) > 1:
        print(main(Path(sys.argv[1])))
    else:
        with tempfile.TemporaryDirectory() as folder:
            write_measurements(Path(folder) / "spring.csv")
            print(main(Path(folder) / "spring.csv"))
