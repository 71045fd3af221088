"""What others answer on the same files, in how long: the data alone, and PySINDy's equations.

Every file is read by all in one run, one after the other, on one core. PySINDy goes into an environment of
its own under --out; without a network it is named as missing. What cannot be installed is not imitated.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import venv
from pathlib import Path
from typing import Any

import numpy as np

import noether_razor as nr
from noether_razor.app.cli.demo import two_oscillators
from noether_razor.discovery import Discovery
from noether_razor.files import write_whole
from noether_razor.paper.beyond import SYSTEMS, measured
from noether_razor.trajectories import load_trajectories

TABLE = Path(__file__).parents[1] / "docs" / "results" / "peers.md"
NOISE = 0.01
DEGREES = {"two equal oscillators": 1, "pendulum": 1, "Henon-Heiles": 2, "r^4": 3, "Toda": 3}
"""Degree of the polynomials that PySINDy is given: that of the true equations, where they are polynomials."""
BEFORE = ("reading", "the data alone", "exact evidence", "library")
"""Parts of `discover` that end before formulas are printed; the model is trained beside."""
KNOWN = {
    "two equal oscillators": "3 independent quantities; q' = p, p' = -q",
    "pendulum": "1; q1' = p1, p1' = -sin(q1)",
    "Henon-Heiles": "1, the energy",
    "r^4": "2, the energy and L",
    "Toda": "3",
}

HEADING = """# What others answer

`scripts/peers` writes this page. Files have noise of {noise:.0%}. Every program reads the same one, one after
the other, on two cores of an AMD EPYC, with nothing compiled before. *The data alone* is the null space with
its drift test, `nr.data_answer`, of degree <= 2. PySINDy {version} has the library of the true equations
(polynomials of their degree, with sine and cosine for the pendulum), smoothed differences, and the threshold
0.05. It finds equations of motion, and says nothing of what is conserved; its seconds are those of the fit
alone. The estimator of the paper's authors is compared [by its gradient](../results.md).

"""


def main() -> None:
    """Read the arguments, make the files, ask everybody, write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/peers"), help="folder for files and runs")
    parser.add_argument("--only", nargs="*", default=list(DEGREES), choices=list(DEGREES), metavar="SYSTEM")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    python = with_pysindy(arguments.out / "environment")
    lines = ["| file | true | by | seconds | answer |", "|---|---|---|---|---|"]
    version = "could not be installed here, so it"
    for name in arguments.only:
        path = make_file(name, arguments.out)
        rows = [("the data alone", *by_data(path)), *by_discover(path)]
        if python is not None:
            found = by_pysindy(python, path, DEGREES[name], name == "pendulum")
            version = found["version"]
            rows.append(("PySINDy", found["seconds"], "; ".join(found["equations"])))
        for number, (who, seconds, answer) in enumerate(rows):
            first, true = (name, KNOWN[name]) if number == 0 else ("", "")
            lines.append(f"| {first} | {true} | {who} | {seconds:.1f} | {answer} |")
            print(lines[-1], flush=True)
    write_whole(arguments.table, HEADING.format(noise=NOISE, version=version) + "\n".join(lines) + "\n")


def make_file(name: str, folder: Path) -> Path:
    """The file of a system."""
    path = folder / f"{name.replace(' ', '_').replace('^', '')}.csv"
    if name not in SYSTEMS:
        path.write_text(two_oscillators())
        return path
    data = measured(SYSTEMS[name], NOISE, 0)
    lines = [",".join(["trajectory", "time", *data.names])]
    for number, (times, states) in enumerate(data.segments()):
        lines += [
            f"{number},{at:.6g}," + ",".join(f"{value:.8g}" for value in row)
            for at, row in zip(times, states, strict=True)
        ]
    path.write_text("\n".join(lines) + "\n")
    return path


def by_data(path: Path) -> tuple[float, str]:
    """Seconds, reading included, and the quantities."""
    begun = time.perf_counter()
    found = nr.data_answer(load_trajectories(path))
    texts = ", ".join(one.text for one in found.quantities) or "none of degree <= 2"
    return time.perf_counter() - begun, texts


def by_discover(path: Path) -> list[tuple[str, float, str]]:
    """Seconds until formulas stand, and of the whole command, and the quantities and H that it names."""
    folder = path.with_suffix("")
    command = [sys.executable, "-m", "noether_razor", "discover", str(path), "--budget", "quick", "--quiet"]
    if path.stem == "pendulum":
        command += ["--periodic", "q1"]
    begun = time.perf_counter()
    environment = {**os.environ, "NOETHER_RAZOR_CACHE": "off"}
    subprocess.run([*command, "--out", str(folder)], check=True, env=environment)
    seconds = time.perf_counter() - begun
    found = Discovery.load(folder)
    said = [one.text for one in found.quantities]
    if found.beyond is not None:
        said = [f"{one.name} = {one.formula}" for one in found.beyond.quantities]
    parts = json.loads((folder / "summary.json").read_text())["part_seconds"]
    first = sum(parts.get(name, 0.0) for name in BEFORE)
    return [
        ("discover: formulas", first, "; ".join(said)),
        ("discover --budget quick: all, with a model that predicts and its checks", seconds, ""),
    ]


def by_pysindy(python: Path, path: Path, degree: int, periodic: bool) -> dict[str, Any]:
    """Seconds of the fit, without imports and reading, and the equations."""
    script = Path(__file__).with_name("peers_pysindy.py")
    command = [str(python), str(script), str(path), str(degree), "periodic" if periodic else "plain"]
    return json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def with_pysindy(folder: Path) -> Path | None:
    """The interpreter of an environment with PySINDy; None where it cannot be installed."""
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    done = subprocess.run([str(python), "-m", "pip", "install", "--quiet", "pysindy", "pandas"], check=False)
    return python if done.returncode == 0 else None


if __name__ == "__main__":
    np.seterr(all="ignore")
    main()
