"""Features of a Hamiltonian that is linear in its parameters, H(x) = phi(x)^T c, with their derivatives."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..quadratic_forms import Quadratics
from ..typing import State
from .null_spaces import complement, null_space, unit_quantities


class Derivatives(NamedTuple):
    """The gradient (dim,) and second derivatives (dim, dim) of H at a state."""

    gradient: Float[Array, " dim"]
    hessian: Float[Array, "dim dim"]


def hamiltonian_fields(
    quantities: Quadratics,
) -> tuple[Float[np.ndarray, "K dim dim"], Float[np.ndarray, "K dim"]]:
    """The fields A x + b with {C, f} = (A x + b) . grad f: those of -J grad C."""
    position, momentum = np.split(quantities.matrices, 2, axis=1)
    of_position, of_momentum = np.split(quantities.vectors, 2, axis=1)
    matrices = np.concatenate([-momentum, position], axis=1)
    return matrices, np.concatenate([-of_momentum, of_position], axis=1)


class Richer(NamedTuple):
    """A larger dictionary, and where the features of the smaller one stand in it."""

    features: "Features"
    places: Int[np.ndarray, " P"]


class NotBuiltInError(ValueError):
    """A symmetry that a dictionary cannot have built in."""


class Symmetric(NamedTuple):
    """H with a symmetry: its dictionary, with groups numbered as without, and an orthonormal basis (P, Z) of the
    coefficients that the symmetry leaves.
    """

    features: "Features"
    kept: Float[np.ndarray, "P Z"]


class Relaxed(NamedTuple):
    """H with a symmetry that may be broken: the same, and an orthonormal basis of all other coefficients."""

    features: "Features"
    kept: Float[np.ndarray, "P Z"]
    broken: Float[np.ndarray, "P Y"]


class Features(ABC):
    """A dictionary: P functions of a scaled state x = (q, p) of `dim` coordinates; H(x) = phi(x)^T c.

    They hash and compare by value: what is compiled for one set serves its equals. `groups` (P,) number those
    that share a prior variance, from 0. No feature is constant. `degree` is that of the monomials, `angles`
    the coordinates that H is periodic in: of the quantities asked about none contains them.

    A dictionary says what is left of it under a symmetry: `symmetric`, `relaxed`. Where a symmetry is a linear
    condition on c, it is `Closed`.
    """

    dim: int
    degree: int

    @property
    def angles(self) -> tuple[int, ...]:
        """Coordinates that H is periodic in."""
        return ()

    @property
    @abstractmethod
    def name(self) -> str:
        """What it is, in the plural: "polynomials of degree 4"."""

    @property
    @abstractmethod
    def size(self) -> int:
        """P, how many there are."""

    @cached_property
    @abstractmethod
    def groups(self) -> Int[np.ndarray, " P"]:
        """Which features share a prior variance."""

    @abstractmethod
    def values(self, state: State) -> Float[Array, " P"]:
        """All features at a state."""

    @abstractmethod
    def prepared(self, coefficients: Float[Array, " P"]) -> Any:
        """What `slopes` needs of the coefficients, computed once for all states."""

    @abstractmethod
    def slopes(self, state: State, prepared: Any) -> Derivatives:
        """Those of H at a state."""

    @abstractmethod
    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        """The gradients of all features at a state."""

    @abstractmethod
    def symmetric(self, quantities: Quadratics) -> Symmetric:
        """What H is written in where {C_k, H} = 0 for all of some quantities of degree <= 2, without terms in
        `angles` but for an angle itself. Raises `NotBuiltInError` where this dictionary has no such form.
        """

    @abstractmethod
    def relaxed(self, quantities: Quadratics) -> Relaxed:
        """The same with what breaks the symmetry."""

    def landing_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows L"] | None:
        """Functions that brackets of all features with quantities are combinations of, at many states, in
        float64; None where they are not few.
        """
        return None

    @abstractmethod
    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple[Richer, ...]:
        """Larger dictionaries of at most so many features, one a direction in which this one may fall short.
        `needed` are squares of the coefficients of a fit over their variances.
        """

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        """All features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_values(self, jnp.asarray(states)))

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        """The gradients of all features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_gradients(self, jnp.asarray(states)))

    def brackets_at(
        self, quantities: Quadratics, states: Float[np.ndarray, "rows dim"]
    ) -> Float[np.ndarray, "K rows P"]:
        """{C_k, phi} at many states."""
        matrices, vectors = hamiltonian_fields(quantities)
        fields = np.einsum("kij,rj->kri", matrices, states) + vectors[:, None]
        return np.einsum("kri,rip->krp", fields, self.gradients(states), optimize=True)


class Closed(Features):
    """A dictionary whose brackets with quantities are combinations of functions that are finitely many, so that
    {C, H} = 0 is a linear condition on c.
    """

    @abstractmethod
    def brackets(self, quantities: Quadratics) -> Float[np.ndarray, "K L P"]:
        """The maps c -> {C_k, phi^T c} into coefficients of `landing_at`, which are linearly independent."""

    @abstractmethod
    def landing_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows L"]:
        """The functions that brackets are combinations of, at many states, in float64."""

    def symmetric(self, quantities: Quadratics) -> Symmetric:
        maps = self.brackets(unit_quantities(quantities))
        return Symmetric(self, null_space(maps.reshape(-1, self.size), self.groups))

    def relaxed(self, quantities: Quadratics) -> Relaxed:
        kept = self.symmetric(quantities).kept
        return Relaxed(self, kept, complement(kept, self.groups))


@jax.jit(static_argnums=0)
def _values(features: Features, states: Float[Array, "rows dim"]) -> Float[Array, "rows P"]:
    return jax.vmap(features.values)(states)


@jax.jit(static_argnums=0)
def _gradients(features: Features, states: Float[Array, "rows dim"]) -> Float[Array, "rows dim P"]:
    return jax.vmap(features.slopes_of_all)(states)
