"""What the README and the page on systems show in Python works as it stands."""

import re
from pathlib import Path
from typing import Any

import jax
import pytest
from test_cli import run as run_command

import noether_razor as nr

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


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(nr, "discover"), reason="the package has no nr.discover yet")
def test_the_library_example_finds_a_formula(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    pytest.importorskip("pandas")
    monkeypatch.chdir(tmp_path)
    assert run_command("demo", "--out", tmp_path / "two_oscillators.csv").returncode == 0
    found = run("README.md", "nr.discover(")["found"]
    assert found.quantities[0].expression in capsys.readouterr().out


def test_the_system_of_the_example_can_be_simulated():
    system = run("docs/own_system.md", "class Duffing")["Duffing"]()
    assert isinstance(system, nr.HamiltonianSystem)
    data = nr.simulate(system, jax.random.key(0), trajectories=2, transitions=3, dt=0.1)
    assert data.states.shape == (2, 4, 2)
