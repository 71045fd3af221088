"""The verb sweep: combinations of settings, lost workers, the table, and bad input."""

import csv
import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_experiments import DEBUG, TINY, run

from noether_razor import sweep, workers
from noether_razor.app.config import ConfigError, combinations, load_config
from noether_razor.app.runs import train_run
from noether_razor.discovery import RunFolder
from noether_razor.workers import Place

QUICK = [*TINY, "training.checkpoint_seconds=0", "symmetry.mode=none", "inference.substeps=1"]
SET = [word for override in QUICK for word in ("--set", override)]


def test_values_are_split_at_commas_outside_of_brackets():
    found = combinations(["a.b=1,2", "c=[1, 2],[3]", "d='x,y',{e = [1, 2], f = 2}"])
    assert len(found) == 8 and found[0] == {"a.b": "1", "c": "[1, 2]", "d": "'x,y'"}
    assert found[-1] == {"a.b": "2", "c": "[3]", "d": "{e = [1, 2], f = 2}"}
    assert [one["a.b"] for one in found] == ["1"] * 4 + ["2"] * 4
    assert combinations([]) == [{}]
    with pytest.raises(ConfigError, match="are 400000 runs, expected 100000 at most"):
        combinations(["a.b=1,2", "c=3,4"], seeds=100_000)


def test_folders_are_named_for_what_differs(tmp_path):
    given = ["training.steps=5", "network.width=8,16", "training.warm_start=[],[{steps = 2, dt = 0.1}]"]
    names = [one.name for one in sweep.plan_sweep(DEBUG, given, seeds=2, out=tmp_path)]
    assert len(set(names)) == 8 and names[0].startswith("network.width=8_training.warm_start=")
    assert not set("".join(names)) & set(" []{},/")
    runs = sweep.plan_sweep(DEBUG, ["network.width=8"], seeds=2, out=tmp_path)
    assert [one.name for one in runs] == ["seed=0", "seed=1"]
    assert [one.config.seed for one in runs] == [0, 1] and runs[0].settings == {"network.width": 8}


def kill_a_worker_once(out: Path) -> None:
    """As soon as a run has logged a step."""
    deadline = time.monotonic() + 120
    while not list(out.glob("*/metrics.jsonl")):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    victim = multiprocessing.active_children()[0].pid
    assert victim is not None
    os.kill(victim, signal.SIGKILL)


def test_a_sweep_that_loses_a_worker_ends_as_undisturbed_ones(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "places", lambda jobs: [Place()] * min(jobs, 2))
    out = tmp_path / "out"
    command = ["sweep", DEBUG, *SET, "--set", "data.noise_variance=0.001,0.002", "--seeds", 1, "--out", out]
    killer = threading.Thread(target=kill_a_worker_once, args=(out,))
    killer.start()
    code, text, errors = run(*command)
    killer.join()
    assert code == 0 and errors == ""
    rows = json.loads((out / "table.json").read_text())["rows"]
    assert [row["settings"]["data.noise_variance"] for row in rows] == [0.001, 0.002]
    for row in rows:
        assert row["run"] == f"data.noise_variance={row['settings']['data.noise_variance']}_seed=0"
        noise = f"data.noise_variance={row['settings']['data.noise_variance']}"
        config = load_config(DEBUG, [*QUICK, noise, "seed=0"])
        wanted = json.loads(json.dumps(train_run(config, RunFolder(tmp_path / row["run"]))))
        assert all(row["summary"][part] == wanted[part] for part in ("train", "test", "symmetry"))
    lines = list(csv.DictReader((out / "table.csv").read_text().splitlines()))
    for row, line in zip(rows, lines, strict=True):
        assert float(line["train.negative_elbo"]) == row["summary"]["train"]["negative_elbo"]
        assert line["error"] == "" and line["network.width"] == "8"
    assert (out / "summary.png").read_bytes().startswith(b"\x89PNG")
    assert (out / "summary.md").read_text().strip() in text

    code, said, errors = run(*command)
    assert (code, said) == (2, "") and errors.count("\n") == 1 and "--resume" in errors
    assert run(*command, "--resume") == (0, text, "")


def fake_train_run(config: Any, folder: RunFolder, **_: Any) -> None:
    """A summary without training; seed 1 fails."""
    if config.seed == 1:
        raise FloatingPointError("not finite\nat step 3")
    test = {"test": {"mse": 1e-3 * (1 + config.seed)}}
    train = {"negative_elbo": float(config.seed), "nll": 1.0, "kl": float("nan")}
    folder.write_summary({"seed": config.seed, "train": train, "test": test, "device": "cpu"})


def test_a_run_that_fails_is_listed_and_the_others_averaged(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "dask_installed", lambda: False)
    monkeypatch.setattr(sweep, "train_run", fake_train_run)
    code, text, errors = run("sweep", DEBUG, "--seeds", 4, "--out", tmp_path / "out")
    assert code == 0 and errors.count("noether-razor[cluster]") == 1 and errors.count("\n") == 1
    assert "- failed: seed=1: not finite at step 3" in text
    content = json.loads((tmp_path / "out" / "table.json").read_text())
    (means,) = content["means"]
    assert (means["runs"], means["failed"]) == (3, 1)
    elbo = means["numbers"]["train.negative_elbo"]
    # Of 0, 2 and 3.
    assert elbo["mean"] == pytest.approx(5 / 3) and elbo["stderr"] == pytest.approx((7 / 9) ** 0.5)
    assert [row["error"] for row in content["rows"]] == [None, "not finite at step 3", None, None]


def test_where_every_run_fails_the_code_says_so(tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "places", lambda _: [Place()])
    monkeypatch.setattr(sweep, "train_run", lambda *_, **__: 1 / 0)
    code, text, _ = run("sweep", DEBUG, "--seeds", 1, "--out", tmp_path / "out")
    assert code == 1 and "- failed: seed=0: division by zero" in text


def test_an_interrupted_sweep_says_how_to_go_on(tmp_path, monkeypatch):
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(workers, "places", lambda _: [Place()])
    monkeypatch.setattr(sweep, "train_run", stopped)
    code, text, errors = run("sweep", DEBUG, "--seeds", 1, "--out", tmp_path / "out")
    assert (code, text) == (130, "") and "continue with: noether-razor sweep" in errors
    assert errors.strip().endswith("--resume")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--set", "network.widht=8,16"), "network.widht: unknown key"),
        (("--set", "network.width="), "--set network.width=: expected table.key=value,value,..."),
        (("--set", "network.width"), "expected table.key=value,value,..."),
        (("--set", "network.width=8,,16"), "expected table.key=value,value,..."),
        (("--set", "network.width=8", "--set", "network.width=16"), "network.width comes twice"),
        (("--set", "network.width=8,8"), "the value 8 comes twice"),
        (("--set", "network.width=8,-1"), "network.width"),
        (("--set", "seed=1,2"), "--seeds N"),
        (("--seeds", "0"), "got 0, expected at least 1"),
        (("--scheduler", "tcp://127.0.0.1:1"), "--scheduler tcp://127.0.0.1:1: cannot be reached"),
    ],
)
def test_bad_input_is_one_line_and_nothing_is_written(arguments, words, tmp_path, monkeypatch):
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.5)
    code, text, errors = run("sweep", DEBUG, "--out", tmp_path / "out", *arguments)
    assert (code, text) == (2, "") and errors.count("\n") == 1 and words in errors
    assert not (tmp_path / "out").exists()


def test_a_folder_with_another_configuration_is_bad_input(tmp_path):
    given = ["sweep", DEBUG, "--seeds", 1, "--out", tmp_path, "--resume"]
    config = load_config(DEBUG, ["network.width=16"])
    RunFolder(tmp_path / "seed=0").write_tables(config.model_dump(mode="json"))
    code, text, errors = run(*given)
    assert (code, text) == (2, "") and "network.width is 16 there, 8 here" in errors
    with pytest.raises(ConfigError, match="not seen here"):
        sweep._row(sweep.plan_sweep(DEBUG, [], seeds=1, out=tmp_path)[0], None)
