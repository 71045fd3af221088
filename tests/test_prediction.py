"""Rollouts of a posterior: their times, bands and calibration, and the verb that writes them."""

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import numpy as np
import pytest
import typer
from flax import nnx
from hypothesis import given, settings
from hypothesis import strategies as st
from test_cli import DEBUG, assert_bad_input, files, run

from noether_razor.app.cli.predict import parse_times
from noether_razor.diagnostics import Calibration, rollout_calibration
from noether_razor.inference import Estimator, Posterior
from noether_razor.prediction import bands, posterior_rollouts, predict
from noether_razor.prediction.rollouts import _refined
from noether_razor.trajectories import Trajectories

ESTIMATOR = Estimator(weight_samples=5, group_samples=2)
FOLLOW: dict[str, Any] = {"estimator": ESTIMATOR}


class Oscillator(nnx.Module):
    """H = x^T W x / 2 with a weight matrix, so that its posterior is a posterior of the frequencies."""

    def __init__(self) -> None:
        self.weights = nnx.Param(jax.numpy.eye(2))

    def __call__(self, state: jax.Array) -> jax.Array:
        return state @ self.weights[...] @ state / 2


def oscillator(noise: float, relative_scale: float = 1e-4) -> Posterior:
    return Posterior(Oscillator(), noise_variance=noise, relative_scale=relative_scale)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 3), st.lists(st.floats(0.01, 3), min_size=1, max_size=4), st.floats(0.05, 5))
def test_times_are_refined_and_kept(count, gaps, longest):
    times = np.cumsum([0.0, *gaps]) * np.arange(1, count + 1)[:, None]
    fine, kept = _refined(times, longest)
    np.testing.assert_allclose(fine[:, kept], times)
    assert np.diff(fine, axis=1).max() <= longest * (1 + 1e-6)
    assert _refined(times, None)[0].shape == times.shape


def test_rollouts_follow_the_hamiltonian_through_long_gaps():
    initial = np.array([[1.0, 0.0], [0.0, 2.0]])
    times = np.array([[0.0, 0.1, 3.0, 9.0], [5.0, 5.5, 6.0, 6.0]])
    paths = posterior_rollouts(
        oscillator(1e-3), jax.random.key(0), initial, times, longest_step=0.2, **FOLLOW
    )
    assert paths.shape == (5, 2, 4, 2)
    since = times - times[:, :1]
    exact = np.stack(
        [
            np.stack([np.cos(since[0]), -np.sin(since[0])], axis=1),
            2 * np.stack([np.sin(since[1]), np.cos(since[1])], axis=1),
        ]
    )
    np.testing.assert_allclose(paths, np.broadcast_to(exact, paths.shape), atol=0.01)


def test_rollouts_are_distributed_as_those_of_predict(posterior):
    posterior = Posterior(posterior.network)
    initial, times = np.array([[1.0, 0.5]]), np.array([[0.0, 0.2, 0.4]])
    many: dict[str, Any] = {"estimator": replace(ESTIMATOR, weight_samples=400)}
    ours = posterior_rollouts(posterior, jax.random.key(0), initial, times, **many)
    theirs = predict(posterior, jax.random.key(1), initial, times, **many)
    spread = np.sqrt((ours[:, 0, 1:].var(0) + theirs[:, 0, 1:].var(0)) / 400)
    assert (np.abs(ours[:, 0, 1:].mean(0) - theirs[:, 0, 1:].mean(0)) < 5 * spread + 1e-6).all()


def test_bands_are_quantiles():
    samples = np.linspace(0, 1, 101)[:, None, None, None]
    mean, quantiles, levels = bands(samples)
    assert mean.shape == (1, 1, 1) and quantiles.shape == (5, 1, 1, 1)
    np.testing.assert_allclose(quantiles.reshape(-1), levels)


def test_a_rollout_that_blows_up_is_named():
    initial = np.array([[1.0, 0.0], [np.inf, 0.0]])
    with pytest.raises(FloatingPointError, match="initial state 1 is not finite at time 2"):
        posterior_rollouts(oscillator(1e-3), jax.random.key(0), initial, np.array([[2.0, 3.0]] * 2), **FOLLOW)


# Calibration


def held_out(noise: float, count: int = 40, frequency: float = 1.0) -> Trajectories:
    generator = np.random.default_rng(0)
    lengths = generator.integers(4, 12, count)
    segments = []
    for length in lengths:
        times = np.cumsum(generator.uniform(0.1, 0.4, length))
        amplitude, angle = generator.uniform(0.5, 2), generator.uniform(0, 6) + frequency * times
        clean = amplitude * np.stack([np.cos(angle), -np.sin(angle)], axis=1)
        segments.append((times, clean + noise * generator.standard_normal(clean.shape)))
    return Trajectories.of_segments(segments)


def calibrated(
    variance: float, trajectories: Trajectories, samples: int = 100, spread: float = 1e-4
) -> Calibration:
    return rollout_calibration(
        oscillator(1e-3, spread),
        jax.random.key(0),
        trajectories,
        samples=samples,
        noise_variance=np.full(2, variance),
        **FOLLOW,
    )


def test_bands_of_the_true_model_cover_as_they_promise():
    found = calibrated(0.01, held_out(0.1), samples=200)
    assert abs(found.unscaled_half - 0.5) < 4 * found.half_stderr and found.half_stderr < 0.06
    assert abs(found.unscaled_most - 0.9) < 4 * found.most_stderr and found.most_stderr < 0.04
    assert 0.8 < found.spread_scale < 1.25
    assert found.values == 2 * (held_out(0.1).lengths - 1).sum()


def test_bands_that_promise_too_much_or_too_little_show_and_are_scaled():
    small = calibrated(0.0025, held_out(0.1))
    assert small.unscaled_most < 0.75 and small.spread_scale > 2
    large = calibrated(0.01, held_out(0.1, frequency=1.05), spread=0.3)
    assert large.unscaled_most > 0.96 and large.spread_scale < 0.7
    for found in (small, large):
        assert 0.85 < found.most < 0.95
        assert f"by {found.spread_scale:.2g} overall" in found.text()
    wrong = calibrated(0.01, held_out(0.1, frequency=1.3))
    assert wrong.last_most < wrong.first_most - 0.1


def test_a_trajectory_does_not_choose_its_own_scale():
    """One unlike the others widens their bands until they hold everything, and stays outside of its own."""
    trajectories = held_out(0.1, count=12)
    states = trajectories.states.copy()
    states[0, 1:] += 3.0
    found = calibrated(0.01, replace(trajectories, states=states))
    lost = (trajectories.lengths[0] - 1) / (trajectories.lengths - 1).sum()
    assert lost > 0.1
    assert found.most == pytest.approx(1 - lost)


def test_a_single_trajectory_is_not_scaled():
    found = calibrated(0.04, held_out(0.1, count=1))
    assert found.spread_scale == 1
    assert (found.half, found.most) == (found.unscaled_half, found.unscaled_most)
    assert "held-out values" in found.text()
    # A file of one trajectory keeps none aside.
    assert "held-out" not in (said := found.text(held_out=False)) and "training values" in said


def test_scaled_rollouts_keep_their_mean():
    initial, times = np.array([[1.0, 0.0]]), np.array([[0.0, 1.0, 2.0]])
    paths, wide = (
        posterior_rollouts(
            oscillator(1e-3, 0.1), jax.random.key(0), initial, times, spread_scale=scale, **FOLLOW
        )
        for scale in (1.0, 3.0)
    )
    np.testing.assert_allclose(wide.mean(axis=0), paths.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(wide.std(axis=0), 3 * paths.std(axis=0), rtol=1e-4)


def test_few_samples_have_no_bands():
    with pytest.raises(ValueError, match="at least 20, got 19"):
        calibrated(0.01, held_out(0.1), samples=19)


# The verb


@settings(max_examples=100, deadline=None)
@given(st.integers(-5, 5), st.integers(1, 50), st.sampled_from([0.1, 0.25, 1.0, 0.3, 1e-3]))
def test_ranges_of_times_end_where_they_say(start, count, step):
    times = parse_times(f"{start}:{start + count * step!r}:{step}")
    np.testing.assert_allclose(times, start + step * np.arange(count + 1), atol=1e-12)


def test_lists_of_times():
    assert parse_times("0,0.5,2") == [0, 0.5, 2]
    assert parse_times("0:1:0.4") == [0, 0.4, 0.8]


BAD_RANGES = ["0:1", "0:1:0", "0:1:-1", "1:0:0.1", "0:nan:1", "0:inf:1", "a:b:c", "0:1e9:1e-9", "0:1:2:3"]
BAD_TIMES = ["", "0", "0,0", "1,0", *BAD_RANGES]


@pytest.mark.parametrize("text", BAD_TIMES)
def test_bad_times(text):
    with pytest.raises(typer.BadParameter, match="got"):
        parse_times(text)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in odd units, with a file of its own, of a few steps and rough estimates."""
    path = tmp_path_factory.mktemp("own") / "mine.csv"
    lines = ["run,t,x,vx"]
    for k, (times, states) in enumerate(held_out(0.02, count=5).segments()):
        rows = zip((times * 50).tolist(), (states * 1e6).tolist(), strict=True)
        lines += [f"{k},{t!r},{x!r},{p / 100!r}" for t, (x, p) in rows]
    path.write_text("\n".join(lines) + "\n")
    Path(f"{path}.toml").write_text(
        'masses = [2.0]\n[columns]\ntrajectory = "run"\ntime = "t"\npositions = ["x"]\nvelocities = ["vx"]\n'
    )
    folder = tmp_path_factory.mktemp("runs") / "own"
    short = {
        "training.steps": 20,
        "inference.noise_variance": 1e10,
        "evaluation.nll_stderr": 1.0,
        "data.file": f"'{path}'",
    }
    settings = [word for key, value in short.items() for word in ("--set", f"{key}={value}")]
    result = run("train", DEBUG, "--out", folder, *settings)
    assert result.returncode == 0, result.stderr
    return folder


def test_predictions_are_written_in_the_units_of_the_data(trained: Path, tmp_path: Path) -> None:
    initial = tmp_path / "initial.csv"
    initial.write_text("x,vx\n1e6,0\n0,2e4\n")
    common = ("predict", trained, "--initial", initial, "--times", "0:100:25")
    result = run(*common, "--out", tmp_path / "out.csv", "--samples", "20")
    assert result.returncode == 0, result.stderr
    assert "2 trajectories at 5 times" in result.stdout
    with (tmp_path / "out.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 10
    assert list(rows[0])[:3] == ["trajectory", "time", "x_mean"] and "m_vx_q95" in rows[0]
    assert float(rows[0]["x_mean"]) == pytest.approx(1e6) and float(rows[5]["m_vx_q50"]) == pytest.approx(4e4)
    for row in rows:
        assert float(row["x_q05"]) <= float(row["x_q50"]) <= float(row["x_q95"])

    assert run(*common, "--out", tmp_path / "out.npz", "--samples", "20").returncode == 0
    arrays = np.load(tmp_path / "out.npz")
    assert arrays["mean"].shape == (2, 5, 2) and arrays["quantiles"].shape == (5, 2, 5, 2)
    np.testing.assert_allclose(arrays["mean"][0, :, 0], [float(row["x_mean"]) for row in rows[:5]])
    np.testing.assert_array_equal(arrays["times"], [0, 25, 50, 75, 100])

    assert run(*common, "--out", tmp_path / "o.npz", "--samples", "20", "--observed").returncode == 0
    noisy = np.load(tmp_path / "o.npz")["quantiles"]
    assert (np.ptp(noisy, axis=0)[:, 1:] > np.ptp(arrays["quantiles"], axis=0)[:, 1:]).mean() > 0.8


def test_predictions_spread_as_held_out_data_asked_for(trained: Path, tmp_path: Path) -> None:
    initial = tmp_path / "initial.csv"
    initial.write_text("x,vx\n1e6,0\n0,2e4\n")
    found = trained / "symmetry.json"

    def widths(name: str) -> np.ndarray:
        out = tmp_path / name
        words = ("--initial", initial, "--times", "0:100:25", "--samples", "20", "--out", out)
        result = run("predict", trained, *words)
        assert result.returncode == 0, result.stderr
        return np.ptp(np.load(out)["quantiles"], axis=0)

    plain = widths("plain.npz")
    try:
        found.write_text('{"checks": {"calibration": {"spread_scale": 2.0}}}')
        np.testing.assert_allclose(widths("wide.npz"), 2 * plain, rtol=1e-3, atol=1e-3 * plain.max())
        found.write_text('{"checks": [1]}')
        words = ("--initial", initial, "--times", "0:1:0.5", "--out", tmp_path / "out.csv")
        assert_bad_input(run("predict", trained, *words), "symmetry.json", "damaged")
    finally:
        found.unlink()


@pytest.mark.parametrize(
    ("content", "change", "parts"),
    [
        ("x,vx\n1,y\n", {}, ("initial.csv", "line 2, column vx", "'y'")),
        ("x\n1\n", {}, ("initial.csv", "column vx", "is missing")),
        ("x,vx\n", {}, ("initial.csv", "no rows")),
        ("x,vx\n1,2\n", {"--initial": "none.csv"}, ("none.csv", "no such file")),
        ("x,vx\n1,2\n", {"--times": "0:1"}, ("--times", "START:STOP:STEP")),
        ("x,vx\n1,2\n", {"--out": "out.txt"}, ("--out", "out.txt", ".csv or .npz")),
        ("x,vx\n1,2\n", {"--samples": "3"}, ("--samples", "20")),
        ("x,vx\n1,2\n", {"run": "nowhere"}, ("nowhere", "no such run folder")),
    ],
)
def test_bad_input_of_predict(
    trained: Path, tmp_path: Path, content: str, change: dict, parts: tuple
) -> None:
    initial = tmp_path / "initial.csv"
    initial.write_text(content)
    options: dict[str, Any] = {"--initial": initial, "--times": "0:1:0.5", "--out": tmp_path / "out.csv"}
    options |= change
    folder = options.pop("run", trained)
    words = [word for pair in options.items() for word in pair]
    assert_bad_input(run("predict", folder, *words), *parts)
    assert files(tmp_path) == {"initial.csv"}


def test_states_of_another_dimension_are_bad_input(trained: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "initial.npz", states=np.ones((1, 4)))
    options = ("--initial", tmp_path / "initial.npz", "--times", "0:1:0.5", "--out", tmp_path / "out.csv")
    assert_bad_input(run("predict", trained, *options), "initial.npz", "4 coordinates", "has 2")
