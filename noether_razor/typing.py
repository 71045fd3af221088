"""Array types used in the signatures of every room; the only place that defines them."""

from collections.abc import Callable

from jaxtyping import Array, Float, Key

State = Float[Array, " dim"]
"""One phase-space state x = (q, p), positions first; dim = 2 dof."""

States = Float[Array, "batch dim"]
"""A batch of states."""

Scalar = Float[Array, ""]
"""A zero-dimensional array."""

PRNGKey = Key[Array, ""]
"""A typed JAX random key, as ``jax.random.key`` makes it."""

Hamiltonian = Callable[[State], Scalar]
"""A scalar function on phase space, state -> value."""

VectorField = Callable[[State], State]
"""A vector field on phase space, state -> time derivative."""
