"""Orbits: sampled group elements as maps of phase space."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..conserved import ConservedQuantities, QuadraticQuantities
from ..integrators import transition
from ..phase_space import hamiltonian_field
from ..typing import State
from ._expm import expm


@runtime_checkable
class Orbit(Protocol):
    """The sampled group elements of one evaluation of the bound: a state to its images."""

    def __call__(self, state: State, /) -> Float[Array, "samples dim"]: ...


class TrivialOrbit:
    """The orbit of the identity alone: no symmetry."""

    def __call__(self, state: State) -> Float[Array, "1 dim"]:
        return state[None]


class AffineOrbit(NamedTuple):
    """Images M_s x + v_s: the exact flow of quantities of degree two, or elements of a linear group."""

    matrices: Float[Array, "samples dim dim"]
    shifts: Float[Array, "samples dim"]

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        return self.matrices @ state + self.shifts


class FlowOrbit(NamedTuple):
    """Images under the flow of pi sum_k w_k C_k, integrated to time 1 with `steps` Runge-Kutta steps."""

    quantities: ConservedQuantities
    coordinates: Float[Array, "samples K"]
    steps: int

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        def image(w: Float[Array, " K"]) -> State:
            field = hamiltonian_field(lambda x: jnp.pi * jnp.dot(w, self.quantities(x)))
            return transition(field, state, jnp.ones((), state.dtype), substeps=self.steps)

        return jax.vmap(image)(self.coordinates)


def flow_orbit(
    quantities: ConservedQuantities, coordinates: Float[Array, "samples K"], *, flow_steps: int = 32
) -> Orbit:
    """The orbit Phi_w with w the rows of `coordinates`: the flow of sum_k w_k C_k for time pi (method: Phi_w
    = exp(pi w . G)).

    Exact for `QuadraticQuantities`; of order 4 in 1 / `flow_steps` for any others. NaN where |pi w . G|
    passes 64.
    """
    if isinstance(quantities, QuadraticQuantities):
        generators = jnp.pi * jnp.einsum("sk,kij->sij", coordinates, quantities.generators())
        elements = expm(generators)
        return AffineOrbit(elements[:, :-1, :-1], elements[:, :-1, -1])
    return FlowOrbit(quantities, coordinates, flow_steps)
