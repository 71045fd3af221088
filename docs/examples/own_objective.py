"""Your own objective: the ELBO with a price on the coefficients of the quantities, so that few are left."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

import noether_razor as nr


@dataclass(frozen=True)
class Sparse:
    """-ELBO / N plus `price` times the sum of the absolute coefficients, in nats per transition."""

    elbo: nr.ELBO
    price: float

    @property
    def estimator(self) -> nr.Estimator:
        return self.elbo.estimator

    @property
    def total(self) -> int:
        return self.elbo.total

    def __call__(self, posterior, key, batch, *, group_scale: jax.Array | float = 1.0):  # type: ignore[no-untyped-def]
        terms = self.elbo(posterior, key, batch, group_scale=group_scale)
        return terms._replace(nll=terms.nll + self.price * size(posterior.quantities))


def size(quantities: nr.QuadraticQuantities) -> jax.Array:
    """The sum of the absolute coefficients."""
    return jnp.sum(jnp.abs(quantities.matrices[...])) + jnp.sum(jnp.abs(quantities.vectors[...]))


def main(steps: int = 1000, width: int = 32) -> tuple[float, float]:
    """The size of a learned quantity without and with the price."""
    data = nr.simulate(
        nr.Oscillators(),
        jax.random.key(0),
        trajectories=7,
        transitions=4,
        dt=0.2,
        noise=nr.GaussianNoise(1e-3, jax.random.key(1)),
    )
    rows, training = data.transitions(), nr.Training(steps=steps)
    elbo = nr.ELBO.of(rows, nr.Estimator(weight_samples=4))
    posterior = nr.Posterior(
        nr.HamiltonianNetwork(2, layers=3, width=width, rngs=nnx.Rngs(0)),
        nr.QuadraticQuantities.random(jax.random.key(2), count=1, dof=1, scale=0.1),
        nr.FlowAveraging(nr.Box()),
        noise_variance=1e-3,
    )
    sizes = []
    for objective in (elbo, Sparse(elbo, price=1.0)):
        result = nr.fit(posterior, rows, objective, training, key=jax.random.key(3))
        assert isinstance(result.posterior.quantities, nr.QuadraticQuantities)
        sizes.append(float(size(result.posterior.quantities)))
    return sizes[0], sizes[1]


if __name__ == "__main__":
    print("without the price {:.3f}, with it {:.3f}".format(*main()))
