"""Your own training loop: the gradient of the ELBO goes to any optax optimiser."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx

import noether_razor as nr


def main(steps: int = 2000, width: int = 64) -> list[float]:
    """-ELBO / N in nats per transition, averaged over each tenth of the run."""
    data = nr.simulate(
        nr.Oscillators(),
        jax.random.key(0),
        trajectories=7,
        transitions=4,
        dt=0.2,
        noise=nr.GaussianNoise(1e-3, jax.random.key(1)),
    )
    transitions = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), data.transitions())
    posterior = nr.Posterior(
        nr.HamiltonianNetwork(2, layers=3, width=width, rngs=nnx.Rngs(0)),
        nr.QuadraticQuantities.random(jax.random.key(2), count=1, dof=1, scale=0.1),
        nr.FlowAveraging(nr.Box()),
        noise_variance=1e-3,
    )
    graph, params = nnx.split(posterior)
    optimiser = optax.adam(optax.cosine_decay_schedule(3e-3, steps))
    objective = nr.ELBO.of(transitions, nr.Estimator(weight_samples=4))

    @jax.jit
    def update(params, state, key):  # type: ignore[no-untyped-def]
        for_order, for_elbo = jax.random.split(key)
        # Each weight sample sees a part of the batch, so the batch must be shuffled.
        order = jax.random.permutation(for_order, transitions.size)
        batch = jax.tree.map(lambda x: x[order], transitions)
        terms, gradient = nr.elbo_and_gradient(objective, graph, params, for_elbo, batch)
        updates, state = optimiser.update(gradient, state, params)
        return optax.apply_updates(params, updates), state, terms.negative_elbo()

    state = optimiser.init(params)
    values, recent = [], []
    for step in range(steps):
        params, state, value = update(params, state, jax.random.fold_in(jax.random.key(3), step))
        recent.append(value)
        if (step + 1) % max(1, steps // 10) == 0:
            values.append(float(jnp.mean(jnp.stack(recent))))
            recent = []
    return values


if __name__ == "__main__":
    print("\n".join(f"{value:10.3f}" for value in main()))
