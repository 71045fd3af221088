"""Symplectic geometry of R^2n in canonical coordinates x = (q, p)."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .typing import Hamiltonian, VectorField


def symplectic_matrix(dof: int) -> Float[Array, "dim dim"]:
    """The matrix J = [[0, I], [-I, 0]] of Hamilton's equations x' = J grad H(x)."""
    zero, identity = np.zeros((dof, dof)), np.eye(dof)
    return jnp.asarray(np.block([[zero, identity], [-identity, zero]]))


def symplectic_gradient(gradient: Float[Array, "dim *columns"]) -> Float[Array, "dim *columns"]:
    """J g for a gradient g of shape (2n,), or for each of several as columns, without forming J."""
    by_position, by_momentum = jnp.split(gradient, 2)
    return jnp.concatenate([by_momentum, -by_position])


def hamiltonian_field(hamiltonian: Hamiltonian) -> VectorField:
    """The vector field x' = J grad H(x) of a scalar function on phase space."""
    gradient = jax.grad(hamiltonian)
    return lambda state: symplectic_gradient(gradient(state))


@partial(jax.jit, static_argnums=0)
def energies_of(hamiltonian: Hamiltonian, states: Float[Array, "*batch dim"]) -> Float[Array, "*batch"]:
    """H at states, compiled once for a Hamiltonian and a shape."""
    return jnp.vectorize(hamiltonian, signature="(dim)->()")(states)


def poisson_bracket(f: Hamiltonian, g: Hamiltonian) -> Hamiltonian:
    """The Poisson bracket {f, g} = grad f . J grad g, again a scalar function of the state.

    f is conserved by the flow of g, and g invariant under the flow of f, exactly when it vanishes.
    """
    gradient, field = jax.grad(f), hamiltonian_field(g)
    return lambda state: jnp.dot(gradient(state), field(state))


def by_body(states: Float[Any, "*batch dim"], bodies: int) -> Float[Any, "*batch N own"]:
    """The state (position, momentum) of each of N bodies, of q = (r_1, .., r_N) and p likewise."""
    batch = states.shape[:-1]
    return states.reshape(*batch, 2, bodies, -1).swapaxes(-3, -2).reshape(*batch, bodies, -1)


def of_bodies(states: Float[Array, "*batch N own"]) -> Float[Array, "*batch dim"]:
    """The inverse of `by_body`."""
    *batch, bodies, own = states.shape
    split = states.reshape(*batch, bodies, 2, own // 2)
    return jnp.swapaxes(split, -3, -2).reshape(*batch, bodies * own)
