"""The whole method step by step on one oscillator: simulate, build the model, train, read the symmetry."""

import jax
import numpy as np
from flax import nnx

import noether_razor as nr


def main(steps: int = 1000, width: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """The singular value of the learned generator, and its alignment with the known rotation."""
    system = nr.Oscillators(frequencies=(1.0,))
    data = nr.simulate(
        system,
        jax.random.key(0),
        trajectories=7,
        transitions=4,
        dt=0.2,
        initial=nr.InitialStates(scale_p=0.5),
        noise=nr.GaussianNoise(1e-3, jax.random.key(1)),
    )
    posterior = nr.Posterior(
        nr.HamiltonianNetwork(2, layers=3, width=width, alpha=2.0, rngs=nnx.Rngs(0)),
        nr.QuadraticQuantities.random(jax.random.key(2), count=1, dof=1, scale=0.1),
        nr.FlowAveraging(nr.Box()),
        noise_variance=1e-3,
    )
    rows = data.transitions()
    objective = nr.ELBO.of(rows, nr.Estimator(weight_samples=4))
    result = nr.fit(posterior, rows, objective, nr.Training(steps=steps), key=jax.random.key(3))
    quantities = result.posterior.quantities
    assert isinstance(quantities, nr.QuadraticQuantities)
    values, directions = nr.singular_directions(quantities)
    return np.asarray(values), np.asarray(nr.alignment(directions, system.known_quantities()))


if __name__ == "__main__":
    values, alignment = main()
    print(values, alignment)
