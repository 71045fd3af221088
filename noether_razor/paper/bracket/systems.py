"""Systems of which positions and velocities are measured: unequal masses, fields, rotating frames, angles."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ...trajectories import Trajectories
from ...trajectories.positions import velocities
from ..beyond.systems import Field, followed, normal

STEP, ROWS = 0.2, 51
"""Time between rows, and rows of a trajectory."""
FINE = np.array([1e3, 1.0, 1e3, 1.0])
"""Millimetres, radians and what they are a second."""
MIXTURE = np.array([[1.0, 0.2, 0.1, 0.0], [-0.3, 1.0, 0.0, 0.2], [0.1, 0.0, 1.0, 0.3], [0.0, -0.2, 0.1, 1.0]])
"""What mixes positions and velocities of the system with mixed columns."""


class System(NamedTuple):
    """Equations of motion of (q, v), draws of initial states, and the true Poisson matrix (dim, dim) at a
    state with p_1 = v_1 + ...; the kind that is to be found, and what files of it are made with: `alone`,
    positions alone, of which so many rows are in the time between two of other files; 0 for no such file.
    """

    field: Field
    starts: Callable[[np.random.Generator, int], np.ndarray]
    matrix: Callable[[np.ndarray], np.ndarray]
    kind: str
    noise: float = 0.01
    runs: int = 20
    mixture: np.ndarray | None = None
    alone: int = 0


def measured(system: System, seed: int) -> Trajectories:
    """A file of it, with normal noise of a share of the spread of each column; masses are not known."""
    random = np.random.default_rng(seed)
    finer = max(system.alone, 1)
    times = STEP / finer * np.arange(finer * ROWS)
    states = followed(system.field, system.starts(random, system.runs), times)
    if system.mixture is not None:
        states = states @ system.mixture.T
    dof = states.shape[2] // 2
    spread = states.reshape(-1, 2 * dof).std(axis=0)
    states = states + system.noise * spread * random.normal(size=states.shape)
    names = tuple(f"{letter}{k + 1}" for letter in "qv" for k in range(dof))
    if system.alone:
        ends = len(times) * np.arange(system.runs + 1)
        spans = list(zip(ends[:-1].tolist(), ends[1:].tolist(), strict=True))
        rows = states[..., :dof].reshape(-1, dof)
        found = velocities(np.tile(times, system.runs), rows, spans, names)
        both = np.hstack([found.positions, found.velocities])
        segments = [(found.times[a:b], both[a:b]) for a, b in found.spans]
        return Trajectories.of_segments(segments, names=names, bracket="auto")
    return Trajectories(np.tile(times, (system.runs, 1)), states, names=names, bracket="auto")


def trap(coupling: float = 1.0, *, masses: tuple[float, float] = (1.0, 1.0), field: float = 0.0) -> Field:
    """An anharmonic trap x^2/2 + .65 y^2 + x^4/5 + y^4/8 + c (x^2 y^2/4 + x y/5) with unequal masses or in a
    field.
    """

    def moved(states: np.ndarray) -> np.ndarray:
        x, y, u, w = states.T
        force_x = -x - 0.8 * x**3 - coupling * (0.5 * x * y**2 + 0.2 * y) + field * w
        force_y = -1.3 * y - 0.5 * y**3 - coupling * (0.5 * x**2 * y + 0.2 * x) - field * u
        return np.stack([u, w, force_x / masses[0], force_y / masses[1]], axis=1)

    return moved


def damped(field: Field, rate: float) -> Field:
    """The same with v' = .. - rate v."""

    def moved(states: np.ndarray) -> np.ndarray:
        found = field(states)
        half = states.shape[1] // 2
        found[:, half:] -= rate * states[:, half:]
        return found

    return moved


def rotating(states: np.ndarray) -> np.ndarray:
    """The trap in a frame that turns at the rate 0.4."""
    found = trap(field=0.8)(states)
    found[:, 2:] += 0.16 * states[:, :2]
    return found


def changing_field(states: np.ndarray) -> np.ndarray:
    """The trap in a field 1 + r^2 / 2."""
    field = 1 + (states[:, 0] ** 2 + states[:, 1] ** 2) / 2
    turned = np.stack([states[:, 3], -states[:, 2]], axis=1) * field[:, None]
    found = trap()(states)
    found[:, 2:] += turned
    return found


def polar(states: np.ndarray) -> np.ndarray:
    """Radius 1 + x and angle f: H = (v_x^2 + (1 + x)^2 v_f^2 + x^2 + 0.3 (1 + x)^2 f^2) / 2."""
    x, f, u, w = states.T
    radius = 1 + x
    outward = radius * w**2 - x - 0.3 * radius * f**2
    return np.stack([u, w, outward, -2 * u * w / radius - 0.3 * f], axis=1)


def double_pendulum(states: np.ndarray) -> np.ndarray:
    """Two equal masses on equal rods, by angles and their rates."""
    a, b, u, w = states.T
    cos, sin = np.cos(a - b), np.sin(a - b)
    below = 2 - cos**2
    first = (-2 * np.sin(a) + np.sin(b) * cos - w**2 * sin - u**2 * sin * cos) / below
    second = (2 * (u**2 * sin - np.sin(b) + np.sin(a) * cos) + w**2 * sin * cos) / below
    return np.stack([u, w, first, second], axis=1)


def on_a_cart(states: np.ndarray) -> np.ndarray:
    """A pendulum of mass 0.6 and length 1 on a cart of mass 1 on a spring, by the place of the cart in
    thousandths of that length and the angle, and their rates.
    """
    x, a, u, w = (states / FINE).T
    cos, sin = np.cos(a), np.sin(a)
    # 1.6 x'' + 0.6 cos a a'' = 0.6 w^2 sin a - x, and 0.6 cos a x'' + 0.6 a'' = -1.8 sin a.
    push, turn = 0.6 * w**2 * sin - x, -1.8 * sin
    below = 1.6 * 0.6 - (0.6 * cos) ** 2
    first, second = (0.6 * push - 0.6 * cos * turn) / below, (1.6 * turn - 0.6 * cos * push) / below
    return np.stack([u, w, first, second], axis=1) * FINE


def in_space(states: np.ndarray) -> np.ndarray:
    """Masses 1, 2, 0.5 in an anharmonic trap and a field (0.8, 0.5, 0.3) in space."""
    q, v = np.split(states, 2, axis=1)
    square = np.sum(q**2, axis=1, keepdims=True)
    force = -q * np.array([1.0, 1.3, 0.7]) - 0.5 * square * q + np.cross(v, [0.8, 0.5, 0.3])
    return np.concatenate([v, force / np.array([1.0, 2.0, 0.5])], axis=1)


def matrix_of(
    masses: Float[np.ndarray, "dof dof"], field: Float[np.ndarray, "dof dof"]
) -> Float[np.ndarray, "dim dim"]:
    """B for p = M v + A(q) with dA_j / dq_i - dA_i / dq_j = F_ij where M is constant."""
    inverse = np.linalg.inv(masses)
    return np.block([[np.zeros_like(masses), inverse], [-inverse, inverse @ field @ inverse]])


def plane(field: float = 0.0, mass: float = 1.0) -> Callable[[np.ndarray], np.ndarray]:
    """That of two degrees of freedom with masses 1 and `mass`: M v' = .. + field (v_2, -v_1)."""
    turned = field * np.array([[0.0, 1.0], [-1.0, 0.0]])
    found = matrix_of(np.diag([1.0, mass]), turned)
    return lambda _: found


def _of_changing_field(state: np.ndarray) -> np.ndarray:
    return plane(1 + float(state[:2] @ state[:2]) / 2)(state)


def _of_polar(state: np.ndarray) -> np.ndarray:
    (x, _, _, w), radius = state, 1 + float(state[0])
    del x
    # p_f = r^2 v_f: dp_f / dx = 2 r v_f.
    turned = 2 * radius * float(w) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    return matrix_of(np.diag([1.0, radius**2]), turned)


def _of_pendula(state: np.ndarray) -> np.ndarray:
    a, b, u, w = state.tolist()
    cos, sin = np.cos(a - b), np.sin(a - b)
    masses = np.array([[2.0, cos], [cos, 1.0]]) / 2
    # dp_2/da - dp_1/db of p_1 = u + w cos(a - b) / 2, p_2 = (u cos(a - b) + w) / 2.
    turned = (-u * sin - w * sin) / 2 * np.array([[0.0, 1.0], [-1.0, 0.0]])
    return matrix_of(masses, turned)


def _of_cart(state: np.ndarray) -> np.ndarray:
    _, a, _, w = (state / FINE).tolist()
    masses = np.array([[1.6, 0.6 * np.cos(a)], [0.6 * np.cos(a), 0.6]]) / 1.6
    # dp_2/dx - dp_1/da of p_1 = u + 0.375 w cos a.
    turned = 0.375 * w * np.sin(a) * np.array([[0.0, 1.0], [-1.0, 0.0]])
    return matrix_of(masses, turned) * np.outer(FINE, FINE) / FINE[0] ** 2


def _of_space(_: np.ndarray) -> np.ndarray:
    x, y, z = 0.8, 0.5, 0.3
    field = np.array([[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]])
    return matrix_of(np.diag([1.0, 2.0, 0.5]), field)


def swings(angle: float, rate: float) -> Callable[[np.random.Generator, int], np.ndarray]:
    """Uniform draws of two angles, normal ones of their rates."""

    def draw(random: np.random.Generator, count: int) -> np.ndarray:
        angles = random.uniform(-angle, angle, (count, 2))
        return np.concatenate([angles, rate * random.normal(size=(count, 2))], axis=1)

    return draw


SOME = normal(0.7, 0.7, 0.7, 0.7)
SYSTEMS: dict[str, System] = {
    "equal masses": System(trap(), SOME, plane(), "canonical"),
    "masses 1, 2.7": System(trap(masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses"),
    "masses 1, 1.01": System(trap(masses=(1.0, 1.01)), SOME, plane(mass=1.01), "masses"),
    "field 1.5": System(trap(field=1.5), SOME, plane(1.5), "field"),
    "field 0.01": System(trap(field=0.01), SOME, plane(0.01), "field"),
    "rotating frame, 0.4": System(rotating, SOME, plane(0.8), "field"),
    "field 1.5, 10 % noise": System(trap(field=1.5), SOME, plane(1.5), "field", noise=0.1),
    "masses, 10 % noise": System(trap(masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses", noise=0.1),
    "field, 4 runs at 3 %": System(trap(field=0.8), SOME, plane(0.8), "field", noise=0.03, runs=4),
    "masses, 4 runs at 3 %": System(
        trap(masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses", noise=0.03, runs=4
    ),
    "field and friction 0.05": System(damped(trap(field=1.5), 0.05), SOME, plane(1.5), "field"),
    "mixed columns": System(
        trap(), SOME, lambda _: MIXTURE @ plane()(_) @ MIXTURE.T, "constant", mixture=MIXTURE
    ),
    "masses and field in space": System(in_space, normal(*[0.7] * 6), _of_space, "natural", runs=40),
    "positions alone, masses 1, 2.7": System(
        trap(masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses", alone=6
    ),
    "positions alone, field 1.5": System(trap(field=1.5), SOME, plane(1.5), "field", alone=6),
    "positions alone, frame, 0.4": System(rotating, SOME, plane(0.8), "field", alone=6),
    "field 1 + r^2/2": System(changing_field, SOME, _of_changing_field, "form"),
    "polar coordinates": System(polar, normal(*[0.25] * 4), _of_polar, "form"),
    "double pendulum, 0.25": System(double_pendulum, normal(*[0.25] * 4), _of_pendula, "form"),
    "double pendulum, 1 rad": System(double_pendulum, swings(1.0, 0.3), _of_pendula, "form"),
    "pendulum on a cart, mm": System(on_a_cart, normal(700, 0.6, 600, 0.8), _of_cart, "form"),
}
