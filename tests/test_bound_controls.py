"""False controls through the bound: nothing that is not conserved is accepted as a symmetry."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = Path(__file__).parents[1] / "scripts" / "bound_suite.py"
SYSTEMS = ("two equal oscillators", "central quartic")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[dict[str, Any]]]:
    """What the bound says of files with noise of 1 %, at a small effort."""
    folder = tmp_path_factory.mktemp("bound")
    effort = ["--width", "16", "--steps", "400", "--seeds", "3"]
    places = ["--out", str(folder), "--table", str(folder / "table.md")]
    subprocess.run([sys.executable, str(SCRIPT), *places, *effort], check=True)
    assert (folder / "table.md").read_text().count("\n| ") > 2 * 7
    read = {name: folder / name.replace(" ", "_") / "bound.json" for name in SYSTEMS}
    return {name: json.loads(path.read_text()) for name, path in read.items()}


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_false_control_is_accepted_as_a_symmetry(asked, system):
    controls = [entry for entry in asked[system] if not entry["true"]]
    assert {entry["quantity"] for entry in controls} >= {"q1", "q2", "p1", "p2", "random", "random, definite"}
    for entry in controls:
        assert entry.get("verdict") != "accepted", entry
    # What translates phase space makes H invariant whatever was learned, and is dear: thousands of nats.
    for entry in controls[:4]:
        assert entry["bracket"] < 1e-5 and entry["gain"]["nats"] < -1000
    (random,) = (entry for entry in controls if entry["quantity"] == "random")
    assert random["failed"].startswith("the bound cannot judge this")


@pytest.mark.slow
@pytest.mark.parametrize("system", SYSTEMS)
def test_no_true_quantity_is_rejected(asked, system):
    for entry in asked[system]:
        if entry["true"]:
            assert entry["verdict"] != "rejected" and entry["gain"]["nats"] > 0 and entry["invariant"]
