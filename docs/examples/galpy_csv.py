"""Stars in a model of the Milky Way, integrated by galpy, as a CSV; needs `pip install galpy`."""

import csv
import sys
from pathlib import Path

import numpy as np
from galpy.orbit import Orbit
from galpy.potential import MWPotential2014

KPC, KM_S = 8.0, 220.0
"""galpy's natural units of length and velocity."""
LAYOUT = """\
masses = 1.0

[columns]
trajectory = "star"
time = "t"
positions = ["x", "y", "z"]
velocities = ["vx", "vy", "vz"]

[units]
t = "Gyr"
x = "kpc"
y = "kpc"
z = "kpc"
vx = "km/s"
vy = "km/s"
vz = "km/s"
"""


def write(path: Path, stars: int = 100, points: int = 61) -> None:
    """`stars` trajectories of `points` rows, 5 million years apart. They begin 4 to 12 kpc from the axis and
    up to 6 kpc above or below the disc, and turn either way.
    """
    generator = np.random.default_rng(0)
    radius, height = generator.uniform(0.5, 1.5, stars), generator.uniform(-0.75, 0.75, stars)
    turning, angle = generator.uniform(-1.2, 1.2, stars), generator.uniform(0.0, 2 * np.pi, stars)
    outwards, upwards = 0.3 * generator.normal(size=(2, stars))
    start = np.stack([radius, outwards, turning, height, upwards, angle], axis=1)
    orbits = Orbit(start, ro=KPC, vo=KM_S)
    times = 0.15 * np.arange(points)
    orbits.integrate(times, MWPotential2014, progressbar=False)
    parts = [getattr(orbits, name)(times) for name in ("x", "y", "z", "vx", "vy", "vz")]
    with path.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["star", "t", "x", "y", "z", "vx", "vy", "vz"])
        for star in range(stars):
            for k, time in enumerate(np.asarray(orbits.time(times))):
                rows.writerow([star, float(time), *(float(part[star, k]) for part in parts)])
    Path(f"{path}.toml").write_text(LAYOUT, encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
