"""Quantities of equal bodies that no exchange of two of them changes."""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..phase_space import by_body, of_bodies
from ..random import normal
from ..typing import PRNGKey, State, VectorField
from .base import ConservedQuantities
from .quadratic import QuadraticQuantities, coefficient_units


class BodyForms(NamedTuple):
    """K quantities sum_i y_i^T S y_i / 2 + u^T T u / 2 + c^T u of N bodies in d dimensions.

    y_i = z_i - (mean of z) is the state (position, momentum) of a body relative to the mean of all, and u =
    sqrt(N) times that mean. `relative` are the S, `centre` the T, both symmetric, and `vectors` the c.
    """

    relative: Float[Array, "K own own"]
    centre: Float[Array, "K own own"]
    vectors: Float[Array, "K own"]

    def expanded(self, bodies: int) -> tuple[Float[Array, "K dim dim"], Float[Array, "K dim"]]:
        """The same as A and b of x^T A x / 2 + b^T x in the coordinates of all bodies."""
        count, own = self.vectors.shape
        d, together = own // 2, np.ones((bodies, bodies), np.float32) / bodies
        parts = (np.eye(bodies, dtype=np.float32) - together, self.relative), (together, self.centre)
        shaped = ((mix, jnp.asarray(form).reshape(count, 2, d, 2, d)) for mix, form in parts)
        matrices = sum(jnp.einsum("ij,kaxby->kaixbjy", mix, form) for mix, form in shaped)
        vectors = jnp.asarray(self.vectors).reshape(count, 2, 1, d) / np.float32(np.sqrt(bodies))
        dim = own * bodies
        return (
            jnp.asarray(matrices).reshape(count, dim, dim),
            jnp.broadcast_to(vectors, (count, 2, bodies, d)).reshape(count, dim),
        )


def form_count(dimension: int) -> int:
    """How many quantities of degree 1 and 2 no exchange of bodies changes: 4 d (d + 1), whatever the number
    of bodies. In space that is 48.
    """
    return 4 * dimension * (dimension + 1)


class BodyQuantities(ConservedQuantities):
    """K quantities of degree at most two of N equal bodies in d dimensions, the same for every order of them.

    All such quantities are sums over bodies and products of two sums over bodies, see `BodyForms`. They are
    stored as `coefficients` (K, 4 d (d + 1)) in an orthonormal basis of (S, T, c) in coordinates divided by
    `sizes`, one of positions and one of momenta (see `coefficient_units`). So their number of parameters
    does not grow with the number of bodies, and a flow takes exponentials of matrices of one body.
    """

    def __init__(
        self,
        coefficients: Float[Array, "K B"],
        *,
        bodies: int,
        dimension: int,
        sizes: tuple[float, float] = (1.0, 1.0),
    ):
        if bodies < 2 or dimension < 1:
            raise ValueError(f"expected two bodies or more in space, got {bodies} in {dimension} dimensions")
        if coefficients.ndim != 2 or coefficients.shape[1] != form_count(dimension):
            raise ValueError(
                f"coefficients must have shape (K, {form_count(dimension)}), got {coefficients.shape}"
            )
        self.coefficients = nnx.Param(coefficients)
        self.bodies, self.dimension, self.sizes = bodies, dimension, tuple(sizes)

    def __repr__(self) -> str:
        return f"BodyQuantities({self.count} of {self.bodies} bodies in {self.dimension} dimensions)"

    @classmethod
    def random(
        cls,
        key: PRNGKey,
        count: int,
        scale: float,
        *,
        bodies: int,
        dimension: int,
        sizes: tuple[float, float] = (1.0, 1.0),
    ) -> "BodyQuantities":
        """Quantities with independent N(0, scale^2) coefficients, to start learning from; not 0, as in
        `QuadraticQuantities.random`.
        """
        coefficients = jnp.asarray(scale * normal(key, (count, form_count(dimension))))
        return cls(coefficients, bodies=bodies, dimension=dimension, sizes=sizes)

    @property
    def count(self) -> int:
        return self.coefficients.shape[0]

    def forms(self) -> BodyForms:
        """S, T and c of all quantities."""
        coefficients, own = self.coefficients[...], 2 * self.dimension
        units, of_vectors = coefficient_units(self.dimension, _each(self.sizes, self.dimension))
        i, j = np.triu_indices(own)
        weights = (units[i, j] / np.where(i == j, 1.0, np.sqrt(2))).astype(np.float32)
        place = np.zeros((own, own), np.int32)
        place[i, j] = place[j, i] = np.arange(len(i))
        relative, centre, vectors = jnp.split(coefficients, (len(i), 2 * len(i)), axis=1)
        return BodyForms((relative * weights)[:, place], (centre * weights)[:, place], vectors * of_vectors)

    def expanded(self) -> QuadraticQuantities:
        """The same in the coordinates of all bodies, (2 N d)^2 numbers each."""
        return QuadraticQuantities(*self.forms().expanded(self.bodies))

    def __call__(self, state: State) -> Float[Array, " K"]:
        forms = self.forms()
        relative, centre = centred(by_body(state, self.bodies))
        quadratic = jnp.einsum("ni,kij,nj->k", relative, forms.relative, relative)
        return (quadratic + jnp.einsum("i,kij,j->k", centre, forms.centre, centre)) / 2 + (
            forms.vectors @ centre
        )

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        forms = BodyForms(*(jnp.tensordot(weights, part, 1) for part in self.forms()))

        def slope(state: State) -> State:
            relative, centre = centred(by_body(state, self.bodies))
            of_centre = (forms.centre @ centre + forms.vectors) / np.float32(np.sqrt(self.bodies))
            return of_bodies(relative @ forms.relative + of_centre)

        return slope


def centred(states: Float[Array, "N own"]) -> tuple[Float[Array, "N own"], Float[Array, " own"]]:
    """States of bodies relative to their mean, and sqrt(N) times the mean."""
    mean = states.mean(axis=0)
    return states - mean, mean * np.float32(np.sqrt(len(states)))


def quadratic_of(quantities: ConservedQuantities | None) -> QuadraticQuantities | None:
    """Quantities of degree at most two as matrices and vectors; None of any others."""
    if isinstance(quantities, BodyQuantities):
        return quantities.expanded()
    return quantities if isinstance(quantities, QuadraticQuantities) else None


def _each(sizes: Sequence[float], dimension: int) -> tuple[float, ...]:
    return (sizes[0],) * dimension + (sizes[1],) * dimension
