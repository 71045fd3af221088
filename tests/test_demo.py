"""The file of `demo`: small, the same each time, and what it conserves is found."""

import subprocess
import sys
from pathlib import Path

import pytest

from noether_razor.app.cli import main
from noether_razor.app.cli.demo import two_oscillators
from noether_razor.discovery import data_answer
from noether_razor.trajectories import load_trajectories


def run(monkeypatch: pytest.MonkeyPatch, *words: str) -> int:
    monkeypatch.setattr(sys, "argv", ["noether-razor", "demo", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    return int(stopped.value.code or 0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_it_writes_a_small_file_and_says_what_to_type(folder, monkeypatch, capsys):
    assert run(monkeypatch) == 0
    assert [path.name for path in folder.iterdir()] == ["two_oscillators.csv"]
    content = (folder / "two_oscillators.csv").read_bytes()
    assert content == two_oscillators().encode() and len(content) < 100_000
    printed = capsys.readouterr()
    assert printed.out.splitlines()[-1].endswith("  noether-razor discover two_oscillators.csv")
    assert printed.err == ""


def test_its_own_file_is_no_obstacle_but_another_is_kept(folder, monkeypatch, capsys):
    assert run(monkeypatch, "--out", "new folder/mine.csv") == run(
        monkeypatch, "--out", "new folder/mine.csv"
    )
    assert capsys.readouterr().out.endswith("noether-razor discover 'new folder/mine.csv'\n")
    (folder / "mine.csv").write_text("my data\n")
    assert run(monkeypatch, "--out", "mine.csv") == 2
    printed = capsys.readouterr()
    assert printed.out == "" and printed.err.count("\n") == 1
    assert "mine.csv exists with other contents" in printed.err and "another name" in printed.err
    assert (folder / "mine.csv").read_text() == "my data\n"


@pytest.mark.parametrize(
    ("out", "why"), [("mine.npz", "ending in .csv"), ("file/mine.csv", "cannot be written")]
)
def test_names_that_cannot_be_are_refused(folder, monkeypatch, capsys, out, why):
    (folder / "file").write_text("")
    assert run(monkeypatch, "--out", out) == 2
    printed = capsys.readouterr().err
    assert printed.count("\n") == 1 and why in printed
    assert [path.name for path in folder.iterdir()] == ["file"]


def test_it_imports_nothing_heavy(folder):
    code = "import pathlib, sys; from noether_razor.app.cli.demo import demo; demo(pathlib.Path('a.csv'))"
    command = [sys.executable, "-c", f"{code}; assert not {{'jax', 'scipy', 'sympy'}} & set(sys.modules)"]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    assert (folder / "a.csv").exists()


def test_four_quantities_are_found_in_it_with_their_algebra(folder, monkeypatch):
    assert run(monkeypatch) == 0
    data = load_trajectories("two_oscillators.csv")
    assert data.states.shape == (20, 51, 4) and data.lengths.min() == 51
    found = data_answer(data)
    assert found.rank == 4 and found.algebra.name == "u(2)" and found.independent == 3
    assert found.space.decided and found.closes
    assert {quantity.text for quantity in found.quantities} == {
        "q1^2 + p1^2",
        "q2^2 + p2^2",
        "q1*q2 + p1*p2",
        "q1*p2 - q2*p1",
    }
