"""The suite's scores: what counts as discovered, as false and as right; finished runs are taken up."""

import json

import numpy as np
import pytest

from noether_razor.paper import SUITE, Score, run_suite, score, suite_table
from noether_razor.systems import Oscillators


def symmetry(matrices: np.ndarray, name: str, shown: int = 0) -> dict:
    return {
        "rank": len(matrices),
        "quantities": [{"A": matrix.tolist(), "b": [0.0] * len(matrix)} for matrix in matrices],
        "algebra": {"name": name},
        "data": {"shown": shown},
    }


def scored(matrices: np.ndarray, name: str) -> Score:
    known = Oscillators((1.0, 1.0)).known_quantities()
    truth = np.asarray(known.symmetric_matrices(), float), np.asarray(known.vectors[...], float)
    return score(symmetry(matrices, name, 4), truth, system="isotropic", seed=0, seconds=60.0)


def test_the_true_space_in_any_basis_is_right():
    truth = np.asarray(Oscillators((1.0, 1.0)).known_quantities().symmetric_matrices(), float)
    mixing = np.random.default_rng(0).normal(size=(4, 4))
    found = scored(np.tensordot(mixing, truth, axes=1), "u(2)")
    assert found.right and (found.discovered, found.false, found.true_algebra) == (4, 0, "u(2)")
    assert found.shown == 4


def test_false_directions_and_missing_ones_are_told_apart():
    truth = np.asarray(Oscillators((1.0, 1.0)).known_quantities().symmetric_matrices(), float)
    false = np.concatenate([truth, np.diag([1.0, 0, 0, 0])[None]])
    found = scored(false, "u(2)")
    assert not found.right and (found.discovered, found.false) == (4, 1)
    missing = scored(truth[:2], "u(1)^2")
    assert not missing.right and (missing.discovered, missing.false) == (2, 0)
    nothing = scored(np.zeros((0, 4, 4)), "trivial")
    assert (nothing.rank, nothing.discovered, nothing.false) == (0, 0, 0)


def test_a_negative_control_is_right_when_nothing_is_found():
    truth = np.zeros((0, 2, 2)), np.zeros((0, 2))
    found = score(symmetry(np.zeros((0, 2, 2)), "trivial", 0), truth, system="pendulum", seed=0, seconds=1.0)
    assert found.right
    false = score(symmetry(np.eye(2)[None], "u(1)"), truth, system="pendulum", seed=1, seconds=1.0)
    assert not false.right and false.false == 1
    table = suite_table([found, false])
    assert "| pendulum | 0, trivial | 1 of 2 | 0, 1 | trivial, u(1) | 0, 0 |" in table
    assert "0 of 2 runs (0%) are right, where a run with false directions counts as two" in table


def test_every_system_has_a_configuration_of_its_own():
    assert len({item.name for item in SUITE}) == len(SUITE) == 13


@pytest.mark.slow
def test_runs_once_and_then_reads_what_is_there(tmp_path):
    small = ["training.steps=5", "network.width=8", "data.trajectories=8", "data.transitions=10"]
    small += ["evaluation.trajectories=2", "evaluation.weight_samples=2", "evaluation.nll_stderr=1000.0"]
    systems = [item for item in SUITE if item.name == "pendulum"]
    first = run_suite(tmp_path, systems=systems, seeds=1, overrides=small)
    assert json.loads((tmp_path / "suite.json").read_text())[0]["system"] == "pendulum"
    before = (tmp_path / "pendulum-0" / "symmetry.json").stat().st_mtime_ns
    assert run_suite(tmp_path, systems=systems, seeds=1, overrides=small) == first
    assert (tmp_path / "pendulum-0" / "symmetry.json").stat().st_mtime_ns == before
