"""The package works from its wheel, in a folder that holds nothing else."""

import json
import os
import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from test_readme import block_with

ROOT = Path(__file__).parents[1]


def test_a_built_wheel_carries_configurations_and_types_and_finds_them(tmp_path):
    build = ["pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--wheel-dir", str(tmp_path)]
    subprocess.run([sys.executable, "-m", *build, str(ROOT)], check=True, timeout=120)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "site")
    shipped = {path.relative_to(ROOT / "configs") for path in (ROOT / "configs").rglob("*.toml")}
    packed = tmp_path / "site" / "noether_razor" / "configs"
    assert {path.relative_to(packed) for path in packed.rglob("*.toml")} == shipped
    assert (packed.parent / "py.typed").is_file()

    empty = tmp_path / "empty"
    empty.mkdir()
    # -P: no folder of this checkout on the path, so that the package comes from the wheel.
    command = [sys.executable, "-P", "-m", "noether_razor", "simulate", "debug.toml", "--out", "data.npz"]
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "site")}
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in empty.iterdir()] == ["data.npz"]


@pytest.mark.slow
def test_the_lines_of_the_readme_work_where_only_the_wheel_is_installed(tmp_path):
    """A fresh environment that has the dependencies of this one, and the package from its wheel alone."""
    venv.create(tmp_path / "fresh", symlinks=True)
    python = tmp_path / "fresh" / "bin" / "python"
    (packages,) = (tmp_path / "fresh" / "lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(
        "\n".join(path for path in sys.path if path.endswith("-packages"))
    )
    install = ["pip", "--python", str(python), "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([sys.executable, "-m", *install, str(ROOT)], check=True, timeout=300)

    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    demo = [str(python.parent / "noether-razor"), "demo"]
    subprocess.run(demo, cwd=empty, env=environment, check=True, capture_output=True, timeout=120)
    assert [path.name for path in empty.iterdir()] == ["two_oscillators.csv"]
    # As pasted, but for the time that the model is trained.
    lines = block_with("README.md", "nr.discover(")
    assert lines.count("nr.discover(data)") == 1 and len(lines.strip().splitlines()) <= 10
    more = """
import json
print(json.dumps([nr.__file__, found.rank, found.algebra.name, [q.text for q in found.quantities]]))
"""
    (empty / "pasted.py").write_text(lines.replace("(data)", '(data, budget="quick")') + more)
    command = [str(python), "pasted.py"]
    done = subprocess.run(command, cwd=empty, env=environment, capture_output=True, text=True, timeout=1800)
    assert done.returncode == 0, done.stderr
    where, rank, algebra, formulas = json.loads(done.stdout.splitlines()[-1])
    assert Path(where).is_relative_to(tmp_path)
    assert rank == 4 and algebra == "u(2)"
    # With a model the energy takes the place of one of the quantities that it is made of.
    others = set(formulas) - {"q1*q2 + p1*p2", "q1*p2 - q2*p1"}
    energy = "q1^2 + p1^2 + q2^2 + p2^2"
    assert len(set(formulas)) == 4 and others in ({"q1^2 + p1^2", energy}, {"q2^2 + p2^2", energy})
    assert done.stdout.startswith("4 conserved quantities of degree <= 2, u(2) = su(2)+u(1)")
