"""Motion and charges of Lagrangians, against what is known of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noether_razor.mechanics import (
    breaking,
    bregman,
    budget,
    euclidean,
    euler_lagrange,
    learning_lagrangian,
    metric,
    motion,
    noether_charge,
)

pytestmark = pytest.mark.usefixtures("double_precision")


def kepler(q, v, t):
    del t
    return v @ v / 2 + 1 / jnp.sqrt(q @ q)


def pendulum(q, v, t):
    del t
    return v @ v / 2 + jnp.cos(q[0])


def rotation(q):
    return jnp.stack([-q[1], q[0], *jnp.zeros(len(q) - 2)])


def scale(q):
    return q


def shift(q):
    return jnp.ones_like(q)


def hyperbolic(q):
    return q * jnp.asarray([1.0, -1.0, 0.0])


def loss(q):
    """Without any symmetry."""
    return jnp.sum(jnp.cosh(q * jnp.asarray([1.0, 0.6, 1.3]))) + q[0] * q[1] - 0.3 * q[2] ** 3 * q[0]


def fisher(q):
    rows = jnp.stack([jnp.sin(q), jnp.cos(q[::-1]), q])
    return jnp.eye(3) + rows.T @ rows / 3


METRICS = {
    "euclidean": euclidean,
    "adam": metric(lambda q: jnp.diag(jnp.asarray([0.5, 1.0, 3.0]))),
    "natural": metric(fisher),
    "bregman": bregman(lambda q: jnp.sum(jnp.cosh(q))),
    "scalar": metric(lambda q: (1 + q @ q) * jnp.eye(3)),
}
GENERATORS = {"rotation": rotation, "scale": scale, "shift": shift, "hyperbolic": hyperbolic}


@pytest.fixture
def state(double_precision):
    return jnp.array([0.4, -0.7, 0.5]), jnp.array([0.3, 0.9, -0.2])


def test_the_pendulum_swings_as_its_equation_says():
    field = jax.jit(euler_lagrange(pendulum))
    for angle in (0.3, 2.0):
        assert float(field(jnp.array([angle]), jnp.array([0.7]), jnp.array(0.0))[0]) == pytest.approx(
            -np.sin(angle)
        )


def test_an_orbit_closes_and_keeps_its_angular_momentum():
    start = (jnp.array([0.5, 0.0]), jnp.array([0.0, np.sqrt(3.0)]))  # semi-major axis 1, eccentricity 1/2
    times = jnp.linspace(0.0, 2 * np.pi, 9)
    q, v = motion(kepler, *start, times)
    np.testing.assert_allclose(q[-1], q[0], atol=1e-9)
    np.testing.assert_allclose(q[4], [-1.5, 0.0], atol=1e-9)
    charge = jax.vmap(noether_charge(kepler, rotation))(q, v, times)
    np.testing.assert_allclose(charge, charge[0], rtol=1e-11)
    assert np.abs(jax.vmap(breaking(kepler, rotation))(q, v, times)).max() < 1e-14
    # The negative control: a translation is no symmetry of it.
    momentum = jax.vmap(noether_charge(kepler, shift))(q, v, times)
    assert np.ptp(momentum) > 1


@pytest.mark.parametrize("name", METRICS)
def test_the_budget_closes_at_a_point_for_every_symmetry(name, state):
    learning = learning_lagrangian(loss, METRICS[name], mass=0.4, damping=0.3, decay=0.2)

    @jax.jit
    def every(q, v):
        acceleration = euler_lagrange(learning)(q, v, jnp.array(0.0))
        rows = []
        for generator in GENERATORS.values():
            parts = budget(learning, generator)
            rate = jax.jvp(lambda *at, parts=parts: parts(*at).charge, (q, v), (v, acceleration))[1]
            whole = noether_charge(learning, generator)(q, v, jnp.array(0.7))
            rows.append(jnp.stack([rate, parts(q, v).total, whole, parts(q, v).charge]))
        return jnp.stack(rows)

    rate, total, whole, charge = np.asarray(every(*state)).T
    np.testing.assert_allclose(rate, total, atol=2e-12)
    # The charge of the Lagrangian itself says the same of a moment.
    np.testing.assert_allclose(whole, np.exp(0.3 * 0.7 / 0.4) * charge, rtol=1e-13)


@pytest.mark.slow
def test_the_budget_closes_along_a_motion(state):
    learning = learning_lagrangian(loss, METRICS["bregman"], mass=0.4, damping=0.3, decay=0.2)
    parts = jax.vmap(budget(learning, scale))
    nodes, weights = np.polynomial.legendre.leggauss(40)
    times = np.concatenate([[0.0], 1.5 * (nodes + 1), [3.0]])
    found = parts(*motion(learning, state[0], state[1], jnp.asarray(times), tolerance=1e-13))
    change = float(found.charge[-1] - found.charge[0])
    assert change == pytest.approx(float(1.5 * weights @ found.total[1:-1]), abs=1e-10)
    assert abs(change) > 0.01


def test_the_kinetic_part_vanishes_for_killing_fields_alone(state):
    def kinetic(name, generator):
        learning = learning_lagrangian(loss, METRICS[name])
        return abs(float(budget(learning, generator)(*state).kinetic))

    for name, generator in (
        ("euclidean", rotation),
        ("euclidean", shift),
        ("adam", shift),
        ("scalar", rotation),
    ):
        assert kinetic(name, generator) < 1e-15
    for name, generator in (("euclidean", scale), ("adam", rotation), ("scalar", shift), ("bregman", shift)):
        assert kinetic(name, generator) > 1e-2


def test_the_equation_of_motion_is_that_of_the_learning_rule(state):
    q, v = state
    learning = learning_lagrangian(loss, mass=0.4, damping=0.3, decay=0.2)
    found = euler_lagrange(learning)(q, v, jnp.array(1.3))
    wanted = -(0.3 * v + jax.grad(loss)(q) + 0.2 * q) / 0.4
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
