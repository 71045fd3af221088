"""What a system offers: its Hamiltonian, its initial states and what it is known to conserve."""

from typing import Protocol, runtime_checkable

import jax.numpy as jnp

from ..quantities import QuadraticQuantities
from ..random import normal
from ..typing import PRNGKey, Scalar, State, States


@runtime_checkable
class HamiltonianSystem(Protocol):
    """A Hamiltonian on R^2n. Frozen dataclasses implement it, so that a system hashes and prints as its
    parameters.
    """

    @property
    def dof(self) -> int:
        """Degrees of freedom n."""
        ...

    def hamiltonian(self, state: State) -> Scalar:
        """H(x), the energy."""
        ...

    def known_quantities(self) -> QuadraticQuantities | None:
        """A basis of the conserved quantities of degree at most two, H included where it is one; None if
        there are none.
        """
        ...


def normal_states(
    key: PRNGKey,
    count: int,
    dof: int,
    *,
    scale_q: float = 1.0,
    scale_p: float = 1.0,
    shift_q: float = 0.0,
) -> States:
    """Initial states: normal draws of standard deviation `scale_q` and `scale_p`, every position moved by
    `shift_q`.
    """
    position, momentum = normal(key, (2, count, dof))
    return jnp.concatenate([shift_q + scale_q * position, scale_p * momentum], axis=1)
