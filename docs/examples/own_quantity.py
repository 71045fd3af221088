"""Your own quantity as a Flax module: any function of the state, whose flow is integrated."""

import jax
import jax.numpy as jnp
from flax import nnx

import noether_razor as nr


class RadialForm(nnx.Module):
    """C(q, p) = a (q1 p2 - q2 p1) + b (q1 p1 + q2 p2): only the rotation, a, is conserved."""

    def __init__(self) -> None:
        self.coefficients = nnx.Param(jnp.array([0.1, 0.1]))

    def __call__(self, state: jax.Array) -> jax.Array:
        q, p = jnp.split(state, 2)
        rotation, squeeze = q[0] * p[1] - q[1] * p[0], q @ p
        return self.coefficients[...] @ jnp.stack([rotation, squeeze])


def main(steps: int = 1000, width: int = 64, flow_steps: int = 8) -> tuple[float, float]:
    """The learned coefficients (rotation, squeeze) on two equal oscillators."""
    data = nr.simulate(
        nr.Oscillators((1.0, 1.0)),
        jax.random.key(0),
        trajectories=20,
        transitions=10,
        dt=0.2,
        noise=nr.GaussianNoise(1e-3, jax.random.key(1)),
    )
    posterior = nr.Posterior(
        nr.HamiltonianNetwork(4, layers=2, width=width, rngs=nnx.Rngs(0)),
        nr.GeneralQuantities(RadialForm(), dof=2),
        nr.FlowAveraging(nr.Box(), flow_steps=flow_steps),
        noise_variance=1e-3,
    )
    rows = data.transitions()
    objective = nr.ELBO.of(rows, nr.Estimator(weight_samples=4, group_samples=8))
    training = nr.Training(steps=steps, batch=40)
    result = nr.fit(posterior, rows, objective, training, key=jax.random.key(2))
    quantities = result.posterior.quantities
    assert isinstance(quantities, nr.GeneralQuantities) and isinstance(quantities.function, RadialForm)
    rotation, squeeze = quantities.function.coefficients[...].tolist()
    return rotation, squeeze


if __name__ == "__main__":
    rotation, squeeze = main()
    print(f"rotation {rotation:+.3f}, squeeze {squeeze:+.3f}")
