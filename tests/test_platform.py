"""What the library cannot do without: a jax whose compiled products are right."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest


@pytest.mark.parametrize(("dtype", "rows"), [("float32", 40001), ("float64", 20001)])
@pytest.mark.parametrize("shape", [(3, 3), (2, 3)])
def test_jax_multiplies_and_sums_large_batches_right(shape, dtype, rows):
    """jax 0.10.2 does not on CPUs (jax issue 39103): where three columns take under 512 KiB and four more."""
    rng = np.random.default_rng(0)
    matrix, states = rng.normal(size=shape), rng.normal(size=(rows, shape[1]))
    expected = np.sum((states @ matrix.T) ** 2, axis=1)
    with jax.enable_x64(dtype == "float64"), jax.default_matmul_precision("highest"):
        left = jnp.asarray(matrix, dtype)
        found = jax.jit(jax.vmap(lambda state: jnp.sum((left @ state) ** 2)))(jnp.asarray(states, dtype))
    worst = float(np.max(np.abs(np.asarray(found, np.float64) - expected)) / np.max(expected))
    assert worst < 1e-5, (
        f"jax {jax.__version__} computes wrong values on {jax.default_backend()}, off by {worst:.0%}: {rows} "
        f"rows times a {shape} matrix, squared and summed in {dtype}; install another version"
    )
