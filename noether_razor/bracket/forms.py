"""Symplectic forms with parameters, and the Poisson matrices that are their inverses.

A form Omega gives Hamilton's equations as Omega x' = grad H, with the Poisson matrix B = Omega^-1. Both
families here are closed for all values of their parameters, so that the Jacobi identity holds.
"""

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..exact_evidence.fields import PoissonStructure
from ..typing import State


class Form(PoissonStructure):
    """A form Omega(x) that is linear in its parameters, apart from a fixed part: that of canonical
    coordinates, Omega = sum_i dq_i ^ dv_i.

    `groups` (K,) number the parameters that share a prior variance, from 0.
    """

    @property
    @abstractmethod
    def groups(self) -> Int[np.ndarray, " K"]:
        """Which parameters share a prior variance."""

    @property
    @abstractmethod
    def of_masses(self) -> tuple[int, ...]:
        """Parameters that are the mass of a velocity less 1, up to `sign_of_mass`."""

    sign_of_mass: int

    @abstractmethod
    def form(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, "dim dim"]:
        """Omega at a state."""


@dataclass(frozen=True)
class ConstantForm(Form):
    """Omega = that of canonical coordinates + sum_k theta_k (e_i e_j^T - e_j e_i^T), (i, j) the k-th of all
    pairs i < j but (0, n): the scale of Omega is that of H, so that the entry of the first position and its
    velocity stays.
    """

    dof: int
    sign_of_mass = -1

    @property
    def dim(self) -> int:
        return 2 * self.dof

    @property
    def of_masses(self) -> tuple[int, ...]:
        return tuple(k for k, (i, j) in enumerate(self.pairs) if j == i + self.dof)

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """The entries above the diagonal that are free, row by row."""
        return tuple(pair for pair in combinations(range(self.dim), 2) if pair != (0, self.dof))

    @property
    def size(self) -> int:
        return len(self.pairs)

    @property
    def groups(self) -> Int[np.ndarray, " K"]:
        return np.zeros(self.size, int)

    @property
    def every(self) -> Float[np.ndarray, "entries dim dim"]:
        """A basis of all antisymmetric matrices."""
        return _antisymmetric(self.dim, list(combinations(range(self.dim), 2)))

    @cached_property
    def basis(self) -> Float[np.ndarray, "K dim dim"]:
        """The matrices that parameters multiply."""
        return _antisymmetric(self.dim, self.pairs)

    def form(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, "dim dim"]:
        return jnp.asarray(canonical_form(self.dof)) + jnp.tensordot(parameters, self.basis, 1)

    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        matrix = jnp.linalg.inv(self.form(jnp.zeros(self.dim), parameters))
        # d(Omega^-1) = -Omega^-1 dOmega Omega^-1.
        return matrix, -matrix @ self.basis @ matrix

    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        return prepared[0]

    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        return (prepared[1] @ gradient).T

    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        return jnp.zeros((self.dim, self.dim))


def _antisymmetric(dim: int, pairs: Sequence[tuple[int, int]]) -> Float[np.ndarray, "K dim dim"]:
    """e_i e_j^T - e_j e_i^T for each pair."""
    found = np.zeros((len(pairs), dim, dim))
    for k, (i, j) in enumerate(pairs):
        found[k, i, j], found[k, j, i] = 1.0, -1.0
    return found


def canonical_form(dof: int) -> Float[np.ndarray, "dim dim"]:
    """The inverse of J."""
    zero, one = np.zeros((dof, dof)), np.eye(dof)
    return np.block([[zero, -one], [one, zero]])


class Term(NamedTuple):
    """A monomial f(q) = prod_i q_i^e_i of the positions in p = M(q) v + A(q): in the entries (i, j) and
    (j, i) of M, or where `field` in A as f(q) (q_i e_j - q_j e_i), which makes beta_ij = (2 + degree) f of a
    field in the plane (i, j).
    """

    exponents: tuple[int, ...]
    plane: tuple[int, int]
    field: bool


@dataclass(frozen=True)
class MomentumForm(Form):
    """Omega = sum_i dq_i ^ dp_i with momenta p = v + sum_k theta_k (the k-th of `terms`): a mass matrix that
    depends on the position, and a field. The scale is fixed by leaving a constant in M_11 out of the terms.
    """

    dof: int
    terms: tuple[Term, ...]
    sign_of_mass = 1

    @property
    def dim(self) -> int:
        return 2 * self.dof

    @property
    def of_masses(self) -> tuple[int, ...]:
        plain = (0,) * self.dof
        return tuple(
            k for k, (e, (i, j), field) in enumerate(self.terms) if e == plain and i == j and not field
        )

    @property
    def size(self) -> int:
        return len(self.terms)

    @property
    def groups(self) -> Int[np.ndarray, " K"]:
        return np.zeros(self.size, int)

    @cached_property
    def _of_velocities(self) -> Float[np.ndarray, "K dof dof"]:
        """S_k in M = 1 + sum_k theta_k f_k(q) S_k."""
        found = np.zeros((self.size, self.dof, self.dof))
        for k, (_, (i, j), field) in enumerate(self.terms):
            if not field:
                found[k, i, j] = found[k, j, i] = 1.0
        return found

    @cached_property
    def _of_positions(self) -> Float[np.ndarray, "K dof dof"]:
        """T_k in A = sum_k theta_k f_k(q) T_k q."""
        found = np.zeros((self.size, self.dof, self.dof))
        for k, (_, (i, j), field) in enumerate(self.terms):
            if field:
                found[k, j, i], found[k, i, j] = 1.0, -1.0
        return found

    def _values(self, positions: Float[Array, " dof"]) -> Float[Array, " K"]:
        powers = np.array([term.exponents for term in self.terms])
        # Repeated products: powers of negative numbers are right, and so are derivatives at 0.
        table = [jnp.ones_like(positions)]
        for _ in range(int(powers.max(initial=0))):
            table.append(table[-1] * positions)
        return jnp.prod(jnp.stack(table)[powers, np.arange(self.dof)], axis=1)

    def masses(
        self, positions: Float[Array, " dof"], parameters: Float[Array, " K"]
    ) -> Float[Array, "dof dof"]:
        """M at a position."""
        return jnp.eye(self.dof) + jnp.tensordot(parameters * self._values(positions), self._of_velocities, 1)

    def momenta(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, " dof"]:
        """p at a state."""
        positions, velocities = jnp.split(state, 2)
        weights = parameters * self._values(positions)
        field = jnp.tensordot(weights, self._of_positions, 1) @ positions
        return velocities + jnp.tensordot(weights, self._of_velocities, 1) @ velocities + field

    def form(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, "dim dim"]:
        turned, masses = self._parts(state, parameters)
        return jnp.block([[turned.T - turned, -masses], [masses, jnp.zeros_like(masses)]])

    def _parts(self, state: State, parameters: Array) -> tuple[Array, Array]:
        """dp/dq and M."""
        positions, velocities = jnp.split(state, 2)

        def momenta(q: Array) -> Array:
            return self.momenta(jnp.concatenate([q, velocities]), parameters)

        return jax.jacfwd(momenta)(positions), self.masses(positions, parameters)

    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        return parameters

    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        turned, masses = self._parts(state, prepared)
        inverse = small_inverse(masses)
        bent = inverse @ (turned.T - turned) @ inverse
        return jnp.block([[jnp.zeros_like(masses), inverse], [-inverse, bent]])

    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        # d(Omega^-1) = -Omega^-1 dOmega Omega^-1, and Omega is simpler than its inverse.
        matrix = self.matrix(state, prepared)
        velocity = matrix @ gradient
        return -matrix @ jax.jacfwd(lambda theta: self.form(state, theta) @ velocity)(prepared)

    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        matrix = self.matrix(state, prepared)
        velocity = matrix @ gradient
        return -matrix @ jax.jacfwd(lambda x: self.form(x, prepared) @ velocity)(state)


def carried(form: Form, other: Form, parameters: Float[np.ndarray, " L"]) -> Float[np.ndarray, " K"] | None:
    """The parameters with which `form` is another with its `parameters`; None for one of another family."""
    if form == other:
        return parameters
    if not (isinstance(form, MomentumForm) and isinstance(other, MomentumForm)):
        return None
    known = dict(zip(other.terms, parameters.tolist(), strict=True))
    return np.array([known.get(term, 0.0) for term in form.terms]) if {*known} <= {*form.terms} else None


def small_inverse(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of a matrix; up to three rows in closed form, which costs a fraction of a general one in a
    compiled loop.
    """
    if (size := matrix.shape[0]) > 3:
        return jnp.linalg.inv(matrix)
    if size == 1:
        return 1 / matrix
    if size == 2:
        (a, b), (c, d) = matrix
        return jnp.array([[d, -b], [-c, a]]) / (a * d - b * c)
    a, b, c = matrix
    columns = jnp.stack([jnp.cross(b, c), jnp.cross(c, a), jnp.cross(a, b)], axis=1)
    return columns / jnp.dot(a, columns[:, 0])


def momentum_form(dof: int, degree: int) -> MomentumForm:
    """Mass matrices and fields with all monomials of the positions up to a degree.

    A field in three dimensions has no sources: A = g(q) x q has one freedom, g + h(q) q, which is fixed by
    monomials of the last plane without the position outside it.
    """
    every = [e for e in np.ndindex(*(degree + 1,) * dof) if sum(e) <= degree]
    exponents = sorted((tuple(map(int, e)) for e in every), key=lambda e: (sum(e), [-k for k in e]))
    planes = list(combinations(range(dof), 2))
    masses = [
        Term(e, (i, j), False)
        for i in range(dof)
        for j in range(i, dof)
        for e in exponents
        if (i, j) != (0, 0) or any(e)
    ]
    fields = [
        Term(e, (i, j), True)
        for i, j in planes
        for e in exponents
        if not any(e[k] for k in range(dof) if i > 0 and k < i)
    ]
    return MomentumForm(dof, (*masses, *fields))
