"""The likelihood of windows with latent initial states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.inference import (
    Estimator,
    InitialStates,
    Posterior,
    bound_terms,
    window_bound_terms,
    windows_of,
)
from noether_razor.symmetry import Ball, FlowAveraging, NoAveraging
from noether_razor.trajectories import Trajectories, Transitions

NOISE = 0.04


class Oscillator(nnx.Module):
    """H = (w_1 q^2 + w_2 p^2) / 2, with a weight matrix to have a posterior for."""

    def __init__(self) -> None:
        self.frequencies = nnx.Param(jnp.ones((1, 2)))

    def __call__(self, state):
        return jnp.sum(self.frequencies[...][0] * state**2) / 2


def measured(lengths: tuple[int, ...] = (7, 4, 6), noise: float = NOISE) -> Trajectories:
    """Oscillations of frequency 1 at irregular times, with noise on all states."""
    generator = np.random.default_rng(0)
    segments = []
    for length in lengths:
        times = np.cumsum(generator.uniform(0.1, 0.3, length))
        phase = times + generator.uniform(0, 6)
        states = np.stack([np.cos(phase), -np.sin(phase)], axis=1)
        segments.append((times, states + np.sqrt(noise) * generator.standard_normal(states.shape)))
    return Trajectories.of_segments(segments)


def test_every_step_is_in_one_window():
    data = measured()
    windows = windows_of(data, 4)
    assert windows.states.shape == (5, 5, 2) and windows.dt.shape == (5, 4)
    assert windows.transitions == data.transitions().size == 14
    np.testing.assert_array_equal(windows.measured.sum(axis=1), [4, 2, 3, 4, 1])
    np.testing.assert_allclose(windows.dt.sum(), data.transitions().dt.sum())
    assert not np.asarray(windows.dt)[~np.asarray(windows.measured)].any()
    np.testing.assert_array_equal(windows.states[0, 4], windows.states[1, 0])
    with pytest.raises(ValueError, match="at least 1"):
        windows_of(data, 0)
    exact = Trajectories(data.times, data.states, data.states[:, 1:], lengths=data.lengths)
    with pytest.raises(ValueError, match="targets"):
        windows_of(exact, 2)


def test_windows_of_one_step_without_input_noise_are_the_one_step_likelihood(posterior):
    data = measured()
    windows = windows_of(data, 1)
    pairs = data.transitions()
    batch = Transitions(*(jnp.asarray(part, jnp.float32) for part in pairs))
    common = {"averaging": FlowAveraging(Ball()), "estimator": Estimator(group_samples=4)}
    key = jax.random.key(3)
    one_step = bound_terms(posterior, key, batch, pairs.size, **common)
    initial = InitialStates(windows.size, 2)
    whole = window_bound_terms(
        posterior, initial, key, windows, windows.size, pairs.size, input_variance=1e-12, **common
    )
    np.testing.assert_allclose(whole.nll, one_step.nll, rtol=1e-4)
    assert set(whole.kl) == {*one_step.kl, "initial"} and float(whole.kl["initial"]) == 0
    for site, value in one_step.kl.items():
        np.testing.assert_allclose(whole.kl[site], value, rtol=1e-5)


def exact_states(data: Trajectories, steps: int) -> tuple[InitialStates, np.ndarray, float]:
    """q(z) at its optimum for the oscillator of frequency 1, whose motion is a rotation, and the exact
    log-probability of the later states of every window given the first.
    """
    windows = windows_of(data, steps)
    initial = InitialStates(windows.size, 2)
    elapsed = np.cumsum(windows.dt, axis=1)
    offsets, scales, total = [], [], 0.0
    for states, at, there in zip(windows.states, elapsed, windows.measured, strict=True):
        turns = [np.array([[np.cos(t), np.sin(t)], [-np.sin(t), np.cos(t)]]) for t in at[there]]
        later = states[1:][there]
        back = [turn.T @ state for turn, state in zip(turns, later, strict=True)]
        offsets.append((np.mean([states[0], *back], axis=0) - states[0]) / np.sqrt(NOISE))
        scales.append(-0.5 * np.log(1 + len(back)))
        flow = np.concatenate(turns)
        covariance = NOISE * (np.eye(len(flow)) + flow @ flow.T)
        rest = later.reshape(-1) - flow @ states[0]
        total -= np.linalg.slogdet(2 * np.pi * covariance)[1] / 2
        total -= rest @ np.linalg.solve(covariance, rest) / 2
    initial.offsets[...] = jnp.asarray(offsets, jnp.float32)
    initial.log_scales[...] = jnp.tile(jnp.asarray(scales, jnp.float32)[:, None], (1, 2))
    return initial, np.array(scales), total


def oscillator_posterior() -> Posterior:
    return Posterior(Oscillator(), noise_variance=NOISE, relative_scale=1e-5)


def estimate(initial: InitialStates, data: Trajectories, steps: int, draws: int = 400) -> np.ndarray:
    """-log p without the price of the weights, in nats, by single draws of the initial states."""
    windows, posterior = windows_of(data, steps), oscillator_posterior()

    @jax.jit
    @jax.vmap
    def bound(key):
        terms = window_bound_terms(
            posterior,
            initial,
            key,
            windows,
            windows.size,
            windows.transitions,
            averaging=NoAveraging(),
            estimator=Estimator(),
        )
        return terms.nll + terms.kl["initial"]

    return np.asarray(bound(jax.random.split(jax.random.key(0), draws)), np.float64) * windows.transitions


@pytest.mark.parametrize("steps", [1, 4])
def test_with_the_right_initial_states_the_bound_is_the_likelihood(steps):
    data = measured()
    initial, _, log_likelihood = exact_states(data, steps)
    values = estimate(initial, data, steps)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() + log_likelihood) < 4 * error + 0.02
    # What the first state alone says is a worse bound.
    alone = estimate(InitialStates(windows_of(data, steps).size, 2), data, steps)
    assert alone.mean() > values.mean() + 1


def test_batches_stand_for_all_windows():
    data, posterior = measured(), oscillator_posterior()
    windows = windows_of(data, 2)
    initial = exact_states(data, 2)[0]

    @jax.jit
    @jax.vmap
    def bound(rows, key):
        batch = jax.tree.map(lambda part: jnp.asarray(part)[rows], windows)
        terms = window_bound_terms(
            posterior,
            initial,
            key,
            batch,
            windows.size,
            windows.transitions,
            averaging=NoAveraging(),
            estimator=Estimator(),
        )
        return terms.nll + terms.kl["initial"]

    keys = jax.random.split(jax.random.key(1), windows.size)
    single = np.asarray(bound(jnp.arange(windows.size)[:, None], keys))
    whole = estimate(initial, data, 2) / windows.transitions
    spread = np.hypot(whole.std() / np.sqrt(len(whole)), whole.std())
    assert abs(single.mean() - whole.mean()) < 4 * spread
