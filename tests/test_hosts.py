"""One run in two processes over the loopback: one is killed, and the run gone on with by one and by two."""

import json
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noether_razor.app.cli.joining import join
from noether_razor.app.config import ConfigError, load_config
from noether_razor.app.runs.run import train_to_end
from noether_razor.discovery import RunFolder

DEBUG = "debug.toml"
STEPS = 30
SETTINGS = [
    f"training.steps={STEPS}",
    "training.log_every=1",
    "training.checkpoint_seconds=0",
    "symmetry.mode=none",
    "inference.substeps=1",
    "evaluation.nll_stderr=0.5",
]
"""Each step is kept; what takes long to compile and says nothing of processes is left out."""
KILLS = 10
GONE = "noether-razor: another process of this run has ended or cannot be reached"


def free_address() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def started(folder: Path, count: int) -> list[subprocess.Popen[str]]:
    """So many processes that go on with a run, or begin it."""
    command = [sys.executable, "-m", "noether_razor", "train", DEBUG, "--out", str(folder), "--resume"]
    command += [word for override in SETTINGS for word in ("--set", override)]
    address = free_address()
    places: list[list[str]] = [[]]
    if count > 1:
        shared = ["--coordinator", address, "--processes", str(count)]
        places = [[*shared, "--process-id", str(k)] for k in range(count)]
    return [
        subprocess.Popen([*command, *more], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for more in places
    ]


def lines(folder: Path) -> list[dict[str, Any]]:
    logged = folder / "metrics.jsonl"
    return [json.loads(line) for line in logged.read_text().splitlines()] if logged.exists() else []


def wait_for_steps(folder: Path, count: int, running: list[subprocess.Popen[str]]) -> None:
    while len(lines(folder)) < count:
        assert all(one.poll() is None for one in running), [one.communicate() for one in running]
        time.sleep(0.02)


def ended(running: list[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Exit codes and what was printed, by then at the latest."""
    said = [one.communicate(timeout=120) for one in running]
    return [(one.returncode, *texts) for one, texts in zip(running, said, strict=True)]


def said_by_the_survivor(errors: str) -> list[str]:
    """Without lines of progress, and without the first one."""
    own = [line for line in errors.splitlines() if line.startswith("noether-razor")]
    return [line for line in own if "nothing to resume" not in line]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A run of two processes that lost one; what was left of it, gone on with by one process, and by two."""
    runs = tmp_path_factory.mktemp("runs")
    folder = runs / "two"
    two = started(folder, 2)
    wait_for_steps(folder, 5, two)
    two[1].send_signal(signal.SIGKILL)
    killed = time.monotonic()
    lost = ended(two)[0]
    seconds = time.monotonic() - killed
    assert 5 <= len(lines(folder)) < STEPS
    shutil.copytree(folder, runs / "one")
    last = ended(started(folder, 2))
    # In this process they share a compilation.
    config = load_config(DEBUG, SETTINGS)
    for name in ("one", "undisturbed"):
        train_to_end(config, RunFolder(runs / name))
    bounds = {
        one.name: np.array([line["negative_elbo"] for line in lines(one)])
        for one in (folder, runs / "one", runs / "undisturbed")
    }
    return {"folder": folder, "lost": lost, "seconds": seconds, "last": last, "bounds": bounds}


def test_the_process_that_is_left_ends_with_one_line(shared):
    code, _, errors = shared["lost"]
    assert code == 1
    (line,) = said_by_the_survivor(errors)
    assert line.startswith(GONE) and "--resume" in line
    assert shared["seconds"] < 30


def test_two_processes_go_on_to_the_end_and_the_first_writes(shared):
    (first, said, errors), (other, nothing, _) = shared["last"]
    assert (first, other) == (0, 0), errors
    assert "-ELBO" in said and not nothing
    folder = shared["folder"]
    assert [line["step"] for line in lines(folder)] == [*range(1, STEPS + 1)]
    assert json.loads((folder / "summary.json").read_text())["steps"] == STEPS
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("count", ["one", "two"])
def test_the_steps_are_those_of_one_process_that_nothing_disturbed(shared, count):
    """To rounding, which training enlarges from step to step."""
    ours, theirs = shared["bounds"][count], shared["bounds"]["undisturbed"]
    np.testing.assert_allclose(ours[:20], theirs[:20], rtol=1e-4)
    np.testing.assert_allclose(ours, theirs, rtol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("127.0.0.1:1234", None, None), "--processes and --process-id"),
        (("nowhere", 2, 0), "host:port"),
        (("127.0.0.1:1234", 2, 2), "0 to 1"),
    ],
)
def test_bad_addresses_and_numbers_are_refused(arguments, words):
    with pytest.raises(ConfigError, match=words):
        join(*arguments)


@pytest.mark.slow
@pytest.mark.parametrize(("count", "victim"), [(1, 0), (2, 0), (2, 1)])
def test_a_run_killed_at_random_moments_ends_bitwise_as_an_undisturbed_one(tmp_path, count, victim):
    """Of as many processes: of others it is the same to rounding."""
    whole, folder = tmp_path / "whole", tmp_path / "killed"
    assert {code for code, *_ in ended(started(whole, count))} == {0}
    rng = np.random.default_rng([count, victim])
    for _ in range(KILLS):
        running = started(folder, count)
        wanted = len(lines(folder)) + int(rng.integers(1, 8))
        # Later than the start, at which processes wait for each other for minutes.
        while len(lines(folder)) < wanted and all(one.poll() is None for one in running):
            time.sleep(0.01)
        time.sleep(rng.uniform(0, 0.2))
        running[victim].send_signal(signal.SIGKILL)
        codes = [code for code, *_ in ended(running)]
        # Killed or done; the one that is left says so, or was done.
        assert codes.pop(victim) in (0, -signal.SIGKILL) and set(codes) <= {0, 1}
    assert {code for code, *_ in ended(started(folder, count))} == {0}
    kept = ("step", "negative_elbo", "nll", "kl", "gradient_norm")
    ours, theirs = ([[line[key] for key in kept] for line in lines(one)] for one in (folder, whole))
    assert ours == theirs
    ours, theirs = (json.loads((one / "summary.json").read_text()) for one in (folder, whole))
    assert all(ours[part] == theirs[part] for part in ("train", "test", "symmetry"))
