"""The notebooks keep small outputs, and run again they do what they claim."""

from inspect import cleandoc
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

DOCS = Path(__file__).parents[1] / "docs"
LARGEST = 400_000
"""Bytes of a notebook with its outputs."""
SECONDS = 1800
"""That a cell may take on a busy machine."""

CLAIMS = {
    "embedding": """
        assert r2 > floor - 1e-3 and linear_r2 < 0.9
        assert model.score(X_test) > linear.score(X_test) + 1
        assert curves["ring"].diagnostics_["latent"] == "circle"
        assert curves["arc"].diagnostics_["latent"] == "uniform"
        assert np.ptp(rotation) < 0.1 * abs(rotation.mean()) < 0.1 * np.ptp(translation)
        assert of_ring.algebra.name.startswith("so(2)")
        assert of_ellipsoid.algebra.name.startswith("so(3)")
        assert linear.principal_angles_.max() < 1e-6
        """,
    "own_data": """
        assert [quantity.text for quantity in answer.quantities] == ["x*m_vy - y*m_vx"]
        assert answer.algebra.name.startswith("so(2)") and answer.space.decided
        assert not answer_of_few.space.decided
        assert answer_with_friction.rank == 0
        (decaying,) = answer_with_friction.drifting
        change = decaying.change
        assert abs(change.decay - 0.05) < 4 * change.decay_error and change.decay_error < 0.005
        assert found.rank == 1 and found.hamiltonian is True
        assert relative_error.max() < 0.2
        """,
    "own_model": """
        assert gain > 0.1
        assert (aligned[:4] > 0.95).all() and values[3] > 5 * values[4]
        assert answer.rank == 4 and answer.algebra.name == "u(2)"
        formulas = {quantity.text for quantity in answer.quantities}
        assert formulas == {"q1*p2 - q2*p1", "q1*q2 + p1*p2", "q1^2 + p1^2", "q2^2 + p2^2"}
        """,
    "learning": """
        kinds = {family.name: family.count for family in (*found.exact, *found.quasi)}
        assert kinds == {
            "rescaling between batch_norm1 and conv2": 32,
            "rescaling between batch_norm2 and linear1": 64,
            "rescaling between linear1 and linear2": 256,
            "common shift of the outputs of linear2 by each input": 256,
            "common shift of all of linear2.bias": 1,
            "scale of conv1 (bias and kernel)": 32,
            "scale of conv2 (kernel)": 64,
        }
        assert accuracy > 0.95 and max(violation.values()) < 1e-3 and error < 1e-4
        """,
    "paper": """
        assert gain > 2 and alignment > 0.98
        assert negative_elbo["learned"] < negative_elbo["fixed"] + 0.3
        # One seed: how close the errors are to those of the built-in symmetry takes more.
        claims = {claim["claim"]: claim["held"] for claim in table["claims"]}
        assert claims["negative_elbo of learned at most 5% or 0.3 above fixed"]
        for metric in ("negative_elbo", "test_mse", "moved_mse"):
            assert claims[f"{metric} of learned below vanilla"], metric
        errors = json.loads((OUT / "figure2.json").read_text())["energy_error"]
        assert max(errors["learned"], errors["fixed"]) < errors["vanilla"]
        """,
}


def notebook(name: str) -> nbformat.NotebookNode:
    return nbformat.read(DOCS / "notebooks" / f"{name}.ipynb", as_version=4)


def test_every_notebook_is_checked_and_in_the_site():
    names = {path.stem for path in (DOCS / "notebooks").glob("*.ipynb")}
    assert names == set(CLAIMS)
    site = (DOCS.parent / "mkdocs.yml").read_text(encoding="utf-8")
    assert all(f"notebooks/{name}.ipynb" in site for name in names)


@pytest.mark.parametrize("name", CLAIMS)
def test_outputs_are_kept_small_and_complete(name):
    assert (DOCS / "notebooks" / f"{name}.ipynb").stat().st_size < LARGEST
    cells = [cell for cell in notebook(name).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert [output for output in outputs if "image/png" in output.get("data", {})]
    # Warnings and progress have no place in what is kept.
    assert not [output for output in outputs if output.get("name") == "stderr"]


@pytest.mark.slow
@pytest.mark.parametrize("name", CLAIMS)
def test_a_notebook_run_again_does_what_it_claims(name, tmp_path):
    found = notebook(name)
    found.cells.append(nbformat.v4.new_code_cell(cleandoc(CLAIMS[name])))
    NotebookClient(found, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}).execute()
