"""Every verb, end to end on the debug config, and every kind of bad input, through the command line."""

import contextlib
import io
import json
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import patch

import numpy as np
import pytest

from noether_razor.app.cli import application, main
from noether_razor.app.cli import progress as _progress
from noether_razor.app.config import load_config

ROOT = Path(__file__).parents[1]
DEBUG = ROOT / "configs" / "debug.toml"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    """The command line in this process, so that tests share compilations; `process` is a real one."""
    words = ["noether-razor", *map(str, arguments)]
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", words),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    return subprocess.CompletedProcess(words, int(stopped.value.code or 0), out.getvalue(), err.getvalue())


def process(*arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "noether_razor", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def assert_bad_input(result: subprocess.CompletedProcess[str], *parts: str) -> None:
    assert result.returncode == 2, result
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1, result.stderr
    for part in parts:
        assert part in result.stderr


def assert_only_progress(stderr: str) -> None:
    """Where stderr is no terminal, long work says now and then what it is doing."""
    assert all(re.match(r" *\d+ s  \S", line) for line in stderr.splitlines()), stderr


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "debug"
    result = run("train", DEBUG, "--out", folder)
    assert result.returncode == 0, result.stderr
    assert "-ELBO" in result.stdout and "alignment" in result.stdout
    assert_only_progress(result.stderr)
    return folder


def test_train_writes_the_run_folder(trained: Path) -> None:
    assert {"config.json", "data.npz", "metrics.jsonl", "summary.json"} <= files(trained)
    steps = [json.loads(line)["step"] for line in (trained / "metrics.jsonl").read_text().splitlines()]
    assert steps == [20, 40, 60]
    assert not [name for name in files(trained) if Path(name).name.startswith(".")]


def test_summary_keeps_its_contract(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    assert {
        "seed",
        "steps",
        "wall_seconds",
        "compile_seconds",
        "evaluation_seconds",
        "device",
        "transitions",
    } <= set(summary)
    assert summary["steps"] == 60 and summary["transitions"] == 28
    train = summary["train"]
    assert {"negative_elbo", "nll", "nll_stderr", "kl", "mse"} <= set(train)
    assert train["negative_elbo"] == pytest.approx(train["nll"] + train["kl"])
    assert set(summary["test"]) == {"test", "wider", "moved"}
    for errors in summary["test"].values():
        assert {"mse", "mse_stderr", "mse_mean_weights", "rollout_mse"} <= set(errors)
        assert all(np.isfinite(value) for value in errors.values())
    symmetry = summary["symmetry"]
    assert symmetry["quantities"] == len(symmetry["singular_values"]) == len(symmetry["parallelness"]) == 1
    assert 0 <= symmetry["parallelness"][0] <= 1


def test_report_shows_every_figure_that_it_wrote(trained: Path) -> None:
    result = run("report", trained)
    assert result.returncode == 0, result.stderr
    text = (trained / "report.md").read_text()
    figures = sorted((trained / "figures").iterdir())
    assert len(figures) >= 3
    page = (trained / "report.html").read_text()
    assert page.count("<svg") == len(figures) and "<script" not in page
    for figure in figures:
        assert f"figures/{figure.name}" in text
        assert figure.read_bytes().startswith(b"\x89PNG")


def test_evaluate_repeats_the_summary_of_train(trained: Path) -> None:
    before = json.loads((trained / "summary.json").read_text())
    result = run("evaluate", trained)
    assert result.returncode == 0, result.stderr
    after = json.loads((trained / "summary.json").read_text())
    for key in ("train", "test", "symmetry", "wall_seconds"):
        assert after[key] == before[key]


def test_training_into_a_run_is_refused_and_resuming_a_finished_run_does_nothing(trained: Path) -> None:
    before = {name: (trained / name).read_bytes() for name in files(trained)}
    assert_bad_input(run("train", DEBUG, "--out", trained), "already holds a run", "--resume")
    assert run("train", DEBUG, "--out", trained, "--resume").returncode == 0
    assert_bad_input(
        run("train", DEBUG, "--out", trained, "--resume", "--set", "network.width=9"),
        "network.width",
        "another configuration",
    )
    assert {name: (trained / name).read_bytes() for name in files(trained)} == before


def arrays(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_seconds"} for line in lines]


STEPS = 30
EACH_STEP = [
    word
    for setting in (f"steps={STEPS}", "log_every=1", "checkpoint_seconds=0")
    for word in ("--set", f"training.{setting}")
]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "whole"
    assert run("train", DEBUG, "--out", folder, *EACH_STEP).returncode == 0
    return folder


def test_a_dry_run_says_what_a_run_costs_and_writes_nothing(tmp_path: Path) -> None:
    result = run("train", DEBUG, "--dry-run", "--out", tmp_path / "never")
    assert result.returncode == 0 and result.stderr == ""
    assert not (tmp_path / "never").exists()
    said = re.search(r"([\d.]+) MB of a device predicted .* ([\d.]+) MB compiled", result.stdout)
    # Of so small a network most is what the formula leaves out.
    assert said and 0.2 < float(said[1]) / float(said[2]) < 2
    assert re.search(r"training: 60 steps, cpu devices: 1\n  parameters +\d+", result.stdout)
    assert re.search(r"a step +[\d.]+ ms measured", result.stdout) and "whole run" in result.stdout
    assert_bad_input(run("train", DEBUG, "--dry-run", "--processes", "2"), "--coordinator")


def test_an_interrupted_and_killed_run_resumes_as_if_never_stopped(whole: Path, tmp_path: Path) -> None:
    folder = tmp_path / "stopped"
    logged = folder / "metrics.jsonl"

    def steps() -> int:
        return len(logged.read_text().splitlines()) if logged.exists() else 0

    # Interrupted in this process.
    def interrupt() -> None:
        while not over.wait(0.005):
            if steps() >= 5:
                signal.raise_signal(signal.SIGINT)
                return

    over = threading.Event()
    waiting = threading.Thread(target=interrupt)
    waiting.start()
    try:
        result = run("train", DEBUG, "--out", folder, *EACH_STEP)
    finally:
        over.set()
        waiting.join()
    said = [line for line in result.stderr.splitlines() if not re.match(r" *\d+ s  \S", line)]
    assert result.returncode == 130, result
    stopping, going_on = said
    assert "stopping" in stopping and "--resume" in going_on
    assert not (folder / "summary.json").exists() and 5 <= steps() < STEPS

    # Killed in one of its own.
    running, wanted = process("train", DEBUG, "--out", folder, "--resume", *EACH_STEP), steps() + 3
    while steps() < wanted:
        assert running.poll() is None, running.communicate()
        time.sleep(0.02)
    running.kill()
    running.communicate()
    assert not (folder / "summary.json").exists() and wanted <= len(arrays(folder)) < STEPS

    assert run("train", DEBUG, "--out", folder, "--resume", *EACH_STEP).returncode == 0
    assert arrays(folder) == arrays(whole)
    ours, theirs = (json.loads((one / "summary.json").read_text()) for one in (folder, whole))
    for key in ("train", "test", "symmetry"):
        assert ours[key] == theirs[key]


@pytest.mark.parametrize("verb", ["train", "discover", "charges", "symmetries", "embed"])
def test_a_folder_that_cannot_be_is_refused_before_anything_is_computed(tmp_path: Path, verb: str) -> None:
    file, data = tmp_path / "file", tmp_path / "data.csv"
    file.write_text("")
    rows = [f"{run},{t},{t},1" for run in "ab" for t in range(3)]
    data.write_text("trajectory,time,q1,p1\n" + "\n".join(rows))
    config = {"train": DEBUG, "discover": data, "embed": data}.get(verb, "learning/digits.toml")
    for out, why in ((file, "is not a folder"), (file / "below", "cannot be written: Not a directory")):
        assert_bad_input(run(verb, config, "--out", out), "--out", f"{out}", why)
    assert file.read_text() == ""


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there is no pthread_kill")
def test_an_interrupt_that_a_callback_drops_is_sent_again() -> None:
    class Dropped:
        def __del__(self) -> None:
            raise KeyboardInterrupt

    # Workers of a test run ignore the signal.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), _progress.lost_interrupts_return():
            Dropped()
            time.sleep(5)
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="there is no pthread_kill")
def test_what_does_not_listen_to_an_interrupt_is_stopped_later() -> None:
    with pytest.raises(KeyboardInterrupt), _progress.Interruption(patience=0.05) as stop:
        signal.raise_signal(signal.SIGINT)
        assert stop()
        time.sleep(5)


def test_an_interrupt_while_the_program_is_imported_leaves_no_traceback() -> None:
    script = (
        "import os, signal, sys\n"
        "class Late:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name == 'noether_razor.app.cli':\n"
        "            os.kill(os.getpid(), signal.SIGINT)\n"
        "sys.meta_path.insert(0, Late())\n"
        "from noether_razor.__main__ import main\n"
        "main()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 130 and done.stderr == ""


def test_a_run_that_is_not_there_is_begun(tmp_path: Path) -> None:
    with patch("noether_razor.app.runs.train_run", side_effect=KeyboardInterrupt):
        told = run("train", DEBUG, "--out", tmp_path / "new", "--resume")
    assert told.returncode == 130 and "nothing to resume in" in told.stderr.splitlines()[0]
    assert not (tmp_path / "new").exists()


def test_a_seed_changes_everything_and_only_a_seed_does(trained: Path, tmp_path: Path) -> None:
    assert run("train", DEBUG, "--out", tmp_path / "same", "--quiet").returncode == 0
    assert run("train", DEBUG, "--out", tmp_path / "other", "--quiet", "--set", "seed=1").returncode == 0
    assert arrays(tmp_path / "same") == arrays(trained)
    ours, other = np.load(trained / "data.npz"), np.load(tmp_path / "other" / "data.npz")
    assert not np.array_equal(ours["states"], other["states"])
    noise = [archive["targets"] - archive["states"][:, 1:] for archive in (ours, other)]
    assert not np.allclose(noise[0], noise[1])
    assert arrays(tmp_path / "other")[0]["kl"] != arrays(trained)[0]["kl"]


def test_simulate_writes_what_train_would_learn_from(trained: Path, tmp_path: Path) -> None:
    out = tmp_path / "data.npz"
    assert run("simulate", DEBUG, "--out", out).returncode == 0
    ours, theirs = np.load(out), np.load(trained / "data.npz")
    for name in ("times", "states", "targets", "names", "units"):
        np.testing.assert_array_equal(ours[name], theirs[name])


def test_training_from_a_file(trained: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    result = run("train", DEBUG, "--out", folder, "--set", f"data.file='{trained / 'data.npz'}'")
    assert result.returncode == 0, result.stderr
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["test"] == {} and "parallelness" not in summary["symmetry"]
    assert run("report", folder).returncode == 0


def custom(formula: str, parameters: str = "{}") -> tuple[str, ...]:
    table = f"system={{kind='custom', dof=1, hamiltonian='{formula}', parameters={parameters}}}"
    return ("--set", table)


def test_a_system_given_by_its_formula_is_scored_too(tmp_path: Path) -> None:
    short = ("--set", "training.steps=4", "--set", "training.log_every=2")
    formula = custom("k * (q1**2 + p1**2) / 2", "{k = 2.0}")
    result = run("train", DEBUG, "--out", tmp_path / "run", *formula, *short)
    assert result.returncode == 0, result.stderr
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert len(summary["symmetry"]["parallelness"]) == 1


@pytest.mark.parametrize(
    ("formula", "parameters", "part"),
    [
        ("q1**2 + p2**2", "{}", "p2"),
        ("q1**2 + sine(p1)", "{}", "sin"),
        ("q1**99", "{}", "99"),
        ("().__class__", "{}", "system.hamiltonian"),
        ("k * q1", "{k = true}", "system.parameters.k"),
    ],
)
def test_bad_formulas(tmp_path: Path, formula: str, parameters: str, part: str) -> None:
    out = tmp_path / "run"
    assert_bad_input(run("train", DEBUG, "--out", out, *custom(formula, parameters)), part)
    assert not out.exists()


@pytest.mark.parametrize(("mode", "estimator"), [("none", "efficient"), ("fixed", "paper")])
def test_other_modes_and_the_paper_estimator_train(tmp_path: Path, mode: str, estimator: str) -> None:
    settings = ("--set", f"symmetry.mode={mode}", "--set", f"inference.estimator={estimator}")
    short = ("--set", "training.steps=4", "--set", "training.log_every=2")
    result = run("train", DEBUG, "--out", tmp_path / "run", *settings, *short)
    assert result.returncode == 0, result.stderr
    quantities = json.loads((tmp_path / "run" / "summary.json").read_text())["symmetry"]["quantities"]
    assert quantities == {"none": 0, "fixed": 1}[mode]


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        ("training.stepz=3", ("training.stepz", "did you mean steps")),
        ("trainin.steps=3", ("trainin", "did you mean training")),
        ("network.width=wide", ("network.width", "wide")),
        ("network.width=0", ("network.width", "0")),
        ("data.dt=-0.1", ("data.dt", "-0.1")),
        ("data.dt=nan", ("data.dt", "finite")),
        ("data.trajectories=0", ("data.trajectories", "0")),
        ("data.noise_variance=0", ("inference.noise_variance",)),
        ("training.steps=0", ("training.steps", "0")),
        ("seed=-1", ("seed", "-1")),
        ("symmetry.quantities=0", ("symmetry.quantities", "0")),
        ("symmetry.mode=learnt", ("symmetry.mode", "'learned'")),
        ("symmetry.measure=haar", ("symmetry.measure", "fixed")),
        ("system.kind=pendulums", ("system.kind", "did you mean pendulum")),
        ("system.dof=0", ("system.dof", "0")),
        ("system.parameters.frequency=[1]", ("system.parameters.frequency", "did you mean frequencies")),
        ("system.parameters.frequencies=[0]", ("system.parameters", "frequencies")),
        ("system.parameters.frequencies=[1, 2]", ("system.dof", "got 1", "2")),
        ("system.kind=custom", ("system", "needs dof and hamiltonian")),
        ("system.hamiltonian='q1**2'", ("hamiltonian", "custom")),
        ("inference.weight_samples=0", ("inference.weight_samples", "0")),
        ("inference.substeps=none", ("inference.substeps", "none")),
        ("training.rates.weights=-1", ("training.rates.weights", "-1")),
        ("seed", ("--set seed", "table.key=value")),
        ("seed.x=1", ("seed",)),
    ],
)
def test_bad_settings(tmp_path: Path, setting: str, parts: tuple[str, ...]) -> None:
    out = tmp_path / "run"
    assert_bad_input(run("train", DEBUG, "--out", out, "--set", setting), *parts)
    assert not out.exists()


def test_bad_config_files(tmp_path: Path) -> None:
    assert_bad_input(run("train", tmp_path / "no.toml"), "no.toml", "no such file")
    assert_bad_input(run("train", tmp_path), "cannot be read")
    broken = tmp_path / "broken.toml"
    broken.write_text("seed = = 1")
    assert_bad_input(run("train", broken), "broken.toml", "not TOML")
    broken.write_text("extends = 'broken.toml'")
    assert_bad_input(run("train", broken), "extends itself")
    broken.write_text("extends = 'missing.toml'")
    assert_bad_input(run("train", broken), "missing.toml", "no such file")
    broken.write_text("extends = 3")
    assert_bad_input(run("train", broken), "extends")
    broken.write_bytes(b"\xff\xfe")
    assert_bad_input(run("train", broken), "not TOML")


def test_every_wrong_key_is_named_at_once(tmp_path: Path) -> None:
    result = run(
        "train",
        DEBUG,
        "--set",
        "network.width=0",
        "--set",
        "data.dtt=1",
        "--set",
        "seed=1.5",
        "--out",
        tmp_path / "run",
    )
    assert_bad_input(result, "network.width", "data.dtt", "seed")
    assert files(tmp_path) == set()


def test_bad_usage() -> None:
    missing = run("train")
    assert_bad_input(missing, "argument")
    assert "config" in missing.stderr.lower()
    assert_bad_input(run("trian", DEBUG), "trian")
    assert_bad_input(run("train", DEBUG, "--ouut", "x"), "--ouut")
    assert_bad_input(run("simulate", DEBUG, "--out", "data.csv"), "data.csv", ".npz")
    assert run("--help").returncode == 0


def write_npz(path: Path, **arrays: np.ndarray) -> Path:
    np.savez(path, **arrays)  # type: ignore[arg-type]
    return path


def test_bad_data_files(tmp_path: Path) -> None:
    times = np.tile(np.arange(3.0), (2, 1))
    states = np.zeros((2, 3, 2))
    damaged = tmp_path / "damaged.npz"
    write_npz(damaged, times=times, states=states)
    damaged.write_bytes(damaged.read_bytes()[:-30])
    nan = states.copy()
    nan[1, 2, 0] = np.nan
    cases = {
        "missing.npz": (None, "no such file"),
        "damaged.npz": (None, "damaged"),
        "shape.npz": ({"times": times, "states": states[0]}, "(3, 2)"),
        "nan.npz": ({"times": times, "states": nan}, "(1, 2, 0)"),
        "odd.npz": ({"times": times, "states": np.zeros((2, 3, 3))}, "3 columns"),
        "order.npz": ({"times": times[:, ::-1], "states": states}, "increase"),
        "names.npz": ({"times": times, "x": states}, "states"),
        "text.npz": ({"times": times, "states": states.astype(str)}, "real numbers"),
        "pickle.npz": ({"times": times, "states": states.astype(object)}, "plain arrays"),
    }
    for name, (arrays, part) in cases.items():
        path = tmp_path / name
        if arrays is not None:
            write_npz(path, **arrays)
        out = tmp_path / "run"
        assert_bad_input(run("train", DEBUG, "--out", out, "--set", f"data.file='{path}'"), name, part)
        assert not out.exists()


def test_bad_run_folders(trained: Path, tmp_path: Path) -> None:
    for verb in ("evaluate", "report"):
        assert_bad_input(run(verb, tmp_path / "none"), "none")
        assert_bad_input(run(verb, tmp_path), str(tmp_path))


def test_a_damaged_checkpoint_is_refused_and_left_alone(trained: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(trained, copy)
    (copy / "summary.json").unlink()
    for path in (copy / "checkpoint").rglob("d/*"):
        path.write_bytes(path.read_bytes()[:40])
    before = files(copy)
    assert_bad_input(run("evaluate", copy), "checkpoint", "damaged")
    assert_bad_input(run("train", DEBUG, "--out", copy, "--resume"), "checkpoint", "damaged")
    assert files(copy) == before


def test_the_module_runs_as_a_program() -> None:
    running = process("evaluate", "nowhere")
    out, err = running.communicate()
    assert (running.returncode, out) == (2, "")
    assert err.count("\n") == 1 and "nowhere" in err


def test_a_bound_that_is_not_finite_fails_with_its_step_and_site(tmp_path: Path) -> None:
    out = tmp_path / "run"
    result = run("train", DEBUG, "--out", out, "--set", "training.rates.weights=1e30")
    assert result.returncode == 1
    # A slow machine says before that it is compiling.
    said = [line for line in result.stderr.splitlines() if line.startswith("noether-razor:")]
    assert len(said) == 1 and "not finite at step 2, first at the KL" in said[0]
    assert "Traceback" not in result.stderr
    assert not (out / "summary.json").exists()


def test_a_full_disk_is_said_with_the_way_on(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(**_: object) -> int:
        raise ValueError("RESOURCE_EXHAUSTED: Failed to write 355 bytes: No space left on device")

    monkeypatch.setattr(application, "app", full)
    monkeypatch.setattr(sys, "argv", ["noether-razor", "train", "mine.toml", "--out", "runs/mine"])
    with pytest.raises(SystemExit) as stopped:
        application.main()
    assert stopped.value.code == 1
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "no space is left on the disk" in said
    assert said.rstrip().endswith("noether-razor train mine.toml --out runs/mine --resume")


@pytest.mark.parametrize("quiet", [False, True])
def test_where_stderr_is_no_terminal_lines_say_what_is_being_done(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], quiet: bool
) -> None:
    monkeypatch.setattr(_progress, "HEARTBEAT", 0.02)
    with _progress.LiveProgress(quiet, load_config(DEBUG).training.steps) as live:
        live.refit("found 1", cast(Any, SimpleNamespace(step=3, negative_elbo=-2.0)))
        time.sleep(0.3)
    said = capsys.readouterr().err
    assert_only_progress(said)
    assert ("found 1  -ELBO    -2.000  step 3 of" in said) == (not quiet)
