"""Rows turned into orthonormal ones that span the same, differentiably."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SAME = 1e-6
"""Of the squares of rows: below it they are not told apart."""


def orthonormal(products: Float[Array, "K K"], rows: Float[Array, "K entries"]) -> Float[Array, "K entries"]:
    """Combinations of `rows`, whose scalar products are `products`, that are orthonormal in these: each of
    one row and those before it (Gram and Schmidt). Finite where rows are the same.
    """
    root = jnp.linalg.cholesky(products + SAME * jnp.trace(products) * jnp.eye(len(rows)))
    return jax.scipy.linalg.solve_triangular(root, rows, lower=True)
