"""The package works from its wheel, in a folder that holds nothing else."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

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
