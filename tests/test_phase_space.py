"""The Poisson bracket and Hamilton's equations, on random polynomials of degree at most three."""

from itertools import combinations_with_replacement

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noether_razor.phase_space import (
    hamiltonian_field,
    poisson_bracket,
    symplectic_gradient,
    symplectic_matrix,
)
from noether_razor.typing import Hamiltonian

pytestmark = pytest.mark.usefixtures("double_precision")

DOF = 2
# With x_0 = 1 in front of the state, the products of three coordinates are all monomials of degree 0 to 3.
TRIPLES = np.array(list(combinations_with_replacement(range(2 * DOF + 1), 3)))

coefficients = arrays(np.float64, len(TRIPLES), elements=st.integers(-3, 3).map(float))
states = arrays(np.float64, 2 * DOF, elements=st.floats(-2, 2, width=16))
several_examples = settings(max_examples=30, deadline=None)


def polynomial(terms) -> Hamiltonian:
    return lambda x: terms @ jnp.prod(jnp.concatenate([jnp.ones(1), x])[TRIPLES], axis=1)


def vanishes(total, *parts) -> bool:
    return abs(total) <= 1e-12 * (1 + sum(abs(part) for part in parts))


@jax.jit
def brackets_both_ways(f, g, x):
    return poisson_bracket(polynomial(f), polynomial(g))(x), poisson_bracket(polynomial(g), polynomial(f))(x)


@jax.jit
def jacobi_terms(f, g, h, x):
    a, b, c = polynomial(f), polynomial(g), polynomial(h)
    cyclic = ((a, b, c), (b, c, a), (c, a, b))
    return jnp.stack([poisson_bracket(u, poisson_bracket(v, w))(x) for u, v, w in cyclic])


@jax.jit
def leibniz_terms(f, g, h, x):
    a, b, c = polynomial(f), polynomial(g), polynomial(h)
    of_product = poisson_bracket(lambda y: a(y) * b(y), c)(x)
    return of_product, a(x) * poisson_bracket(b, c)(x), poisson_bracket(a, c)(x) * b(x)


@jax.jit
def energy_rate(f, x):
    gradient = jax.grad(polynomial(f))(x)
    return gradient * hamiltonian_field(polynomial(f))(x)


@several_examples
@given(coefficients, coefficients, states)
def test_bracket_is_antisymmetric(f, g, x):
    forward, backward = brackets_both_ways(f, g, x)
    assert vanishes(forward + backward, forward)


@several_examples
@given(coefficients, coefficients, coefficients, states)
def test_bracket_satisfies_the_jacobi_identity(f, g, h, x):
    terms = jacobi_terms(f, g, h, x)
    # The terms are themselves differences of products that can be 1e3 times larger.
    assert abs(terms.sum()) <= 1e-9 * (1 + abs(terms).sum())


@several_examples
@given(coefficients, coefficients, coefficients, states)
def test_bracket_satisfies_the_leibniz_rule(f, g, h, x):
    of_product, first, second = leibniz_terms(f, g, h, x)
    assert abs(of_product - first - second) <= 1e-9 * (1 + abs(of_product) + abs(first) + abs(second))


@several_examples
@given(coefficients, states)
def test_a_hamiltonian_is_constant_along_its_own_field(f, x):
    rates = energy_rate(f, x)
    assert vanishes(rates.sum(), *rates)


def test_positions_and_momenta_are_canonical():
    dof = 3
    x = jnp.arange(1.0, 2 * dof + 1)
    coordinates = [lambda y, i=i: y[i] for i in range(2 * dof)]
    brackets = np.array([[poisson_bracket(a, b)(x) for b in coordinates] for a in coordinates])
    np.testing.assert_array_equal(brackets, symplectic_matrix(dof))


@pytest.mark.parametrize("dof", [1, 3])
def test_symplectic_matrix_is_antisymmetric_and_orthogonal(dof):
    matrix = np.asarray(symplectic_matrix(dof))
    np.testing.assert_array_equal(matrix.T, -matrix)
    np.testing.assert_array_equal(matrix @ matrix.T, np.eye(2 * dof))


def test_symplectic_gradient_is_the_product_with_j():
    gradient = jnp.arange(1.0, 7.0)
    np.testing.assert_array_equal(symplectic_gradient(gradient), symplectic_matrix(3) @ gradient)


def test_field_of_the_oscillator_is_hamiltons_equations():
    field = hamiltonian_field(lambda x: (x[0] ** 2 + x[1] ** 2) / 2)
    np.testing.assert_allclose(field(jnp.array([0.3, -0.7])), [-0.7, -0.3])
