"""Files as the field gives them: what the data alone say of each, and (slow) the whole of `discover` by
default settings."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from field_files import FILES, HARD_FILES, FieldFile

from noether_razor.discovery import data_answer
from noether_razor.invariants import Analysis
from noether_razor.reporting.answer import headline, symmetry_text
from noether_razor.trajectories import Layout, load_trajectories

RANKS = {name: 0 for name in FILES} | {
    "charge in a field": 6,
    "cartesian pendulum": 1,
    "three oscillators": 9,
}


def answer(file: FieldFile, folder: Path, seed: int = 0) -> Analysis:
    """What the data of a file alone say."""
    given = dict(zip(file.options[::2], file.options[1::2], strict=True))
    lists = {key: given[f"--{key}"].split(",") for key in ("positions", "velocities") if f"--{key}" in given}
    options = {"columns": lists}
    if "--masses" in given:
        options |= {"masses": float(given["--masses"])}
    if "--periodic" in given:
        options |= {"periodic": [given["--periodic"]]}
    path = file.write(folder / "file.csv", seed)
    with pytest.warns() if lists or "--periodic" in given else _quiet():
        return data_answer(load_trajectories(path, Layout.parse(options)))


class _quiet:
    def __enter__(self) -> None: ...

    def __exit__(self, *_: object) -> None: ...


@pytest.mark.parametrize("name", FILES)
def test_the_data_say_what_is_conserved(name: str, tmp_path: Path) -> None:
    found = answer(FILES[name], tmp_path)
    assert found.rank == RANKS[name]
    expected = {
        "cut orbit": ["q1*p2 - q2*p1"],
        "cartesian pendulum": ["x^2 + y^2", "x*m_vx + y*m_vy"],
    }
    assert {q.formula.text() for q in found.same} == set(expected.get(name, []))
    if name == "cartesian pendulum":
        assert found.quantities[0].formula.text() == "2*y + m_vx^2 + m_vy^2"
    if name == "three oscillators":
        assert found.algebra.name == "u(3)"
    if name == "charge in a field":
        assert not found.closes


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("name", HARD_FILES)
def test_noise_of_any_kind_makes_no_law_and_hides_none(name: str, seed: int, tmp_path: Path) -> None:
    file, rank, decided, words = HARD_FILES[name]
    found = answer(file, tmp_path, seed)
    if decided is not None:
        assert found.decided == decided
    if rank is not None and (found.decided or decided is not None):
        assert found.rank == rank
    if rank == 4:
        assert found.algebra.name == "u(2)" and all(q.change.limit < 0.02 for q in found.quantities)
    said = headline(found.to_json())
    if decided is not None or not found.decided:
        assert words in said
    if name == "glitches":
        assert "jump away and back" in said or said.startswith("cannot tell")
    if name == "one sensor logged twice":
        assert len(found.same) == 9 and "bound to each other" in found.algebra.name
    if name == "hardly turning":
        assert {tuple(q.formula.coefficients) for q in found.quantities} == {
            ((0, 0), (2, 2)),
            ((1, 1), (3, 3)),
        }
    if name == "at rest":
        assert said.startswith("cannot tell") and "nothing moves" in said
    if name == "thrown with drag":
        assert said.startswith("undecided") or "do not close" in said
    if name in ("smoothed track", "slow sensor"):
        assert found.space.motion.alike > 1.5 and "noise is correlated" in symmetry_text(found.to_json())


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_discover_is_right(name: str, tmp_path: Path) -> None:
    file, run = FILES[name], tmp_path / "run"
    path = file.write(tmp_path / "file.csv")
    command = [sys.executable, "-m", "noether_razor", "discover", path, *file.options, "--out", run]
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    symmetry = json.loads((run / "symmetry.json").read_text())
    assert symmetry["rank"] == RANKS[name]
    headline = done.stdout.splitlines()[0]
    if name in ("charge in a field", "rotating frame", "double pendulum"):
        # m v is not canonical: no Hamiltonian explains the motion, or momenta are named.
        assert symmetry["hamiltonian"] is not True
        assert "not canonical" in headline or "no Hamiltonian" in headline or "explain" in headline
    if name == "cut orbit":
        assert "cannot tell" in headline
    if name == "three oscillators":
        assert symmetry["algebra"]["name"] == "u(3)"
        assert symmetry["hamiltonian"] is True
