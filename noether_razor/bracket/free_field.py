"""A vector field from data, and the closed forms that it preserves."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.prior import Prior
from ..exact_evidence.start import Windows, ridge
from .forms import ConstantForm, Form

MOST_POINTS = 400
"""States at which forms are compared."""
CHANCE = 4.0
"""Mean square of Omega F + F^T Omega over what errors of F make of it, below which a form is preserved."""
ROUNDING = 1e-6
"""The same over the size of F, which is rounding."""


class FreeField(NamedTuple):
    """x' = f(x) at some states: velocities (points, dim) and Jacobians (points, dim, dim)."""

    states: Float[np.ndarray, "points dim"]
    velocities: Float[np.ndarray, "points dim"]
    jacobians: Float[np.ndarray, "points dim dim"]

    @classmethod
    def of(
        cls, features: LinearFeatures, windows: Windows, states: Float[np.ndarray, "points dim"]
    ) -> "FreeField":
        """By the weak form x(t_k+2) - x(t_k) = int f(x(t)) dt, each component a combination of 1 and the
        features with a prior chosen by evidence.
        """
        values = _with_one(features.values_at(windows.points))
        values = values.reshape(*windows.spans.shape, -1)
        design = np.einsum("wn,wnp->wp", windows.spans, values)
        groups = np.concatenate([[0], features.groups + 1])
        prior = Prior.of(np.eye(len(groups)), groups)
        changes = windows.changes.reshape(len(design), -1)
        found = [ridge(design, column, prior) for column in changes.T]
        coefficients = np.stack([one.mean for one in found])
        return cls(
            states=states,
            velocities=_with_one(features.values_at(states)) @ coefficients.T,
            jacobians=np.einsum("ap,xjp->xaj", coefficients[:, 1:], features.gradients(states)),
        )


def _with_one(values: Float[np.ndarray, "rows P"]) -> Float[np.ndarray, "rows one_and_P"]:
    return np.concatenate([np.ones((len(values), 1)), values], axis=1)


def nearest_form(form: Form, field: FreeField, basis: Float[np.ndarray, "K Z"]) -> Float[np.ndarray, " K"]:
    """Parameters theta = basis z of the form that the field changes least, by linear regression of
    L_f Omega = (f . grad) Omega + Omega F + F^T Omega, which is linear in theta.
    """
    if not basis.shape[1]:
        return np.zeros(form.size)
    rest = changes_of(form, field, np.zeros((1, form.size)))[0]
    columns = changes_of(form, field, basis.T) - rest
    # Functions that are alike where the data are would take large values of opposite signs.
    return basis @ ridge(columns.T, -rest, Prior.of(np.eye(len(columns)), np.zeros(len(columns), int))).mean


def changes_of(
    form: Form, field: FreeField, parameters: Float[np.ndarray, "Z K"]
) -> Float[np.ndarray, "Z entries"]:
    """L_f Omega at all states, for each of several sets of parameters: the entries above the diagonal."""
    with jax.enable_x64(True):
        found = np.asarray(
            _changes(form, *map(jnp.asarray, (field.states, field.velocities, field.jacobians, parameters)))
        )
    above = np.triu_indices(form.dim, 1)
    return found[..., above[0], above[1]].reshape(len(parameters), -1)


@jax.jit(static_argnums=0)
def _changes(
    form: Form,
    states: Float[jax.Array, "points dim"],
    velocities: Float[jax.Array, "points dim"],
    jacobians: Float[jax.Array, "points dim dim"],
    parameters: Float[jax.Array, "Z K"],
) -> Float[jax.Array, "Z points dim dim"]:
    def one(theta: jax.Array, x: jax.Array, f: jax.Array, jacobian: jax.Array) -> jax.Array:
        omega, along = jax.jvp(lambda y: form.form(y, theta), (x,), (f,))
        return along + omega @ jacobian + jacobian.T @ omega

    each = jax.vmap(one, (None, 0, 0, 0))
    return jax.vmap(each, (0, None, None, None))(parameters, states, velocities, jacobians)


class Spectrum(NamedTuple):
    """Singular values, increasing, of Omega -> Omega F + F^T Omega on constant forms, over the size of the
    Jacobians F; and how many forms the motion preserves as far as its errors can tell.
    """

    values: Float[np.ndarray, " K"]
    preserved: int


def spectrum(
    jacobians: Float[np.ndarray, "points dim dim"], draws: Float[np.ndarray, "draws points dim dim"]
) -> Spectrum:
    """That of all constant forms, for Jacobians and draws of their posterior."""
    dim = jacobians.shape[1]
    basis = ConstantForm(dim // 2).every
    vectors, values, _ = np.linalg.svd(_changes_of_constant(basis, jacobians), full_matrices=False)
    forms = np.einsum("ks,kij->sij", vectors, basis)[::-1]
    values = values[::-1]
    size = np.sqrt(np.sum(jacobians**2))
    if not len(draws):
        return Spectrum(values / size, 0)
    noise = np.mean(
        [np.sum(_changes_of_constant(forms, one - jacobians) ** 2, axis=1) for one in draws], axis=0
    )
    preserved = values**2 < np.maximum(CHANCE * noise, (ROUNDING * size) ** 2)
    return Spectrum(values / size, int(np.sum(np.cumprod(preserved))))


def _changes_of_constant(
    forms: Float[np.ndarray, "K dim dim"], jacobians: Float[np.ndarray, "points dim dim"]
) -> Float[np.ndarray, "K entries"]:
    """Omega F + F^T Omega at all points: the entries above the diagonal."""
    products = np.einsum("kia,xaj->kxij", forms, jacobians)
    first, second = np.triu_indices(forms.shape[1], 1)
    return (products - products.transpose(0, 1, 3, 2))[:, :, first, second].reshape(len(forms), -1)
