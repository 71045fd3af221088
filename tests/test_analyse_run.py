"""The verb `analyse`, end to end, and its section of the report."""

import contextlib
import io
import json
import sys
from dataclasses import replace
from pathlib import Path
from unittest.mock import patch

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from noether_razor.app.cli import main
from noether_razor.app.config import build_problem, load_config
from noether_razor.app.runs import analyse_run, held_out, load_run, train_run
from noether_razor.discovery import RunError, RunFolder
from noether_razor.modelling import default_quantities
from noether_razor.quantities import QuadraticQuantities
from noether_razor.reporting import draw_answer, symmetry_section
from noether_razor.training import TrainState, initial_state

ROOT = Path(__file__).parents[1]
SMALL = (
    "training.steps=20",
    "training.log_every=4",
    "evaluation.trajectories=2",
    "evaluation.group_samples=4",
)


def run(*arguments: object) -> tuple[int, str, str]:
    out, err = io.StringIO(), io.StringIO()
    with (
        patch.object(sys, "argv", ["noether-razor", *map(str, arguments)]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as stopped,
    ):
        main()
    return int(stopped.value.code or 0), out.getvalue(), err.getvalue()


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    """A short run whose quantity is set to what a long one learns, 3 % off."""
    folder = RunFolder(tmp_path_factory.mktemp("runs") / "debug")
    config = load_config(ROOT / "configs" / "debug.toml", SMALL)
    train_run(config, folder)
    learned = load_run(folder)
    posterior = learned.posterior
    assert isinstance(posterior.quantities, QuadraticQuantities)
    posterior.quantities.matrices[...] = jnp.array([[[0.9, 0.01], [0.01, 0.93]]])
    posterior.quantities.vectors[...] = jnp.array([[0.01, -0.02]])
    state = initial_state(posterior, learned.problem.training)
    folder.checkpoint.save(
        TrainState(nnx.state(posterior), state.optimiser, jnp.asarray(21, jnp.int32)), learned.spent
    )
    return folder


@pytest.fixture(scope="module")
def analysed(trained: RunFolder) -> tuple[RunFolder, str]:
    trained.report.write_text("# to be written again\n")
    code, out, err = run("analyse", trained.path, "--quantity", "q1^2 + p1^2, q1")
    assert (code, err) == (0, "")
    return trained, out


def test_prints_and_writes_what_was_found(analysed):
    folder, out = analysed
    found = json.loads(folder.symmetry.read_text())
    assert out.startswith("1 conserved quantity of degree <= 2, u(1)")
    assert found["rank"] == 1 and found["quantities"][0]["formula"] == "q1^2 + p1^2"
    assert (found["algebra"]["name"], found["independent"]) == ("u(1)", 1)
    np.testing.assert_allclose(found["quantities"][0]["A"], 2 * np.eye(2))
    assert found["restricted"] is True and (found["learned"], found["data"]["shown"]) == (1, 1)
    assert found["decided"] is True and found["data"]["recordings"] == 100 and found["failed"] == {}
    assert {"none", "found", "learned"} == set(found["evidence"])
    for fit in found["evidence"].values():
        assert np.isfinite(fit["negative_elbo_total"]) and fit["stderr"] > 0
    assert not [path for path in folder.path.iterdir() if path.name.startswith(".")]


def test_judges_spaces_that_are_asked_for(analysed):
    folder, out = analysed
    (asked,) = folder.read_symmetry()["hypotheses"]
    assert np.shape(asked["A"]) == (2, 2, 2) and np.shape(asked["b"]) == (2, 2)
    # The position is not conserved, whatever stands beside it.
    assert asked["data_verdict"] == "not conserved" and set(asked["against"]) == {"none", "learned"}
    assert asked["answer"] == "rejected" and asked["drift"] > 0.5
    assert "q1^2 + p1^2, q1: " in out and "## Hypotheses" in folder.report.read_text()
    code, _, err = run("analyse", folder.path, "--quantity", "q1", "--repeats", 0)
    assert code == 2 and err.count("\n") == 1 and "--repeats" in err
    code, _, err = run("analyse", folder.path, "--quantity", "q1*q7")
    assert code == 2 and err.count("\n") == 1 and "q7" in err


def test_adds_its_section_and_figures_to_the_report(analysed):
    folder, _ = analysed
    report = folder.report.read_text()
    assert "## Conserved quantities" in report and "q1^2 + p1^2" in report
    for name in ("overview", "flows", "drifts", "evidence", "along"):
        assert f"figures/{name}.png" in report
        assert (folder.figures / f"{name}.png").stat().st_size > 1000
    page = folder.report.with_suffix(".html").read_text()
    assert page.count("<svg") == report.count("figures/") and 'id="flows"' in page and "<math>" in page


def test_fresh_trajectories_have_the_noise_of_the_data(trained):
    learned = load_run(trained)
    test = held_out(learned)
    assert test.fresh and len(test.trajectories) == 100 and test.noise_variance == 0
    assert not np.isin(test.trajectories.states[:, 0], learned.problem.data.states).any()
    data = learned.config.data.model_copy(update={"noise_on": "states"})
    learned = learned._replace(config=learned.config.model_copy(update={"data": data}))
    assert held_out(learned).noise_variance == data.noise_variance


def test_no_evidence_is_asked_for_with_no_repeats(trained, tmp_path):
    symmetry = analyse_run(trained, repeats=0)
    assert symmetry["evidence"] is None
    assert "evidence" not in symmetry_section(symmetry)
    drawn, failed = draw_answer(symmetry)
    assert [picture.name for picture in drawn] == ["drifts", "along"] and not failed
    with pytest.raises(ValueError, match="negative"):
        analyse_run(trained, repeats=-1)


def test_a_run_without_learned_quantities_says_so(tmp_path):
    folder = RunFolder(tmp_path / "vanilla")
    config = load_config(ROOT / "configs" / "debug.toml", (*SMALL, "symmetry.mode=none"))
    folder.write_tables(config.model_dump(mode="json"))
    code, out, err = run("analyse", folder.path)
    assert (code, out) == (2, "") and err.count("\n") == 1
    assert 'symmetry.mode is "none": this run learned no quantities' in err
    assert not folder.symmetry.exists()


def test_a_folder_that_is_no_run_is_bad_input(tmp_path):
    code, _, err = run("analyse", tmp_path / "nothing")
    assert code == 2 and "no such run folder" in err
    with pytest.raises(RunError, match="no such file"):
        RunFolder(tmp_path).read_symmetry()


def test_as_many_quantities_as_u_n_plus_1_by_default():
    assert [default_quantities(dof) for dof in (1, 2, 3)] == [4, 9, 16]
    config = load_config(ROOT / "configs" / "debug.toml")
    symmetry = replace(config.symmetry, quantities=None)
    problem = build_problem(config.model_copy(update={"symmetry": symmetry}))
    assert isinstance(problem.posterior.quantities, QuadraticQuantities)
    assert problem.posterior.quantities.count == 4
