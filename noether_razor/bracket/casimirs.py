"""Brackets of three coordinates that are linear in them, x' = grad C x grad H, fitted to trajectories.

In three dimensions a matrix B(x) that is linear in x and keeps volumes, B g = grad C x g, obeys the Jacobi
identity for every quadratic C, which is its Casimir.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..exact_evidence.fields import PoissonStructure
from ..exact_evidence.polynomials import Polynomials
from ..typing import State
from .bilinear import Family, Parts

QUADRATICS = Polynomials(3, 2)
"""What C and H are combinations of."""
LINEAR = np.flatnonzero(QUADRATICS.groups == 0)
SQUARES = np.flatnonzero(QUADRATICS.groups == 1)
"""Which of these are of degree one, and two."""


@dataclass(frozen=True)
class CasimirMatrix(PoissonStructure):
    """B(x) g = grad C(x) x g for three coordinates, C = phi(x)^T theta of the quadratic monomials phi, and of
    the linear ones where the bracket is `affine`.
    """

    affine: bool

    @property
    def dim(self) -> int:
        return 3

    @cached_property
    def places(self) -> Int[np.ndarray, " K"]:
        """The monomials of C among those of H."""
        return np.arange(QUADRATICS.size) if self.affine else SQUARES

    @property
    def size(self) -> int:
        return len(self.places)

    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        every = jnp.zeros(QUADRATICS.size, parameters.dtype).at[self.places].set(parameters)
        return QUADRATICS.prepared(every)

    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        return crossing(QUADRATICS.slopes(state, prepared).gradient)

    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        return -crossing(gradient) @ QUADRATICS.slopes_of_all(state)[:, self.places]

    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        return -crossing(gradient) @ QUADRATICS.slopes(state, prepared).hessian


def crossing(vector: Float[Array, " three"]) -> Float[Array, "three three"]:
    """The matrix that takes w to v x w."""
    x, y, z = vector
    return jnp.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]])


EVERY = np.arange(QUADRATICS.size)
KINDS = (
    Parts("field", SQUARES, LINEAR),
    Parts("pencil", SQUARES, SQUARES),
    Parts("linear", SQUARES, EVERY),
    Parts("affine", EVERY, EVERY),
)
"""From the simplest: H of degree one, both homogeneous, C homogeneous, none."""


@dataclass(frozen=True)
class Casimirs(Family):
    """x' = grad C x grad H with C and H of degree two."""

    features = QUADRATICS

    def structure(self, parts: Parts) -> CasimirMatrix:
        return CasimirMatrix(len(parts.own) > len(SQUARES))

    def products(self, points: Float[np.ndarray, "points 3"]) -> Float[np.ndarray, "points 3 K P"]:
        slopes = QUADRATICS.gradients(points)
        return np.cross(slopes[:, :, :, None], slopes[:, :, None, :], axis=1)

    def balanced(
        self, own: Float[np.ndarray, " K"], energy: Float[np.ndarray, " P"]
    ) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " P"]]:
        """H + kappa C gives the same motion."""
        return super().balanced(own, energy - (energy @ own) / (own @ own) * own)

    def guesses(self, paths: Sequence[Float[np.ndarray, "rows 3"]]) -> Sequence[Float[np.ndarray, " K"]]:
        """Casimirs to begin with: diagonal ones of all signatures, and homogeneous quadratics that change
        least along trajectories.
        """
        found = []
        diagonal = [k for k in SQUARES.tolist() if QUADRATICS.exponents[k].max() == 2]
        for signs in np.ndindex(3, 3, 3):
            if next((s for s in signs if s), 0) == 1:
                found.append(np.zeros(QUADRATICS.size))
                found[-1][diagonal] = np.array([0.0, 1.0, -1.0])[list(signs)]
        within = np.zeros((len(SQUARES), len(SQUARES)))
        for states in paths:
            values = QUADRATICS.values_at(states)[:, SQUARES]
            centred = values - values.mean(axis=0)
            within += centred.T @ centred
        for vector in np.linalg.eigh(within)[1].T[:3]:
            found.append(np.zeros(QUADRATICS.size))
            found[-1][SQUARES] = vector
        return found
