"""The training loop: compiled once, reproducible, resumable, stopped by what is not finite; checkpoints."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.app.config import build_problem, load_config
from noether_razor.inference import ELBO, ELBOTerms, Estimator, Posterior, paper_estimator
from noether_razor.integrators import euler_step
from noether_razor.networks import HamiltonianNetwork
from noether_razor.symmetry import Averaging, FlowAveraging, GroupSamples, NoAveraging
from noether_razor.training import (
    Checkpoint,
    CheckpointError,
    NonFiniteELBOError,
    Rates,
    Report,
    Training,
    TrainState,
    fit,
    initial_state,
    make_loop,
)
from noether_razor.training import fitting as fit_module
from noether_razor.training import loop as loop_module
from noether_razor.training.loop import batch_size
from noether_razor.trajectories import Transitions

ESTIMATOR = Estimator(step=euler_step, group_samples=2, weight_samples=2)
TRAINING = Training(steps=8, batch=14, log_every=3)
KEY = jax.random.key(5)
NO_AVERAGING = NoAveraging()
OBJECTIVE = ELBO(28, ESTIMATOR)


@dataclass(frozen=True, eq=False)
class CountingAveraging:
    """Averaging over flows that counts how often it is traced."""

    calls: list[int] = field(default_factory=list)

    def sample(self, key, quantities, draws) -> GroupSamples:
        self.calls.append(draws.samples)
        return FlowAveraging().sample(key, quantities, draws)


def averaged(posterior: Posterior, averaging: Averaging) -> Posterior:
    """The same with another averaging."""
    other = nnx.clone(posterior)
    other.averaging = averaging
    return other


def compiled_loop(
    posterior, transitions, training, *, averaging: Averaging = NO_AVERAGING, estimator=ESTIMATOR
):
    """The loop of a fit without its host side, and the state to start it from."""
    posterior = averaged(posterior, averaging)
    loop = jax.jit(make_loop(nnx.split(posterior)[0], training, ELBO(transitions.size, estimator)))
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), transitions)
    return lambda state, key, stop: loop(state, data, key, stop), initial_state(posterior, training)


def numbers(tree) -> list[np.ndarray]:
    return [np.asarray(leaf) for leaf in jax.tree.leaves(tree)]


def same(left, right) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(numbers(left), numbers(right), strict=True))


@dataclass
class Fitted:
    reports: list[Report]
    traces: list[int]
    state: TrainState
    history: list[Report]


@pytest.fixture(scope="module")
def fitted(posterior, transitions) -> Fitted:
    """Eight steps in chunks of 3, 3 and 2, with what the callback saw."""
    averaging, reports, traces = CountingAveraging(), [], []

    def callback(report):
        reports.append(report)
        traces.append(len(averaging.calls))

    result = fit(averaged(posterior, averaging), transitions, OBJECTIVE, TRAINING, key=KEY, callback=callback)
    return Fitted(reports, traces, result.state, result.history)


@pytest.fixture(scope="module")
def loop(posterior, transitions):
    return compiled_loop(posterior, transitions, TRAINING, averaging=FlowAveraging())[0]


# A fit


def test_the_step_is_traced_once_for_all_chunks(fitted):
    assert [report.step for report in fitted.reports] == [3, 6, 8]
    assert fitted.traces[0] > 0
    assert len(set(fitted.traces)) == 1


def test_reports_are_finite_and_returned(fitted):
    assert fitted.history == fitted.reports
    for report in fitted.reports:
        assert np.isfinite([report.nll, report.kl, report.gradient_norm]).all()
        assert report.negative_elbo == report.nll + report.kl
        np.testing.assert_allclose(report.noise_variance, 1e-3, rtol=1e-5)
        assert int(report.state.step) == report.step


def test_the_posterior_given_is_left_alone(posterior, fitted):
    assert same(nnx.state(posterior), initial_state(posterior, TRAINING).params)
    assert not same(nnx.state(posterior), fitted.state.params)


def test_a_fit_that_is_resumed_ends_bitwise_where_it_would_have(posterior, transitions, fitted, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(fitted.reports[0].state, {})

    def resume(like):
        found = checkpoint.restore(like)
        assert found is not None
        return found[0]

    resumed = fit(posterior, transitions, OBJECTIVE, TRAINING, key=KEY, resume=resume)
    assert [report.step for report in resumed.history] == [6, 8]
    assert same(resumed.state, fitted.state)


def test_chunks_do_not_change_the_steps(loop, posterior, fitted):
    # One call for all eight steps, and one that stops in the middle of an epoch.
    start = initial_state(posterior, TRAINING)
    whole, _, _ = loop(start, KEY, jnp.asarray(8))
    part, _, _ = loop(start, KEY, jnp.asarray(5))
    assert int(part.step) == 5
    assert same(loop(part, KEY, jnp.asarray(8))[0], whole)
    for found, expected in zip(numbers(whole.params), numbers(fitted.state.params), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_same_key_gives_the_same_result_and_another_key_another(loop, posterior):
    start = initial_state(posterior, TRAINING)
    once, again, other = (loop(start, key, jnp.asarray(3))[0] for key in (KEY, KEY, jax.random.key(6)))
    assert same(once, again)
    assert not same(once.params, other.params)


def test_a_finished_loop_does_nothing(loop, fitted):
    state, _, finite = loop(fitted.state, KEY, jnp.asarray(8))
    assert same(state, fitted.state) and bool(finite)


# What is learned


PARTS = {
    "network",
    "log_row_scales",
    "log_column_scales",
    "quantities",
    "log_noise_variance",
    "log_prior_precisions",
}


def moved(before, after) -> set[str]:
    return {name for name in before if not same(before[name], after[name])}


def test_only_what_is_learned_by_default_moves(posterior, fitted):
    assert moved(nnx.state(posterior), fitted.state.params) == PARTS - {
        "log_noise_variance",
        "log_prior_precisions",
    }


@pytest.mark.parametrize(
    ("change", "fixed"),
    [
        ({}, {"log_noise_variance", "log_prior_precisions"}),
        ({"learn_prior_precision": True}, {"log_noise_variance"}),
        ({"learn_noise_variance": True}, {"log_prior_precisions"}),
        ({"learn_quantities": False}, {"log_noise_variance", "log_prior_precisions", "quantities"}),
        ({"clip": 1.0}, {"log_noise_variance", "log_prior_precisions"}),
    ],
    # Sets print in another order in every process, and parallel workers must agree on names.
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
)
def test_the_optimiser_updates_only_what_is_learned(posterior, change, fixed):
    training = replace(TRAINING, **change)
    state = initial_state(posterior, training)
    gradient = jax.tree.map(jnp.ones_like, state.params)
    updates, _ = jax.jit(training.optimiser(28).update)(gradient, state.optimiser, state.params)
    nothing = jax.tree.map(jnp.zeros_like, state.params)
    assert moved(nothing, updates) == PARTS - fixed


def test_steps_cut_short_do_not_move_row_against_column_scales(posterior):
    training = replace(TRAINING, rates=Rates(scales=1.0))
    state = initial_state(posterior, training)
    # Large for some rows only.
    gradient = jax.tree.map(
        lambda x: jnp.where(jnp.arange(x.size) % 2, -1.0, 3.0).reshape(x.shape), state.params
    )
    updates: Any = training.optimiser(28).update(gradient, state.optimiser, state.params)[0]
    for site, rows in updates["log_row_scales"].items():
        columns = updates["log_column_scales"][site]
        assert jnp.abs(rows[...]).max() > 0.05
        assert jnp.mean(rows[...]) == pytest.approx(float(jnp.mean(columns[...])), abs=1e-6)


def test_a_learned_noise_variance_moves_towards_the_truth():
    # No forces at all, x' = 0: the network has to be flat, and what is left of the targets is their noise.
    truth, steps = 0.05, 150
    states = np.random.default_rng(0).standard_normal((100, 2))
    noise = np.sqrt(truth) * np.random.default_rng(1).standard_normal((100, 2))
    still = Transitions(states, states + noise, np.full(100, 0.2))
    training = Training(steps=steps, batch=100, learn_noise_variance=True, rates=Rates(hyper=0.05))
    network = HamiltonianNetwork(2, layers=2, width=8, rngs=nnx.Rngs(0))
    above, below = (Posterior(network, noise_variance=start) for start in (1.0, 0.005))
    loop, _ = compiled_loop(above, still, training, estimator=replace(ESTIMATOR, weight_samples=1))
    for posterior in (above, below):
        state, _, _ = loop(initial_state(posterior, training), KEY, jnp.asarray(steps))
        # The sample's own variance is known to a standard error of 10 %.
        assert 0.6 * truth < np.exp(state.params["log_noise_variance"][...]) < 1.6 * truth


# Batches


# The loop on its own, around a bound whose value tells what it was given and whose gradient is zero.


@pytest.fixture
def loop_over(monkeypatch, posterior):
    def make(reported, times, **changes):
        """A loop over transitions with `times`; `reported` makes its likelihood of the bound's arguments."""

        def terms(objective, graph, params, key, batch, **settings):
            value = jnp.asarray(reported(batch=batch, **settings), jnp.float32)
            return ELBOTerms(value, {}), jax.tree.map(jnp.zeros_like, params)

        monkeypatch.setattr(loop_module, "elbo_and_gradient", terms)
        count = len(times)
        transitions = Transitions(np.zeros((count, 2)), np.zeros((count, 2)), times)
        estimator = replace(ESTIMATOR, weight_samples=1)
        return compiled_loop(posterior, transitions, replace(TRAINING, **changes), estimator=estimator)

    return make


def total_time(*, batch, **_):
    return jnp.sum(batch.dt)


def test_an_epoch_visits_every_transition_once_and_the_next_in_another_order(loop_over):
    # With times 1, 2, 4, .. the sum over a batch tells which transitions are in it.
    loop, state = loop_over(total_time, 2.0 ** np.arange(12), batch=4)
    steps = []
    for stop in range(1, 7):
        state, progress, _ = loop(state, KEY, jnp.asarray(stop))
        steps.append(int(progress.terms.nll))
    assert sum(steps[:3]) == sum(steps[3:]) == 2**12 - 1
    assert all(number.bit_count() == 4 for number in steps)
    assert set(steps[:3]) != set(steps[3:])


def test_runs_of_one_shape_share_a_compilation(posterior, transitions):
    """Whatever their data are: the sizes of coordinates, and the least noise, differ from seed to seed."""
    averaging = CountingAveraging()
    traced = []
    for seed in range(2):
        key, size = jax.random.key(seed), 1.0 + seed
        training = replace(TRAINING, spreads=(size, size), learn_noise_variance=True, noise_floor=size)
        fit(averaged(posterior, averaging), transitions, OBJECTIVE, training, key=key)
        traced.append(len(averaging.calls))
    assert 0 < traced[0] == traced[1]


@pytest.mark.parametrize("mode", ["none", "fixed", "learned"])
def test_seeds_of_a_configuration_are_of_one_shape(mode):
    overrides = [f"symmetry.mode={mode}", "inference.noise_variance=learned"]
    loops = []
    for seed in range(2):
        problem = build_problem(load_config("debug.toml", [*overrides, f"seed={seed}"]))
        graph, _ = nnx.split(problem.posterior)
        loops.append((graph, problem.training.compiled_as(), problem.objective))
    assert loops[0] == loops[1] and hash(loops[0]) == hash(loops[1])


def test_progress_is_the_mean_over_the_steps_of_a_call(loop_over):
    loop, state = loop_over(total_time, 2.0 ** np.arange(12), batch=4)
    np.testing.assert_allclose(loop(state, KEY, jnp.asarray(3))[1].terms.nll, (2**12 - 1) / 3)


def test_the_loop_stops_before_the_step_that_is_not_finite(loop_over):
    times = np.ones(12)
    times[7] = np.nan
    loop, start = loop_over(total_time, times, batch=1)
    state, _, finite = loop(start, KEY, jnp.asarray(12))
    step = int(state.step)
    assert not bool(finite) and step < 12
    assert bool(loop(start, KEY, jnp.asarray(step))[2])
    assert not bool(loop(start, KEY, jnp.asarray(step + 1))[2])


@pytest.mark.parametrize(
    ("setting", "waits"),
    [
        ({"kl_warmup": 4}, 0),
        ({"group_warmup": 4}, 0),
        ({"group_warmup": 4, "quantities_after": 3}, 3),
    ],
    ids=str,
)
def test_kl_and_group_samples_grow_linearly_to_their_size_and_stay(loop_over, setting, waits):
    weight = {"kl_warmup": "kl_weight", "group_warmup": "group_scale"}
    name = weight[next(iter(setting))]
    loop, state = loop_over(lambda **settings: settings[name], np.ones(1), batch=1, **setting)
    found = []
    for stop in range(1, 7 + waits):
        state, progress, _ = loop(state, KEY, jnp.asarray(stop))
        found.append(float(progress.terms.nll))
    np.testing.assert_allclose(found, [0] * waits + [0.25, 0.5, 0.75, 1, 1, 1])


def test_batches_divide_among_the_weight_samples():
    assert batch_size(28, None, replace(ESTIMATOR, weight_samples=3)) == 27
    assert batch_size(28, 10, replace(ESTIMATOR, weight_samples=4)) == 8
    assert batch_size(28, 100, paper_estimator()) == 28
    with pytest.raises(ValueError, match="batch of 2 transitions"):
        batch_size(28, 2, replace(ESTIMATOR, weight_samples=3))


@pytest.mark.parametrize("change", [{"steps": 0}, {"log_every": 0}, {"batch": 0}], ids=str)
def test_impossible_training_is_refused(change):
    with pytest.raises(ValueError, match=f"{next(iter(change))} must be at least 1, got 0"):
        replace(TRAINING, **change)


# Failure


@pytest.fixture
def patched_bound(monkeypatch):
    """Puts a function in the place of the bound, and keeps what was compiled with another one out of its
    way.
    """
    fit_module._compiled.cache_clear()
    yield lambda bound: monkeypatch.setattr(loop_module, "elbo_and_gradient", bound)
    fit_module._compiled.cache_clear()


@pytest.mark.parametrize(
    ("nll", "kl", "slope", "site"),
    [
        (np.nan, 1.0, 0.0, "likelihood"),
        (np.nan, np.nan, 0.0, "KL divergence of readout.kernel"),
        (1.0, 1.0, np.nan, "gradient"),
    ],
)
def test_what_is_not_finite_is_named(patched_bound, posterior, transitions, nll, kl, slope, site):
    def bound(objective, graph, params, *_, **__):
        return ELBOTerms(jnp.float32(nll), {"readout.kernel": jnp.float32(kl)}), jax.tree.map(
            lambda leaf: jnp.full_like(leaf, slope), params
        )

    patched_bound(bound)
    with pytest.raises(NonFiniteELBOError, match=f"at step 0, first at the {site}"):
        fit(averaged(posterior, NoAveraging()), transitions, OBJECTIVE, TRAINING, key=KEY)


def test_quantities_that_are_not_finite_are_named(patched_bound, posterior, transitions):
    def bound(objective, graph, params, *_, **__):
        return ELBOTerms(jnp.float32(jnp.nan), {}), params

    patched_bound(bound)
    large = jax.tree.map(lambda leaf: jnp.nan * leaf, posterior.quantities)
    grown = Posterior(posterior.network, large)
    with pytest.raises(NonFiniteELBOError, match="at step 0, first at the flow of the quantities"):
        fit(grown, transitions, OBJECTIVE, TRAINING, key=KEY)


def test_targets_that_are_not_numbers_stop_the_fit_at_the_likelihood(posterior, transitions):
    targets = np.array(transitions.targets)
    targets[20] = np.nan
    broken, reports = transitions._replace(targets=targets), []
    with pytest.raises(NonFiniteELBOError) as caught:
        fit(
            averaged(posterior, NoAveraging()),
            broken,
            ELBO(28, replace(ESTIMATOR, weight_samples=1)),
            replace(TRAINING, batch=1, steps=28, log_every=1),
            key=KEY,
            callback=reports.append,
        )
    # Every step before has been reported, and the last state reported is good.
    assert caught.value.site == "the likelihood"
    assert caught.value.step == len(reports) > 0
    assert all(np.isfinite(leaf).all() for leaf in numbers(reports[-1].state))


# Checkpoints


def test_a_checkpoint_gives_back_every_bit(posterior, fitted, tmp_path):
    checkpoint = Checkpoint(tmp_path / "checkpoint")
    like = initial_state(posterior, TRAINING)
    assert checkpoint.restore(like) is None
    info = {"seconds": 1.5, "name": "run"}
    checkpoint.save(fitted.state, info)
    found = checkpoint.restore(like)
    assert found is not None
    state, stored = found
    assert same(state, fitted.state) and stored == info
    assert jax.tree.structure(state) == jax.tree.structure(fitted.state)
    assert [leaf.dtype for leaf in numbers(state)] == [leaf.dtype for leaf in numbers(fitted.state)]


def test_only_the_newest_state_is_kept(posterior, fitted, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    for report in fitted.reports[:2]:
        checkpoint.save(report.state, {"step": report.step})
    assert checkpoint.steps() == [6]
    found = checkpoint.restore(initial_state(posterior, TRAINING))
    assert found is not None and found[1] == {"step": 6}


class Counted(NamedTuple):
    """A state that costs nothing to make."""

    step: jax.Array
    values: jax.Array


def counted(step: int) -> Counted:
    return Counted(jnp.asarray(step), jnp.full(2000, step))


def test_threads_keep_their_fits_at_the_same_moment(tmp_path):
    # The parts of an answer run in threads of one process, and end together where they cost the same.
    steps = 20

    def keep(part: str) -> Counted:
        checkpoint = Checkpoint(tmp_path / part)
        for step in range(steps):
            checkpoint.save(counted(step), {"part": part})
        found = checkpoint.restore(counted(0))
        assert found is not None and found[1] == {"part": part}
        return found[0]

    parts = ["first", "second"]
    with ThreadPoolExecutor(len(parts)) as pool:
        for state in pool.map(keep, parts):
            assert state.step == steps - 1 and (np.asarray(state.values) == steps - 1).all()


@pytest.fixture(scope="module")
def stored(fitted, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    Checkpoint(folder).save(fitted.state, {})
    return folder


def truncate(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


@pytest.mark.parametrize("damage", [truncate, Path.unlink], ids=["cut short", "deleted"])
def test_a_checkpoint_with_any_damaged_file_is_refused_or_whole(posterior, fitted, stored, tmp_path, damage):
    like = initial_state(posterior, TRAINING)
    files = sorted(path.relative_to(stored) for path in stored.rglob("*") if path.is_file())
    refused = 0
    for index, file in enumerate(files):
        copy = tmp_path / str(index)
        shutil.copytree(stored, copy)
        damage(copy / file)
        try:
            found = Checkpoint(copy).restore(like)
        except CheckpointError as error:
            assert str(copy) in str(error)
            refused += 1
        else:
            assert found is not None and same(found[0], fitted.state), file
    assert refused > 0


@pytest.mark.parametrize("layers, width", [(2, 9), (3, 8)], ids=["wider", "deeper"])
def test_a_checkpoint_of_another_model_is_refused(posterior, stored, layers, width):
    network = HamiltonianNetwork(2, layers=layers, width=width, rngs=nnx.Rngs(0))
    other = initial_state(Posterior(network, posterior.quantities), TRAINING)
    with pytest.raises(CheckpointError):
        Checkpoint(stored).restore(other)
