"""The paper's tables and figures: their configurations, the runner that fills them, the claims they check."""

import contextlib
import io
import json
import math
import sys
from pathlib import Path
from typing import Any
from unittest.mock import patch

import jax
import numpy as np
import pytest

from noether_razor import workers
from noether_razor.app.cli import main
from noether_razor.app.config import ConfigError, build_problem, load_config
from noether_razor.app.runs import Listener, config_of, train_run, warm_start_config
from noether_razor.discovery import RunFolder
from noether_razor.paper import (
    BUDGETS,
    TARGETS,
    Comparison,
    FullAlgebra,
    NearFloor,
    PhasePlane,
    Spectrum,
    plan,
    reproduce,
    row_config,
    run_all,
    table_result,
    targets,
)
from noether_razor.paper.reproduction import noise_floors, table_lines
from noether_razor.paper.runner import wall_seconds
from noether_razor.reporting import mean_and_stderr
from noether_razor.trajectories import Trajectories
from noether_razor.workers import Place

ROOT = Path(__file__).parents[1]
DEBUG = ROOT / "configs" / "debug.toml"
PAPER = sorted((ROOT / "configs" / "paper").rglob("*.toml"))

TINY = (
    "network.layers=2",
    "network.width=8",
    "inference.group_samples=4",
    "inference.weight_samples=2",
    "training.steps=6",
    "training.log_every=2",
    "evaluation.trajectories=3",
    "evaluation.transitions=2",
    "evaluation.group_samples=4",
    "evaluation.weight_samples=2",
    "evaluation.nll_stderr=1000",
)


def run(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of the command line, in this process."""
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["noether-razor", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    return int(stopped.value.code or 0), out.getvalue(), err.getvalue()


class Stop:
    """Interrupts a run once it has logged so many chunks."""

    def __init__(self, chunks: int):
        self.left = chunks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_seconds"} for line in lines]


# Configurations


@pytest.mark.parametrize("path", PAPER, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_configuration_of_the_paper_builds(path: Path) -> None:
    config = load_config(path, ["inference.substeps=1"])
    dof = config.system.dof
    assert dof is not None
    times = np.tile(config.data.dt * np.arange(5.0), (2, 1))
    states = np.random.default_rng(0).normal(size=(2, 5, 2 * dof))
    problem = build_problem(config, Trajectories(times, states))
    count = {"none": 0, "learned": config.symmetry.quantities}.get(config.symmetry.mode)
    found = 0 if problem.posterior.quantities is None else problem.posterior.quantities.count
    if count is None:
        count = {"table1": 1, "table2": 9, "table3": 3}[path.parent.name]
    assert found == count
    objective, rows = problem.objective, problem.data.transitions()
    terms = jax.eval_shape(lambda key: objective(problem.posterior, key, rows), jax.random.key(0))
    assert terms.nll.shape == () and len(terms.kl) == config.network.layers


@pytest.mark.parametrize("path", PAPER, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_every_configuration_keeps_the_protocol(path: Path) -> None:
    config = load_config(path)
    assert (config.system.initial_scale_q, config.system.initial_scale_p) == (1.0, 0.5)
    assert config.data.noise_variance == 1e-3 and config.data.noise_on == "targets"
    assert (config.evaluation.trajectories, config.evaluation.transitions) == (100, 20)
    sets = {name: (s.scale_q, s.scale_p, s.shift_q) for name, s in config.evaluation.sets.items()}
    assert sets == {"test": (1.0, 0.2, 0.0), "wider": (3.0, 0.2, 0.0), "moved": (1.0, 0.2, 1.0)}
    size = (config.data.trajectories, config.data.transitions, config.data.dt)
    net = (config.network.layers, config.network.width, config.network.elu_alpha)
    if path.parent.name == "table1":
        assert (size, net) == ((7, 4, 0.2), (3, 200, 2.0))
        assert config.symmetry.measure == "box"
    elif config.system.kind == "oscillators":
        assert (size, net) == ((200, 50, 0.2), (3, 200, 1.0))
    else:
        assert (size, net) == ((200, 50, 1.0), (4, 250, 1.0))
        assert config.training.warm_start[0].dt == 0.1
    if config.symmetry.mode == "learned" and path.parent.name != "more":
        wanted = {"table1": 1, "table2": 30, "figure3": 30, "table3": 10}[path.parent.name]
        assert config.symmetry.quantities == wanted
    if path.parent.name == "figure3":
        assert config.system.dof == int(path.stem[1:])


def test_every_row_has_a_configuration_under_every_budget() -> None:
    shipped = {str(path.relative_to(ROOT / "configs")) for path in PAPER}
    for target in TARGETS.values():
        table = target.table if isinstance(target, PhasePlane) else target
        for row in table.rows:
            assert row.config in shipped
            standard, quick, paper = (
                row_config(row, seed=3, budget=budget, paper=table.paper)
                for budget in ("standard", "quick", "paper")
            )
            assert standard == load_config(row.config, ["seed=3"])
            assert quick.training.steps < 100
            assert paper.inference.estimator == "paper" and paper.inference.substeps == 20
            assert paper.training.rates.weights == 1e-3 and paper.training.rates.quantities == 1e-2
            epoch = standard.data.trajectories * standard.data.transitions
            assert paper.training.batch is not None
            epochs = paper.training.steps * paper.training.batch / epoch
            assert epochs == {"table1": 5000, "table2": 2000, "figure3": 2000, "table3": 1000}[table.name]
    assert load_config("paper/figure3/n3.toml") == load_config("paper/table2/learned.toml")


def test_only_bodies_have_a_euclidean_group() -> None:
    config = load_config(DEBUG, ["symmetry.mode=fixed", "symmetry.fixed=euclidean"])
    with pytest.raises(ConfigError, match="n_body"):
        build_problem(config)


# Claims


def made_up(values: dict[str, list[float]]) -> dict[str, Any]:
    return {row: {"nll": mean_and_stderr(numbers)} for row, numbers in values.items()}


def test_mean_and_standard_error() -> None:
    assert mean_and_stderr([1.0]) == {"mean": 1.0, "stderr": None, "values": [1.0]}
    three = mean_and_stderr([1.0, 2.0, 6.0])
    assert three["mean"] == 3.0 and three["stderr"] == pytest.approx(math.sqrt(7 / 3))


def test_below_is_judged_on_the_mean_and_counted_by_seed() -> None:
    rows = made_up({"learned": [1.0, 2.0, 3.0], "vanilla": [2.0, 4.0, 2.5]})
    verdict = Comparison("nll", "learned", "vanilla").judge(rows, {})
    assert verdict.held and "2 of 3 seeds" in verdict.detail
    # Differences -1, -2, 0.5: mean -0.8333, standard error 0.7265.
    assert "-0.833 (± 0.73, -1.1 standard errors)" in verdict.detail
    assert not Comparison("nll", "vanilla", "learned").judge(rows, {}).held
    assert not Comparison("nll", "learned", "learned").judge(rows, {}).held


@pytest.mark.parametrize(
    ("learned", "fixed", "held"),
    [(10.4, 10.0, True), (10.6, 10.0, False), (1.29, 1.0, True), (-10.4, -10.0, True), (-9.4, -10.0, False)],
)
def test_as_good_as_the_oracle_is_five_per_cent_or_a_third(learned: float, fixed: float, held: bool) -> None:
    rows = made_up({"learned": [learned], "fixed": [fixed]})
    verdict = Comparison("nll", "learned", "fixed", relative=0.05, absolute=0.3).judge(rows, {})
    assert verdict.held == held and "one seed" in verdict.detail
    assert "5% or 0.3" in verdict.claim


def test_a_claim_about_the_noise_floor() -> None:
    rows = made_up({"learned": [-12.0, -11.6]})
    assert NearFloor("nll", "learned", 0.5).judge(rows, {"nll": -12.21}).held
    verdict = NearFloor("nll", "learned", 0.3).judge(rows, {"nll": -12.21})
    assert not verdict.held and "1 of 2 seeds" in verdict.detail


def test_claims_about_generators() -> None:
    good = {
        "singular_values": [[2.0, 1.0, 0.03]],
        "parallelness": [[1.0, 0.995, 0.2]],
        "principal_cosines": [[1.0, 0.96]],
    }
    assert Spectrum("2", 2).judge({"2": good}, {}).held
    assert FullAlgebra("learned", 0.95, 0.05).judge({"learned": good}, {}).held
    for key, bad in (
        ("singular_values", [2.0, 0.07, 0.03]),  # no gap
        ("singular_values", [2.0, 1.0, 0.05]),  # too much beyond
        ("parallelness", [1.0, 0.98, 0.2]),
    ):
        assert not Spectrum("2", 2).judge({"2": {**good, key: [*good[key], bad]}}, {}).held, key
    wrong = {**good, "principal_cosines": [[1.0, 0.9]]}
    assert not FullAlgebra("learned", 0.95, 0.05).judge({"learned": wrong}, {}).held
    # No further direction at all.
    assert Spectrum("1", 1).judge({"1": {"singular_values": [[1.0]], "parallelness": [[1.0]]}}, {}).held


def summary(elbo: float) -> dict[str, Any]:
    errors = {"mse": 0.1 * elbo}
    return {
        "train": {"negative_elbo": elbo, "nll": elbo - 1, "kl": 1.0, "mse": 0.002},
        "test": {"test": errors, "moved": errors, "wider": errors},
        "symmetry": {"singular_values": [1.0], "parallelness": [0.9], "principal_cosines": [0.9]},
    }


def test_a_table_keeps_its_contract_and_shows_its_numbers() -> None:
    table = TARGETS["table1"]
    assert not isinstance(table, PhasePlane)
    config = load_config(table.rows[0].config)
    floors = noise_floors(config)
    assert floors["train_mse"] == 1e-3 and floors["nll"] == pytest.approx(-4.0698, abs=1e-3)
    rows = {"vanilla": 3.0, "learned": 1.0, "fixed": 1.1}
    result = table_result(
        {name: [summary(value), summary(value + 0.5)] for name, value in rows.items()}, floors, table.claims
    )
    metrics = {"negative_elbo", "nll", "kl", "train_mse", "test_mse", "wider_mse", "moved_mse"}
    assert all(metrics <= set(row) for row in result["rows"].values())
    assert result["rows"]["learned"]["negative_elbo"] == {"mean": 1.25, "stderr": 0.25, "values": [1.0, 1.5]}
    assert result["rows"]["learned"]["principal_cosines"] == [[0.9], [0.9]]
    assert "principal_cosines" not in result["rows"]["vanilla"]
    assert len(result["claims"]) == len(table.claims) and all(claim["held"] for claim in result["claims"])
    text = "\n".join(table_lines(result | {"seeds": [0, 1]}))
    assert "1.250 ± 0.250" in text and "-4.070" in text and "not held" not in text


# The runner


def test_runs_of_different_budgets_and_seeds_have_folders_of_their_own(tmp_path: Path) -> None:
    table = TARGETS["table3"]
    assert not isinstance(table, PhasePlane)
    runs = [
        run
        for budget in BUDGETS
        for run in plan(table.rows, seeds=2, budget=budget, out=tmp_path, paper=table.paper)
    ]
    assert len({run.folder.path for run in runs}) == 18
    # Rows of one seed and budget share their warm start.
    assert len({run.warm_start.path for run in runs if run.warm_start}) == 6


def test_a_warm_start_resumes_wherever_it_was_stopped(tmp_path: Path) -> None:
    config = load_config(
        DEBUG, [*TINY, "training.warm_start=[{steps = 4, dt = 0.02}, {steps = 4, dt = 0.05}]"]
    )
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    wanted = train_run(config, whole)
    for chunks in (0, 1, 2):  # in each warm start, and in the run itself
        with pytest.raises(KeyboardInterrupt):
            train_run(config, stopped, resume=True, listener=Listener(interrupted=Stop(chunks)))
    assert len(stopped.checkpoint.steps()) == 1 and not stopped.summary.exists()
    got = train_run(config, stopped, resume=True)
    for part in (".", "warm_start", "warm_start/warm_start"):
        assert logged(stopped.path / part) == logged(whole.path / part) != []
    for key in ("train", "test", "symmetry"):
        assert got[key] == wanted[key]
    warm = RunFolder(stopped.path / "warm_start")
    assert config_of(warm) == warm_start_config(config)
    assert got["wall_seconds"] > warm.read_metrics()[-1]["wall_seconds"]


def test_a_table_is_made_resumed_and_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(targets, "QUICK", (*targets.QUICK, *TINY))
    monkeypatch.setattr(workers, "places", lambda _: [Place()])  # one run at a time, in this process
    runs = tmp_path / "runs" / "quick"
    with pytest.raises(KeyboardInterrupt):  # in the second row
        reproduce("table1", seeds=1, budget="quick", out=tmp_path, interrupted=Stop(4))
    done = runs / "table1-vanilla-0" / "summary.json"
    assert done.exists() and not (runs / "table1-learned-0" / "summary.json").exists()
    assert not (tmp_path / "table1.json").exists()
    before = done.stat().st_mtime_ns

    command = ("reproduce", "table1", "--seeds", 1, "--budget", "quick", "--out", tmp_path)
    code, text, errors = run(*command)
    assert (code, errors) == (0, "") and done.stat().st_mtime_ns == before
    assert "Smoke run" in text and text.strip() == (tmp_path / "table1.md").read_text().strip()
    result = json.loads((tmp_path / "table1.json").read_text())
    assert result["seeds"] == [0] and result["budget"] == "quick" and result["wall_seconds"] > 0
    assert set(result["rows"]) == {"vanilla", "learned", "fixed"}
    for row in result["rows"].values():
        for metric in ("negative_elbo", "nll", "kl", "train_mse", "test_mse", "wider_mse", "moved_mse"):
            assert row[metric]["stderr"] is None and row[metric]["values"] == [row[metric]["mean"]]

    # Nothing is trained again, and figure 2 is drawn from the same runs.
    with patch("noether_razor.app.runs.run.fit", side_effect=AssertionError):
        assert run(*command)[:2] == (0, text)
        code, text, errors = run("reproduce", "figure2", "--budget", "quick", "--out", tmp_path)
    assert (code, errors) == (0, "") and "figure2.png" in text
    assert (tmp_path / "figure2.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "figure2.pdf").read_bytes().startswith(b"%PDF")

    # A run of another configuration in the way is bad input, before anything is trained.
    monkeypatch.setattr(targets, "QUICK", (*targets.QUICK, "training.steps=8"))
    code, text, errors = run(*command)
    assert (code, text) == (2, "") and "training.steps is 6 there, 8 here" in errors


def test_shared_warm_starts_are_counted_once(tmp_path: Path) -> None:
    table = TARGETS["table3"]
    assert not isinstance(table, PhasePlane)
    runs = plan(table.rows, seeds=1, budget="quick", out=tmp_path)
    assert runs[0].warm_start is not None
    runs[0].warm_start.write_metrics([{"step": 1, "wall_seconds": 10.0}])
    spent = [{"wall_seconds": 30.0, "evaluation_seconds": 1.0}] * 3
    assert wall_seconds(runs, spent, 1) == 10 + 3 * (20 + 1)
    assert wall_seconds(runs, spent, 2) == 10 + 2 * (20 + 1)
    assert run_all([]) == []


# Bad input


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (("table4",), ("table4", "table3", "figure2")),
        (("table1", "--seeds", "0"), ("--seeds", "0")),
        (("table1", "--seeds", "two"), ("--seeds", "valid int")),
        (("table1", "--budget", "huge"), ("huge", "standard")),
        (("table1", "--bugdet", "quick"), ("--bugdet",)),
        ((), ("target",)),
    ],
)
def test_bad_input(arguments: tuple[str, ...], parts: tuple[str, ...]) -> None:
    code, out, err = run("reproduce", *arguments)
    assert (code, out) == (2, "") and err.count("\n") == 1
    for part in parts:
        assert part in err.lower()


def test_an_output_that_is_no_folder(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for out in (file, file / "inside"):
        code, text, errors = run("reproduce", "table1", "--out", out)
        assert (code, text) == (2, "") and errors.count("\n") == 1 and str(file) in errors
    with pytest.raises(ValueError, match="table4"):
        reproduce("table4", seeds=1, budget="quick", out=tmp_path / "new")
    assert not (tmp_path / "new").exists()
