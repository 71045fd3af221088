"""Features of a Hamiltonian that is linear in its parameters, H(x) = phi(x)^T c, with their derivatives."""

from abc import ABC, abstractmethod
from functools import cached_property
from typing import Any, ClassVar, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..quadratic_forms import Quadratics
from ..typing import State
from .null_spaces import complement, null_space, unit_quantities
from .terms import Terms


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

    features: "LinearFeatures"
    places: Int[np.ndarray, " P"]


class Symmetric(NamedTuple):
    """Orthonormal bases of the coefficients that a symmetry leaves (P, Z), and of those that it forbids."""

    kept: Float[np.ndarray, "P Z"]
    broken: Float[np.ndarray, "P Y"]


@runtime_checkable
class Frame(Protocol):
    """What features that are compiled alike have in common; frames hash."""

    def filled(self, tables: Any) -> "LinearFeatures":
        """The features with given tables."""
        ...


class LinearFeatures(ABC):
    """P functions of a scaled state x = (q, p) of `dim` coordinates; H(x) = phi(x)^T c.

    They hash: what is compiled for one set serves its equals. `groups` (P,) number those that share a prior
    variance, from 0. No feature is constant.
    """

    dim: int
    degree: int
    averaged: ClassVar[bool] = False
    """Whether a symmetry is built in by averages over its flow, and is no condition on the coefficients."""

    @property
    def frame(self) -> Frame:
        """What is compiled: features of one frame differ in their `tables` alone."""
        return self

    @property
    def tables(self) -> Any:
        """Arrays that the frame makes the features from."""
        return ()

    def filled(self, tables: Any) -> "LinearFeatures":
        """These features, which are their own frame."""
        return self

    def richer(self, needed: Float[np.ndarray, " P"], most: int) -> tuple["Richer", ...]:
        """Larger dictionaries of at most so many features, one a direction in which this one may fall short.
        `needed` are squares of the coefficients of a fit over their variances.
        """
        return ()

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

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        """All features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_values(self, jnp.asarray(states)))

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        """The gradients of all features at many states, in float64."""
        with jax.enable_x64(True):
            return np.asarray(_gradients(self, jnp.asarray(states)))


class Features(LinearFeatures):
    """A dictionary whose brackets with quantities of degree <= 2 are combinations of finitely many functions,
    which may be more than the features: a symmetry is a linear condition on c.

    Sets compare by value. Of the quantities asked about none contains `angles`.
    """

    @abstractmethod
    def brackets(self, quantities: Quadratics) -> Float[np.ndarray, "K L P"]:
        """The maps c -> {C_k, phi^T c} into coefficients of `landing_at`, for quantities of degree <= 2
        without terms in `angles`, but for an angle itself.
        """

    @abstractmethod
    def landing_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows L"]:
        """The independent functions that brackets are combinations of, at many states, in float64."""

    def terms(self) -> Terms | None:
        """The features as functions that a person can read; None where they are none."""
        return None

    def symmetric(self, quantities: Quadratics) -> Symmetric:
        """The coefficients with {C_k, H} = 0 for all of the quantities, and all others."""
        maps = self.brackets(unit_quantities(quantities))
        kept = null_space(maps.reshape(-1, self.size), self.groups)
        return Symmetric(kept, complement(kept, self.groups))


@jax.jit(static_argnums=0)
def _values(features: LinearFeatures, states: Float[Array, "rows dim"]) -> Float[Array, "rows P"]:
    return jax.vmap(features.values)(states)


@jax.jit(static_argnums=0)
def _gradients(features: LinearFeatures, states: Float[Array, "rows dim"]) -> Float[Array, "rows dim P"]:
    return jax.vmap(features.slopes_of_all)(states)
