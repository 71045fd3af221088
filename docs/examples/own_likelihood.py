"""Your own likelihood: transitions whose noise has heavy tails, so that outliers do little harm."""

from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import numpyro
import numpyro.distributions as dist
from flax import nnx

import noether_razor as nr
from noether_razor.inference import LIKELIHOODS, OBSERVED, TransitionLikelihood, register_likelihood

FREEDOM = 3.0


class HeavyTailed(nr.Transitions):
    """The type of rows says which likelihood they are of."""


@register_likelihood
class StudentLikelihood(TransitionLikelihood):
    """prod_t t(x_{t+1}; Phi_H^dt(x_t), sigma), Student's t with `FREEDOM` degrees of freedom."""

    kind: ClassVar[str] = "student"
    rows: ClassVar[type] = HeavyTailed

    def text(self, steps: int) -> str:
        return "transitions with heavy-tailed noise"

    def cut(self, trajectories: nr.Trajectories, steps: int) -> HeavyTailed:
        return HeavyTailed(*trajectories.transitions())

    def noise_floor(self, dim: int, variance: float, steps: int) -> float:
        return dim * float(dist.StudentT(FREEDOM, 0.0, np.sqrt(variance)).entropy())

    def model(self, posterior, rows, advance) -> None:  # type: ignore[no-untyped-def]
        predicted = jax.vmap(advance)(jnp.asarray(rows.states), jnp.asarray(rows.dt))
        noise = jnp.sqrt(posterior.noise_variance())
        numpyro.sample(OBSERVED, dist.StudentT(FREEDOM, predicted, noise).to_event(2), obs=rows.targets)


def main(steps: int = 1000, width: int = 32) -> dict[str, float]:
    """R.m.s. errors of predictions on data without noise, learned from data with outliers."""
    system = nr.Oscillators()
    clean = nr.simulate(system, jax.random.key(0), trajectories=20, transitions=10, dt=0.2)
    generator = np.random.default_rng(0)
    noise = 0.03 * generator.standard_normal(clean.states[:, 1:].shape)
    outliers = generator.random(noise.shape) < 0.05
    targets = clean.states[:, 1:] + np.where(outliers, 2.0 * generator.standard_normal(noise.shape), noise)
    data = nr.Trajectories(clean.times, clean.states, targets)
    errors = {}
    for kind in ("transitions", "student"):
        rows = LIKELIHOODS[kind].cut(data, 1)
        estimator = nr.Estimator(weight_samples=4)
        result = nr.fit(
            nr.Posterior(nr.HamiltonianNetwork(2, layers=3, width=width, rngs=nnx.Rngs(0))),
            rows,
            nr.ELBO.of(rows, estimator),
            nr.Training(steps=steps, batch=100, learn_noise_variance=True),
            key=jax.random.key(1),
        )
        times = np.tile([0.0, 0.2], (rows.size, 1))
        paths = nr.predict(result.posterior, jax.random.key(2), rows.states, times, estimator=estimator)
        truth = clean.states[:, 1:].reshape(-1, 2)
        errors[kind] = float(np.sqrt(np.mean((paths[:, :, 1].mean(0) - truth) ** 2)))
    return errors


if __name__ == "__main__":
    for kind, error in main().items():
        print(f"{kind:12s} {error:.4f}")
