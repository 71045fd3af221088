"""Files as the field gives them, each with its truth; noise is on all columns unless the file is one of a
simulation."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy.integrate import solve_ivp
from scipy.signal import savgol_filter

Rows = Iterable[tuple[int, np.ndarray, np.ndarray]]
"""Label, times (time,) and columns (time, columns) of each trajectory."""


def _solved(field: Callable, start: np.ndarray, times: np.ndarray) -> np.ndarray:
    solution = solve_ivp(
        lambda t, x: field(x), (0, times[-1]), start, t_eval=times, rtol=1e-9, atol=1e-10, method="DOP853"
    )
    return solution.y.T


def double_pendulum(generator: np.random.Generator) -> Rows:
    """Angles and rates at 100 Hz, slight friction, 8 % of the frames dropped; one run swings, one whirls.
    Truth: nothing of degree <= 2, and theta, omega are not canonical.
    """
    gravity, length = 9.8, 0.15

    def field(x: np.ndarray) -> list[float]:
        a, b, u, v = x
        sine, cosine = np.sin(a - b), np.cos(a - b)
        first = -2 * gravity / length * np.sin(a) - v * v * sine
        second = -gravity / length * np.sin(b) + u * u * sine
        below = 2 - cosine**2
        return [
            u,
            v,
            (first - cosine * second) / below - 0.02 * u,
            (2 * second - cosine * first) / below - 0.02 * v,
        ]

    for label, start in enumerate(([-1.1, -1.3, -0.5, -6.0], [2.5, 3.0, -12.0, -25.0])):
        times = np.arange(0, 8, 0.01)
        states = _solved(field, np.array(start), times)
        states = states + [0.003, 0.003, 0.05, 0.05] * generator.normal(size=states.shape)
        seen = generator.uniform(size=len(times)) > 0.08
        yield label, times[seen], states[seen]


def charge(generator: np.random.Generator) -> Rows:
    """A charge in a uniform field by its position and velocity. Truth: six invariants, but m v is not
    canonical.
    """
    for label in range(24):
        centre, size = generator.normal(size=2), generator.uniform(0.3, 1.5)
        times = np.arange(0, 6, 0.12)
        phase = generator.uniform(0, 2 * np.pi) - 1.5 * times
        circle = size * np.stack([-np.sin(phase) / 1.5, np.cos(phase) / 1.5, np.cos(phase), np.sin(phase)], 1)
        yield label, times, circle + np.array([*centre, 0.0, 0.0])


def cartesian_pendulum(generator: np.random.Generator) -> Rows:
    """A rigid pendulum in x, y, vx, vy. Truth: two constraints, and the energy, which is of degree two
    here.
    """
    for label in range(24):
        times = np.arange(0, 5, 0.1)
        start = np.array([generator.uniform(-2.5, 2.5), generator.uniform(-1.5, 1.5)])
        angle, rate = _solved(lambda x: [x[1], -np.sin(x[0])], start, times).T
        yield (
            label,
            times,
            np.stack([np.sin(angle), -np.cos(angle), rate * np.cos(angle), rate * np.sin(angle)], 1),
        )


def rotating_frame(generator: np.random.Generator) -> Rows:
    """Satellites of the Earth in the frame that turns with the Moon, with velocities. Truth: nothing of
    degree <= 2.
    """
    moon = 0.01215

    def field(s: np.ndarray) -> list[float]:
        x, y, u, v = s
        earthward, moonward = np.hypot(x + moon, y) ** 3, np.hypot(x - 1 + moon, y) ** 3
        return [
            u,
            v,
            x + 2 * v - (1 - moon) * (x + moon) / earthward - moon * (x - 1 + moon) / moonward,
            y - 2 * u - (1 - moon) * y / earthward - moon * y / moonward,
        ]

    for label in range(24):
        radius, angle = generator.uniform(0.3, 0.55), generator.uniform(0, 2 * np.pi)
        speed = radius**-0.5 * generator.uniform(0.85, 1.1) - radius
        start = [radius * np.cos(angle) - moon, radius * np.sin(angle)]
        start += [-speed * np.sin(angle), speed * np.cos(angle)]
        times = np.arange(0, 3, 0.05)
        yield label, times, _solved(field, np.array(start), times)


def euler_orbits(generator: np.random.Generator) -> Rows:
    """Attraction 1 / r by explicit Euler steps, as a beginner stores it. Truth: energy and L grow, nothing
    is conserved.
    """
    for label in range(24):
        radius, angle = generator.uniform(0.7, 1.6), generator.uniform(0, 2 * np.pi)
        speed = radius**-0.5 * generator.uniform(0.8, 1.15)
        q = radius * np.array([np.cos(angle), np.sin(angle)])
        p = speed * np.array([-np.sin(angle), np.cos(angle)])
        states = []
        for _ in range(60):
            states.append([*q, *p])
            q, p = q + 0.05 * p, p - 0.05 * q / np.linalg.norm(q) ** 3
        yield label, 0.05 * np.arange(60), np.array(states)


def cut_orbit(generator: np.random.Generator) -> Rows:
    """One rosette of 2000 rows, cut into 40 'trajectories'. Truth: L, of which the file has one value."""
    times = np.arange(0, 200, 0.1)

    def field(s: np.ndarray) -> np.ndarray:
        return np.r_[s[2:], -s[:2] / (s[:2] @ s[:2] + 0.1) ** 1.5]

    states = _solved(field, np.array([1.5, 0, 0.1, 0.55]), times)
    states = states + 0.002 * generator.normal(size=states.shape)
    for label in range(40):
        part = slice(50 * label, 50 * label + 50)
        yield label, times[part], states[part]


def three_oscillators(generator: np.random.Generator) -> Rows:
    """Three equal oscillators, 24 trajectories of 40 rows. Truth: u(3), nine."""
    for label in range(24):
        first, second = generator.normal(size=(2, 1, 3))
        times = 0.15 * np.arange(40)
        cosine, sine = np.cos(times)[:, None], np.sin(times)[:, None]
        states = np.concatenate([first * cosine + second * sine, second * cosine - first * sine], axis=1)
        yield label, times, states + 0.005 * generator.normal(size=states.shape)


def whirling_pendulum(generator: np.random.Generator) -> Rows:
    """A pendulum by an encoder that counts turns and was not set to zero. Truth: nothing of degree <= 2."""
    for label in range(20):
        start = [generator.uniform(-1.5, 1.5), generator.uniform(-1, 1)]
        if label % 2 == 0:
            start = [
                2 * np.pi * generator.integers(-20, 1),
                generator.choice([-1, 1]) * generator.uniform(2.5, 6),
            ]
        times = 0.1 * np.arange(60)
        states = _solved(lambda x: [x[1], -np.sin(x[0])], np.array(start), times)
        yield label, times, states + 0.003 * generator.normal(size=states.shape)


class FieldFile(NamedTuple):
    """A file of the field: how it is made, its columns, and the options that read it."""

    rows: Callable[[np.random.Generator], Rows]
    columns: str
    options: tuple[str, ...] = ()

    def write(self, path: Path, seed: int = 0) -> Path:
        """Write it as text."""
        lines = [f"trajectory,time,{self.columns}"]
        for label, times, states in self.rows(np.random.default_rng(seed)):
            lines += [
                f"{label},{t:.5f}," + ",".join(f"{value:.8f}" for value in state)
                for t, state in zip(times, states, strict=True)
            ]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return path


VELOCITIES = ("--positions", "x,y", "--velocities", "vx,vy", "--masses", "1")
RATES = ("--positions", "t1,t2", "--velocities", "o1,o2", "--masses", "1")
FILES = {
    "double pendulum": FieldFile(double_pendulum, "t1,t2,o1,o2", RATES),
    "charge in a field": FieldFile(charge, "x,y,vx,vy", VELOCITIES),
    "cartesian pendulum": FieldFile(cartesian_pendulum, "x,y,vx,vy", VELOCITIES),
    "rotating frame": FieldFile(rotating_frame, "x,y,vx,vy", VELOCITIES),
    "euler orbits": FieldFile(euler_orbits, "q1,q2,p1,p2"),
    "cut orbit": FieldFile(cut_orbit, "q1,q2,p1,p2"),
    "three oscillators": FieldFile(three_oscillators, "q1,q2,q3,p1,p2,p3"),
    "whirling pendulum": FieldFile(whirling_pendulum, "q1,p1"),
    "whirling pendulum, periodic": FieldFile(whirling_pendulum, "q1,p1", ("--periodic", "q1")),
}


def _turning(generator: np.random.Generator, count: int, times: np.ndarray) -> Iterable[np.ndarray]:
    """States of two equal oscillators."""
    cosine, sine = np.cos(times)[:, None], np.sin(times)[:, None]
    for _ in range(count):
        first, second = generator.normal(size=(2, 1, 2))
        yield np.concatenate([first * cosine + second * sine, second * cosine - first * sine], axis=1)


def multiplicative(generator: np.random.Generator) -> Rows:
    """Two equal oscillators by sensors with an error of 3 % of the value. Truth: u(2), four."""
    times = 0.15 * np.arange(51)
    for label, states in enumerate(_turning(generator, 30, times)):
        yield label, times, states * (1 + 0.03 * generator.normal(size=states.shape))


def many_sensors(generator: np.random.Generator) -> Rows:
    """Two equal oscillators, a sensor for each run, of 0.01 to 5 %. Truth: u(2), four."""
    times = 0.15 * np.arange(51)
    for label, states in enumerate(_turning(generator, 24, times)):
        noise = 10 ** generator.uniform(-4, -1.3)
        yield label, times, states + noise * generator.normal(size=states.shape)


def different_units(generator: np.random.Generator) -> Rows:
    """A spring in the plane, one direction in mm and mm/s, the other in m and m/s. Truth: u(2), four."""
    times = 0.15 * np.arange(51)
    for label, states in enumerate(_turning(generator, 20, times)):
        yield label, times, (states + 0.01 * generator.normal(size=states.shape)) * [1000, 1, 1000, 1]


def smoothed_track(generator: np.random.Generator) -> Rows:
    """A body on a spring in a video at 30 Hz: positions and velocities by a Savitzky-Golay filter of 11
    frames. Truth: u(2), four.
    """
    times = np.arange(240) / 30
    for label, states in enumerate(_turning(generator, 20, times)):
        seen = states[:, :2] + 0.01 * generator.normal(size=(len(times), 2))
        smooth = [
            np.asarray(savgol_filter(seen, 11, 3, deriv=k, delta=1 / 30, axis=0), np.float64) for k in (0, 1)
        ]
        yield label, times, np.concatenate(smooth, axis=1)


def slow_sensor(generator: np.random.Generator) -> Rows:
    """A central force by sensors whose noise of 1 % lasts five rows. Truth: L."""
    times = 0.15 * np.arange(51)

    def field(s: np.ndarray) -> np.ndarray:
        return np.r_[s[2:], -s[:2] / (s[:2] @ s[:2] + 0.1) ** 1.5]

    for label in range(20):
        angle, radius = generator.uniform(0, 2 * np.pi), generator.uniform(0.7, 1.5)
        speed = generator.uniform(0.5, 1.0) / radius**0.5
        start = [
            radius * np.cos(angle),
            radius * np.sin(angle),
            -speed * np.sin(angle),
            speed * np.cos(angle),
        ]
        noise = generator.normal(size=(len(times), 4))
        for k in range(1, len(times)):
            noise[k] = 0.8 * noise[k - 1] + 0.6 * noise[k]
        yield label, times, _solved(field, np.array(start), times) + 0.01 * noise


def kicked(generator: np.random.Generator) -> Rows:
    """Two equal oscillators under random kicks, hardly any noise. Truth: nothing; energies walk at random."""
    times = 0.2 * np.arange(51)
    for label in range(20):
        state, states = generator.normal(size=4), []
        for _ in times:
            states.append(state.copy())
            for _ in range(20):
                state[2:] += 0.003 * generator.normal(size=2) - 0.01 * state[:2]
                state[:2] += 0.01 * state[2:]
        yield label, times, np.array(states) + 0.003 * generator.normal(size=(len(times), 4))


def nearly_at_rest(generator: np.random.Generator) -> Rows:
    """Two oscillators, the first one driven; the second hardly moves in one run. Truth: energy of the
    second.
    """
    times = 0.2 * np.arange(51)
    for label, states in enumerate(_turning(generator, 20, times)):
        driven = np.cos(1.7 * times) - np.cos(times), np.sin(times) - 1.7 * np.sin(1.7 * times)
        states[:, [0, 2]] += np.stack(driven, axis=1) / (1 - 1.7**2)
        states[:, [1, 3]] *= 0.02 if label == 7 else 1.0
        yield label, times, states + 0.01 * generator.normal(size=states.shape)


def at_rest(generator: np.random.Generator) -> Rows:
    """Nothing but noise about twelve places. Truth: nothing moves, and the file cannot tell anything."""
    for label in range(12):
        place = np.r_[generator.normal(size=2), 0, 0]
        yield label, 0.1 * np.arange(40), place + 0.01 * generator.normal(size=(40, 4))


def thrown_with_drag(generator: np.random.Generator) -> Rows:
    """Balls in the air, with drag, under a second. Truth: nothing, but arcs hardly tell."""
    times = 0.02 * np.arange(40)

    def field(s: np.ndarray) -> np.ndarray:
        return np.r_[s[2:], np.array([0.0, -9.81]) - 0.05 * np.linalg.norm(s[2:]) * s[2:]]

    for label in range(20):
        start = generator.uniform([-0.2, 1.3, 2, 2], [0.2, 1.7, 6, 6])
        states = _solved(field, start, times)
        yield label, times, states + [0.006, 0.006, 0.015, 0.015] * generator.normal(size=states.shape)


def shaken_camera(generator: np.random.Generator) -> Rows:
    """Two bodies that attract each other, seen by a camera that shakes: most noise is the same for both.
    Truth: both momenta, their three products and the two parts of angular momentum, seven.
    """
    times = 0.1 * np.arange(61)

    def field(s: np.ndarray) -> np.ndarray:
        apart = s[:2] - s[2:4]
        pull = -apart / (apart @ apart + 0.3) ** 1.5
        return np.r_[s[4:], pull, -pull]

    for label in range(30):
        start = np.r_[generator.normal(size=4), 0.5 * generator.normal(size=4)]
        states = _solved(field, start, times)
        shared = 0.01 * generator.normal(size=(len(times), 4))[:, [0, 1, 0, 1, 2, 3, 2, 3]]
        yield label, times, states + shared + 0.003 * generator.normal(size=states.shape)


def logged_twice(generator: np.random.Generator) -> Rows:
    """One oscillator of frequency 1.3, its sensors logged twice. Truth: one energy, and columns that are
    bound to each other.
    """
    times = 0.25 * np.arange(60)
    for label in range(20):
        size, phase = generator.uniform(0.5, 2), 1.3 * times + generator.uniform(0, 6)
        own = np.stack([size * np.cos(phase), -1.3 * size * np.sin(phase)], axis=1)
        own += 0.01 * generator.normal(size=own.shape)
        yield label, times, own[:, [0, 0, 1, 1]]


def _two_periods(generator: np.random.Generator, runs: int, rows: int, noise: float) -> Rows:
    """Oscillators of frequencies 1 and sqrt(2). Truth: two energies."""
    times, rate = 0.25 * np.arange(rows), np.sqrt([1.0, 2.0])
    for label in range(runs):
        q, p = generator.normal(size=(2, 1, 2))
        cos, sin = np.cos(np.outer(times, rate)), np.sin(np.outer(times, rate))
        states = np.concatenate([q * cos + p / rate * sin, p * cos - rate * q * sin], axis=1)
        yield label, times, states + noise * generator.normal(size=states.shape)


def coarse_readings(generator: np.random.Generator) -> Rows:
    """The same by a converter of few steps about 128. Truth: two energies."""
    for label, times, states in _two_periods(generator, 20, 60, 0.0):
        yield label, times, np.round(128 + 4 * states)


def released_from_rest(generator: np.random.Generator) -> Rows:
    """Two equal oscillators released from rest. Truth: u(2), of which L is 0 in every run."""
    times = 0.2 * np.arange(60)
    for label in range(24):
        start = generator.normal(size=2)
        states = np.concatenate([np.outer(np.cos(times), start), np.outer(-np.sin(times), start)], axis=1)
        yield label, times, states + 0.01 * generator.normal(size=states.shape)


def cut_off(generator: np.random.Generator) -> Rows:
    """Two oscillators, by sensors that read no more than 2. Truth: two energies, but not by these rows."""
    for label, times, states in _two_periods(generator, 24, 80, 0.005):
        yield label, times, np.clip(states, -2, 2)


def minus_999(generator: np.random.Generator) -> Rows:
    """The same, with -999 for what is missing. Truth: two energies, but not by these rows."""
    for label, times, states in _two_periods(generator, 24, 80, 0.01):
        yield label, times, np.where(generator.uniform(size=states.shape) < 0.01, -999, states)


def stopped_sensor(generator: np.random.Generator) -> Rows:
    """The same, with a sensor that stops for eight rows in every fourth run. Truth: the same."""
    for label, times, states in _two_periods(generator, 24, 80, 0.005):
        if label % 4 == 0:
            start, column = generator.integers(5, 65), generator.integers(4)
            states[start : start + 8, column] = states[start, column]
        yield label, times, states


def glitches(generator: np.random.Generator) -> Rows:
    """The same, with glitches in 5 % of the rows. Truth: the same."""
    for label, times, states in _two_periods(generator, 20, 80, 0.01):
        for row in np.flatnonzero(generator.uniform(size=len(times)) < 0.05):
            states[row, generator.integers(4)] += generator.choice([-1, 1]) * generator.uniform(0.5, 5)
        yield label, times, states


def bumped(generator: np.random.Generator) -> Rows:
    """The same without, but for a push in two runs. Truth: two energies in the others."""
    for label, times, states in _two_periods(generator, 24, 80, 0.01):
        if label < 2:
            # A push of 0.6 on p1, at row 40.
            later = times[40:] - times[40]
            states[40:, 0] += 0.6 * np.sin(later)
            states[40:, 2] += 0.6 * np.cos(later)
        yield label, times, states


def of_two_setups(generator: np.random.Generator) -> Rows:
    """Two oscillators of frequencies 1 and 1.3, but for three of 40 runs of 1.2 and 0.9. Truth: two energies
    in the others.
    """
    times = 0.25 * np.arange(41)
    for label in range(40):
        rates = np.array([1.2, 0.9] if label in (5, 17, 30) else [1.0, 1.3])
        sizes, phases = generator.normal(size=2), generator.uniform(0, 2 * np.pi, 2)
        angles = np.outer(times, rates) + phases
        states = np.concatenate([sizes * np.cos(angles), -sizes * rates * np.sin(angles)], axis=1)
        yield label, times, states + 0.01 * generator.normal(size=states.shape)


def hardly_turning(generator: np.random.Generator) -> Rows:
    """Two oscillators, one of which turns by a third of a radian in all. Truth: two energies, of which p2
    drifts a little.
    """
    times, rate = 0.25 * np.arange(120), np.array([1.0, 0.01])
    for label in range(24):
        q, p = generator.normal(size=(2, 1, 2))
        cos, sin = np.cos(np.outer(times, rate)), np.sin(np.outer(times, rate))
        states = np.concatenate([q * cos + p / rate * sin, p * cos - rate * q * sin], axis=1)
        yield label, times, states + 0.01 * generator.normal(size=states.shape)


def far_apart(generator: np.random.Generator) -> Rows:
    """A spring at places up to 1000 times further apart than it moves, and a free body. Truth: p2 and its
    square, but of these rows q1*p2 is as constant.
    """
    times = 0.25 * np.arange(80)
    for label in range(24):
        (q, p), place, at, speed = generator.normal(size=2), *generator.normal(size=3)
        one = place * 300 + q * np.cos(times) + p * np.sin(times)
        states = [one, at + speed * times, p * np.cos(times) - q * np.sin(times), np.full(80, speed)]
        yield label, times, np.stack(states, axis=1) + 0.01 * generator.normal(size=(80, 4))


class Hard(NamedTuple):
    """A file, how many quantities are conserved, whether it can tell (None: by some seeds), and what the
    first line says where it cannot.
    """

    file: FieldFile
    rank: int | None
    decided: bool | None = True
    said: str = ""


PLANE = "q1,q2,p1,p2"
HARD_FILES = {
    "multiplicative noise": Hard(FieldFile(multiplicative, PLANE), 4),
    "a sensor for each run": Hard(FieldFile(many_sensors, PLANE), 4),
    "mm and m": Hard(FieldFile(different_units, PLANE), 4),
    "smoothed track": Hard(FieldFile(smoothed_track, "x,y,vx,vy", VELOCITIES), 4),
    "slow sensor": Hard(FieldFile(slow_sensor, PLANE), 1),
    "random kicks": Hard(FieldFile(kicked, PLANE), 0),
    "one run nearly at rest": Hard(FieldFile(nearly_at_rest, PLANE), 1),
    "at rest": Hard(FieldFile(at_rest, PLANE), None, decided=False),
    "thrown with drag": Hard(FieldFile(thrown_with_drag, "x,y,vx,vy", VELOCITIES), None, decided=False),
    "shaken camera": Hard(FieldFile(shaken_camera, "q1,q2,q3,q4,p1,p2,p3,p4"), 7),
    "coarse readings": Hard(FieldFile(coarse_readings, PLANE), 2, said="u(1)^2"),
    "one sensor logged twice": Hard(FieldFile(logged_twice, PLANE), 1, decided=False),
    "released from rest": Hard(FieldFile(released_from_rest, PLANE), 3, decided=False, said="u(2)"),
    "cut off": Hard(FieldFile(cut_off, PLANE), None, decided=False, said="is it cut off?"),
    "minus 999": Hard(FieldFile(minus_999, PLANE), None, decided=False, said="leave a field empty"),
    "stopped sensor": Hard(
        FieldFile(stopped_sensor, PLANE), None, decided=False, said="does its sensor stop?"
    ),
    "glitches": Hard(FieldFile(glitches, PLANE), None, decided=False),
    "bumped": Hard(FieldFile(bumped, PLANE), None, decided=False, said="were they disturbed?"),
    "of two setups": Hard(FieldFile(of_two_setups, PLANE), None, decided=False, said="of the same system?"),
    "hardly turning": Hard(FieldFile(hardly_turning, PLANE), 2),
    "far apart": Hard(FieldFile(far_apart, PLANE), 2, decided=None, said="times further apart in q1"),
}
"""Files with noise as sensors, filters and units make it, or without a law where one may be seen."""
