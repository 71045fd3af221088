"""Write the planets of the JPL ephemeris DE421 as trajectories of one body in the Sun's field."""

import argparse
import sys
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from jaxtyping import Float

from noether_razor.files import write_whole

PERIODS = {
    "mercury": 87.97,
    "venus": 224.70,
    "earthmoon": 365.26,
    "mars": 686.98,
    "jupiter": 4332.6,
    "saturn": 10759.0,
    "uranus": 30685.0,
    "neptune": 60190.0,
    "pluto": 90560.0,
}
"""Days of an orbit. The barycentre of Earth and Moon takes the place of the Earth, which the Moon swings by
4700 km."""
INNER = ("mercury", "venus", "earthmoon", "mars")
J2000 = 2451545.0
OBLIQUITY = np.deg2rad(84381.448 / 3600)
"""Of the ecliptic, at J2000: from the ephemeris's equator to a plane in which z is small."""
COLUMNS = ("x", "y", "z", "vx", "vy", "vz")
LAYOUT = """\
# The motion of one body in the Sun's field is the same for any mass: 1 here.
masses = 1.0

[columns]
trajectory = "trajectory"
time = "t"
positions = ["x", "y", "z"]
velocities = ["vx", "vy", "vz"]

[units]
t = "day"
x = "au"
y = "au"
z = "au"
vx = "au/day"
vy = "au/day"
vz = "au/day"
"""


class Ephemeris(Protocol):
    """What is used of `jplephem.Ephemeris`: barycentric equatorial states in km and km/day, at Julian dates
    from `jalpha` to `jomega`, and the astronomical unit `AU` in km.
    """

    AU: float
    jalpha: float
    jomega: float

    def position_and_velocity(self, name: str, tdb: Any) -> tuple[np.ndarray, np.ndarray]:
        """Each (3, times)."""
        ...


def ecliptic(vectors: Float[np.ndarray, "3 times"]) -> Float[np.ndarray, "3 times"]:
    """Equatorial vectors in ecliptic axes of J2000."""
    c, s = np.cos(OBLIQUITY), np.sin(OBLIQUITY)
    return np.array([[1.0, 0.0, 0.0], [0.0, c, s], [0.0, -s, c]]) @ vectors


def window_times(
    first: float, last: float, period: float, windows: int, points: int
) -> Float[np.ndarray, "windows points"]:
    """Times of `windows` pieces spread evenly from `first` to `last`, each of one period, or as long as the
    distance between two where that is shorter.
    """
    apart = (last - first) / windows
    starts = first + apart * np.arange(windows)
    return starts[:, None] + np.linspace(0.0, min(period, apart), points)


def heliocentric(
    ephemeris: Ephemeris, body: str, tdb: Float[np.ndarray, " times"]
) -> Float[np.ndarray, "times 6"]:
    """Position and velocity of a body from the Sun, in ecliptic axes, au and au/day."""
    parts = zip(
        ephemeris.position_and_velocity(body, tdb),
        ephemeris.position_and_velocity("sun", tdb),
        strict=True,
    )
    return np.concatenate([ecliptic(of_body - of_sun) for of_body, of_sun in parts]).T / ephemeris.AU


def planets_csv(ephemeris: Ephemeris, planets: list[str], windows: int, points: int) -> str:
    """The CSV: `windows` trajectories of `points` rows for each planet, times in days from J2000."""
    lines = [",".join(["trajectory", "t", *COLUMNS])]
    for planet in planets:
        # A day from the ends, where interpolation stops.
        times = window_times(ephemeris.jalpha + 1, ephemeris.jomega - 1, PERIODS[planet], windows, points)
        for number, tdb in enumerate(times, start=1):
            for time, state in zip(tdb - J2000, heliocentric(ephemeris, planet, tdb), strict=True):
                lines.append(f"{planet}-{number},{time:.12g},{','.join(f'{x:.15g}' for x in state)}")
    return "\n".join(lines) + "\n"


def parse(words: list[str] | None = None) -> argparse.Namespace:
    """The arguments, checked."""
    parser = argparse.ArgumentParser(prog="scripts/planets", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/planets.csv"), help="the file to write")
    parser.add_argument(
        "--planets", nargs="+", default=list(INNER), metavar="NAME", help="of " + ", ".join(PERIODS)
    )
    parser.add_argument("--windows", type=int, default=12, help="trajectories a planet")
    parser.add_argument("--points", type=int, default=41, help="rows a trajectory, evenly over one orbit")
    arguments = parser.parse_args(words)
    if unknown := [name for name in arguments.planets if name not in PERIODS]:
        parser.error(f"--planets: unknown {', '.join(unknown)}, expected some of {', '.join(PERIODS)}")
    if len(set(arguments.planets)) < len(arguments.planets):
        parser.error(f"--planets: got one twice in {' '.join(arguments.planets)}")
    if arguments.windows < 1 or arguments.points < 2:
        parser.error(
            f"at least 1 window of 2 points is needed, got {arguments.windows} of {arguments.points}"
        )
    return arguments


def write(ephemeris: Ephemeris, arguments: argparse.Namespace) -> None:
    """Write the file, and beside it the one that says what its columns mean."""
    text = planets_csv(ephemeris, arguments.planets, arguments.windows, arguments.points)
    write_whole(arguments.out, text)
    write_whole(Path(f"{arguments.out}.toml"), LAYOUT)
    print(f"{arguments.out}: {len(arguments.planets) * arguments.windows} trajectories")


def main() -> None:
    """Read the arguments and the ephemeris, and write."""
    arguments = parse()
    try:
        import de421  # pyright: ignore[reportMissingImports]
        import jplephem  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        print(f'{error.name} is missing, install "noether-razor[ephemeris]"', file=sys.stderr)
        sys.exit(2)
    write(jplephem.Ephemeris(de421), arguments)


if __name__ == "__main__":
    main()
