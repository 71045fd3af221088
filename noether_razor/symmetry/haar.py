"""Haar measures of compact groups that act linearly and symplectically on phase space."""

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..random import normal
from ..typing import PRNGKey


@runtime_checkable
class CompactGroup(Protocol):
    """A compact group acting on phase space by symplectic matrices."""

    def sample(self, key: PRNGKey, count: int) -> Float[Array, "count dim dim"]:
        """`count` independent Haar-distributed elements."""
        ...


@dataclass(frozen=True)
class HaarUnitary:
    """U(n) acting on q + i p, the symmetry of n equal oscillators."""

    dof: int

    def sample(self, key: PRNGKey, count: int) -> Float[Array, "count dim dim"]:
        real, imaginary = normal(key, (2, count, self.dof, self.dof))
        q, r = jnp.linalg.qr(real + 1j * imaginary)
        # QR leaves the phases of the columns to the algorithm: fixing those of r's diagonal makes q Haar.
        diagonal = jnp.diagonal(r, axis1=-2, axis2=-1)
        unitary = q * (diagonal / jnp.abs(diagonal))[:, None, :]
        return jnp.concatenate(
            [
                jnp.concatenate([unitary.real, -unitary.imag], axis=-1),
                jnp.concatenate([unitary.imag, unitary.real], axis=-1),
            ],
            axis=-2,
        )


@dataclass(frozen=True)
class HaarRotation:
    """SO(d) rotating the positions and momenta of all bodies together."""

    bodies: int
    dimension: int

    def sample(self, key: PRNGKey, count: int) -> Float[Array, "count dim dim"]:
        gaussian = normal(key, (count, self.dimension, self.dimension))
        q, r = jnp.linalg.qr(gaussian)
        q = q * jnp.sign(jnp.diagonal(r, axis1=-2, axis2=-1))[:, None, :]
        rotation = q.at[:, :, 0].multiply(jnp.linalg.det(q)[:, None])
        return jax.vmap(lambda block: jnp.kron(jnp.eye(2 * self.bodies, dtype=block.dtype), block))(rotation)
