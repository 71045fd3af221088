"""Systems with known laws beyond degree two, integrated from their equations, with noise on all states."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ...trajectories import Trajectories

Field = Callable[[np.ndarray], np.ndarray]
"""States (batch, 2n) to their derivatives."""


class System(NamedTuple):
    """Equations of motion, draws of `count` initial states, the `step` between rows, and which columns are
    angles. `columns` are those of a state that are in the file, positions first; all where empty.

    `independent` is how many independent quantities are conserved among the terms of its library,
    `hamiltonian` the terms of H where it is in that.
    """

    field: Field
    starts: Callable[[np.random.Generator, int], np.ndarray]
    step: float
    independent: int
    hamiltonian: frozenset[str] = frozenset()
    angles: tuple[int, ...] = ()
    columns: tuple[int, ...] = ()


def followed(field: Field, starts: np.ndarray, times: np.ndarray, substeps: int = 40) -> np.ndarray:
    """States (batch, time, 2n) by the classical method of order 4."""
    states, found = starts, [starts]
    for step in np.diff(times) / substeps:
        for _ in range(substeps):
            one = field(states)
            two = field(states + step / 2 * one)
            three = field(states + step / 2 * two)
            four = field(states + step * three)
            states = states + step / 6 * (one + 2 * two + 2 * three + four)
        found.append(states)
    return np.stack(found, axis=1)


def measured(system: System, noise: float, seed: int, count: int = 50, rows: int = 40) -> Trajectories:
    """`count` trajectories with normal noise of a share of the spread of positions or of momenta."""
    random = np.random.default_rng(seed)
    starts = system.starts(random, count)
    times = system.step * np.arange(rows)
    states = followed(system.field, starts, times)
    if system.columns:
        states = states[:, :, list(system.columns)]
    dof = states.shape[2] // 2
    spread = states.reshape(-1, 2 * dof).std(axis=0)
    block = np.repeat([np.sqrt(np.mean(part**2)) for part in np.split(spread, 2)], dof)
    states = states + noise * block * random.normal(size=states.shape)
    periods = tuple(2 * np.pi if k in system.angles else None for k in range(2 * dof))
    return Trajectories(np.tile(times, (count, 1)), states, periods=periods)


def natural(force: Callable[..., tuple[np.ndarray, ...]]) -> Field:
    """q' = p, p' = the force at q."""

    def field(states: np.ndarray) -> np.ndarray:
        positions, momenta = np.split(states, 2, axis=1)
        return np.concatenate([momenta, np.stack(force(*positions.T), axis=1)], axis=1)

    return field


def normal(*sizes: float | int) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Normal draws of these standard deviations."""
    return lambda random, count: np.array(sizes) * random.normal(size=(count, len(sizes)))


def swinging(random: np.random.Generator, count: int) -> np.ndarray:
    """A pendulum that swings and turns over."""
    return np.stack([random.uniform(-2.5, 2.5, count), 1.2 * random.normal(size=count)], axis=1)


def bounded(potential: Callable[..., np.ndarray], most: float, size: float) -> Callable[..., np.ndarray]:
    """Normal draws of energy below `most` and positions in the well."""

    def draw(random: np.random.Generator, count: int) -> np.ndarray:
        found: list[np.ndarray] = []
        while len(found) < count:
            state = size * random.normal(size=4)
            energy = potential(*state[:2]) + np.sum(state[2:] ** 2) / 2
            if energy < most and np.abs(state[:2]).sum() < 1:
                found.append(state)
        return np.array(found)

    return draw


def planets(random: np.random.Generator, count: int) -> np.ndarray:
    """Ellipses of eccentricity up to 0.5 about the origin, of either sense."""
    axis, eccentricity = random.uniform(0.7, 1.4, count), random.uniform(0.1, 0.5, count)
    nearest, direction = axis * (1 - eccentricity), random.uniform(0, 2 * np.pi, count)
    speed = np.sqrt((1 + eccentricity) / nearest) * random.choice([-1, 1], count)
    cos, sin = np.cos(direction), np.sin(direction)
    return np.stack([nearest * cos, nearest * sin, -speed * sin, speed * cos], axis=1)


def kepler(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """H = p^2 / 2 - 1 / r."""
    cube = (x**2 + y**2) ** 1.5
    return -x / cube, -y / cube


def toda(one: np.ndarray, two: np.ndarray, three: np.ndarray) -> tuple[np.ndarray, ...]:
    """H = p^2 / 2 + exp(q1 - q2) + exp(q2 - q3) + exp(q3 - q1): three particles on a ring."""
    a, b, c = np.exp(one - two), np.exp(two - three), np.exp(three - one)
    return c - a, a - b, b - c


def henon_heiles(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """H = (p^2 + q^2) / 2 + q1^2 q2 - q2^3 / 3."""
    return -x - 2 * x * y, -y - x**2 + y**2


def sawada_kotera(x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, ...]:
    """H = (p^2 + q^2) / 2 + q1^2 q2 + q2^3 / 3."""
    return -x - 2 * x * y, -y - x**2 - y**2


def double_pendulum(states: np.ndarray) -> np.ndarray:
    """Equal masses and lengths, H = (p1^2 + 2 p2^2 - 2 p1 p2 cos d) / (2 + 2 sin^2 d) - 2 cos q1 - cos q2."""
    one, two, p, s = states.T
    cos, sin = np.cos(one - two), np.sin(one - two)
    below = 1 + sin**2
    top = p**2 + 2 * s**2 - 2 * p * s * cos
    slope = p * s * sin / below - top * sin * cos / below**2
    return np.stack(
        [(p - s * cos) / below, (2 * s - p * cos) / below, -slope - 2 * np.sin(one), slope - np.sin(two)],
        axis=1,
    )


def terms(*names: str) -> frozenset[str]:
    """The kinetic energy of two degrees of freedom and other terms."""
    return frozenset({"p1^2", "p2^2", *names})


SYSTEMS: dict[str, System] = {
    "pendulum": System(
        natural(lambda q: (-np.sin(q),)), swinging, 0.25, 1, frozenset({"p1^2", "cos(q1)"}), angles=(0,)
    ),
    "oscillator 1:2": System(
        natural(lambda x, y: (-x, -4 * y)), normal(1, 0.6, 1, 1.2), 0.2, 3, terms("q1^2", "q2^2")
    ),
    "Sawada-Kotera": System(
        natural(sawada_kotera),
        bounded(lambda x, y: (x**2 + y**2) / 2 + x**2 * y + y**3 / 3, 0.08, 0.3),
        0.3,
        2,
        terms("q1^2", "q2^2", "q1^2*q2", "q2^3"),
    ),
    "Henon-Heiles": System(
        natural(henon_heiles),
        bounded(lambda x, y: (x**2 + y**2) / 2 + x**2 * y - y**3 / 3, 0.15, 0.3),
        0.3,
        1,
        terms("q1^2", "q2^2", "q1^2*q2", "q2^3"),
    ),
    "Kepler": System(natural(kepler), planets, 0.2, 3, terms("1/r")),
    # Nearly all motions of q1^2 q2^2 / 2 + (q1^4 + q2^4) / 20 are chaotic.
    "quartic": System(
        natural(lambda x, y: (-x * y**2 - x**3 / 5, -y * x**2 - y**3 / 5)),
        normal(1, 1, 1, 1),
        0.25,
        1,
        terms("q1^4", "q2^4", "q1^2*q2^2"),
    ),
    "Toda": System(
        natural(toda),
        normal(0.7, 0.7, 0.7, 0.8, 0.8, 0.8),
        0.2,
        3,
        frozenset({"p1^2", "p2^2", "p3^2", "exp(q1 - q2)", "exp(q2 - q3)", "exp(-q1 + q3)"}),
    ),
    "r^4": System(
        natural(lambda x, y: (-x * (x**2 + y**2), -y * (x**2 + y**2))),
        normal(1, 1, 1, 1),
        0.15,
        2,
        terms("q1^4", "q2^4", "q1^2*q2^2"),
    ),
    "damped pendulum": System(
        lambda states: np.stack([states[:, 1], -np.sin(states[:, 0]) - 0.1 * states[:, 1]], axis=1),
        swinging,
        0.25,
        0,
        angles=(0,),
    ),
    # q'' = -q + c, where the drive c turns at the rate 0.6 and is not in the file.
    "driven oscillator": System(
        natural(lambda q, c: (c - q, -0.36 * c)),
        lambda random, count: np.concatenate(
            [
                np.stack([random.normal(size=count), np.full(count, 0.8), random.normal(size=count)], axis=1),
                np.zeros((count, 1)),
            ],
            axis=1,
        ),
        0.3,
        0,
        columns=(0, 2),
    ),
    # Its H is a quotient, which is not in the library.
    "double pendulum": System(double_pendulum, normal(1.2, 1.2, 1, 1), 0.15, 0, angles=(0, 1)),
    # exp(-q) is in no library, unless the user adds it.
    "Morse": System(
        natural(lambda q: (2 * np.exp(-2 * q) - 2 * np.exp(-q),)),
        lambda random, count: np.stack(
            [random.uniform(-0.4, 0.8, count), random.uniform(-0.5, 0.5, count)], axis=1
        ),
        0.3,
        1,
        frozenset({"p1^2", "(exp(-q1))", "(exp(-2*q1))"}),
    ),
}
