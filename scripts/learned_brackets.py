"""Masses and fields that are learned with a network, of files with forces that no formula follows.

Prints of each what `learned_bracket` answers, and how many of its errors the worst entry is off; or why it
refuses. The last two fit no kind and are to be refused. Takes 6 minutes on one core.
"""

import numpy as np

from noether_razor.bracket import Bracket
from noether_razor.modelling import learned_bracket
from noether_razor.paper.beyond.systems import Field, followed, normal
from noether_razor.paper.bracket.systems import ROWS, STEP, System, damped, measured, plane
from noether_razor.training import NotLearnedError
from noether_razor.trajectories import Trajectories

WIDE = normal(1.4, 1.4, 1.4, 1.4)
ROUNDING = 1e-6


def waves(field: float) -> Field:
    """V = -cos(2 x) / 2 - cos(2 y) / 2 - 0.3 cos(x - y)."""

    def moved(states: np.ndarray) -> np.ndarray:
        x, y, u, w = states.T
        both = 0.3 * np.sin(x - y)
        return np.stack([u, w, -np.sin(2 * x) - both + field * w, -np.sin(2 * y) + both - field * u], axis=1)

    return moved


def soft(field: float = 0.0, mass: float = 1.0) -> Field:
    """V = 4 log cosh(1.5 x) / 3 + sqrt(1 + 4 y^2) / 2 + exp(-(x - y)^2)."""

    def moved(states: np.ndarray) -> np.ndarray:
        x, y, u, w = states.T
        both = 2 * (x - y) * np.exp(-((x - y) ** 2))
        below = -2 * y / np.sqrt(1 + 4 * y * y) - both - field * u
        return np.stack([u, w, -2 * np.tanh(1.5 * x) + both + field * w, below / mass], axis=1)

    return moved


def rubbed(states: np.ndarray) -> np.ndarray:
    """Waves in a field of 1, with friction of the second velocity alone."""
    found = waves(1.0)(states)
    found[:, 3] -= 0.1 * states[:, 3]
    return found


def driven() -> Trajectories:
    """Waves in a field of 1, with a force 0.5 cos(t)."""

    def moved(states: np.ndarray) -> np.ndarray:
        found = waves(1.0)(states[:, :4])
        found[:, 2] += 0.5 * np.cos(states[:, 4])
        return np.concatenate([found, np.ones((len(states), 1))], axis=1)

    random, times = np.random.default_rng(0), STEP * np.arange(ROWS)
    starts = np.concatenate([WIDE(random, 20), np.zeros((20, 1))], axis=1)
    states = followed(moved, starts, times)[..., :4]
    states = states + 0.01 * states.reshape(-1, 4).std(axis=0) * random.normal(size=states.shape)
    return Trajectories(np.tile(times, (20, 1)), states, names=("q1", "q2", "v1", "v2"), bracket="auto")


FILES: dict[str, tuple[Field, float, float]] = {
    "equal masses, waves": (waves(0.0), 0.0, 1.0),
    "equal masses, tanh and exp": (soft(), 0.0, 1.0),
    "masses 1 and 1.6, tanh and exp": (soft(mass=1.6), 0.0, 1.6),
    "field 0.2, waves": (waves(0.2), 0.2, 1.0),
    "field 3, waves": (waves(3.0), 3.0, 1.0),
    "field -0.8, tanh and exp": (soft(-0.8), -0.8, 1.0),
    "field 1.5, tanh and exp": (soft(1.5), 1.5, 1.0),
    "field 1 and friction 0.05, waves": (damped(waves(1.0), 0.05), 1.0, 1.0),
    "field 1, friction of one velocity, waves": (rubbed, 1.0, 1.0),
}


def answer(data: Trajectories, true: np.ndarray) -> str:
    """What is found, or why nothing is."""
    try:
        found: Bracket = learned_bracket(data)
    except (NotLearnedError, FloatingPointError) as error:
        return f"refused: {error}"
    off, told = np.abs(found.matrix - true), found.sd > ROUNDING
    worst = np.max(off[told] / found.sd[told], initial=0.0)
    return f"{found.kind}, {worst:.1f} sd off, {off[~told].max(initial=0.0):.2g} elsewhere"


def main() -> None:
    """Judge the files and print what was found."""
    for name, (field, turning, mass) in FILES.items():
        true = plane(turning, mass)
        data = measured(System(field, WIDE, true, ""), 0)
        print(f"{name}: {answer(data, true(np.zeros(4)))}", flush=True)
    print(f"field 1, a force that depends on time, waves: {answer(driven(), plane(1.0)(np.zeros(4)))}")


if __name__ == "__main__":
    main()
