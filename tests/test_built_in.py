"""Given quantities are built in: H is invariant under their flows whatever the network is."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.discovery.invariance import bracket
from noether_razor.networks import HamiltonianNetwork
from noether_razor.quadratic_forms import Quadratics
from noether_razor.quantities import QuadraticQuantities, parse_hypothesis
from noether_razor.symmetry import (
    AffineSamples,
    BuiltIn,
    BuiltInAveraging,
    CannotBuildInError,
    FlowAveraging,
    GroupDraws,
    GroupSamples,
    Slice,
    SliceSamples,
    built_in,
    sized,
    symmetrised,
)
from noether_razor.systems import NBody

SPREADS = np.array([1.0, 2.0, 0.5, 3.0, 0.8, 1.5])


def states(dof: int) -> np.ndarray:
    draws = np.random.default_rng(dof).standard_normal((300, 2 * dof))
    return draws * np.concatenate([SPREADS[:dof], SPREADS[-dof:]]) + 0.2


def quantities(text: str, dof: int, angles: tuple[int, ...] = ()) -> QuadraticQuantities:
    names = [f"{letter}{k + 1}" for letter in "qp" for k in range(dof)]
    read = parse_hypothesis(text, names, angles=angles)
    return QuadraticQuantities(jnp.asarray(read.matrices), jnp.asarray(read.vectors), angles=angles)


def constructed(given: QuadraticQuantities) -> BuiltIn:
    points = states(given.dof)
    return built_in(given, points, points.std(axis=0))


def moved(slice_: Slice, points: jax.Array, velocities: jax.Array) -> jax.Array:
    """How fast what the network sees changes where states have these velocities."""
    return jax.vmap(lambda state, velocity: jax.jvp(slice_, (state,), (velocity,))[1])(points, velocities)


def flowing(given: QuadraticQuantities) -> tuple[jax.Array, jax.Array]:
    """States, once for each quantity, and their velocities under its flow, at most 1."""
    points = states(given.dof)
    fields = np.asarray(given.generators())[:, :-1]
    velocities = np.einsum("kij,nj->kni", fields[:, :, :-1], points) + fields[:, None, :, -1]
    velocities = velocities.reshape(-1, points.shape[1]) / np.abs(velocities).max()
    return jnp.asarray(np.tile(points, (given.count, 1)), jnp.float32), jnp.asarray(velocities, jnp.float32)


@partial(jax.jit, static_argnames="dof")
def slopes(samples: GroupSamples, points: jax.Array, dof: int) -> jax.Array:
    """The gradient of a random network that is averaged over group samples."""
    network = HamiltonianNetwork(2 * dof, layers=3, width=16, rngs=nnx.Rngs(dof))
    return jax.vmap(jax.grad(symmetrised(network, samples)))(points)


def broken(given: QuadraticQuantities, samples: GroupSamples) -> float:
    """How far that is from invariant: {C, H} over |grad C||grad H|."""
    points = states(given.dof)
    found = np.asarray(slopes(samples, jnp.asarray(points, jnp.float32), given.dof), np.float64)
    assert np.linalg.norm(found) > 1e-3
    matrices, vectors = np.asarray(given.symmetric_matrices()), np.asarray(given.vectors[...])
    return bracket(points, found, Quadratics(matrices, vectors, np.zeros(given.count)))


@pytest.mark.parametrize(
    ("text", "dof"),
    [
        ("p1", 2),
        ("p1 - 2*q2 + 0.5*p2", 2),
        ("q1, p1", 2),
        ("p1, p2, p1^2, p1*p2, p2^2", 2),
        ("p1^2 - 4*p1", 2),
        ("(p1 + q2)^2", 2),
        ("p1^2 + p2^2", 2),
        ("p1*p2", 2),
        ("q1*p2", 2),
        ("q1*q2 + 3*q1 - q2", 2),
        ("p1^2 + q2^2 + q2*p1", 2),
        ("p1^2 + 2*p2^2 - p3^2", 3),
    ],
)
def test_translations_and_shears_leave_what_the_network_sees(text, dof):
    given = quantities(text, dof)
    found = constructed(given)
    assert found.averaged is None
    assert float(jnp.abs(jax.jit(moved)(found.slice(), *flowing(given))).max()) < 1e-5


@pytest.mark.parametrize("text", ["p1", "q1 + q2", "p1^2 + p2^2"])
def test_so_any_network_is_invariant_where_a_window_only_smooths(text):
    given = quantities(text, 2)
    points = states(2)
    window = FlowAveraging().sample(jax.random.key(0), sized(given, points, SPREADS[:4]), GroupDraws(64))
    assert broken(given, window) > 0.05
    same = AffineSamples(jnp.eye(4)[None], jnp.zeros((1, 4)))
    assert broken(given, SliceSamples(same, constructed(given).slice())) < 1e-6


@pytest.mark.parametrize(
    "text",
    [
        "q1*p2 - q2*p1",
        # The slower of two rotations comes back too.
        "q1^2 + p1^2 + 2*q2^2 + 2*p2^2",
        # About a point away from the origin.
        "(q1 - 0.1)*p2 - (q2 + 0.2)*p1",
        # The bracket of these two is p2, along which H is then constant as well.
        "p1, q1*p2 - q2*p1",
    ],
)
def test_one_circle_is_averaged_over_exactly(text):
    given = quantities(text, 2)
    drawn = BuiltInAveraging().sample(jax.random.key(0), constructed(given), GroupDraws(256))
    assert broken(given, drawn) < 2e-3


def test_what_the_brackets_of_quantities_conserve_is_built_in_too():
    found = constructed(quantities("p1, q1*p2 - q2*p1", 2))
    points = jnp.asarray(states(2), jnp.float32)
    moved = points + jnp.asarray([0.7, -2.0, 0.0, 0.0])
    seen = jax.vmap(found.slice())
    np.testing.assert_allclose(seen(moved), seen(points), atol=1e-5)
    assert found.averaged is not None and found.averaged.count == 1


def test_two_bodies_in_the_plane_lose_their_centre_and_are_turned():
    known = NBody((1.0, 1.0), 2).known_quantities()
    assert known is not None and known.count == 7
    points = np.random.default_rng(0).standard_normal((300, 8))
    found = built_in(known, points, points.std(axis=0))
    # Momenta and their products leave two rotations: of everything, and of what is relative.
    assert found.count == 7 and found.averaged is not None and found.averaged.count == 2
    shift = jnp.asarray([1.0, 2.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0])
    np.testing.assert_allclose(found.slice()(shift), 0.0, atol=1e-5)


def test_a_rotation_leaves_the_state_as_it_is():
    found = constructed(quantities("q1*p2 - q2*p1", 2))
    np.testing.assert_allclose(found.slice()(jnp.arange(4.0)), jnp.arange(4.0), atol=1e-6)


@pytest.mark.parametrize(
    "text", ["q1*p1", "p1^2/2 + q1", "q1^2 - p1^2 + p2^2", "p1^2 + p2^2, q1*p2 - q2*p1", "p1^2 + q1*p2"]
)
def test_other_flows_are_refused_in_one_line(text):
    with pytest.raises(
        CannotBuildInError, match=r"^the bound cannot judge this: its flow neither"
    ) as refused:
        constructed(quantities(text, 2))
    assert "\n" not in str(refused.value)


def test_an_angle_is_left_out_whole_or_not_at_all():
    cyclic = constructed(quantities("p1", 2, angles=(0,)))
    left = cyclic.slice()(jnp.asarray([5.0, 1.0, 2.0, 3.0]))
    np.testing.assert_allclose(left, [0.0, 1.0, 2.0, 3.0], atol=1e-6)
    np.testing.assert_allclose(
        constructed(quantities("p2", 2, angles=(0,))).slice()(jnp.asarray([5.0, 1.0, 2.0, 3.0]))[0], 5.0
    )
    for text in ("p1 + p2", "p1^2 + p2^2"):
        with pytest.raises(CannotBuildInError, match="angle together with other coordinates"):
            constructed(quantities(text, 2, angles=(0,)))


def test_built_in_quantities_are_needed():
    with pytest.raises(ValueError, match="built-in quantities"):
        BuiltInAveraging().sample(jax.random.key(0), None, GroupDraws(4))
