"""The matrix exponential, the measures of the group coordinates, flows, and how invariant averages are."""

from functools import cache, partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from noether_razor.networks import HamiltonianNetwork
from noether_razor.phase_space import hamiltonian_field, symplectic_matrix
from noether_razor.quantities import GeneralQuantities, QuadraticQuantities, angular_momentum
from noether_razor.symmetry import (
    AffineSamples,
    Ball,
    Box,
    FlowAveraging,
    Gaussian,
    GroupDraws,
    HaarAveraging,
    HaarRotation,
    HaarUnitary,
    NoAveraging,
    expm,
    flow_samples,
    symmetrised,
)
from noether_razor.systems import NBody, Oscillators

pytestmark = pytest.mark.usefixtures("double_precision")

several_examples = settings(max_examples=30, deadline=None)
entries = st.floats(-1, 1, width=16)


def quartic(x):
    """A function without symmetry whose restriction to a circle has harmonics up to 4."""
    return (x[0] - 0.3) ** 4 + x[0] ** 3 * x[-1] + (1 + x[-1]) ** 2


def random_states(count: int, dof: int):
    return jnp.asarray(np.random.default_rng(9).standard_normal((count, 2 * dof)))


def non_invariance(quantities, averaging, samples, states, function=quartic) -> tuple[float, float]:
    """The r.m.s. of all {C_k, F} over the states, without and with averaging: 0 where F is invariant."""

    @jax.jit
    def remainders(key):
        averaged = symmetrised(function, averaging.sample(key, quantities, GroupDraws(samples)))

        def brackets(x):
            gradients = jax.jacrev(quantities)(x)
            return jnp.stack([gradients @ hamiltonian_field(f)(x) for f in (function, averaged)])

        return jnp.sqrt(jnp.mean(jax.vmap(brackets)(states) ** 2, axis=(0, 2)))

    before, after = remainders(jax.random.key(0))
    return float(before), float(after)


# The matrix exponential

compiled_expm = jax.jit(expm)


@several_examples
@given(arrays(np.float64, (3, 5, 5), elements=entries), st.floats(0, 63))
def test_expm_agrees_with_the_reference(matrices, norm):
    matrices = norm * matrices / np.maximum(1, np.linalg.norm(matrices, axis=(1, 2), keepdims=True))
    exact = scipy.linalg.expm(matrices)
    errors = np.linalg.norm(compiled_expm(matrices) - exact, axis=(1, 2)) / np.linalg.norm(exact, axis=(1, 2))
    assert errors.max() < 1e-11


def test_expm_in_single_precision_is_as_good_as_its_rounding():
    generators = np.pi * np.asarray(Oscillators((1.0, 1.0)).known_quantities().generators())[:3]
    single = compiled_expm(np.asarray(generators, np.float32))
    assert single.dtype == jnp.float32
    np.testing.assert_allclose(single, scipy.linalg.expm(generators), atol=1e-5)


@jax.jit
def derivatives(at, direction, cotangent):
    """The derivative of exp along `direction` in forward mode; its product with `cotangent` in reverse."""
    _, forward = jax.jvp(expm, (at,), (direction,))
    _, pull_back = jax.vjp(expm, at)
    return forward, jnp.sum(pull_back(cotangent)[0] * direction)


@pytest.mark.parametrize("norm", [0.0, 0.3, 7.0])
def test_derivative_of_expm_agrees_with_the_reference(norm):
    at, direction, cotangent = np.random.default_rng(0).standard_normal((3, 4, 4))
    at *= norm / np.linalg.norm(at)
    exact = scipy.linalg.expm_frechet(at, direction, compute_expm=False)
    forward, reverse = derivatives(at, direction, cotangent)
    tolerance = 1e-11 * float(np.linalg.norm(exact))
    np.testing.assert_allclose(forward, exact, atol=tolerance)
    np.testing.assert_allclose(reverse, np.sum(cotangent * exact), atol=tolerance)


def test_expm_is_nan_past_its_largest_norm_and_only_there():
    direction = np.diag([1.0, -1.0, 0.0]) / np.sqrt(2)
    found = compiled_expm(np.array([1.0, 63.9, 64.1, 1e300])[:, None, None] * direction)
    assert np.isfinite(found[:2]).all()
    assert np.isnan(found[2:]).all()
    lower = jax.jit(partial(expm, max_norm=2.0))(np.array([1.9, 2.1])[:, None, None] * direction)
    assert np.isfinite(lower[0]).all() and np.isnan(lower[1]).all()


@several_examples
@given(
    arrays(np.float64, (1, 4, 4), elements=entries),
    arrays(np.float64, (1, 4), elements=entries),
    st.floats(-1, 1),
)
def test_exp_of_a_generator_is_symplectic(matrices, vectors, w):
    quantities = QuadraticQuantities(jnp.asarray(matrices), jnp.asarray(vectors))
    linear = np.asarray(compiled_expm(np.pi * w * quantities.generators()))[0, :4, :4]
    error = linear.T @ symplectic_matrix(2) @ linear - symplectic_matrix(2)
    assert abs(error).max() < 1e-11 * max(1, np.linalg.norm(linear) ** 2)


# Measures

MEASURES = [Box(), Ball(), Gaussian(0.7)]
measures = pytest.mark.parametrize("measure", MEASURES, ids=lambda measure: type(measure).__name__)
dimensions = pytest.mark.parametrize("dim", [1, 3])
samplings = pytest.mark.parametrize("independent", [False, True], ids=["stratified", "independent"])


@cache
def many_draws(measure, dim, independent, count):
    """Draws of 2000 keys, shape (keys, count, dim)."""
    keys = jax.random.split(jax.random.key(1), 2000)
    return np.asarray(
        jax.jit(jax.vmap(lambda key: measure.sample(key, dim, count, independent=independent)))(keys)
    )


def second_moment(measure, dim):
    return {Box: 1 / 3, Ball: 1 / (dim + 2), Gaussian: 0.7**2}[type(measure)]


# An odd number of draws below: pairs cannot share them out evenly.


def assert_zero_mean(samples):
    """Within 5 standard errors over the first axis."""
    errors = samples.std(axis=0) / np.sqrt(len(samples))
    assert (abs(samples.mean(axis=0)) < 5 * errors + 1e-12).all()


@measures
@dimensions
@samplings
def test_averages_over_a_measure_are_unbiased(measure, dim, independent):
    w = many_draws(measure, dim, independent, 5)
    assert w.shape == (2000, 5, dim)
    assert_zero_mean(w.mean(axis=1))
    assert_zero_mean((w**2).mean(axis=1) - second_moment(measure, dim))


@measures
@dimensions
def test_every_single_draw_has_the_measure_as_its_law(measure, dim):
    w = many_draws(measure, dim, False, 5)
    assert_zero_mean(w)
    assert_zero_mean(w**2 - second_moment(measure, dim))


@measures
@dimensions
@samplings
def test_draws_stay_in_the_support(measure, dim, independent):
    w = many_draws(measure, dim, independent, 5)
    norm = {Box: abs(w).max(), Ball: np.linalg.norm(w, axis=-1).max(), Gaussian: 0.0}[type(measure)]
    assert np.isfinite(w).all() and norm <= 1 + 1e-12


def test_one_dimension_integrates_every_harmonic_below_the_number_of_points():
    harmonics = np.arange(1, 6)
    means = abs(np.exp(1j * np.pi * harmonics * many_draws(Box(), 1, False, 5)).mean(axis=1))
    np.testing.assert_allclose(means, np.tile(harmonics == 5, (2000, 1)), atol=1e-12)


def test_several_dimensions_are_stratified_in_each():
    strata = np.sort(np.floor((many_draws(Box(), 3, False, 5) + 1) / 2 * 5), axis=1)
    np.testing.assert_array_equal(strata, np.broadcast_to(np.arange(5)[:, None], strata.shape))


def test_draws_from_the_ball_are_antithetic():
    w = many_draws(Ball(), 3, False, 6)
    np.testing.assert_array_equal(np.sort(w, axis=1), np.sort(-w, axis=1))


@measures
@dimensions
def test_only_independent_draws_have_the_variance_of_independent_draws(measure, dim):
    independent, stratified = (
        many_draws(measure, dim, flag, 5).mean(axis=1).var(axis=0) for flag in (True, False)
    )
    variance = second_moment(measure, dim) / 5
    np.testing.assert_allclose(independent, variance, rtol=0.2)
    assert (stratified < 0.5 * variance).all()


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_gaussian_needs_a_positive_scale(scale):
    with pytest.raises(ValueError, match="positive, got"):
        Gaussian(scale)


# Flows


@jax.jit
def affine_images(matrices, vectors, w, x):
    return flow_samples(QuadraticQuantities(matrices, vectors), w)(x)


def test_a_translation_moves_by_pi_w():
    momentum = np.array([[0.0, 1.0]])
    images = affine_images(np.zeros((1, 2, 2)), momentum, np.array([[0.5], [-1.0]]), np.array([2.0, 3.0]))
    np.testing.assert_allclose(images, [[2 + np.pi / 2, 3], [2 - np.pi, 3]])


def test_the_unit_coordinate_of_an_oscillator_goes_round_half_a_circle():
    images = affine_images(np.eye(2)[None], np.zeros((1, 2)), np.array([[1.0], [0.5]]), np.array([2.0, 3.0]))
    np.testing.assert_allclose(images, [[-2, -3], [3, -2]], atol=1e-12)


def test_general_quantities_may_be_scalar_or_vector_but_no_matrix():
    assert GeneralQuantities(lambda x: x @ x, dof=2).count == 1
    assert GeneralQuantities(lambda x: x[:3], dof=2).count == 3
    with pytest.raises(ValueError, match=r"got shape \(4, 4\)"):
        GeneralQuantities(lambda x: jnp.outer(x, x), dof=2)


def test_an_average_over_general_flows_can_be_trained_through():
    # Reverse mode over the field of H, itself a gradient through the flow, against finite differences.
    network = HamiltonianNetwork(2, layers=2, width=4, rngs=nnx.Rngs(0))
    graph, params = nnx.split(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), network))
    w = jnp.array([[0.3, 0.1], [-0.6, 0.2]])
    x = jnp.array([0.4, 0.2])

    @jax.jit
    def loss(scale):
        quantities = GeneralQuantities(lambda y: scale * nnx.merge(graph, params)(y)[None].repeat(2), dof=1)
        hamiltonian = symmetrised(quartic, flow_samples(quantities, w, flow_steps=2))
        return jnp.sum(jax.grad(hamiltonian)(x) ** 2)

    numerical = (loss(1.0 + 1e-5) - loss(1.0 - 1e-5)) / 2e-5
    np.testing.assert_allclose(jax.grad(loss)(1.0), numerical, rtol=1e-6)


# Averages


def test_without_averaging_the_hamiltonian_is_the_network():
    x = jnp.array([0.3, -0.4])
    assert symmetrised(quartic, NoAveraging().sample(jax.random.key(0), None, GroupDraws(16)))(x) == quartic(
        x
    )


def test_averaging_over_flows_needs_quantities():
    with pytest.raises(ValueError, match="got None"):
        FlowAveraging().sample(jax.random.key(0), None, GroupDraws(16))


def test_averaging_over_one_compact_flow_makes_a_polynomial_exactly_invariant():
    before, after = non_invariance(
        Oscillators().known_quantities(), FlowAveraging(), 16, random_states(20, 1)
    )
    assert before > 1 and after < 1e-10


def test_averaging_over_one_compact_flow_makes_a_network_invariant_to_tolerance():
    network = HamiltonianNetwork(2, layers=3, width=8, rngs=nnx.Rngs(0))
    states = 2 * random_states(100, 1)
    before, after = non_invariance(Oscillators().known_quantities(), FlowAveraging(), 64, states, network)
    assert after < 0.01 * before


def test_averaging_over_a_torus_makes_a_function_invariant_to_tolerance():
    quantities = Oscillators((1.0, 2**0.5)).known_quantities()
    before, after = non_invariance(quantities, FlowAveraging(Box()), 1024, random_states(20, 2))
    assert after < 0.05 * before


def test_haar_averages_over_the_unitary_group_become_invariant_as_samples_grow():
    quantities, states = Oscillators((1.0, 1.0)).known_quantities(), random_states(10, 2)
    averaging = HaarAveraging(HaarUnitary(2))

    # Brackets are linear: those of an average are the averages of those of its terms.
    @jax.jit
    @jax.vmap
    def brackets(key):
        moved = symmetrised(quartic, averaging.sample(key, None, GroupDraws(1)))
        return jax.vmap(lambda x: jax.jacrev(quantities)(x) @ hamiltonian_field(moved)(x))(states)

    terms = np.asarray(brackets(jax.random.split(jax.random.key(0), 4096)))
    samples = np.array([4, 16, 64, 256])
    averages = [terms.reshape(-1, n, *terms.shape[1:]).mean(axis=1) for n in samples]
    slope = np.polyfit(np.log(samples), np.log([np.sqrt(np.mean(average**2)) for average in averages]), 1)[0]
    assert -0.6 < slope < -0.4


def surviving_share(matrices) -> float:
    """The r.m.s. share that an average keeps of the part of quadratics that U(n) does not leave invariant."""
    dim = matrices.shape[-1]
    i, j = np.triu_indices(dim)
    basis = np.zeros((len(i), dim, dim))
    basis[range(len(i)), i, j] = basis[range(len(i)), j, i] = np.where(i == j, 1, np.sqrt(0.5))
    invariant = np.eye(dim) / np.sqrt(dim)
    outside = basis - np.einsum("sij,ij->s", basis, invariant)[:, None, None] * invariant
    twirl = np.einsum("mai,mbj->abij", matrices, matrices, optimize=True) / len(matrices)
    kept = np.einsum("sab,abij->sij", outside, twirl)
    kept -= np.einsum("sij,ij->s", kept, invariant)[:, None, None] * invariant
    return float(np.linalg.norm(kept) / np.linalg.norm(outside))


@pytest.mark.parametrize(("dof", "lowest", "highest"), [(2, 0.05, 0.20), (3, 0.02, 0.08)])
def test_the_ball_leaves_a_floor_of_non_invariance_that_haar_does_not(dof, lowest, highest):
    quantities = Oscillators((1.0,) * dof).known_quantities()

    @jax.jit
    def elements(for_ball, for_haar):
        ball = flow_samples(quantities, Ball().sample(for_ball, dof**2, 4000))
        assert isinstance(ball, AffineSamples)
        return ball.matrices, HaarUnitary(dof).sample(for_haar, 4000)

    ball, haar = map(np.asarray, elements(jax.random.key(0), jax.random.key(1)))
    assert lowest < surviving_share(ball[:1000]) < highest
    assert lowest < surviving_share(ball) < highest
    assert surviving_share(haar) < 0.03


# Haar measures


def test_unitary_elements_are_orthogonal_symplectic_and_uniform():
    elements = np.asarray(jax.jit(HaarUnitary(3).sample, static_argnums=1)(jax.random.key(0), 5000))
    np.testing.assert_allclose(elements @ elements.mT, np.tile(np.eye(6), (5000, 1, 1)), atol=1e-12)
    rotated = elements.mT @ symplectic_matrix(3) @ elements
    np.testing.assert_allclose(rotated, np.tile(symplectic_matrix(3), (5000, 1, 1)), atol=1e-12)
    assert_zero_mean(elements.reshape(5000, -1))
    # |U_ij|^2 has mean 1 / n, spread over real and imaginary parts, and |U_ij|^4 has mean 2 / (n (n + 1)).
    assert_zero_mean((elements**2).reshape(5000, -1) - 1 / 6)
    moduli = elements[:, :3, :3] ** 2 + elements[:, 3:, :3] ** 2
    assert_zero_mean((moduli**2).reshape(5000, -1) - 2 / 12)


def test_rotations_are_symplectic_and_leave_energy_and_angular_momentum_invariant():
    bodies = NBody((1.0, 2.0), dimension=3)
    elements = np.asarray(jax.jit(HaarRotation(2, 3).sample, static_argnums=1)(jax.random.key(0), 500))
    assert elements.shape == (500, 12, 12)
    np.testing.assert_allclose(np.linalg.det(elements[:, :3, :3]), 1, atol=1e-12)
    rotated = elements.mT @ symplectic_matrix(6) @ elements
    np.testing.assert_allclose(rotated, np.tile(symplectic_matrix(6), (500, 1, 1)), atol=1e-12)
    assert_zero_mean(elements[:, :3, :3].reshape(500, -1))

    x = random_states(1, 6)[0]
    images = elements @ x
    energies = np.asarray(jax.jit(jax.vmap(bodies.hamiltonian))(images))
    np.testing.assert_allclose(energies, bodies.hamiltonian(jnp.asarray(x)), rtol=1e-12)
    sizes = np.linalg.norm(jax.jit(jax.vmap(angular_momentum(2, 3)))(images), axis=1)
    np.testing.assert_allclose(sizes, sizes[0], rtol=1e-12)
