"""Training on windows of noisy states: the loop, the choice of the likelihood, and a run."""

import json
import subprocess
import sys
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from test_cli import assert_bad_input, files, run
from test_training import same
from test_windows import Oscillator

from noether_razor.app.config import build_problem, parse_config
from noether_razor.app.runs import load_run
from noether_razor.discovery import RunFolder
from noether_razor.discovery import comparison as refits_module
from noether_razor.inference import (
    ELBO,
    ELBOEstimate,
    Estimator,
    InitialStates,
    Posterior,
    SegmentLikelihood,
    Segments,
    estimate_elbo,
    random_part,
)
from noether_razor.modelling import likelihood
from noether_razor.options import OptionError
from noether_razor.quadratic_forms import Quadratics
from noether_razor.training import Checkpoint, FitResult, Rates, Report, Training, fit, initial_state
from noether_razor.training.loop import rows_a_step
from noether_razor.trajectories import Trajectories

STEPS = 4
ESTIMATOR = Estimator(group_samples=1, weight_samples=2)
KEY = jax.random.key(5)
LIKELIHOOD = SegmentLikelihood()


def oscillations(
    trajectories: int, length: int, *, noise: float, dt: float = 0.2, seed: int = 0
) -> Trajectories:
    """An oscillator of frequency 1, with noise of that standard deviation on all states."""
    generator = np.random.default_rng(seed)
    times = np.tile(dt * np.arange(length), (trajectories, 1))
    phases = times + generator.uniform(0, 6, (trajectories, 1))
    amplitudes = generator.uniform(0.7, 1.3, (trajectories, 1, 1))
    states = amplitudes * np.stack([np.cos(phases), -np.sin(phases)], axis=2)
    return Trajectories(times, states + noise * generator.standard_normal(states.shape))


def oscillator(windows: int | None, *, noise_variance: float = 1e-2) -> Posterior:
    """H = (w_1 q^2 + w_2 p^2) / 2 at the truth, for so many windows."""
    return Posterior(
        Oscillator(),
        noise_variance=noise_variance,
        relative_scale=1e-2,
        latents=None if windows is None else InitialStates(windows, 2),
    )


# The loop

DATA = oscillations(5, 11, noise=0.1)
WINDOWS = LIKELIHOOD.cut(DATA, STEPS)
ELBO_OF_WINDOWS = ELBO.of(WINDOWS, ESTIMATOR)
TRAINING = Training(steps=6, batch=20, log_every=3, learn_noise_variance=True)


@dataclass
class Fitted:
    result: FitResult
    reports: list[Report]


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    reports: list[Report] = []
    result = fit(
        oscillator(WINDOWS.size), WINDOWS, ELBO_OF_WINDOWS, TRAINING, key=KEY, callback=reports.append
    )
    return Fitted(result, reports)


def test_initial_states_are_learned_with_the_rest(fitted):
    assert [report.step for report in fitted.reports] == [3, 6]
    for report in fitted.reports:
        assert np.isfinite([report.nll, report.kl, report.gradient_norm, report.noise_variance]).all()
    learned = fitted.result.posterior.latents
    assert isinstance(learned, InitialStates) and learned.offsets.shape == (WINDOWS.size, 2) == (15, 2)
    # Ten windows, two weight samples' fives, fit into the five of a batch of 20: all are visited in 4 steps.
    assert (np.abs(np.asarray(learned.offsets[...])) > 0).all()
    assert (np.asarray(learned.log_scales[...]) != 0).all()
    assert fitted.reports[-1].noise_variance != pytest.approx(1e-2, rel=1e-6)


def test_a_fit_of_windows_that_is_resumed_ends_bitwise_where_it_would_have(fitted, tmp_path):
    checkpoint = Checkpoint(tmp_path)
    checkpoint.save(fitted.reports[0].state, {})

    def resume(like):
        found = checkpoint.restore(like)
        assert found is not None
        return found[0]

    resumed = fit(oscillator(WINDOWS.size), WINDOWS, ELBO_OF_WINDOWS, TRAINING, key=KEY, resume=resume)
    assert [report.step for report in resumed.history] == [6]
    assert same(resumed.state, fitted.result.state)


def test_transitions_have_no_part_in_the_optimiser_for_initial_states():
    # So that checkpoints of runs on transitions stay what they were.
    paths = [
        jax.tree_util.keystr(path)
        for path, _ in jax.tree_util.tree_flatten_with_path(initial_state(oscillator(None), TRAINING))[0]
    ]
    assert paths and not [path for path in paths if "initial" in path or "latents" in path]


def test_windows_need_initial_states_of_each():
    for posterior, got in ((oscillator(None), "none"), (oscillator(3), "InitialStates of 3")):
        with pytest.raises(ValueError, match=f"latents InitialStates of 15 rows, got {got}"):
            fit(posterior, WINDOWS, ELBO_OF_WINDOWS, TRAINING, key=KEY)


@pytest.mark.parametrize(
    ("wanted", "rows"), [(None, 14), (20, 4), (8, 2), (1, 2), (1000, 14)], ids=["all", "20", "8", "1", "1000"]
)
def test_a_batch_is_counted_in_transitions(wanted, rows):
    assert rows_a_step(WINDOWS, wanted, ESTIMATOR) == rows
    if wanted == 20:
        assert rows_a_step(DATA.transitions(), wanted, ESTIMATOR) == wanted


def test_learned_noise_is_that_of_the_measurement():
    data, noise = oscillations(30, 17, noise=0.1), 0.1
    training = Training(steps=300, learn_noise_variance=True, rates=Rates(weights=1e-4, hyper=0.03))
    windows = LIKELIHOOD.cut(data, 8)
    learned = {
        name: np.sqrt(
            fit(posterior, rows, ELBO.of(rows, ESTIMATOR), training, key=KEY).history[-1].noise_variance
        )
        for name, posterior, rows in (
            ("windows", oscillator(windows.size), windows),
            ("transitions", oscillator(None), data.transitions()),
        )
    }
    assert learned["windows"] == pytest.approx(noise, rel=0.05)
    assert learned["transitions"] == pytest.approx(np.sqrt(2) * noise, rel=0.05)


# The estimate of the bound


def test_the_bound_of_windows_is_estimated_as_it_is_trained_on():
    posterior, elbo = oscillator(WINDOWS.size), ELBO.of(WINDOWS, Estimator())
    windows = jax.tree.map(jnp.asarray, WINDOWS)

    @jax.jit
    @partial(jax.vmap, in_axes=(0, None))
    def plainly(key, shift):
        moved = nnx.clone(posterior)
        assert isinstance(moved.latents, InitialStates)
        moved.latents.offsets[...] += shift
        terms = elbo(moved, key, windows)
        return terms.nll, terms.kl

    keys = jax.random.split(KEY, 500)
    draws, kl = plainly(keys, 0.0)
    nll = np.asarray(draws, np.float64)
    whole = estimate_elbo(elbo, posterior, KEY, WINDOWS, stderr=0.05)
    error = np.hypot(whole.nll_stderr, nll.std() / np.sqrt(len(nll)))
    assert abs(whole.nll - nll.mean()) < 4 * error
    # An error that no sampling reaches is given up at a share of the cost of training.
    short = estimate_elbo(elbo, posterior, KEY, WINDOWS, stderr=1e-9, trained=1)
    assert short.nll_stderr > 1e-9
    assert abs(short.nll - nll.mean()) < 5 * np.hypot(short.nll_stderr, error)
    assert whole.kl == pytest.approx(sum(float(part.mean()) for part in kl.values()), rel=1e-4)
    # What initial states cost is part of the likelihood: the weights' price is `kl`, whatever the data.
    assert set(kl) == set(posterior.means())
    far = np.mean(plainly(keys, 10.0)[0]) - nll.mean()
    assert far > 2 * 10.0**2 / 2 * WINDOWS.size / elbo.total


def test_a_random_part_holds_so_many_transitions():
    part = random_part(WINDOWS, KEY, 32)
    assert isinstance(part, Segments) and part.size == 8 and len(np.unique(part.number)) == 8
    np.testing.assert_array_equal(part.states, WINDOWS.states[part.number])
    assert not np.array_equal(part.number, np.arange(8))
    assert random_part(DATA.transitions(), KEY, 32).size == 32
    assert random_part(WINDOWS, KEY, 1000).size == WINDOWS.size


# The choice


def chosen(data: Trajectories, variance: float | None, asked: str = "auto") -> likelihood.LikelihoodChoice:
    tables = {"data": {"noise_on": "states"}, "inference": {"likelihood": asked, "window_steps": 5}}
    return likelihood.choose_likelihood(parse_config(tables).inference, data, variance)


def test_auto_takes_windows_where_noise_is_large_against_a_step():
    for noise, kind in ((0.005, "transitions"), (0.1, "windows")):
        data = oscillations(20, 30, noise=noise)
        estimated = likelihood.noise_of_states(data)
        assert estimated is not None and estimated == pytest.approx(noise**2, rel=0.2)
        found = chosen(data, estimated)
        moves = np.sqrt(np.mean(np.diff(data.states, axis=1) ** 2))
        assert found.kind == kind and found.window_steps == (5 if kind == "windows" else None)
        assert found.noise_to_step == pytest.approx(np.sqrt(estimated) / moves)
        assert f"{found.noise_to_step:.2f} of the r.m.s. step" in found.text
        assert (" above" in found.text and "not above" not in found.text) == (kind == "windows")
    assert chosen(data, estimated, "transitions").kind == "transitions"
    assert chosen(data, 0.005**2).kind == "transitions"


def test_exact_states_leave_nothing_to_choose():
    data = oscillations(3, 10, noise=0.0)
    assert chosen(data, 0.0) == ("transitions", None, None, "")
    targets = Trajectories(data.times, data.states, data.states[:, 1:])
    with pytest.raises(OptionError, match=r"inference\.likelihood: windows .* is for noise on all states"):
        chosen(targets, 0.0, "windows")


def test_where_noise_cannot_be_told_from_motion_it_says_so():
    data = oscillations(20, 30, noise=0.0, dt=2.2)
    assert likelihood.noise_of_states(data) is None
    found = chosen(data, None)
    assert found.kind == "transitions" and "too far apart" in found.text
    assert chosen(data, None, "windows").text.startswith("multiple shooting over 5 steps (as requested; ")


@pytest.mark.parametrize(
    ("noise_on", "variance", "kind"),
    [("targets", 1e-2, "transitions"), ("states", 0.1, "windows")],
)
def test_a_simulated_problem_gets_the_likelihood_of_its_noise(noise_on, variance, kind):
    config = parse_config(
        {
            "data": {"noise_on": noise_on, "noise_variance": variance, "trajectories": 4, "transitions": 12},
            "network": {"layers": 2, "width": 4},
        }
    )
    problem = build_problem(config)
    assert problem.likelihood.kind == kind
    states = problem.posterior.latents
    if kind == "windows":
        # 8 steps and then 4, of each trajectory.
        assert isinstance(states, InitialStates)
        assert states.offsets.shape[0] == problem.observations.size == 8
    else:
        assert states is None and problem.observations.size == 48


# A run

SMALL = {
    "network.layers": 2,
    "network.width": 8,
    "symmetry.quantities": 1,
    "inference.group_samples": 2,
    "inference.likelihood": "windows",
    "inference.window_steps": 4,
    "training.steps": 20,
    "training.log_every": 4,
    "training.rates.quantities": 1e-9,
    "evaluation.group_samples": 2,
    "evaluation.nll_stderr": 5.0,
}


def small(**changes: object) -> list[str]:
    return [word for key, value in (SMALL | changes).items() for word in ("--set", f"{key}={value}")]


def write_csv(path: Path) -> Path:
    lines = ["trajectory,time,q1,p1"]
    for k, (times, states) in enumerate(oscillations(12, 18, noise=0.05).segments()):
        rows = zip(times.tolist(), states.tolist(), strict=True)
        lines += [f"{k},{t!r},{q!r},{p!r}" for t, (q, p) in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("noisy")
    data = write_csv(folder / "noisy.csv")
    result = run(
        "train", "systems/base.toml", "--out", folder / "run", "--set", f"data.file={data}", *small()
    )
    assert result.returncode == 0, result.stderr
    assert "Likelihood: multiple shooting over 4 steps (as requested; noise 0" in result.stdout
    return folder / "run"


def test_a_run_on_windows_says_so_in_its_summary(trained):
    summary = json.loads((trained / "summary.json").read_text())
    assert summary["transitions"] == 12 * 17
    assert summary["likelihood"]["kind"] == "windows" and summary["likelihood"]["window_steps"] == 4
    assert summary["likelihood"]["noise_to_step"] == pytest.approx(0.05 / 0.22, rel=0.3)
    train = summary["train"]
    assert train["negative_elbo"] == pytest.approx(train["nll"] + train["kl"])


def test_every_later_verb_goes_on_with_windows(trained, tmp_path):
    before = json.loads((trained / "summary.json").read_text())
    assert run("evaluate", trained).returncode == 0
    after = json.loads((trained / "summary.json").read_text())
    assert after["train"] == before["train"] and after["likelihood"] == before["likelihood"]
    start = tmp_path / "start.csv"
    start.write_text("q1,p1\n1.0,0.0\n")
    arguments = ("--initial", start, "--times", "0:1:0.5", "--out", tmp_path / "future.csv")
    assert run("predict", trained, *arguments).returncode == 0
    assert (tmp_path / "future.csv").read_text().count("\n") == 1 + 3
    assert run("report", trained).returncode == 0
    assert "Likelihood: multiple shooting over 4 steps" in (trained / "report.md").read_text()


def test_refits_for_the_evidence_are_of_the_likelihood_of_the_run(trained, tmp_path, monkeypatch):
    folder = RunFolder(tmp_path)
    learned, seen, growth = load_run(RunFolder(trained)), [], []

    def fitted(posterior, data, objective, training, **_):
        seen.append((data, posterior.latents.offsets.shape[0]))
        growth.append(training.group_warmup)
        return FitResult(posterior, initial_state(posterior, training), [])

    def estimated(objective, posterior, key, data, **_):
        seen.append((data, objective.total))
        return ELBOEstimate(3.0, 2.0, 0.1, 1.0)

    monkeypatch.setattr(refits_module, "fit", fitted)
    monkeypatch.setattr(refits_module, "estimate_elbo", estimated)
    monkeypatch.setattr(refits_module, "learned_bracket", lambda *_: 0.01)

    def bound(mode, quantities=None):
        return refits_module.Refits(learned.problem, mode, 1, quantities, keep=folder.keep).train(1).bound()

    found = bound("none")
    (data, count), (part, total) = seen
    assert isinstance(data, Segments) and isinstance(part, Segments)
    assert count == data.size == part.size == 12 * 5 and total == 12 * 17
    assert found.negative_elbo_total == 3.0 * 12 * 17
    # Averages over a few points of wide orbits of several quantities would ruin the fit.
    for matrices in (np.eye(2)[None], np.stack([np.eye(2), np.diag([1.0, 2.0])])):
        count = len(matrices)
        built_in = bound("fixed", Quadratics(matrices, np.zeros((count, 2)), np.zeros(count)))
        assert built_in.bracket == 0.01
    assert growth == [0, 0, round(learned.config.training.steps * 2 / 3)]
    # What was estimated of a finished fit is kept, each by what is built in.
    estimates = len(seen)
    assert bound("none") == found
    assert len(seen) == estimates + 1 and len(list(folder.refits.glob("*/result.json"))) == 3


def test_windows_of_targets_are_bad_input(tmp_path):
    result = run("train", "debug.toml", "--out", tmp_path / "run", "--set", "inference.likelihood=windows")
    assert_bad_input(result, "inference.likelihood", "noise on all states")
    result = run("train", "debug.toml", "--out", tmp_path / "run", "--set", "inference.likelihood=pairs")
    assert_bad_input(result, "inference.likelihood", "pairs")
    assert files(tmp_path) == set()


@pytest.mark.slow
def test_discover_judges_by_windows(tmp_path):
    data = write_csv(tmp_path / "noisy.csv")
    words = small(
        **{
            "symmetry.quantities": 5,  # left as drawn, they span all of degree <= 2
            "training.steps": 600,
            "network.width": 16,
            "inference.group_samples": 4,
        }
    )
    result = run("discover", data, "--out", tmp_path / "run", "--quantity", "q1^2 + p1^2", *words)
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "symmetry.json").read_text())
    assert found["hamiltonian"] is True and found["rank"] == 1
    assert np.isfinite(found["hypotheses"][0]["against"]["none"]["nats"])


STUDY = Path(__file__).parents[1] / "scripts" / "noise_study.py"


def study(out: Path) -> list[list[str]]:
    """The cells of the table of a small study."""
    settings = {
        "data.trajectories": 50,
        "data.transitions": 32,
        "network.width": 32,
        "symmetry.quantities": 6,
        "inference.group_samples": 8,
        "training.steps": 1500,
        "evaluation.group_samples": 8,
        "evaluation.nll_stderr": 1.0,
    }
    words = [word for key, value in settings.items() for word in ("--set", f"{key}={value}")]
    table = out / "noise.md"
    places = ["--out", str(out), "--table", str(table), "--levels", "0.1", "--only", "isotropic"]
    subprocess.run([sys.executable, str(STUDY), *places, *words], check=True)
    lines = [line for line in table.read_text().splitlines() if line.startswith("| 2 equal")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.slow
def test_the_study_of_noise_finds_what_windows_are_for_and_goes_on_where_it_stopped(tmp_path):
    transitions, windows = study(tmp_path)
    assert (transitions[5], windows[5]) == ("transitions", "windows")
    assert transitions[4] == windows[4] == "windows"
    assert 1.35 < float(transitions[6]) < 1.6 and 0.95 < float(windows[6]) < 1.2
    assert windows[8].endswith(" of 4") and windows[7].count(" ") == 3
    before = {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path) - {"noise.md"}}
    assert study(tmp_path) == [transitions, windows]
    assert before == {name: (tmp_path / name).stat().st_mtime_ns for name in files(tmp_path) - {"noise.md"}}
