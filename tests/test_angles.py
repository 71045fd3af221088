"""Angles: a Hamiltonian periodic in them, whatever turn a trajectory is in."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from scipy.integrate import solve_ivp

from noether_razor.app.config import ConfigError, build_problem, parse_config
from noether_razor.inference import SegmentLikelihood
from noether_razor.invariants import conserved_space
from noether_razor.networks import HamiltonianNetwork, VectorFieldNetwork
from noether_razor.quantities import QuadraticQuantities
from noether_razor.scaling import PhaseScale, centres_and_spreads
from noether_razor.training import Training, fit
from noether_razor.trajectories import (
    Layout,
    Trajectories,
    fit_scale,
    read_data_file,
    save_trajectories,
    scaled_trajectories,
)

TURN = 2 * np.pi


def whirling_pendulum(path, runs: int = 20) -> None:
    """Runs of H = p^2 / 2 - cos q, half of them whirling by up to 10 turns, some from 20 turns below 0."""
    rng = np.random.default_rng(11)
    lines = ["trajectory,time,q1,p1"]
    for k in range(runs):
        if k % 2:
            start = [rng.uniform(-1.5, 1.5), rng.uniform(-1, 1)]
        else:
            start = [TURN * rng.integers(-20, 1), rng.choice([-1, 1]) * rng.uniform(2.5, 6)]
        at = np.arange(60) * 0.1
        path_ = solve_ivp(lambda t, s: [s[1], -np.sin(s[0])], (0, 6), start, t_eval=at, rtol=1e-9, atol=1e-9)
        noisy = path_.y.T + 0.003 * rng.normal(size=(60, 2))
        lines += [f"{k},{t:.2f},{q:.5f},{p:.5f}" for t, (q, p) in zip(at, noisy, strict=True)]
    path.write_text("\n".join(lines) + "\n")


@pytest.fixture(scope="module")
def pendulum_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("angles") / "whirl.csv"
    whirling_pendulum(path)
    return path


@pytest.fixture(scope="module")
def pendulum(pendulum_file):
    return read_data_file(pendulum_file, Layout(periodic=("q1",))).trajectories


def config(path, **tables):
    return parse_config(
        {
            "data": {"file": str(path), "periodic": ["q1"]},
            "network": {"layers": 2, "width": 16},
            "training": {"steps": 20},
            **tables,
        }
    )


@pytest.mark.usefixtures("double_precision")
@pytest.mark.parametrize("network", [HamiltonianNetwork, VectorFieldNetwork])
@pytest.mark.parametrize("period", [0.7, TURN, 360.0])
def test_networks_have_the_period_of_an_angle(network, period):
    function = network(4, layers=3, width=16, periods=(None, period, None, None), rngs=nnx.Rngs(0))
    state = jnp.asarray(np.random.default_rng(0).standard_normal(4))
    moved = state.at[1].add(3 * period)
    np.testing.assert_allclose(function(moved), function(state), atol=1e-6)
    aside = function(state.at[1].add(0.3 * period))
    assert float(jnp.abs(aside - function(state)).max()) > 1e-4
    assert float(jnp.abs(function(state.at[0].add(period)) - function(state)).max()) > 1e-4


@pytest.mark.usefixtures("double_precision")
def test_a_small_swing_looks_like_a_coordinate_that_is_no_angle():
    plain, angle = (
        HamiltonianNetwork(2, layers=2, width=8, periods=periods, rngs=nnx.Rngs(0))
        for periods in ((), (1e4, None))
    )
    order = jnp.array([1, 0])  # angles come last
    angle.hidden[0].kernel[...] = jnp.concatenate(
        [plain.hidden[0].kernel[...][order], jnp.ones((1, 8), jnp.float32)]
    )
    states = jnp.asarray(np.random.default_rng(0).standard_normal((20, 2)))
    np.testing.assert_allclose(jax.vmap(angle)(states), jax.vmap(plain)(states), atol=1e-2)


@pytest.mark.parametrize("periods", [(1.0,), (None, -1.0), (None, float("nan")), (None, float("inf"))])
def test_impossible_periods_are_refused(periods):
    with pytest.raises(ValueError, match="periods must be"):
        HamiltonianNetwork(2, layers=2, width=3, periods=periods, rngs=nnx.Rngs(0))
    with pytest.raises(ValueError, match="periods must"):
        Trajectories(np.arange(2.0)[None], np.zeros((1, 2, 2)), periods=periods)


def test_turns_set_no_scale_and_no_shift(pendulum):
    assert pendulum.periods == (TURN, None) and np.ptp(pendulum.points()[:, 0]) > 100
    scale = fit_scale(pendulum)
    assert scale.positions == (1.0,) and scale.shifts == (0.0, 0.0)
    assert 0.1 < scale.time < 1
    turned = [(t, x + np.array([TURN * 1000 * k, 0])) for k, (t, x) in enumerate(pendulum.segments())]
    assert PhaseScale.fitted(turned, periods=pendulum.periods) == scale
    assert pendulum.spreads()[0] <= 1 and pendulum.spreads()[1] > 2


def test_a_small_swing_has_its_own_spread_on_the_circle():
    swing = np.stack([np.pi + 1e-3 * np.random.default_rng(0).standard_normal(500)] * 2, axis=1)
    swing[::2, 0] -= 10 * TURN
    centre, spread = centres_and_spreads(swing, (TURN, None))
    assert abs(abs(centre[0]) - np.pi) < 1e-3 and abs(centre[1] - np.pi) < 1e-3
    assert spread[0] == pytest.approx(spread[1], rel=1e-3)


def test_angles_have_a_kind_of_their_own():
    at = np.linspace(0, 5, 200)
    states = np.stack([10 * np.sin(at), np.sin(at), np.cos(at), np.cos(at)], axis=1)
    scales = [
        PhaseScale.fitted([(at, states)], periods=periods).positions
        for periods in ((), (None, TURN, None, None))
    ]
    assert scales[0][0] == scales[0][1] and scales[1][0] > scales[1][1]


def test_periods_are_kept(pendulum, tmp_path):
    assert pendulum[:3].periods == pendulum.first(5).periods == (TURN, None)
    save_trajectories(tmp_path / "data.npz", pendulum)
    again = read_data_file(tmp_path / "data.npz").trajectories
    assert again.periods == (TURN, None)
    np.testing.assert_array_equal(again.states, pendulum.states)
    scale = PhaseScale((0.5,), 1.0, 1.0, (0.0, 0.0))
    scaled = scaled_trajectories(pendulum, scale)
    assert scaled.periods == (2 * TURN, None)
    assert np.abs(scaled.states[:, 0, 0]).max() <= TURN * 1.001


def test_whole_sets_may_be_given_angles(tmp_path):
    at, turn = np.arange(30) * 0.1, np.arange(30) * 0.5
    wrapped = np.stack([(turn + np.pi) % TURN - np.pi, np.ones(30)], axis=1)
    np.savez(tmp_path / "wrapped.npz", times=at[None], states=wrapped[None])
    data = read_data_file(tmp_path / "wrapped.npz", Layout(periodic=("q1",))).trajectories
    np.testing.assert_allclose(data.states[0, :, 0], turn, atol=1e-9)
    assert data.periods == (TURN, None)


def test_transitions_and_windows_begin_within_half_a_turn(pendulum):
    pairs, windows = pendulum.transitions(), SegmentLikelihood().cut(pendulum, 8)
    assert np.abs(np.asarray(pairs.states)[:, 0]).max() <= np.pi + 1e-9
    assert np.abs(np.asarray(windows.states)[:, 0, 0]).max() <= np.pi + 1e-9
    moves = np.concatenate([np.diff(path, axis=0) for path in pendulum])
    np.testing.assert_allclose(np.asarray(pairs.targets) - np.asarray(pairs.states), moves, atol=1e-9)


@pytest.mark.usefixtures("double_precision")
def test_quantities_have_no_terms_in_an_angle():
    quantities = QuadraticQuantities.random(jax.random.key(0), 3, 2, 1.0, angles=(1,))
    assert np.asarray(quantities.matrices[...])[:, 1].any() == False  # noqa: E712
    assert not np.asarray(quantities.vectors[...])[:, 1].any()
    full = nnx.clone(quantities)
    full.matrices[...] = jnp.ones((3, 4, 4))
    full.vectors[...] = jnp.ones((3, 4))
    state = jnp.arange(4.0)
    np.testing.assert_array_equal(full(state), full(state.at[1].set(7.0)))
    gradient = jax.grad(lambda q: jnp.sum(q.generators() ** 2) + jnp.sum(q(state)))(full)
    assert not np.asarray(gradient.matrices[...])[:, 1].any()
    assert not np.asarray(gradient.vectors[...])[:, 1].any()
    assert np.asarray(gradient.vectors[...])[:, 3].all()


def test_a_fit_leaves_terms_in_an_angle_at_zero(pendulum_file):
    problem = build_problem(config(pendulum_file))
    network = problem.posterior.network
    assert isinstance(network, HamiltonianNetwork)
    assert problem.data.periods == network.periods == (TURN, None)
    result = fit(
        problem.posterior,
        problem.observations,
        problem.objective,
        problem.training,
        key=jax.random.key(0),
    )
    before, after = problem.posterior.quantities, result.posterior.quantities
    assert isinstance(before, QuadraticQuantities) and isinstance(after, QuadraticQuantities)
    assert not np.asarray(after.matrices[...])[:, 0].any() and not np.asarray(after.vectors[...])[:, 0].any()
    assert (np.asarray(after.vectors[...])[:, 1] != np.asarray(before.vectors[...])[:, 1]).all()


def test_a_built_in_quantity_with_an_angle_is_refused(pendulum_file):
    wrong = QuadraticQuantities(jnp.array([[[0.0, 1.0], [1.0, 0.0]]]))
    fixed = config(pendulum_file, symmetry={"mode": "fixed"})
    with pytest.raises(ConfigError, match="contains q1, which is an angle"):
        build_problem(fixed, quantities=wrong)
    momentum = QuadraticQuantities(jnp.zeros((1, 2, 2)), jnp.array([[1e-14, 1.0]]))
    assert build_problem(fixed, quantities=momentum).posterior.quantities is not None


def test_the_test_of_the_data_leaves_angles_out(pendulum):
    space = conserved_space(pendulum)
    # p and p^2 are left, of which neither is conserved.
    assert len(space.ratios) == 2 and space.staying == 0
    assert not space.motion.quantities(np.eye(2))[:, [0, 2, 3]].any()


def test_a_whirling_pendulum_is_learned(pendulum_file):
    problem = build_problem(config(pendulum_file, symmetry={"mode": "none"}))
    result = fit(
        problem.posterior,
        problem.observations,
        problem.objective,
        Training(steps=400, batch=100, learn_noise_variance=True, noise_floor=1e-6),
        key=jax.random.key(0),
    )
    # A step moves scaled coordinates by 0.19.
    assert np.sqrt(result.history[-1].noise_variance) < 0.06
