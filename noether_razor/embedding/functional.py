"""The variational functional of an embedding, its Euler-Lagrange equation and its currents, by autodiff.

phi maps R^d to R^D, q is the density of the latent variable, p that of the data, J the Jacobian of phi and
J+ = (J^T J)^-1 J^T. The functional is E_q[log det(J^T J) / 2 + log p(phi(z)) - log q(z)] (Vastola, Gershman,
Rajan 2025). All functions take one latent point; `jax.vmap` makes them take several. Run them in float64.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Point = Float[Array, " d"]
Map = Callable[[Point], Float[Array, " D"]]
"""An embedding phi of one latent point."""
LogDensity = Callable[[Float[Array, " dim"]], Float[Array, ""]]
"""log p or log q of one point."""


def kinetic(phi: Map, z: Point) -> Float[Array, ""]:
    """log det(J^T J) / 2, the log of the volume that phi gives to a unit of latent volume."""
    jacobian = jax.jacfwd(phi)(z)
    return jnp.linalg.slogdet(jacobian.T @ jacobian)[1] / 2


def integrand(phi: Map, log_density: LogDensity, log_prior: LogDensity, z: Point) -> Float[Array, ""]:
    """l(z), the integrand of the functional: constant where phi is stationary and q-preserving changes of z
    are symmetries (the current of reparametrisation).
    """
    return kinetic(phi, z) + log_density(phi(z)) - log_prior(z)


def functional(
    phi: Map,
    log_density: LogDensity,
    log_prior: LogDensity,
    points: Float[Array, "M d"],
    weights: Float[Array, " M"] | None = None,
) -> Float[Array, ""]:
    """The functional on quadrature points of q with `weights` of sum 1 (None: equal ones)."""
    values = jax.vmap(lambda z: integrand(phi, log_density, log_prior, z))(points)
    return jnp.mean(values) if weights is None else jnp.sum(weights * values)


def pseudo_inverse(phi: Map, z: Point) -> Float[Array, "d D"]:
    """J+ = (J^T J)^-1 J^T."""
    jacobian = jax.jacfwd(phi)(z)
    return jnp.linalg.solve(jacobian.T @ jacobian, jacobian.T)


def euler_lagrange_residual(
    phi: Map, log_density: LogDensity, log_prior: LogDensity, z: Point
) -> Float[Array, " D"]:
    """sum_j [d_j J+_ji + J+_ji d_j log q] - d_i log p(phi(z)): zero where the functional is stationary.

    Its tangential part is the gradient of l(z), its normal part says that the mean curvature of the image is
    the normal part of grad log p.
    """
    inverse = pseudo_inverse(phi, z)
    divergence = jnp.einsum("jij->i", jax.jacfwd(lambda y: pseudo_inverse(phi, y))(z))
    return divergence + jax.grad(log_prior)(z) @ inverse - jax.grad(log_density)(phi(z))


def current(
    phi: Map,
    log_prior: LogDensity,
    field: Callable[[Float[Array, " D"]], Float[Array, " D"]],
    z: Point,
) -> Float[Array, " d"]:
    """q J+ xi(phi(z)), the Noether current of a vector field xi on the data space that generates an isometry:
    xi = e a translation, xi = B x with B antisymmetric a rotation.

    Where phi is stationary and <grad log p, xi> = 0, its divergence vanishes; in d = 1 it is one number along
    the curve.
    """
    return jnp.exp(log_prior(z)) * (pseudo_inverse(phi, z) @ field(phi(z)))


def current_divergence(
    phi: Map,
    log_prior: LogDensity,
    field: Callable[[Float[Array, " D"]], Float[Array, " D"]],
    z: Point,
) -> Float[Array, ""]:
    """The divergence of `current`; q times <Euler-Lagrange residual + grad log p, xi> for an isometry."""
    return jnp.trace(jax.jacfwd(lambda y: current(phi, log_prior, field, y))(z))


Values = Float[Array, "..."] | Float[np.ndarray, "..."]


class Currents(NamedTuple):
    """What Noether's theorem says about an embedding at latent points.

    `reparametrisation` [..] is l(z). `translation` [.., a, i] is the current q J+_ai of the translation along
    axis i of the data space. `rotation` [.., a, i, k] is that of the rotation from axis i to axis k,
    antisymmetric in i and k. In d = 1 each is a number along the curve, constant where the density has that
    symmetry.
    """

    reparametrisation: Values
    translation: Values
    rotation: Values


def currents(phi: Map, log_density: LogDensity, log_prior: LogDensity, z: Point) -> Currents:
    """All currents at one latent point; rotations are about the origin of the data space."""
    shift = jnp.exp(log_prior(z)) * pseudo_inverse(phi, z)
    # B phi for the rotation with B e_i = e_k: phi_i e_k - phi_k e_i.
    half = jnp.einsum("i,ak->aik", phi(z), shift)
    return Currents(integrand(phi, log_density, log_prior, z), shift, half - jnp.swapaxes(half, -1, -2))
