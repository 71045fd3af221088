"""The verb `discover`, from a CSV to the answer, and what it refuses."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_cli import assert_bad_input, files, run

from noether_razor.app.config import Config, build_problem
from noether_razor.app.runs import (
    Listener,
    analyse_run,
    budget_named,
    config_of,
    discover_config,
    discover_run,
    load_run,
)
from noether_razor.discovery import Discovery, HypothesisError, RunFolder, parse_hypothesis
from noether_razor.inference import Posterior
from noether_razor.reporting import discovery_text, symmetry_text
from noether_razor.symmetry import NoAveraging
from noether_razor.training import NonFiniteELBOError, Report, fit
from noether_razor.trajectories import Trajectories, hold_out, load_trajectories

LENGTH = 1e6
"""The unit of the file: nothing in it is of order one."""
SMALL = {
    "network.layers": 2,
    "seed": 4,
    "network.width": 16,
    "symmetry.quantities": 5,
    "inference.group_samples": 4,
    "training.steps": 1000,
    "training.rates.quantities": 1e-9,
    "training.log_every": 50,
    "evaluation.group_samples": 4,
    "evaluation.nll_stderr": 0.5,
}
"""Five quantities of one degree of freedom, left as they were drawn, span all of degree <= 2: then the drift
alone decides, and not what a small network learns in seconds.
"""


def write_oscillator(path: Path, decay: float = 0.0) -> Path:
    """q'' = -q - decay q', 12 trajectories at irregular times, columns in another order, no noise."""
    generator = np.random.default_rng(0)
    lines = ["p1,trajectory,q1,time"]
    for k in range(12):
        at = np.cumsum(generator.uniform(0.1, 0.3, 20))
        amplitude, phase = generator.uniform(0.3, 1.5), generator.uniform(0, 6)
        size, frequency = amplitude * np.exp(-decay / 2 * at), np.sqrt(1 - decay**2 / 4)
        q = size * np.cos(frequency * at + phase)
        p = -decay / 2 * q - size * frequency * np.sin(frequency * at + phase)
        rows = zip((p * LENGTH).tolist(), (q * LENGTH).tolist(), at.tolist(), strict=True)
        lines += [f"{p!r},r{k},{q!r},{t!r}" for p, q, t in rows]
    path.write_text("\n".join(lines) + "\n")
    return path


def small(**changes: object) -> list[str]:
    return [word for key, value in (SMALL | changes).items() for word in ("--set", f"{key}={value}")]


@pytest.fixture(scope="module")
def discovered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    folder = tmp_path_factory.mktemp("discover")
    data = write_oscillator(folder / "mine.csv")
    questions = ("--quantity", "q1^2 + p1^2", "--quantity", "q1*p1")
    asked = (*questions, "--repeats", 1, "--unit", "q1=m", "--verbose")
    result = run("discover", data, "--out", folder / "run", *asked, *small())
    assert result.returncode == 0, result.stderr
    # What the data alone say comes before anything is learned.
    assert result.stderr.startswith("from the data alone: 1 conserved quantity of degree <= 2, u(1)")
    first, said = result.stderr.split(
        "now learning the dynamics, beside the exact evidence and the library\n"
    )
    assert "exact evidence" not in first
    # Then, beside lines of progress, what the exact evidence adds; last where the time was spent.
    answer, times = said.split("conservation was tested")
    assert "exact evidence (polynomials of degree 4): 1 conserved" in answer
    spent = times[times.index("\n") + 1 :].splitlines()
    parts = [line for line in spent if not re.match(r" *\d+ s  \S", line)]
    assert len(parts) > 8 and all(re.match(r" *\d+\.\d s  \S", line) for line in parts), times
    taken = json.loads((folder / "run" / "summary.json").read_text())["part_seconds"]
    assert {"model", "library", "fits for the Delta-ELBO", "report"} <= set(taken)
    return folder / "run", result.stdout


def test_says_what_is_conserved(discovered):
    folder, out = discovered
    found = json.loads((folder / "symmetry.json").read_text())
    assert found["rank"] == 1 and found["hamiltonian"] is True and found["decided"] is True
    assert found["restricted"] is False and found["failed"] == {} and found["notes"] == []
    data = found["data"]
    assert (data["recordings"], data["staying"], data["shown"], data["rows"]) == (12, 1, 1, 240)
    assert found["quantities"][0]["formula"] == "q1^2 + p1^2" and found["algebra"]["name"] == "u(1)"
    assert {"none", "found", "learned", "exact"} == set(found["evidence"])
    assert [one["verdict"] for one in found["evidence"]["exact"]["quantities"]] == ["exact", "rejected"]
    assert out.startswith("1 conserved quantity of degree <= 2, u(1) = so(2)") and "BUT" not in out
    kept = {"config.json", "data.npz", "metrics.jsonl", "summary.json", "symmetry.json", "report.md"}
    assert kept | {"report.html"} <= files(folder)


def test_trajectories_kept_aside_are_not_trained_on(discovered):
    folder, _ = discovered
    problem = load_run(RunFolder(folder)).problem
    assert problem.held_out is not None
    assert (len(problem.measured), len(problem.held_out), len(problem.recorded)) == (9, 3, 12)
    starts = {tuple(path[0]) for path in problem.measured} | {tuple(path[0]) for path in problem.held_out}
    assert len(starts) == 12
    assert len(load_trajectories(folder / "data.npz")) == 12
    summary = json.loads((folder / "summary.json").read_text())
    assert summary["transitions"] == 9 * 19 and np.isfinite(summary["test"]["held out"]["mse"])
    # In the units of the file: the scale of a coordinate is near its unit.
    assert 1e-8 < summary["test"]["held out"]["mse"] / LENGTH**2 < 1


def test_answers_hypotheses_in_nats(discovered):
    folder, out = discovered
    energy, other = json.loads((folder / "symmetry.json").read_text())["hypotheses"]
    np.testing.assert_allclose(energy["A"], [2 * np.eye(2)])
    assert energy["data_verdict"] == "conserved" and other["data_verdict"] == "not conserved"
    assert energy["limit"] < 0.01 < other["drift"] and other["answer"] == "rejected"
    assert (energy["engine"], energy["answer"], other["engine"]) == ("exact", "supported", "data")
    # One fit of each kind: its number stands there, and says that it is no evidence.
    assert np.isfinite(energy["against"]["none"]["nats"]) and energy["against"]["none"]["stderr"] is None
    assert energy["fit"]["invariant"] and energy["bound"]["verdict"] == "undecided"
    # A dilation has no period, and no network can be given its invariants.
    assert other["fit"] is None and other["failed"].startswith("the bound cannot judge this")
    said = " ".join(out.split())
    assert (
        "q1*p1: rejected by the data; " in said and "q1^2 + p1^2: supported by the exact evidence; " in said
    )
    assert "against learned quantities; no evidence, one fit of each kind has no error" in said
    assert "no Delta-ELBO: the bound cannot judge this" in said


def test_says_what_the_data_can_tell(discovered):
    folder, out = discovered
    checks = json.loads((folder / "symmetry.json").read_text())["checks"]
    assert checks["structure"]["verdict"] == "explained" and checks["structure"]["reason"] is None
    assert checks["sampling"]["fine_enough"]
    assert (checks["trajectories"], checks["held_out_trajectories"], checks["transitions"]) == (9, 3, 171)
    assert checks["calibration"]["values"] == 3 * 19 * 2
    out, report = (" ".join(text.split()) for text in (out, (folder / "report.md").read_text()))
    for name in ("structure", "sampling", "calibration"):
        assert checks[name]["text"] in out and checks[name]["text"] in report
    assert "in the 90 % band" in report
    assert "1 combination of monomials stays constant along 12 trajectories, which can show at" in report


def copied(discovered: tuple[Path, str], folder: Path) -> RunFolder:
    shutil.copytree(discovered[0], folder)
    return RunFolder(folder)


def test_analysed_again_it_keeps_what_was_discovered(discovered, tmp_path):
    folder = copied(discovered, tmp_path / "run")
    before = folder.read_symmetry()
    assert run("analyse", folder.path, "--repeats", 0).returncode == 0
    after = folder.read_symmetry()
    assert after["checks"] == before["checks"] and after["hypotheses"] == before["hypotheses"]


def test_friction_is_no_hamiltonian_system(tmp_path):
    data = write_oscillator(tmp_path / "friction.csv", decay=0.3)
    result = run("discover", data, "--out", tmp_path / "run", *small())
    assert result.returncode == 0, result.stderr
    found = json.loads((tmp_path / "run" / "symmetry.json").read_text())
    assert found["rank"] == 0 and found["quantities"] == []
    # So strong that nothing is left to drift slowly; a small fit may not tell more than that.
    assert result.stdout.startswith("no conserved quantities of degree <= 2")
    assert found["hamiltonian"] is not True


ROW = "trajectory,time,q1,p1\n"


@pytest.mark.parametrize(
    ("content", "arguments", "parts"),
    [
        (ROW + "a,0,1,x\n", (), ("mine.csv", "line 2, column p1", "'x'")),
        ("time,q1\n0,1\n1,2\n", (), ("mine.csv", "positions alone need 18 rows")),
        ("good", ("--quantity", "q1*p9"), ("--quantity", "column 4", "p9")),
        ("good", ("--quantity", "q1^3"), ("--quantity", "degree at most 2")),
        ("good", ("--quantity", "__import__('os')"), ("--quantity",)),
        ("good", ("--quantity", "q1 - q1"), ("--quantity", "constant")),
        (
            "good",
            ("--periodic", "q1", "--quantity", "p1, q1*p1"),
            ("--quantity", "'q1*p1': contains q1, which is an angle"),
        ),
        ("good", ("--unit", "q1"), ("--unit", "NAME=UNIT")),
        ("good", ("--positions", "x"), ("mine.csv", "column x", "is missing")),
        ("good", ("--set", "data.held_out=0.9"), ("data.held_out", "0.9")),
        ("good", ("--set", "symmetry.mode=none"), ("symmetry.mode", "none")),
    ],
)
def test_bad_input_writes_nothing(tmp_path, content, arguments, parts):
    data = tmp_path / "mine.csv"
    if content == "good":
        write_oscillator(data)
    else:
        data.write_text(content)
    result = run("discover", data, "--out", tmp_path / "run", *arguments)
    assert_bad_input(result, *parts)
    assert files(tmp_path) == {"mine.csv"}


def given_config(discovered: tuple[Path, str]) -> Config:
    return config_of(RunFolder(discovered[0]))


def test_resumed_it_trains_nothing_again(discovered, tmp_path):
    folder = copied(discovered, tmp_path / "run")
    before = folder.read_symmetry()
    trained: list[str] = []

    def on_refit(name: str, report: Report) -> None:
        trained.append(name)

    found = discover_run(
        given_config(discovered),
        folder,
        budget=budget_named("standard", 1),
        quantities=("q1^2 + p1^2", "q1*p1"),
        resume=True,
        listener=Listener(progress=lambda line: trained.append("run"), refit=on_refit),
    ).to_json()
    assert trained == []
    assert found["evidence"] == before["evidence"] and found["checks"] == before["checks"]
    assert [entry["fit"] for entry in found["hypotheses"]] == [entry["fit"] for entry in before["hypotheses"]]


@pytest.mark.parametrize("every", [False, True])
def test_a_fit_that_fails_costs_the_evidence_and_not_the_answer(discovered, tmp_path, monkeypatch, every):
    folder = copied(discovered, tmp_path / "run")
    before = folder.read_symmetry()

    def breaks(posterior: Posterior, *arguments: Any, **rest: Any) -> Any:
        if every or not isinstance(posterior.averaging, NoAveraging):
            raise NonFiniteELBOError(7, "the gradient")
        return fit(posterior, *arguments, **rest)

    monkeypatch.setattr("noether_razor.discovery.comparison.fit", breaks)
    found = analyse_run(folder, quantities=("q1^2 + p1^2",))
    assert found["quantities"] == before["quantities"] and found["decided"] is True
    assert found == folder.read_symmetry()
    text = symmetry_text(found)
    assert text.startswith("1 conserved quantity of degree <= 2, u(1) = so(2)\n")
    if every:
        assert list(found["evidence"]) == ["exact"] and list(found["failed"]) == ["evidence"]
        assert "failed: evidence: " in text and "step 7" in text
        # Those of before stay, and so does the exact evidence, which needs no fit of the model.
        assert found["evidence"]["exact"] == before["evidence"]["exact"]
        assert found["hypotheses"] == before["hypotheses"]
    else:
        assert set(found["evidence"]) == {"none", "learned", "exact"} and list(found["failed"]) == ["found"]
        (asked,) = found["hypotheses"]
        assert asked["fit"] is None and "step 7" in asked["failed"]
        assert (asked["data_verdict"], asked["answer"]) == ("conserved", "undecided")
        assert "q1^2 + p1^2: undecided" in discovery_text(found)


def test_a_model_that_fails_leaves_what_the_data_say(tmp_path, monkeypatch):
    data = write_oscillator(tmp_path / "mine.csv")

    def breaks(*_: Any, **__: Any) -> Any:
        raise NonFiniteELBOError(7, "the gradient")

    monkeypatch.setattr("noether_razor.app.runs.discover.train_to_end", breaks)
    folder = RunFolder(tmp_path / "run")
    told: list[Discovery] = []
    found = discover_run(
        discover_config(data),
        folder,
        quantities=("q1^2 + p1^2", "q1"),
        listener=Listener(answer=told.append),
    ).to_json()
    assert found == folder.read_symmetry() and len(told) == 1
    assert found["rank"] == 1 and "step 7" in found["failed"]["model"]
    # The exact evidence needs no model.
    assert set(found["evidence"]) == {"exact"} and not told[0].to_json()["evidence"]
    assert [entry["data_verdict"] for entry in found["hypotheses"]] == ["conserved", "not conserved"]
    assert "failed: model: " in symmetry_text(found) and "q1: rejected" in discovery_text(found)


def test_of_too_few_rows_nothing_is_trained(tmp_path, monkeypatch):
    monkeypatch.setattr("noether_razor.app.runs.run.fit", None)  # nothing calls it
    data, out = tmp_path / "two.csv", tmp_path / "run"
    data.write_text("trajectory,time,q1,p1\na,0,1,0.1\na,0.2,1.1,0.3\n")
    told = run("discover", data, "--out", out)
    assert told.returncode == 0 and "now learning" not in told.stderr
    assert told.stdout.startswith("cannot tell what is conserved: too few rows")
    why = "not trained: 1 step from row to row, and at least 5 are needed"
    assert why in " ".join(told.stdout.split())
    assert json.loads((out / "symmetry.json").read_text())["failed"]["model"].startswith(why)
    again = run("discover", data, "--out", out, "--resume")
    assert again.returncode == 0 and again.stdout == told.stdout


def test_a_folder_with_a_run_is_not_written_over(discovered):
    folder, _ = discovered
    data = folder.parent / "mine.csv"
    assert_bad_input(run("discover", data, "--out", folder, *small()), "already holds a run")
    changed = small(**{"training.steps": 7})
    assert_bad_input(run("discover", data, "--out", folder, "--resume", *changed), "data.units")


def test_whole_trajectories_are_held_out_whatever_the_seed():
    times = np.tile(np.arange(3.0), (20, 1))
    data = Trajectories(times, np.arange(120.0).reshape(20, 3, 2))
    kept, aside = hold_out(data, 0.25)
    assert aside is not None and (len(kept), len(aside)) == (15, 5)
    assert sorted([*kept.states[:, 0, 0], *aside.states[:, 0, 0]]) == sorted(data.states[:, 0, 0])
    again = hold_out(data, 0.25)[1]
    assert again is not None
    np.testing.assert_array_equal(aside.states, again.states)
    assert hold_out(data[:3], 0.25)[1] is None and hold_out(data, 0.0)[1] is None
    least = hold_out(data[:4], 0.01)[1]
    assert least is not None and len(least) == 2
    with pytest.raises(ValueError, match="share"):
        hold_out(data, 1.0)


def test_a_learned_noise_has_a_floor(tmp_path):
    data = write_oscillator(tmp_path / "mine.csv")
    problem = build_problem(discover_config(data))
    assert problem.training.noise_floor == 1e-6
    plain = build_problem(discover_config(data, {"scale": "none"}))
    assert 0.01 * LENGTH**2 < 1e6 * plain.training.noise_floor < LENGTH**2
    named = build_problem(discover_config(data, overrides=["inference.noise_variance=1.0"]))
    assert named.training.noise_floor == 0


def test_what_simulation_says_of_noise_is_not_taken_for_a_file(tmp_path):
    config = discover_config(tmp_path / "mine.csv", {"masses": [2.0]}, ["seed=3"])
    assert config.inference.noise_variance == "learned" and config.data.masses == (2.0,)
    assert (config.seed, config.data.held_out, config.network.width) == (3, 0.25, 64)


def test_hypotheses_are_read_in_the_names_of_the_data():
    read = parse_hypothesis("x*m_vx - 2*x", ("x", "m_vx"))
    np.testing.assert_array_equal(read.matrices, [[[0, 1], [1, 0]]])
    np.testing.assert_array_equal(read.vectors, [[-2, 0]])
    both = parse_hypothesis("x^2, m_vx", ("x", "m_vx"))
    np.testing.assert_array_equal(both.matrices, [[[2, 0], [0, 0]], np.zeros((2, 2))])
    np.testing.assert_array_equal(both.vectors, [[0, 0], [0, 1]])
    with pytest.raises(HypothesisError, match="combination of the others"):
        parse_hypothesis("x, m_vx, x - 2*m_vx", ("x", "m_vx"))
    with pytest.raises(HypothesisError, match="formula"):
        parse_hypothesis("x,", ("x", "m_vx"))
    with pytest.raises(HypothesisError, match="did you mean"):
        parse_hypothesis("x*m_vy", ("x", "m_vx"))


def test_hypotheses_may_name_velocities():
    names = ("x", "y", "m_vx", "m_vy")
    masses = {"vx": np.array([0, 0, 1 / 2.0, 0]), "vy": np.array([0, 0, 0, 1 / 10.0])}
    spin = parse_hypothesis("x*vy - y*vx", names, masses)
    same = parse_hypothesis("x*m_vy/10 - y*m_vx/2", names)
    np.testing.assert_allclose(spin.matrices, same.matrices, rtol=1e-15)
    energy = parse_hypothesis("2*vx^2/2 + vy*m_vy/2 + vx", names, masses)
    np.testing.assert_allclose(energy.matrices[0], np.diag([0, 0, 0.5, 0.1]), rtol=1e-15)
    np.testing.assert_allclose(energy.vectors, [[0, 0, 0.5, 0]])
    with pytest.raises(HypothesisError, match="combination of the others"):
        parse_hypothesis("vx, m_vx", names, masses)
    with pytest.raises(HypothesisError, match="constant"):
        parse_hypothesis("m_vx - 2*vx", names, masses)
    # A velocity v1 gives the momentum p1; a coordinate goes before a velocity of its name.
    quarter = np.array([0, 0.25])
    np.testing.assert_allclose(parse_hypothesis("v1", ("q1", "p1"), {"v1": quarter}).vectors, [[0, 0.25]])
    np.testing.assert_allclose(parse_hypothesis("v", ("v", "p"), {"v": quarter}).vectors, [[1, 0]])
