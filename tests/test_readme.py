"""What the README and the page on systems show in Python works as it stands."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import pytest
import sympy
from test_cli import run as run_command

import noether_razor as nr
from noether_razor.discovery import Budget, discovering

ROOT = Path(__file__).parents[1]


def block_with(page: str, text: str) -> str:
    blocks = re.findall(r"^```python\n(.*?)^```$", (ROOT / page).read_text("utf-8"), re.DOTALL | re.MULTILINE)
    (block,) = (block for block in blocks if text in block)
    return block


def run(page: str, text: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block_with(page, text), page, "exec"), names)
    return names


def test_the_readme_is_short():
    prose = re.sub(
        r"^```.*?^```$", "", (ROOT / "README.md").read_text("utf-8"), flags=re.DOTALL | re.MULTILINE
    )
    assert len(prose.split()) <= 500


def test_the_library_example_finds_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The data decide the formulas, so a model of seconds is enough here, without the Delta-ELBO, which
    tests/test_discover.py looks at; the whole is in the slow tests.
    """
    monkeypatch.chdir(tmp_path)
    network = replace(discovering.RECIPE.network, layers=2, width=16)
    estimates = replace(discovering.RECIPE.estimates, nll_stderr=0.5)
    monkeypatch.setattr(
        discovering, "RECIPE", replace(discovering.RECIPE, network=network, estimates=estimates)
    )
    monkeypatch.setitem(discovering.BUDGETS, "standard", Budget(steps=300, repeats=0))
    assert run_command("demo", "--out", tmp_path / "two_oscillators.csv").returncode == 0
    found = run("README.md", "nr.discover(")["found"]
    assert found.rank == 4 and found.algebra.name == "u(2)" and found.failed == {}
    printed = capsys.readouterr().out
    assert printed.startswith("4 conserved quantities of degree <= 2, u(2) = su(2)+u(1)")
    assert printed.splitlines()[-1] == str(found.quantities[0].expression)
    q1, q2, p1, p2 = sympy.symbols("q1 q2 p1 p2")
    rotation = q1 * p2 - q2 * p1
    assert any(sympy.simplify(q.expression**2 - rotation**2) == 0 for q in found.quantities)


def test_the_system_of_the_example_can_be_simulated():
    system = run("docs/own_system.md", "class Duffing")["Duffing"]()
    assert isinstance(system, nr.HamiltonianSystem)
    data = nr.simulate(system, jax.random.key(0), trajectories=2, transitions=3, dt=0.1)
    assert data.states.shape == (2, 4, 2)
