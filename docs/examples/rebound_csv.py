"""Bodies in the plane, integrated by rebound, as a CSV; needs `pip install rebound`."""

import csv
import sys
from pathlib import Path

import numpy as np
import rebound

SOFTENING = 0.5
"""Of the force, in the unit of length: no encounter is too fast for rows 0.2 apart."""


def layout(masses: tuple[float, ...]) -> str:
    """What the columns mean, as TOML."""
    names = coordinates(len(masses))
    return f"""\
masses = {[mass for mass in masses for _ in "xy"]}

[columns]
trajectory = "run"
time = "t"
positions = {names}
velocities = {[f"v{name}" for name in names]}
"""


def coordinates(bodies: int) -> list[str]:
    """x1, y1, x2, ..."""
    return [f"{axis}{body}" for body in range(1, bodies + 1) for axis in "xy"]


def write(
    path: Path,
    masses: tuple[float, ...] = (1.0, 0.8, 0.5),
    runs: int = 100,
    points: int = 51,
    dt: float = 0.2,
) -> None:
    """`runs` trajectories of `points` rows, G = 1, from normal positions and half as wide velocities."""
    generator = np.random.default_rng(0)
    names = coordinates(len(masses))
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "t", *names, *(f"v{name}" for name in names)])
        for run in range(runs):
            simulation = rebound.Simulation()
            simulation.softening = SOFTENING
            for mass in masses:
                x, y, vx, vy = generator.normal(size=4) * [1.0, 1.0, 0.5, 0.5]
                simulation.add(m=mass, x=x, y=y, vx=vx, vy=vy)
            for time in dt * np.arange(points):
                simulation.integrate(time)
                bodies = [simulation.particles[k] for k in range(len(masses))]
                positions = [value for body in bodies for value in (body.x, body.y)]
                velocities = [value for body in bodies for value in (body.vx, body.vy)]
                rows.writerow([run, float(time), *positions, *velocities])
    Path(f"{path}.toml").write_text(layout(masses), encoding="utf-8")


if __name__ == "__main__":
    out, *given = sys.argv[1:]
    write(Path(out), **({"masses": tuple(map(float, given))} if given else {}))
