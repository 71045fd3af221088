"""Motion with masses and a field that depend on the position, by Lagrange's equations.

Of columns (q, v) where v is the velocity, the momenta p = M(q) v + A(q) leave no choice but the Lagrangian
L = v^T M(q) v / 2 + A(q) . v - V(q), so that its energy has the entries of M in its first term.
"""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.fields import PoissonField, VectorField, rubbed
from ..exact_evidence.prior import Prior
from ..exact_evidence.start import Ridge, Windows, ridge
from ..typing import State
from .forms import MomentumForm, momentum_form, small_inverse


@dataclass(frozen=True)
class LagrangianForm(MomentumForm):
    """The form of p = M(q) u + A(q) with the velocities u = v + `rest` of scaled columns, which are those of
    scaled positions over `rate`: q' = rate u.
    """

    rest: tuple[float, ...]
    rate: float

    def momenta(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, " dof"]:
        return super().momenta(state + self._shift, parameters)

    def velocities(self, state: State) -> Float[Array, " dof"]:
        """u."""
        return jnp.split(state + self._shift, 2)[1]

    @property
    def _shift(self) -> Float[np.ndarray, " dim"]:
        return np.array([*[0.0] * self.dof, *self.rest])

    def field(self, features: LinearFeatures) -> VectorField:
        return LagrangianField(features, self)

    def free(self, state: State, parameters: Float[Array, " K"]) -> Float[Array, ""]:
        """L / rate at a state, without V."""
        positions, velocities = jnp.split(state, 2)[0], self.velocities(state)
        masses = self.masses(positions, parameters)
        # p . u is u^T M u + A . u.
        return velocities @ self.momenta(state, parameters) - velocities @ masses @ velocities / 2

    def left(
        self, state: State, acceleration: Float[Array, " dof"], parameters: Float[Array, " K"]
    ) -> Float[Array, " dof"]:
        """dL/dq - dp/dt at a state with v' = `acceleration`, without V: linear in the parameters, up to the
        fixed part.
        """
        along = jnp.concatenate([self.rate * self.velocities(state), acceleration])
        _, moved = jax.jvp(lambda x: self.momenta(x, parameters), (state,), (along,))
        return self.rate * jax.grad(self.free)(state, parameters)[: self.dof] - moved


@dataclass(frozen=True)
class LagrangianField(PoissonField):
    """The motion of a Lagrangian with V(q) = phi(q)^T c, and friction -gamma u; the parameters are c, those
    of the form, and gamma.
    """

    structure: LagrangianForm

    def at(self, state: State, prepared: Any) -> tuple[Float[Array, " dim"], Float[Array, "dim dim"]]:
        of_potential, own, friction, rest = prepared
        form, dof = self.structure, self.structure.dof
        potential = self.features.slopes(state, of_potential)
        inverse = small_inverse(form.masses(state[:dof], own))
        acceleration = inverse @ (form.left(state, jnp.zeros(dof), own) - potential.gradient[:dof])
        # d(M^-1 g) = M^-1 (dg - dM M^-1 g).
        bent = jax.jacfwd(lambda x: form.left(x, acceleration, own))(state)
        forward = jnp.concatenate([jnp.zeros((dof, dof)), form.rate * jnp.eye(dof)], axis=1)
        jacobian = jnp.concatenate([forward, inverse @ (bent - potential.hessian[:dof])])
        jacobian = jacobian - friction * jnp.diag(jnp.arange(self.dim) >= dof)
        velocity = jnp.concatenate([form.rate * form.velocities(state), acceleration])
        return velocity - friction * rubbed(state, rest), jacobian

    def of_parameters(self, state: State, prepared: Any) -> Float[Array, "dim P"]:
        of_potential, own, _, rest = prepared
        form, dof = self.structure, self.structure.dof
        inverse = small_inverse(form.masses(state[:dof], own))
        force = self.features.slopes(state, of_potential).gradient[:dof]
        acceleration = inverse @ (form.left(state, jnp.zeros(dof), own) - force)
        of_form = jax.jacrev(lambda theta: form.left(state, acceleration, theta))(own)
        slopes = inverse @ jnp.concatenate([-self.features.slopes_of_all(state)[:dof], of_form], axis=1)
        lower = jnp.concatenate([slopes, -rubbed(state, rest)[dof:, None]], axis=1)
        return jnp.concatenate([jnp.zeros((dof, self.size)), lower])


def lagrangian_form(dof: int, degree: int, rest: Float[np.ndarray, " dof"], rate: float) -> LagrangianForm:
    """Mass matrices and fields with all monomials of the positions up to a degree."""
    return LagrangianForm(dof, momentum_form(dof, degree).terms, tuple(rest.tolist()), float(rate))


def lagrangian_start(
    form: LagrangianForm, basis: Float[np.ndarray, "K Z"], features: LinearFeatures, windows: Windows
) -> tuple[Float[np.ndarray, " Z"], Ridge]:
    """Where the free numbers z of theta = `basis` z begin, and the coefficients of V: by p(t_k+2) - p(t_k) =
    int dL/dq dt, which is linear in both.
    """
    own = _weak(form, windows)
    of_form, fixed = own[..., :-1] @ basis, own[..., -1]
    slopes = features.gradients(windows.points)[:, : form.dof]
    spread = slopes.reshape(*windows.spans.shape, form.dof, features.size)
    of_potential = np.einsum("wn,wnip->wip", windows.spans, spread)
    design = np.concatenate([of_potential, of_form], axis=2).reshape(-1, features.size + basis.shape[1])
    groups = np.append(features.groups, np.full(basis.shape[1], features.groups.max() + 1))
    found = ridge(design, -fixed.reshape(-1), Prior.of(np.eye(len(groups)), groups))
    mine = slice(features.size)
    count = len(np.unique(features.groups))
    return found.mean[features.size :], Ridge(
        found.mean[mine], found.covariance[mine, mine], found.variances[:count], found.noise
    )


def _weak(form: LagrangianForm, windows: Windows) -> Float[np.ndarray, "windows dof K1"]:
    """The change of p less the integral of dL/dq over each window, without V: its derivatives by the
    parameters, and its value where these are 0.
    """
    with jax.enable_x64(True):
        ends, inside = (np.asarray(part) for part in _parts(form, windows.ends, jnp.asarray(windows.points)))
    inside = inside.reshape(*windows.spans.shape, form.dof, -1)
    return ends[:, 1] - ends[:, 0] - np.einsum("wn,wnik->wik", windows.spans, inside)


@jax.jit(static_argnums=0)
def _parts(
    form: LagrangianForm, ends: Float[Array, "windows 2 dim"], points: Float[Array, "nodes dim"]
) -> tuple[Float[Array, "windows 2 dof K1"], Float[Array, "nodes dof K1"]]:
    """p and dL/dq at states."""
    none = jnp.zeros(form.size)

    def every(function: Any) -> Any:
        def one(state: Array) -> Array:
            slopes = jax.jacrev(lambda theta: function(state, theta))(none)
            return jnp.concatenate([slopes, function(state, none)[:, None]], axis=1)

        return one

    def force(state: Array, theta: Array) -> Array:
        return form.rate * jax.grad(form.free)(state, theta)[: form.dof]

    return jax.vmap(jax.vmap(every(form.momenta)))(ends), jax.vmap(every(force))(points)
