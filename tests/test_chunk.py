"""Group elements evaluated a chunk at a time: the same value and gradient, in bounded memory."""

from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.inference import ELBO, Estimator, Posterior, elbo_and_gradient, paper_estimator
from noether_razor.integrators import euler_step
from noether_razor.networks import HamiltonianNetwork
from noether_razor.quantities import QuadraticQuantities
from noether_razor.symmetry import flow_samples, symmetrised


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_the_average_is_the_same_for_any_chunk(posterior: Posterior, chunk: int) -> None:
    assert posterior.quantities is not None
    samples = flow_samples(posterior.quantities, jnp.linspace(-1, 1, 12)[:, None])
    state = jnp.array([0.4, -0.7])
    whole, parts = (
        jax.jit(jax.value_and_grad(symmetrised(posterior.network, samples, chunk=size)))(state)  # type: ignore[arg-type]
        for size in (None, chunk)
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-7), whole, parts)


def test_a_chunk_of_none_is_refused() -> None:
    with pytest.raises(ValueError, match="chunk must be at least 1, got 0"):
        replace(paper_estimator(), chunk=0)


def test_memory_grows_with_the_chunk_and_not_with_the_group_samples(transitions) -> None:  # type: ignore[no-untyped-def]
    posterior = Posterior(
        HamiltonianNetwork(2, layers=2, width=64, rngs=nnx.Rngs(0)),
        QuadraticQuantities.random(jax.random.key(2), 2, 1, 0.1),
    )
    graph, params = nnx.split(posterior)
    batch = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), transitions)

    def compiled(samples: int, chunk: int | None):  # type: ignore[no-untyped-def]
        estimator = Estimator(step=euler_step, group_samples=samples, weight_samples=1, chunk=chunk)
        gradient = jax.jit(
            lambda params, key: elbo_and_gradient(ELBO(28, estimator), graph, params, key, batch)
        )
        return gradient.lower(params, jax.random.key(0)).compile()

    whole, parts, more = compiled(64, None), compiled(64, 8), compiled(256, 8)
    bytes_of = [call.memory_analysis().temp_size_in_bytes for call in (whole, parts, more)]  # type: ignore[union-attr]
    assert bytes_of[1] < bytes_of[0] / 3
    assert bytes_of[2] < bytes_of[0]  # four times the group elements
    ours, theirs = (call(params, jax.random.key(0)) for call in (whole, parts))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), ours, theirs)
