"""What a system is known to conserve commutes with its Hamiltonian, is independent, and is all there is."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from noether_razor.phase_space import hamiltonian_field, poisson_bracket
from noether_razor.quantities import (
    QuadraticQuantities,
    angular_momentum,
    linear_momentum,
    unitary_quantities,
)
from noether_razor.systems import (
    SYSTEMS,
    HamiltonianSystem,
    InitialStates,
    NBody,
    Oscillators,
    Pendulum,
)

pytestmark = pytest.mark.usefixtures("double_precision")

SQRT2 = 2**0.5
COUNTS = [
    (Oscillators(), 1),
    (Oscillators((1.0, 1.0)), 4),
    (Oscillators((3.0, 3.0, 3.0)), 9),
    (Oscillators((1.0, SQRT2)), 2),
    (Oscillators((1.0, 2.0)), 2),
    (Oscillators((1.0, -1.0)), 4),
    (Oscillators((1.0, 1.0, SQRT2)), 5),
    (Oscillators((1.0, -1.0, 1.0)), 9),
    (NBody(), 7),
    (NBody((1.0, 2.0, 0.5), softening=0.3, coupling=2.0), 7),
    (NBody((1.0, 3.0)), 7),
    (NBody((1.0, 1.0, 2.0), dimension=1), 2),
    (NBody((1.0, 2.0, 1.0), dimension=3), 15),
]
systems = pytest.mark.parametrize(("system", "count"), COUNTS, ids=lambda value: str(value))


@cache
def sampled_field(system: HamiltonianSystem) -> tuple[np.ndarray, np.ndarray]:
    """Random states, enough to tell all functions of degree two apart, and J grad H there."""
    dim = 2 * system.dof
    states = np.random.default_rng(0).standard_normal((dim * (dim + 3), dim))
    return states, np.asarray(jax.jit(jax.vmap(hamiltonian_field(system.hamiltonian)))(states))


def known(system: HamiltonianSystem) -> QuadraticQuantities:
    quantities = system.known_quantities()
    assert quantities is not None
    return quantities


def same_span(left: QuadraticQuantities, right: QuadraticQuantities) -> bool:
    rows = [np.asarray(quantities.generators()).reshape(quantities.count, -1) for quantities in (left, right)]
    return (
        np.linalg.matrix_rank(np.vstack(rows))
        == np.linalg.matrix_rank(rows[0])
        == np.linalg.matrix_rank(rows[1])
    )


def conserved_dimension(system: HamiltonianSystem) -> int:
    """The dimension of the space of all C of degree 1 and 2 with {C, H} = 0, from H at random states."""
    states, velocities = sampled_field(system)
    i, j = np.triu_indices(2 * system.dof)
    rates = np.hstack([velocities, states[:, i] * velocities[:, j] + velocities[:, i] * states[:, j]])
    singular_values = np.linalg.svd(rates, compute_uv=False)
    return int(np.sum(singular_values < 1e-10 * singular_values[0]))


@systems
def test_known_quantities_commute_with_the_hamiltonian(system, count):
    quantities = known(system)
    assert quantities.count == count
    states, velocities = sampled_field(system)
    gradients = np.einsum("kij,sj->ski", quantities.symmetric_matrices(), states) + np.asarray(
        quantities.vectors[...]
    )
    assert abs(np.einsum("ski,si->sk", gradients, velocities)).max() < 1e-10


@systems
def test_known_quantities_are_independent(system, count):
    generators = np.asarray(known(system).generators())
    assert np.linalg.matrix_rank(generators.reshape(len(generators), -1)) == count


@systems
def test_known_quantities_are_complete(system, count):
    assert conserved_dimension(system) == count


def test_a_quantity_of_degree_two_has_the_gradient_of_its_matrix_and_vector():
    quantities = QuadraticQuantities.random(jax.random.key(0), 2, 2, 1.0)
    x = jnp.array([0.3, -1.0, 2.0, 0.5])
    expected = quantities.symmetric_matrices() @ x + quantities.vectors[...]
    np.testing.assert_allclose(jax.jacrev(quantities)(x), expected, rtol=1e-12)


def test_the_pendulum_conserves_nothing_of_degree_two():
    assert Pendulum(1.3).known_quantities() is None
    assert conserved_dimension(Pendulum(1.3)) == 0


def test_the_pendulum_conserves_its_energy_and_not_the_small_angle_energy():
    pendulum, x = Pendulum(1.3), jnp.array([0.9, 0.4])

    def small_angle(x):
        return (x[1] ** 2 + 1.3**2 * x[0] ** 2) / 2

    assert abs(poisson_bracket(pendulum.hamiltonian, pendulum.hamiltonian)(x)) < 1e-15
    assert abs(poisson_bracket(small_angle, pendulum.hamiltonian)(x)) > 0.01


@pytest.mark.parametrize("dof", [1, 2, 3])
def test_equal_oscillators_conserve_the_unitary_algebra(dof):
    assert unitary_quantities(dof).count == dof**2
    assert same_span(known(Oscillators((1.0,) * dof)), unitary_quantities(dof))


def test_bodies_conserve_momentum_and_angular_momentum():
    quantities = known(NBody((1.0, 2.0, 1.0), dimension=3))
    for part in (linear_momentum(3, 3), angular_momentum(3, 3)):
        both = QuadraticQuantities(
            jnp.concatenate([quantities.matrices[...], part.matrices[...]]),
            jnp.concatenate([quantities.vectors[...], part.vectors[...]]),
        )
        assert same_span(quantities, both)


def test_energy_of_two_bodies_is_what_the_formula_says():
    x = jnp.array([0.0, 0.0, 3.0, 4.0, 1.0, 0.0, 0.0, 2.0])
    energy = NBody((1.0, 2.0), softening=12.0, coupling=3.0).hamiltonian(x)
    np.testing.assert_allclose(energy, 1 / 2 + 4 / 4 - 3 * 2 / 13)


def test_initial_states_have_the_scales_and_shift_asked_for():
    states = np.asarray(InitialStates(3.0, 0.2, 1.0).draw(jax.random.key(0), 20_000, 2))
    assert states.shape == (20_000, 4)
    scales = np.array([3.0, 3.0, 0.2, 0.2])
    np.testing.assert_array_less(abs(states.mean(0) - [1, 1, 0, 0]), 5 * scales / np.sqrt(20_000))
    np.testing.assert_array_less(abs(states.var(0) / scales**2 - 1), 5 * np.sqrt(2 / 20_000))


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("oscillators", {"frequencies": ()}),
        ("oscillators", {"frequencies": (1.0, 0.0)}),
        ("oscillators", {"frequencies": (1.0, float("nan"))}),
        ("oscillators", {"frequencies": (float("inf"),)}),
        ("pendulum", {"frequency": 0.0}),
        ("pendulum", {"frequency": -1.0}),
        ("pendulum", {"frequency": float("nan")}),
        ("pendulum", {"frequency": float("inf")}),
        ("n_body", {"masses": (1.0,)}),
        ("n_body", {"masses": (1.0, -1.0)}),
        ("n_body", {"masses": (1.0, float("inf"))}),
        ("n_body", {"dimension": 0}),
        ("n_body", {"softening": -0.1}),
        ("n_body", {"softening": float("nan")}),
        ("n_body", {"coupling": float("nan")}),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(kind, parameters):
    with pytest.raises(ValueError, match="got"):
        SYSTEMS[kind](**parameters)


@pytest.mark.parametrize(
    ("dof", "parameters"), [(5, {}), (2, {}), (6, {"dimension": 0}), (6, {"dimension": 4})]
)
def test_bodies_refuse_degrees_of_freedom_that_do_not_fit(dof, parameters):
    with pytest.raises(ValueError, match="multiple"):
        NBody.of_dof(dof, parameters)


def test_degrees_of_freedom_set_the_number_of_parts():
    assert NBody(**NBody.of_dof(9, {"dimension": 3})).masses == (1.0, 1.0, 1.0)
    assert Oscillators(**Oscillators.of_dof(3, {})).frequencies == (1.0, 1.0, 1.0)
