"""The likelihood of windows with latent initial states."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.inference import (
    ELBO,
    LIKELIHOODS,
    Estimator,
    InitialStates,
    Posterior,
    SegmentLikelihood,
    likelihood_of,
    register_likelihood,
)
from noether_razor.trajectories import Trajectories, Transitions

NOISE = 0.04
LIKELIHOOD = SegmentLikelihood()


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
    windows = LIKELIHOOD.cut(data, 4)
    assert windows.states.shape == (5, 5, 2) and windows.dt.shape == (5, 4)
    assert len(LIKELIHOOD.moves(windows)) == data.transitions().size == 14
    np.testing.assert_array_equal(windows.measured.sum(axis=1), [4, 2, 3, 4, 1])
    np.testing.assert_allclose(windows.dt.sum(), data.transitions().dt.sum())
    assert not np.asarray(windows.dt)[~np.asarray(windows.measured)].any()
    np.testing.assert_array_equal(windows.states[0, 4], windows.states[1, 0])
    with pytest.raises(ValueError, match="at least 1"):
        LIKELIHOOD.cut(data, 0)
    exact = Trajectories(data.times, data.states, data.states[:, 1:], lengths=data.lengths)
    with pytest.raises(ValueError, match="targets"):
        LIKELIHOOD.cut(exact, 2)


def test_windows_of_one_step_without_input_noise_are_the_one_step_likelihood(posterior):
    data, estimator, key = measured(), Estimator(group_samples=4), jax.random.key(3)
    windows, pairs = LIKELIHOOD.cut(data, 1), data.transitions()
    batch = Transitions(*(jnp.asarray(part, jnp.float32) for part in pairs))
    one_step = ELBO.of(pairs, estimator)(posterior, key, batch)
    initial = InitialStates(windows.size, 2)
    # q(z) is the measured state, to within e^-14 of the noise.
    initial.log_scales[...] -= 14.0
    certain = Posterior(posterior.network, posterior.quantities, latents=initial)
    whole = ELBO.of(windows, estimator)(certain, key, windows)
    # KL(N(y, s^2 e^-28) | N(y, s^2)), of two coordinates of each window.
    price = windows.size * 2 * (14 + (np.exp(-28) - 1) / 2) / pairs.size
    np.testing.assert_allclose(whole.nll - price, one_step.nll, rtol=1e-4)
    assert set(whole.kl) == set(one_step.kl)
    for site, value in one_step.kl.items():
        np.testing.assert_allclose(whole.kl[site], value, rtol=1e-5)


class Foreign(Transitions):
    """Rows that no likelihood is of."""


def test_a_kind_and_a_type_of_rows_are_those_of_one_likelihood():
    class SameRows(SegmentLikelihood):
        kind = "other"

    class SameKind(SegmentLikelihood):
        rows = Foreign

    for likelihood, what in ((SameRows, "rows"), (SameKind, "kind")):
        with pytest.raises(ValueError, match=rf"{what}: .* is that of SegmentLikelihood"):
            register_likelihood(likelihood)
    assert set(LIKELIHOODS) == {"transitions", "windows"}
    pairs = measured().transitions()
    assert likelihood_of(pairs) is LIKELIHOODS["transitions"]
    with pytest.raises(TypeError, match="rows of type Foreign, only for Segments, Transitions"):
        likelihood_of(Foreign(*pairs))


def exact_states(data: Trajectories, steps: int) -> tuple[InitialStates, np.ndarray, float]:
    """q(z) at its optimum for the oscillator of frequency 1, whose motion is a rotation, and the exact
    log-probability of the later states of every window given the first.
    """
    windows = LIKELIHOOD.cut(data, steps)
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


def oscillator_posterior(initial: InitialStates) -> Posterior:
    return Posterior(Oscillator(), noise_variance=NOISE, relative_scale=1e-5, latents=initial)


def estimate(initial: InitialStates, data: Trajectories, steps: int, draws: int = 400) -> np.ndarray:
    """-log p without the price of the weights, in nats, by single draws of the initial states."""
    windows, posterior = LIKELIHOOD.cut(data, steps), oscillator_posterior(initial)
    elbo = ELBO.of(windows, Estimator())

    @jax.jit
    @jax.vmap
    def bound(key):
        return elbo(posterior, key, windows).nll

    return np.asarray(bound(jax.random.split(jax.random.key(0), draws)), np.float64) * elbo.total


@pytest.mark.parametrize("steps", [1, 4])
def test_with_the_right_initial_states_the_bound_is_the_likelihood(steps):
    data = measured()
    initial, _, log_likelihood = exact_states(data, steps)
    values = estimate(initial, data, steps)
    error = values.std() / np.sqrt(len(values))
    assert abs(values.mean() + log_likelihood) < 4 * error + 0.02
    # What the first state alone says is a worse bound.
    alone = estimate(InitialStates(LIKELIHOOD.cut(data, steps).size, 2), data, steps)
    assert alone.mean() > values.mean() + 1


def test_batches_stand_for_all_windows():
    data = measured()
    windows = LIKELIHOOD.cut(data, 2)
    initial = exact_states(data, 2)[0]
    posterior, elbo = oscillator_posterior(initial), ELBO.of(windows, Estimator())

    @jax.jit
    @jax.vmap
    def bound(rows, key):
        batch = jax.tree.map(lambda part: jnp.asarray(part)[rows], windows)
        return elbo(posterior, key, batch).nll

    keys = jax.random.split(jax.random.key(1), windows.size)
    single = np.asarray(bound(jnp.arange(windows.size)[:, None], keys))
    whole = estimate(initial, data, 2) / elbo.total
    spread = np.hypot(whole.std() / np.sqrt(len(whole)), whole.std())
    assert abs(single.mean() - whole.mean()) < 4 * spread
