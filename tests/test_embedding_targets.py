"""The experiments on embeddings: their tables, their smoke runs, and in the slow tests their claims."""

import importlib.util
import json
import math

import numpy as np
import pytest
from test_cli import run

from noether_razor.app.config import ConfigError
from noether_razor.paper import AtLeast, AtMost, reproduce
from noether_razor.paper.embedding import EMBEDDING_TARGETS, figure1
from noether_razor.paper.embedding.baselines import families, tuned
from noether_razor.paper.seeded import SEEDED_TARGETS, seeded_result
from noether_razor.paper.seeded_target import Measured


def fake(value: float) -> Measured:
    return Measured({"bare": {"angle": value, "unstable_from": math.nan}}, {})


class TestTables:
    def test_claims_are_judged_on_the_mean(self):
        rows = {"a": {"r2": {"values": [0.7, 0.9]}}}
        assert AtLeast("r2", "a", 0.8).judge(rows, {}).held
        assert not AtLeast("r2", "a", 0.81).judge(rows, {}).held
        verdict = AtMost("r2", "a", 0.75).judge(rows, {})
        assert not verdict.held and verdict.detail == "mean 0.8, 1 of 2 seeds"

    def test_seeds_are_put_together_and_nan_is_none(self):
        target = SEEDED_TARGETS["embedding-pca"]
        target = type(target)(**{**vars(target), "claims": (AtMost("angle", "bare", 1e-6),)})
        found = seeded_result(target, [fake(1e-7), fake(3e-7)])
        assert found["rows"]["bare"]["angle"]["mean"] == pytest.approx(2e-7)
        assert found["rows"]["bare"]["unstable_from"]["mean"] is None
        assert found["claims"][0]["held"] and json.dumps(found, allow_nan=False)

    def test_every_claim_is_of_a_column_or_a_number_of_its_row(self):
        assert set(SEEDED_TARGETS) == {
            *(
                "embedding-figure1",
                "embedding-pca",
                "embedding-manifolds",
                "embedding-digits",
                "beyond",
                "bracket",
            )
        }
        assert all(target.claims for target in SEEDED_TARGETS.values())


class TestFigure1:
    def test_the_law_of_lengths(self):
        """The speed that maximises log s - penalty s^2, and what it is worth."""
        speeds = np.linspace(0.1, 20, 200001)
        worth = np.log(speeds) - 0.01 * speeds**2
        assert figure1.optimal_length(0.01) == pytest.approx(2 * speeds[worth.argmax()], rel=1e-4)
        assert figure1.penalty_bound(0.01, 0.0) == pytest.approx(worth.max(), abs=1e-8)
        assert figure1.optimal_length(figure1.ONE_TURN) == pytest.approx(2 * np.pi)

    def test_zigzags_come_near_the_bound(self):
        found = figure1._saw()
        assert 0 <= found["gap"] < 0.01 and found["covered"] > 9


def test_a_smoke_run_writes_its_table_and_figure(tmp_path):
    done = run("reproduce", "embedding-pca", "--seeds", 1, "--budget", "quick", "--out", tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Smoke run" in done.stdout and "not held" not in done.stdout
    assert {path.name for path in tmp_path.iterdir()} == {
        *(f"embedding-pca.{kind}" for kind in ("md", "json", "png", "pdf")),
        "runs",
    }
    found = json.loads((tmp_path / "embedding-pca.json").read_text())
    # A seed that was measured is not measured again.
    kept = tmp_path / "runs" / "quick" / "embedding-pca-0.json"
    before = kept.stat().st_mtime_ns
    assert (
        run("reproduce", "embedding-pca", "--seeds", 1, "--budget", "quick", "--out", tmp_path).returncode
        == 0
    )
    assert kept.stat().st_mtime_ns == before
    assert found["seeds"] == [0] and found["rows"]["bare"]["spectrum_2"]["mean"] < 1e-8


def test_without_the_extra_it_says_what_to_install(tmp_path, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "umap" else real(name))
    with pytest.raises(ConfigError, match=r"needs umap-learn: pip install 'noether-razor\[datasets\]'"):
        reproduce("embedding-digits", seeds=1, budget="quick", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    done = run("reproduce", "embedding-manifolds", "--out", tmp_path / "out")
    assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1


def test_the_smoke_run_of_the_data_sets(tmp_path):
    pytest.importorskip("sklearn")
    pytest.importorskip("umap")
    reproduce("embedding-digits", seeds=1, budget="quick", out=tmp_path)
    found = json.loads((tmp_path / "embedding-digits.json").read_text())
    assert set(found["rows"]) == {"VME", "PCA", "Isomap"}
    assert found["rows"]["VME"]["accuracy"]["mean"] > found["rows"]["PCA"]["accuracy"]["mean"]
    assert "r2" not in found["rows"]["Isomap"] and len(found["aims"]) == 2


def test_a_method_is_tuned_on_rows_of_its_own():
    """The test points choose nothing: changing them changes no setting."""
    pytest.importorskip("sklearn")
    draws = np.random.default_rng(0)
    train = draws.normal(size=(60, 3))
    family = families(2, 0, quick=False)["kernel PCA"]
    first, second = (tuned(family, train, draws.normal(size=(20, 3)), 1)[1] for _ in range(2))
    assert first == second and first in family.settings


@pytest.mark.slow
@pytest.mark.parametrize("name", [target.name for target in EMBEDDING_TARGETS])
def test_what_is_claimed_holds(name, tmp_path):
    reproduce(name, seeds=3, budget="standard", out=tmp_path)
    claims = json.loads((tmp_path / f"{name}.json").read_text())["claims"]
    assert claims and not [claim for claim in claims if not claim["held"]]
