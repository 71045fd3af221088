"""Vector fields with parameters, x' = f(x), as the flow of a fit takes them."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Any

import jax.numpy as jnp
from jaxtyping import Array, Float

from ..phase_space import symplectic_gradient
from ..typing import State
from .features import LinearFeatures


class VectorField(ABC):
    """A field on scaled states of `dim` coordinates with `size` parameters P. Fields hash: what is compiled
    for one serves its equals.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """Coordinates of a state."""

    @property
    @abstractmethod
    def size(self) -> int:
        """P, the number of parameters."""

    @abstractmethod
    def prepared(self, parameters: Float[Array, " P"], rest: Float[Array, " rubbed"]) -> Any:
        """What the other methods need of the parameters, computed once for all states. Friction acts on the
        last coordinates, as many as `rest` has: it is their scaled value at the origin, from that which is
        zero in the units of the data.
        """

    @abstractmethod
    def at(self, state: State, prepared: Any) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
        """f and its Jacobian at a state."""

    @abstractmethod
    def of_parameters(self, state: State, prepared: Any) -> Float[Array, "dim P"]:
        """The derivative of f by the parameters at a state."""

    def moved_back(
        self,
        flow: Float[Array, "dim dim"],
        columns: Float[Array, "dim P"],
        time: Float[Array, ""],
        prepared: Any,
    ) -> Float[Array, "dim P"]:
        """The inverse of `flow`, the derivative of the state after `time` by the first one, times columns."""
        del time, prepared
        return jnp.linalg.solve(flow, columns)


@dataclass(frozen=True)
class CanonicalField(VectorField):
    """x' = J grad H(x) - gamma (0, p + rest) of H(x) = phi(x)^T c; the parameters are c and gamma."""

    features: LinearFeatures

    @property
    def dim(self) -> int:
        return self.features.dim

    @property
    def size(self) -> int:
        return self.features.size + 1

    def prepared(self, parameters: Float[Array, " P"], rest: Float[Array, " rubbed"]) -> Any:
        return self.features.prepared(parameters[:-1]), parameters[-1], rest

    def at(self, state: State, prepared: Any) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
        of_hamiltonian, friction, rest = prepared
        found = self.features.slopes(state, of_hamiltonian)
        matrix = symplectic_gradient(found.hessian) - friction * jnp.diag(_last(jnp.ones(self.dim), rest))
        return symplectic_gradient(found.gradient) - friction * rubbed(state, rest), matrix

    def of_parameters(self, state: State, prepared: Any) -> Float[Array, "dim P"]:
        _, _, rest = prepared
        slopes = symplectic_gradient(self.features.slopes_of_all(state))
        return jnp.concatenate([slopes, -rubbed(state, rest)[:, None]], axis=1)

    def moved_back(
        self,
        flow: Float[Array, "dim dim"],
        columns: Float[Array, "dim P"],
        time: Float[Array, ""],
        prepared: Any,
    ) -> Float[Array, "dim P"]:
        """The flow is symplectic up to friction: its inverse -exp(gamma t) J flow^T J costs nothing."""
        _, friction, _ = prepared
        turned = symplectic_gradient(columns)
        return -jnp.exp(friction * time) * symplectic_gradient(flow.T @ turned)


def rubbed(state: State, rest: Float[Array, " rubbed"]) -> Float[Array, " dim"]:
    """(0, p + rest), by which friction acts."""
    return _last(state, rest) + jnp.concatenate([jnp.zeros(len(state) - len(rest)), rest])


def _last(state: State, rest: Float[Array, " rubbed"]) -> Float[Array, " dim"]:
    """(0, p), with as many p as `rest` has."""
    others = len(state) - len(rest)
    return jnp.concatenate([jnp.zeros(others, state.dtype), state[others:]])


class PoissonStructure(ABC):
    """A Poisson matrix B(x) with `size` parameters K on states of `dim` coordinates. Structures hash."""

    @property
    @abstractmethod
    def dim(self) -> int:
        """Coordinates of a state."""

    @property
    @abstractmethod
    def size(self) -> int:
        """K, the number of parameters."""

    def field(self, features: LinearFeatures) -> VectorField:
        """How states move with a Hamiltonian of these features."""
        return PoissonField(features, self)

    @abstractmethod
    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        """What the other methods need of the parameters, computed once for all states."""

    @abstractmethod
    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        """B at a state."""

    @abstractmethod
    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        """The derivative of B(x) g by the parameters, for a fixed g."""

    @abstractmethod
    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        """The derivative of B(x) g by the state, for a fixed g."""


@dataclass(frozen=True)
class PoissonField(VectorField):
    """x' = B(x) grad H(x) - gamma (0, v + rest) of H(x) = phi(x)^T c; the parameters are c, those of B, and
    gamma. The last coordinates of a state, momenta or velocities v, are those on which friction acts.
    """

    features: LinearFeatures
    structure: PoissonStructure

    @property
    def dim(self) -> int:
        return self.features.dim

    @property
    def size(self) -> int:
        return self.features.size + self.structure.size + 1

    def prepared(self, parameters: Float[Array, " P"], rest: Float[Array, " rubbed"]) -> Any:
        c, own = parameters[: self.features.size], parameters[self.features.size : -1]
        return self.features.prepared(c), self.structure.prepared(own), parameters[-1], rest

    def at(self, state: State, prepared: Any) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
        of_hamiltonian, own, friction, rest = prepared
        found = self.features.slopes(state, of_hamiltonian)
        matrix = self.structure.matrix(state, own)
        jacobian = matrix @ found.hessian + self.structure.of_state(state, found.gradient, own)
        jacobian = jacobian - friction * jnp.diag(_last(jnp.ones(self.dim), rest))
        return matrix @ found.gradient - friction * rubbed(state, rest), jacobian

    def of_parameters(self, state: State, prepared: Any) -> Float[Array, "dim P"]:
        of_hamiltonian, own, _, rest = prepared
        gradient = self.features.slopes(state, of_hamiltonian).gradient
        slopes = self.structure.matrix(state, own) @ self.features.slopes_of_all(state)
        of_structure = self.structure.of_parameters(state, gradient, own)
        return jnp.concatenate([slopes, of_structure, -rubbed(state, rest)[:, None]], axis=1)


def field_of(features: LinearFeatures, structure: PoissonStructure | None) -> VectorField:
    """That of a Poisson matrix, None for canonical coordinates."""
    return CanonicalField(features) if structure is None else structure.field(features)
