"""Your own system: simulate it, train with and without symmetry, and compare the ELBOs."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

import noether_razor as nr


@dataclass(frozen=True)
class Ring:
    """A particle in the plane in a ring-shaped valley: H = |p|^2 / 2 + (|q|^2 - 1)^2 / 4."""

    dof = 2

    def hamiltonian(self, state: jax.Array) -> jax.Array:
        q, p = jnp.split(state, 2)
        return p @ p / 2 + (q @ q - 1) ** 2 / 4

    def known_quantities(self) -> nr.QuadraticQuantities:
        return nr.angular_momentum(bodies=1, dimension=2)


def main(steps: int = 2000, width: int = 64) -> dict[str, float]:
    """-ELBO / N without symmetry and with one learned quantity, and its alignment with the truth."""
    system = Ring()
    data = nr.simulate(
        system,
        jax.random.key(0),
        trajectories=20,
        transitions=20,
        dt=0.2,
        noise=nr.GaussianNoise(1e-3, jax.random.key(1)),
    )
    rows, training = data.transitions(), nr.Training(steps=steps, batch=100)
    objective = nr.ELBO.of(rows, nr.Estimator(weight_samples=4, group_samples=16))
    quantities = nr.QuadraticQuantities.random(jax.random.key(2), count=1, dof=2, scale=0.1)
    found: dict[str, float] = {}
    for name in ("none", "learned"):
        network = nr.HamiltonianNetwork(4, layers=3, width=width, rngs=nnx.Rngs(0))
        posterior = nr.Posterior(network, quantities if name == "learned" else None, noise_variance=1e-3)
        result = nr.fit(posterior, rows, objective, training, key=jax.random.key(3))
        found[name] = result.history[-1].negative_elbo
        if isinstance(result.posterior.quantities, nr.QuadraticQuantities):
            _, directions = nr.singular_directions(result.posterior.quantities)
            found["parallelness"] = float(nr.alignment(directions, system.known_quantities())[0])
    return found


if __name__ == "__main__":
    for name, value in main().items():
        print(f"{name:14s} {value:8.3f}")
