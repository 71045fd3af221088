"""What the README shows in Python works as it stands."""

import re
from pathlib import Path
from typing import Any

import jax
import pytest

import noether_razor as nr

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```python\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def run(block: str) -> dict[str, Any]:
    names: dict[str, Any] = {"__name__": "readme"}
    exec(compile(block, "README.md", "exec"), names)
    return names


def block_with(text: str) -> str:
    (block,) = (block for block in BLOCKS if text in block)
    return block


def test_the_library_example_runs(capsys: pytest.CaptureFixture[str]):
    # Fewer steps: what it learns is checked elsewhere.
    shorter = block_with("nr.fit(").replace("steps=1000", "steps=10")
    assert "steps=10)" in shorter
    names = run(shorter)
    assert names["values"].shape == (1,)
    assert capsys.readouterr().out.count("[") == 2


def test_the_system_of_the_example_can_be_simulated():
    system = run(block_with("class Duffing"))["Duffing"]()
    assert isinstance(system, nr.HamiltonianSystem)
    data = nr.simulate(system, jax.random.key(0), trajectories=2, transitions=3, dt=0.1)
    assert data.states.shape == (2, 4, 2)
