"""A network that learns a potential together with masses and a field, from positions and velocities."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..networks import FieldNetwork, HamiltonianNetwork
from ..scaling import Periods
from ..typing import Scalar, State
from .forms import MomentumForm


class MechanicalNetwork(FieldNetwork):
    """x' = B(x) grad h(x) - rate (0, v) of states x = (q, v), where v is q': h = v^T M(q) v / 2 + V(q) with a
    network V, and the Poisson matrix B = Omega^-1 of `form` with the parameters theta = `basis` z.

    Where q' is v, no other h goes with momenta that are linear in v, p = M(q) v + A(q). That is Hamilton's
    equation in (q, p), taken back to the columns: no change of p changes what is predicted of them. z and
    the friction are `entries` (Z + 1,): parameters without a prior, as biases are, 0 at the start. What the
    network is given and gives back are x / `units` (dim,); `periods` are those of the positions q.
    """

    def __init__(
        self,
        form: MomentumForm,
        basis: Float[np.ndarray, "K Z"],
        units: Float[np.ndarray, " dim"],
        *,
        layers: int,
        width: int,
        periods: Periods = (),
        rngs: nnx.Rngs,
    ):
        self.potential = HamiltonianNetwork(form.dof, layers=layers, width=width, periods=periods, rngs=rngs)
        self.entries = nnx.Param(jnp.zeros(basis.shape[1] + 1))
        self.form = form
        # Hashable, so a part of the structure and not of the state.
        self.basis = tuple(map(tuple, basis.tolist()))
        self.units = tuple(units.tolist())

    def parameters(self) -> Float[Array, " K"]:
        """theta of the form."""
        basis = np.array(self.basis).reshape(self.form.size, -1)
        return jnp.asarray(basis, self.entries.dtype) @ self.entries[:-1]

    def hamiltonian(self, state: State) -> Scalar:
        """h of a state (q, v)."""
        positions, velocities = jnp.split(state, 2)
        masses = self.form.masses(positions, self.parameters())
        return velocities @ masses @ velocities / 2 + self.potential(positions)

    def undamped(self, state: State) -> State:
        """(q, v)' without friction."""
        return self.form.matrix(state, self.parameters()) @ jax.grad(self.hamiltonian)(state)

    def __call__(self, state: State) -> State:
        units = jnp.asarray(self.units, state.dtype)
        own = state * units
        rubbed = jnp.arange(self.form.dim) >= self.form.dof
        return (self.undamped(own) - self.entries[-1] * jnp.where(rubbed, own, 0)) / units
