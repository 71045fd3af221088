"""A user's own file, from the configuration to what is reported about it, through the command line."""

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from test_cli import DEBUG, assert_bad_input, run

from noether_razor.app.config import ConfigError, build_problem, build_system, file_layout, parse_config
from noether_razor.app.config.schema import SystemTable
from noether_razor.app.runs import load_run
from noether_razor.discovery import RunFolder
from noether_razor.modelling import substeps_for
from noether_razor.modelling.problem import MAX_SUBSTEPS
from noether_razor.quantities import QuadraticQuantities, direction_quantities, flat_generators
from noether_razor.trajectories import Trajectories, fit_scale, scaled_trajectories

LENGTH, MASS, SECOND = 1e6, 2.0, 50.0
"""Units in which nothing is of order one."""


def oscillator(
    trajectories: int = 6, steps: int = 8, *, decay: float = 0.0
) -> list[tuple[np.ndarray, np.ndarray]]:
    """q'' = -q in odd units, irregular times, velocities; trajectories get longer."""
    generator = np.random.default_rng(0)
    segments = []
    for k in range(trajectories):
        at = np.cumsum(generator.uniform(0.1, 0.3, steps + k))
        amplitude, phase = generator.uniform(0.5, 1.5), generator.uniform(0, 6)
        fade = np.exp(-decay * at)
        q, v = amplitude * fade * np.cos(at + phase), -amplitude * fade * np.sin(at + phase)
        states = np.stack([q * LENGTH, v * LENGTH / SECOND], axis=1)
        segments.append((at * SECOND, states))
    return segments


@pytest.fixture(scope="module")
def own_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("own") / "mine.csv"
    lines = ["vx,run,x,t"]
    for k, (times, states) in enumerate(oscillator()):
        lines += [
            f"{v!r},r{k},{x!r},{t!r}" for t, (x, v) in zip(times.tolist(), states.tolist(), strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def settings_of(path: Path, **changes: Any) -> list[str]:
    data: dict[str, Any] = {
        "data.file": str(path),
        "data.columns.trajectory": "run",
        "data.columns.time": "t",
        "data.columns.positions": ["x"],
        "data.columns.velocities": ["vx"],
        "data.masses": MASS,
        "inference.noise_variance": 1e9,
        "evaluation.nll_stderr": 1.0,
        **changes,
    }
    words = [f"{key}={json.dumps(value)}" for key, value in data.items()]
    # TOML has inline tables of its own.
    words.append('data.units={x="m", vx="m/s", t="s"}')
    return [word for setting in words for word in ("--set", setting)]


@pytest.fixture(scope="module")
def trained(own_file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "own"
    result = run("train", DEBUG, "--out", folder, *settings_of(own_file))
    assert result.returncode == 0, result.stderr
    assert "rotating frame" in result.stdout and "| x | m |" in result.stdout
    return folder


def test_the_run_keeps_the_data_in_their_own_units(trained: Path) -> None:
    problem = load_run(RunFolder(trained)).problem
    assert problem.measured.lengths.tolist() == [8, 9, 10, 11, 12, 13]
    assert problem.measured.names == ("x", "m_vx") and problem.measured.units == ("m", "mass m/s")
    for (times, states), (at, path) in zip(problem.measured.segments(), oscillator(), strict=True):
        np.testing.assert_allclose(times, at)
        np.testing.assert_allclose(states, path * np.array([1.0, MASS]))
    spread = problem.data.points().std(axis=0)
    assert spread.min() > 0.3 and spread.max() < 3
    assert 0.02 < np.median(problem.data.transitions().dt) < 1
    back = problem.scale.states_back(problem.data.points())
    np.testing.assert_allclose(back, problem.measured.points(), rtol=1e-15)


def test_the_summary_is_in_the_units_of_the_data(trained: Path) -> None:
    summary = json.loads((trained / "summary.json").read_text())
    data = summary["data"]
    assert data["names"] == ["x", "m_vx"] and data["units"] == ["m", "mass m/s"] and data["time_unit"] == "s"
    assert len(data["notes"]) == 1 and "rotating frame" in data["notes"][0]
    scales = np.array(data["scales"])
    # The error of a fit that predicts nothing would be the squared spread, in m^2 and (kg m/s)^2 together.
    assert 1e-6 < summary["train"]["mse"] / np.mean(scales**2) < 1
    found = summary["symmetry"]["in_units"][0]
    a = np.array(found["A"]) * scales[:, None] * scales
    stacked = singular(trained)
    np.testing.assert_allclose(a, stacked, rtol=1e-5, atol=1e-6)


def singular(folder: Path) -> np.ndarray:
    quantities = load_run(RunFolder(folder)).posterior.quantities
    assert isinstance(quantities, QuadraticQuantities)
    flat = flat_generators(quantities)
    _, _, directions = np.linalg.svd(flat, full_matrices=False)
    return direction_quantities(directions).matrices[0]


def test_report_and_evaluate_work_in_both_coordinates(trained: Path) -> None:
    before = json.loads((trained / "summary.json").read_text())
    assert run("evaluate", trained).returncode == 0
    after = json.loads((trained / "summary.json").read_text())
    assert after["data"] == before["data"] and after["train"] == before["train"]
    assert run("report", trained).returncode == 0
    text = (trained / "report.md").read_text()
    assert "**Note:** momenta are mass times velocity" in text


def test_directions_are_read_back_as_quantities() -> None:
    generator = np.random.default_rng(0)
    matrices = generator.standard_normal((3, 4, 4))
    quantities = QuadraticQuantities(
        jnp.asarray(matrices + matrices.swapaxes(1, 2)), jnp.asarray(generator.standard_normal((3, 4)))
    )
    read = direction_quantities(flat_generators(quantities))
    np.testing.assert_allclose(read.matrices, quantities.symmetric_matrices(), rtol=1e-6)
    np.testing.assert_allclose(read.vectors, quantities.vectors[...], rtol=1e-6)


# Settings


def tables(path: Path, **data: Any) -> dict[str, Any]:
    return {"data": {"file": str(path), **data}, "network": {"layers": 2, "width": 4}}


def test_the_noise_of_a_file_is_learned_unless_it_is_named(own_file: Path) -> None:
    names = {
        "columns": {"trajectory": "run", "time": "t", "positions": ["x"], "velocities": ["vx"]},
        "masses": 2.0,
    }
    config = parse_config(tables(own_file, **names))
    assert config.inference.noise_variance == "learned"
    again = parse_config(config.model_dump())
    assert again == config
    assert parse_config(tables(own_file, noise_variance=4.0)).inference.noise_variance == "data"
    problem = build_problem(config)
    assert problem.training.learn_noise_variance
    named = build_problem(parse_config(tables(own_file, noise_variance=1e8, **names)))
    expected = named.scale.variance(1e8)
    np.testing.assert_allclose(named.posterior.noise_variance(), expected, rtol=1e-5)
    assert expected == pytest.approx(np.mean(1e8 / named.scale.scales**2))


def test_data_may_be_trained_on_as_they_are(own_file: Path) -> None:
    names = {
        "columns": {"trajectory": "run", "time": "t", "positions": ["x"], "velocities": ["vx"]},
        "masses": 2.0,
    }
    problem = build_problem(parse_config(tables(own_file, scale="none", **names)))
    assert problem.data is problem.measured and problem.scale.action == problem.scale.time == 1
    wide = build_problem(parse_config(tables(own_file, spread=4.0, **names)))
    assert 2 < wide.data.points().std(axis=0).max() < 8


def test_options_go_before_the_file_beside_the_data(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    path.write_text("time,q1,v1\n0,1,2\n1,2,3\n")
    Path(f"{path}.toml").write_text("masses = 3.0\nunits = { q1 = 'm' }\n")
    layout = file_layout(parse_config(tables(path, masses=4.0)))
    assert layout.masses == (4.0,) and layout.units == {"q1": "m"}
    with pytest.raises(ConfigError, match=r"data\.delimiter: got 'ab'"):
        file_layout(parse_config(tables(path, delimiter="ab")))


def test_degrees_of_freedom_of_equal_units_share_their_scales() -> None:
    generator = np.random.default_rng(0)
    states = generator.standard_normal((2, 50, 4)) * np.array([1.0, 100.0, 1.0, 0.01])
    times = np.tile(np.arange(50.0), (2, 1))
    loose = fit_scale(Trajectories(times, states))
    same = fit_scale(Trajectories(times, states, units=("m", "m", "kg m/s", "kg m/s")))
    other = fit_scale(Trajectories(times, states, units=("m", "rad", "kg m/s", "J s")))
    assert len(set(same.positions)) == 1
    assert len(set(loose.positions)) == len(set(other.positions)) == 2
    with pytest.raises(ValueError, match="2 degrees of freedom, got 1"):
        scaled_trajectories(Trajectories(times, states[:, :, :2]), same)


@pytest.mark.parametrize(
    ("setting", "parts"),
    [
        (
            "data.masses=[-1]",
            ("data.masses: expected positive numbers, one for all positions or one for each, got [-1]",),
        ),
        ("data.masses=0", ("data.masses: expected positive numbers", "with mass 0, p = m v is 0), got 0")),
        ("data.step=0.1", ("mine.csv", "column t: holds the times", "--dt 0.1")),
        ("data.periodic=['y']", ("mine.csv", "column y", "periodic but no position")),
        ("data.columns.velocity=['v']", ("data.columns.velocity", "did you mean velocities")),
        ("data.columns.positions=['y']", ("mine.csv", "line 1, column y", "is missing")),
        ("data.delimiter=';'", ("mine.csv", "line 1")),
        ("data.gap=0", ("data.gap", "0")),
        ("data.scale=some", ("data.scale", "'auto'")),
        ("data.spread=0", ("data.spread", "0")),
        ("data.units={y='m'}", ("mine.csv", "column y", "has a unit")),
        ("data.masses=[1, 2]", ("mine.csv", "masses must be one for all", "got 2")),
    ],
)
def test_bad_settings_about_a_file(
    own_file: Path, tmp_path: Path, setting: str, parts: tuple[str, ...]
) -> None:
    out = tmp_path / "run"
    result = run("train", DEBUG, "--out", out, *settings_of(own_file), "--set", setting)
    assert_bad_input(result, *parts)
    assert not out.exists()


def test_settings_about_a_file_need_a_file(tmp_path: Path) -> None:
    result = run("train", DEBUG, "--out", tmp_path / "run", "--set", "data.masses=1.0")
    assert_bad_input(result, "data.masses describes a file")


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("line 1", "empty")),
        (b"trajectory,time,q1,p1\n1,0,x,2\n", ("line 2, column q1", "'x'")),
        (b"\xef\xbb\xbftrajectory,time,q1,p1\n", ("line 2", "no rows")),
        (b"trajectory;time;q1;p1\n1;0;x;2\n", ("line 2, column q1", "'x'")),
    ],
)
def test_damaged_files_are_bad_input(tmp_path: Path, content: bytes, parts: tuple[str, ...]) -> None:
    path = tmp_path / "mine.csv"
    path.write_bytes(content)
    result = run("train", DEBUG, "--out", tmp_path / "run", "--set", f"data.file='{path}'")
    assert_bad_input(result, "mine.csv", *parts)
    assert not (tmp_path / "run").exists()


def test_substeps_reach_across_rows_left_out():
    assert substeps_for(np.full(100, 0.1)) == 1
    usual = np.full(1000, 0.4)
    assert substeps_for(np.append(usual, [0.8] * 30)) == 2
    assert substeps_for(np.append(usual, 1.8)) == 2
    assert substeps_for(np.append(usual, [1.8] * 30)) == 4
    assert substeps_for(np.full(10, 1e9)) == MAX_SUBSTEPS


def test_a_mass_of_zero_is_one_true_message():
    table = SystemTable(kind="n_body", parameters={"masses": [1.0, 0.0]})
    with pytest.raises(ConfigError, match="got 0 for body 2: a massless body has no momentum"):
        build_system(table)
    custom = SystemTable(kind="custom", dof=1, hamiltonian="p1**2 / (2 * m) + q1**2", parameters={"m": 0.0})
    with pytest.raises(ConfigError, match="is zero; expected a divisor that is not"):
        build_system(custom)


@pytest.mark.parametrize("masses", [0, [1.0, 0.0], ["0"], [-1], True, [True], "heavy", [], float("inf")])
def test_wrong_masses_of_a_file_are_one_message(masses):
    with pytest.raises(ConfigError) as caught:
        parse_config({"data": {"file": "x.csv", "masses": masses}})
    assert str(caught.value).count("data.masses") == 1 and "expected positive numbers" in str(caught.value)


@pytest.mark.parametrize("masses", [2, 2.0, [1, 2.5], ["2.5"]])
def test_right_masses_of_a_file_are_read(masses):
    assert parse_config({"data": {"file": "x.csv", "masses": masses}}).data.masses
