"""The matrix normal and its KL divergence, the bound and its gradient, and predicted trajectories."""

from dataclasses import replace
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import numpyro.distributions as dist
import pytest
from flax import nnx
from numpyro.distributions.kl import kl_divergence
from scipy.stats import multivariate_normal

from noether_razor.inference import (
    ELBO,
    Estimator,
    IsotropicNormal,
    KroneckerNormal,
    Posterior,
    elbo_and_gradient,
    optimal_precision,
    paper_estimator,
)
from noether_razor.integrators import euler_step, transition
from noether_razor.networks import HamiltonianNetwork
from noether_razor.phase_space import hamiltonian_field
from noether_razor.prediction import learned_substep_error, predict, predictive
from noether_razor.quantities import QuadraticQuantities
from noether_razor.trajectories import Transitions

ESTIMATOR = Estimator(group_samples=4, weight_samples=4)
ELBO_OF_28 = ELBO(28, ESTIMATOR)
COMMON: dict[str, Any] = {"estimator": ESTIMATOR}
KEY = jax.random.key(7)


def random_normal(rows: int, columns: int, *, factors: bool, dtype=np.float64) -> KroneckerNormal:
    draw = np.random.default_rng(rows + 10 * columns).standard_normal
    return KroneckerNormal(
        jnp.asarray(draw((rows, columns)), dtype),
        jnp.asarray(draw(rows) / 2, dtype),
        jnp.asarray(draw(columns) / 2, dtype),
        jnp.asarray(draw((rows, rows)), dtype) if factors else None,
        jnp.asarray(draw((columns, columns)), dtype) if factors else None,
    )


def flattened(normal: KroneckerNormal) -> tuple[np.ndarray, Any]:
    """The mean and covariance of the entries row by row: the Kronecker product R R^T x A A^T."""
    row, column = np.asarray(normal.scale_tril_row()), np.asarray(normal.scale_tril_column())
    return np.asarray(normal.loc).reshape(-1), np.kron(row @ row.T, column @ column.T)


shapes = pytest.mark.parametrize(("rows", "columns"), [(2, 3), (4, 1)])
factors = pytest.mark.parametrize("factors", [False, True], ids=["diagonal", "correlated"])


# The matrix normal


@pytest.mark.usefixtures("double_precision")
class TestMatrixNormal:
    @shapes
    @factors
    def test_density_is_that_of_the_multivariate_normal(self, rows, columns, factors):
        normal = random_normal(rows, columns, factors=factors)
        values = np.random.default_rng(0).standard_normal((5, rows, columns))
        expected = multivariate_normal(*flattened(normal)).logpdf(values.reshape(5, -1))
        found = jax.jit(normal.log_prob)(jnp.asarray(values))
        np.testing.assert_allclose(found, expected, rtol=1e-10)

    @shapes
    @factors
    def test_kl_is_that_of_the_multivariate_normal(self, rows, columns, factors):
        normal, precision = random_normal(rows, columns, factors=factors), 1.7
        mean, covariance = flattened(normal)
        size = rows * columns
        expected = precision * (np.trace(covariance) + mean @ mean) - size - size * np.log(precision)
        expected -= np.linalg.slogdet(covariance)[1]
        prior = IsotropicNormal(jnp.asarray(precision), (rows, columns))
        found = jax.jit(lambda: kl_divergence(normal, prior))()
        np.testing.assert_allclose(found, expected / 2, rtol=1e-10)

    @factors
    def test_kl_is_the_mean_of_the_log_ratio(self, factors):
        normal, prior = random_normal(2, 3, factors=factors), IsotropicNormal(jnp.asarray(0.6), (2, 3))
        weights = normal.sample(KEY, (20_000,))
        ratios = np.asarray(normal.log_prob(weights) - prior.log_prob(weights))
        error = ratios.std() / np.sqrt(len(ratios))
        assert abs(ratios.mean() - kl_divergence(normal, prior)) < 4 * error

    @factors
    def test_samples_have_the_mean_and_covariance_of_the_law(self, factors):
        normal = random_normal(2, 3, factors=factors)
        count = 40_000
        samples = np.asarray(normal.sample(KEY, (count,))).reshape(count, -1)
        mean, covariance = flattened(normal)
        scales = np.sqrt(np.diag(covariance))
        np.testing.assert_array_less(abs(samples.mean(0) - mean), 5 * scales / np.sqrt(count))
        # Var of x_i x_j is C_ii C_jj + C_ij^2 for a normal law.
        errors = np.sqrt((np.outer(scales, scales) ** 2 + covariance**2) / count)
        np.testing.assert_array_less(abs(np.cov(samples.T) - covariance), 5 * errors)

    @shapes
    @factors
    def test_entropy_and_expected_square_are_those_of_the_multivariate_normal(self, rows, columns, factors):
        normal = random_normal(rows, columns, factors=factors)
        mean, covariance = flattened(normal)
        entropy, square = jax.jit(lambda: (normal.entropy(), normal.expected_square()))()
        np.testing.assert_allclose(entropy, multivariate_normal(mean, covariance).entropy(), rtol=1e-10)
        np.testing.assert_allclose(square, np.trace(covariance) + np.sum(mean**2), rtol=1e-10)

    def test_the_prior_is_a_normal_of_its_precision(self):
        prior = IsotropicNormal(jnp.asarray(4.0), (2, 3))
        value = jnp.asarray(np.random.default_rng(0).standard_normal((2, 3)))
        np.testing.assert_allclose(prior.log_prob(value), dist.Normal(0.0, 0.5).log_prob(value).sum())
        samples = np.asarray(prior.sample(KEY, (10_000,)))
        assert abs(samples.var() * 4 - 1) < 5 * np.sqrt(2 / samples.size)

    @factors
    def test_the_optimal_precision_minimises_the_kl(self, factors):
        normal = random_normal(2, 3, factors=factors)

        def kl(log_precision):
            return kl_divergence(normal, IsotropicNormal(jnp.exp(log_precision), (2, 3)))

        best = jnp.log(optimal_precision(normal))
        assert abs(jax.grad(kl)(best)) < 1e-10
        assert kl(best) < min(kl(best - 0.01), kl(best + 0.01))

    def test_factors_survive_jax_transformations(self):
        normal = random_normal(2, 3, factors=True)
        copied = jax.tree.map(lambda leaf: leaf, normal)
        np.testing.assert_array_equal(copied.scale_tril_row(), normal.scale_tril_row())
        np.testing.assert_array_equal(copied.scale_tril_column(), normal.scale_tril_column())


# The bound


@pytest.fixture(scope="module")
def estimate(posterior):
    """The compiled bound of one draw, as a function of the key, the batch and the parameters."""
    graph, params = nnx.split(posterior)

    @jax.jit
    def bound(params, key, batch):
        return ELBO_OF_28(nnx.merge(graph, params), key, batch)

    return lambda key, batch, params=params: bound(params, key, batch)


def batches(transitions: Transitions, size: int) -> list[Transitions]:
    return [
        Transitions(*(part[i : i + size] for part in transitions)) for i in range(0, transitions.size, size)
    ]


def test_the_kl_of_the_bound_is_the_closed_form_whatever_the_draw(posterior, transitions, estimate):
    terms = [estimate(jax.random.key(seed), transitions) for seed in range(3)]
    assert len({float(term.nll) for term in terms}) == 3
    assert set(terms[0].kl) == set(posterior.means())
    for site in posterior.means():
        normal = posterior.distribution(site)
        exact = kl_divergence(normal, IsotropicNormal(optimal_precision(normal), normal.event_shape)) / 28
        for term in terms:
            assert float(term.kl[site]) == float(terms[0].kl[site])
            np.testing.assert_allclose(term.kl[site], exact, rtol=1e-5)


def test_the_bound_is_likelihood_plus_weighted_kl(estimate, transitions):
    terms = estimate(KEY, transitions)
    np.testing.assert_allclose(terms.negative_elbo(), terms.nll + sum(terms.kl.values()), rtol=1e-6)
    np.testing.assert_allclose(terms.negative_elbo(0.25), terms.nll + 0.25 * terms.total_kl(), rtol=1e-6)


def test_generators_however_large_leave_the_bound_finite(posterior, transitions, estimate):
    params = nnx.state(posterior)
    params["quantities"] = jax.tree.map(lambda leaf: 1e4 * leaf, params["quantities"])
    terms = estimate(KEY, transitions, params)
    assert np.isfinite(terms.nll) and np.isfinite(terms.total_kl())


def test_the_mean_over_minibatches_is_the_bound_on_all_transitions(transitions, estimate):
    full = estimate(KEY, transitions)
    parts = [estimate(KEY, batch) for batch in batches(transitions, 7)]
    np.testing.assert_allclose(np.mean([part.nll for part in parts]), full.nll, rtol=1e-5)
    for part in parts:
        np.testing.assert_allclose(part.total_kl(), full.total_kl(), rtol=1e-6)


def test_without_averaging_and_noise_the_likelihood_is_that_of_the_mean_network(transitions, posterior):
    # Without any width of the posterior NLL / N = |error|^2 / (2 sigma^2) + log(2 pi sigma^2).
    still = Posterior(posterior.network, relative_scale=1e-12)
    estimator = replace(ESTIMATOR, substeps=3)
    terms = ELBO(28, estimator)(still, KEY, transitions)
    predicted = predict(
        still,
        KEY,
        np.asarray(transitions.states),
        np.stack([np.zeros(28), transitions.dt], axis=1),
        estimator=estimator,
        mean_weights=True,
    )[0, :, 1]
    squares = np.sum((predicted - transitions.targets) ** 2, axis=1)
    np.testing.assert_allclose(terms.nll, np.mean(squares) / 2e-3 + np.log(2 * np.pi * 1e-3), rtol=1e-4)


@pytest.mark.parametrize("setting", [2.5, "learned", "optimal"])
def test_every_setting_of_the_prior_precision_enters_the_kl(posterior, transitions, setting):
    graph, params = nnx.split(Posterior(posterior.network))
    elbo = ELBO(28, Estimator(step=euler_step), prior_precision=setting)

    @jax.jit
    def bound(params, batch):
        return elbo(nnx.merge(graph, params), KEY, batch)

    terms = bound(params, batches(transitions, 1)[0])
    for site, mean in posterior.means().items():
        normal = posterior.distribution(site)
        learned = jnp.exp(posterior.log_prior_precisions[site][...])
        precision = {"learned": learned, "optimal": optimal_precision(normal)}.get(setting, setting)
        exact = kl_divergence(normal, IsotropicNormal(jnp.asarray(precision), mean.shape)) / 28
        np.testing.assert_allclose(terms.kl[site], exact, rtol=1e-5)


def compiled_gradient(posterior, transitions, estimator):
    graph, params = nnx.split(posterior)

    @jax.jit
    def gradient(params, key):
        return elbo_and_gradient(ELBO(28, estimator), graph, params, key, transitions)

    return gradient(params, KEY)


@pytest.fixture(scope="module")
def vectorised(posterior, transitions):
    return compiled_gradient(posterior, transitions, ESTIMATOR)


def test_weight_samples_one_after_the_other_give_the_same_gradient(posterior, transitions, vectorised):
    sequential = compiled_gradient(posterior, transitions, replace(ESTIMATOR, sequential=True))
    for left, right in zip(jax.tree.leaves(sequential), jax.tree.leaves(vectorised), strict=True):
        np.testing.assert_allclose(left, right, rtol=1e-3, atol=1e-4 * np.abs(right).max())


def test_weight_samples_that_share_out_the_batch_average_to_the_bounds_of_their_parts(
    transitions, estimate, vectorised
):
    keys = jax.random.split(KEY, 4)
    parts = [estimate(key, batch) for key, batch in zip(keys, batches(transitions, 7), strict=True)]
    np.testing.assert_allclose(vectorised[0].nll, np.mean([part.nll for part in parts]), rtol=1e-5)


def test_a_batch_that_cannot_be_shared_out_is_refused(posterior, transitions):
    with pytest.raises(ValueError, match="batch of 28 transitions or segments does not divide among 5"):
        compiled_gradient(posterior, transitions, replace(ESTIMATOR, weight_samples=5))


@pytest.mark.usefixtures("double_precision")
def test_gradient_of_the_bound_agrees_with_finite_differences(transitions):
    network = HamiltonianNetwork(2, layers=2, width=3, rngs=nnx.Rngs(0))
    quantities = QuadraticQuantities.random(jax.random.key(2), 1, 1, 0.3)
    small = Posterior(network, quantities, noise_variance=0.1, correlated=True)
    graph, params = nnx.split(jax.tree.map(lambda leaf: leaf.astype(jnp.float64), small))
    few = batches(transitions, 4)[0]
    elbo = ELBO(28, Estimator(step=euler_step, group_samples=2, weight_samples=2), "learned")
    leaves, structure = jax.tree.flatten(params)
    draw = np.random.default_rng(0)
    directions = [
        jax.tree.unflatten(structure, [draw.standard_normal(leaf.shape) for leaf in leaves]) for _ in range(3)
    ]

    @jax.jit
    def bound(params):
        terms, gradient = elbo_and_gradient(elbo, graph, params, KEY, few)
        return terms.negative_elbo(), gradient

    _, gradient = bound(params)
    for direction in directions:
        shifted = [jax.tree.map(lambda x, d, s=size: x + s * d, params, direction) for size in (1e-5, -1e-5)]
        numerical = (bound(shifted[0])[0] - bound(shifted[1])[0]) / 2e-5
        exact = sum(jax.tree.leaves(jax.tree.map(lambda g, d: jnp.sum(g * d), gradient, direction)))
        np.testing.assert_allclose(exact, numerical, rtol=1e-6)
    for name in gradient:
        assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(gradient[name])) > 0, name


@pytest.mark.parametrize("name", ["substeps", "group_samples", "weight_samples"])
def test_an_estimator_needs_at_least_one_of_everything(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        replace(ESTIMATOR, **{name: 0})


def test_the_estimator_of_the_paper_is_that_of_its_table():
    estimator = paper_estimator()
    assert (estimator.substeps, estimator.group_samples, estimator.weight_samples) == (20, 200, 20)
    assert estimator.share_batch and estimator.independent


# The posterior


def test_the_network_with_its_mean_weights_is_the_network(posterior):
    x = jnp.array([0.3, -0.4])
    assert posterior.network_with(posterior.means())(x) == posterior.network(x)


def test_other_weights_take_the_place_of_the_means(posterior):
    x = jnp.array([0.3, -0.4])
    doubled = posterior.network_with({"readout.kernel": 2 * posterior.means()["readout.kernel"]})
    np.testing.assert_allclose(doubled(x), 2 * posterior.network(x), rtol=1e-6)


def test_standard_deviations_start_relative_to_the_means(posterior):
    for site, mean in posterior.means().items():
        normal = posterior.distribution(site)
        deviation = np.sqrt((normal.expected_square() - np.sum(mean**2)) / mean.size)
        np.testing.assert_allclose(deviation, 0.1 * np.sqrt(np.mean(mean**2)), rtol=1e-5)


@pytest.mark.parametrize(
    "setting", [{"noise_variance": 0.0}, {"relative_scale": -1.0}, {"noise_variance": float("nan")}]
)
def test_impossible_variances_are_refused(posterior, setting):
    with pytest.raises(ValueError, match=f"got .*{next(iter(setting))}="):
        Posterior(posterior.network, **setting)


def test_a_network_without_weight_matrices_is_refused():
    class Constant(nnx.Module):
        def __init__(self):
            self.value = nnx.Param(jnp.zeros(2))

    with pytest.raises(ValueError, match="no weight matrix"):
        Posterior(Constant())


# Prediction


INITIAL = np.random.default_rng(0).standard_normal((5, 2))
TIMES = np.tile([0.0, 0.2, 0.5], (5, 1))


@pytest.fixture(scope="module")
def rollouts(posterior):
    return predict(posterior, KEY, INITIAL, TIMES, **COMMON)


def test_predictions_start_at_the_initial_states(rollouts):
    assert rollouts.shape == (4, 5, 3, 2)
    np.testing.assert_array_equal(rollouts[:, :, 0], np.broadcast_to(INITIAL.astype(np.float32), (4, 5, 2)))


def test_samples_differ_and_keep_their_weights_along_a_rollout(posterior, rollouts):
    assert np.std(rollouts[:, :, 1], axis=0).min() > 0
    first = predict(posterior, KEY, INITIAL, TIMES[:, :2], **COMMON)
    np.testing.assert_array_equal(rollouts[:, :, :2], first)
    # The second step from where sample s has come to, taken by all samples: sample s must go on as it did.
    for s in range(4):
        second = predict(posterior, KEY, first[s, :, 1], TIMES[:, 1:], **COMMON)
        np.testing.assert_allclose(second[s, :, 1], rollouts[s, :, 2], rtol=1e-5)


def test_padding_does_not_change_predictions(posterior, rollouts):
    more = np.concatenate([INITIAL, np.random.default_rng(1).standard_normal((30, 2))])
    times = np.concatenate([TIMES, np.tile([0.0, 0.3, 0.4], (30, 1))])
    longer = predict(posterior, KEY, more, times, **COMMON)
    assert longer.shape == (4, 35, 3, 2)
    np.testing.assert_array_equal(longer[:, :5], rollouts)
    moved = np.roll(np.arange(35), 5)
    np.testing.assert_allclose(
        predict(posterior, KEY, more[moved], times[moved], **COMMON), longer[:, moved], rtol=1e-5
    )


def test_every_number_of_states_and_times_shares_a_compilation(posterior, rollouts):
    compiled = predictive._followed._cache_size  # type: ignore[attr-defined]
    predict(posterior, KEY, INITIAL, TIMES, **COMMON)
    before = compiled()
    many = np.concatenate([INITIAL] * 8)
    longer = predict(posterior, KEY, many, np.tile(0.1 * np.arange(predictive.STEPS + 5), (40, 1)), **COMMON)
    assert longer.shape == (4, 40, predictive.STEPS + 5, 2) and np.isfinite(longer).all()
    # Samples go on as they did where one call ends and the next begins.
    at, rest = predictive.STEPS, 0.1 * np.arange(2)
    for s in range(4):
        following = predict(posterior, KEY, longer[s, :5, at], np.tile(rest, (5, 1)), **COMMON)
        np.testing.assert_allclose(following[s, :, 1], longer[s, :5, at + 1], rtol=1e-4, atol=1e-5)
    assert compiled() == before


def test_mean_weights_give_one_sample_that_follows_the_mean_network(posterior):
    estimator, plain = replace(ESTIMATOR, substeps=2), Posterior(posterior.network)
    found = predict(plain, KEY, INITIAL, TIMES, estimator=estimator, mean_weights=True)
    assert found.shape == (1, 5, 3, 2)
    advance = jax.jit(jax.vmap(partial(transition, hamiltonian_field(posterior.network), substeps=2)))
    state = jnp.asarray(INITIAL, jnp.float32)
    for step, dt in enumerate([0.2, 0.3]):
        state = advance(state, jnp.full(5, dt))
        np.testing.assert_allclose(found[0, :, step + 1], state, rtol=1e-5, atol=1e-6)


def test_the_integrators_error_is_that_against_twice_as_many_steps(posterior, transitions):
    far = transitions._replace(dt=10 * np.asarray(transitions.dt))
    got = learned_substep_error(posterior, KEY, far, **COMMON)
    times = np.stack([np.zeros(far.size), far.dt], axis=1)
    twice = {**COMMON, "estimator": replace(COMMON["estimator"], substeps=2)}
    coarse, fine = (predict(posterior, KEY, far.states, times, **given)[:, :, 1] for given in (COMMON, twice))
    assert got == pytest.approx(np.sqrt(np.mean((coarse - fine) ** 2)), rel=1e-3) and got > 1e-7
