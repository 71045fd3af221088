"""Derivatives of functions against those of autodiff."""

from typing import Any

import jax
from jax import Array
from numpy.testing import assert_allclose


def assert_derivatives_of_autodiff(features: Any, state: Array, c: Array) -> None:
    """The gradient and Hessian of c . phi, and the gradients of all phi, at a state."""

    def hamiltonian(x: Array) -> Array:
        return features.values(x) @ c

    @jax.jit
    def both(x: Array) -> Any:
        slopes = features.slopes(x, features.prepared(c))
        ours = slopes.gradient, slopes.hessian, features.slopes_of_all(x)
        return ours, (jax.grad(hamiltonian)(x), jax.hessian(hamiltonian)(x), jax.jacfwd(features.values)(x).T)

    for ours, theirs in zip(*both(state), strict=True):
        assert_allclose(ours, theirs, atol=1e-12)
