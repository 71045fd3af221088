"""Orders of convergence, derivatives through the steps, and accurate trajectories."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noether_razor.integrators import euler_step, rk4_step, rollout, transition
from noether_razor.phase_space import hamiltonian_field, symplectic_matrix
from noether_razor.systems import InitialStates, NBody, Oscillators, Pendulum

pytestmark = pytest.mark.usefixtures("double_precision")


def stiffness_energy(stiffness, x):
    """A nonlinear Hamiltonian with parameters to differentiate by."""
    return x[1] ** 2 / 2 + stiffness[0] * x[0] ** 2 / 2 + stiffness[1] * x[0] ** 4


def central_difference(function, at, direction, size=1e-5):
    return (function(at + size * direction) - function(at - size * direction)) / (2 * size)


@pytest.mark.parametrize(("step", "order"), [(euler_step, 1), (rk4_step, 4)])
def test_error_falls_with_the_order_of_the_method(step, order):
    # H = (q^2 + p^2)^2 / 4 is nonlinear and yet solved by a rotation with frequency q^2 + p^2.
    field = hamiltonian_field(lambda x: jnp.sum(x**2) ** 2 / 4)
    state, time = np.array([0.9, 0.4]), 1.5
    angle = time * np.sum(state**2)
    exact = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) @ state
    advance = partial(transition, field, jnp.asarray(state), jnp.asarray(time), step=step)
    errors = np.array([np.linalg.norm(advance(substeps=n) - exact) for n in (64, 128, 256)])
    np.testing.assert_allclose(np.log2(errors[:-1] / errors[1:]), order, atol=0.1)


def test_substeps_compose():
    field = hamiltonian_field(Pendulum().hamiltonian)
    once = state = jnp.array([0.8, -0.5])
    for _ in range(4):
        once = transition(field, once, jnp.asarray(0.1))
    np.testing.assert_allclose(transition(field, state, jnp.asarray(0.4), substeps=4), once, rtol=1e-14)


def test_negative_time_goes_back():
    field = hamiltonian_field(Pendulum().hamiltonian)
    state = jnp.array([0.8, -0.5])
    there = transition(field, state, jnp.asarray(0.2), substeps=8)
    np.testing.assert_allclose(transition(field, there, jnp.asarray(-0.2), substeps=8), state, atol=1e-9)


def test_forward_and_reverse_mode_agree_with_the_exact_jacobian():
    # On a linear field x' = G x a Runge-Kutta step of order 4 is the Taylor polynomial of exp(h G).
    substeps, dt = 3, jnp.asarray(0.6)
    generator = symplectic_matrix(1) * dt / substeps
    powers = [np.linalg.matrix_power(generator, k) / np.prod(range(1, k + 1)) for k in range(5)]
    exact = np.linalg.matrix_power(np.sum(powers, axis=0), substeps)

    def advance(x):
        return transition(hamiltonian_field(Oscillators().hamiltonian), x, dt, substeps=substeps)

    for jacobian in (jax.jacfwd, jax.jacrev):
        np.testing.assert_allclose(jacobian(advance)(jnp.array([0.4, 1.0])), exact, atol=1e-14)


def test_gradient_through_substeps_agrees_with_finite_differences():
    state, dt = jnp.array([0.9, -0.3]), jnp.asarray(0.5)

    @jax.jit
    def loss(stiffness):
        field = hamiltonian_field(partial(stiffness_energy, stiffness))
        return jnp.sum(transition(field, state, dt, substeps=3) ** 2)

    at, direction = jnp.array([1.0, 0.2]), jnp.array([0.6, -0.8])
    np.testing.assert_allclose(
        jax.grad(loss)(at) @ direction, central_difference(loss, at, direction), rtol=1e-7
    )


def test_forward_over_reverse_through_substeps_agrees_with_finite_differences():
    state, dt, direction = jnp.array([0.9, -0.3]), jnp.asarray(0.5), jnp.array([0.6, -0.8])

    def loss(stiffness):
        field = hamiltonian_field(partial(stiffness_energy, stiffness))
        return jnp.sum(transition(field, state, dt, substeps=3) ** 2)

    at, gradient = jnp.array([1.0, 0.2]), jax.jit(jax.grad(loss))
    _, curvature = jax.jvp(gradient, (at,), (direction,))
    np.testing.assert_allclose(curvature, central_difference(gradient, at, direction), rtol=1e-6)


def test_a_flow_inside_a_hamiltonian_can_be_trained_through():
    # Averaging over the flow of a general quantity needs reverse mode over the gradient of H over a flow.
    state = jnp.array([0.5, 0.3])

    @jax.jit
    def loss(stiffness):
        quantity = hamiltonian_field(partial(stiffness_energy, stiffness))

        def averaged(x):
            return Pendulum().hamiltonian(transition(quantity, x, jnp.asarray(0.7), substeps=2))

        return jnp.sum(euler_step(hamiltonian_field(averaged), state, jnp.asarray(0.4)) ** 2)

    at, direction = jnp.array([1.0, 0.2]), jnp.array([0.6, -0.8])
    np.testing.assert_allclose(
        jax.grad(loss)(at) @ direction, central_difference(loss, at, direction), rtol=1e-6
    )


def test_rollout_follows_the_exact_oscillators():
    frequencies = np.array([1.0, np.sqrt(2), -0.5])
    initial = InitialStates().draw(jax.random.key(0), 4, 3)
    # Uneven times, other ones for every trajectory, that do not start at 0.
    times = jnp.cumsum(jax.random.uniform(jax.random.key(1), (4, 9), minval=0.05, maxval=1.0), axis=1)
    found = rollout(Oscillators(tuple(frequencies)).hamiltonian, initial, times)

    angle = frequencies * np.asarray(times - times[:, :1])[..., None]
    q, p = np.split(np.asarray(initial)[:, None], 2, axis=-1)
    exact = np.concatenate(
        [q * np.cos(angle) + p * np.sin(angle), p * np.cos(angle) - q * np.sin(angle)], axis=-1
    )
    np.testing.assert_allclose(found, exact, atol=1e-8)


def test_energy_of_three_bodies_drifts_by_less_than_1e_8():
    bodies = NBody()
    initial = InitialStates(scale_p=0.5).draw(jax.random.key(0), 20, bodies.dof)
    times = jnp.tile(jnp.linspace(0.0, 10.0, 51), (20, 1))
    energies = jax.vmap(jax.vmap(bodies.hamiltonian))(rollout(bodies.hamiltonian, initial, times))
    assert jnp.abs(energies - energies[:, :1]).max() < 1e-8
