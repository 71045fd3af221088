"""How often the Poisson matrix of a file is wrong beyond its error: equal masses, and files that are hard.

Of equal masses without a field "canonical" is right. The hard ones have forces that no polynomial of degree 4
follows, friction, weak coupling, linear forces, or masses that no polynomial of the position follows. Wrong
is an answer that takes a kind, knows of one matrix only, and has an entry more than five standard deviations
from the true one.
"""

import argparse
import json
from collections import Counter
from pathlib import Path

import jax
import numpy as np

from noether_razor.bracket import poisson_matrix
from noether_razor.files import write_whole
from noether_razor.paper.beyond.systems import normal
from noether_razor.paper.bracket.systems import SOME, SYSTEMS, System, damped, measured, plane, trap

SURE = 5.0
ROUNDING = 1e-6
EVERY = 10
"""Files after which compiled programs are dropped."""


def waves(states: np.ndarray) -> np.ndarray:
    """H = v^2 / 2 - cos(2 x) / 2 - cos(2 y) / 2 - 0.3 cos(x - y)."""
    x, y, u, w = states.T
    both = 0.3 * np.sin(x - y)
    return np.stack([u, w, -np.sin(2 * x) - both, -np.sin(2 * y) + both], axis=1)


def linear(states: np.ndarray) -> np.ndarray:
    """Masses 1 and 2.7 with forces that are linear."""
    x, y, u, w = states.T
    return np.stack([u, w, -x - 0.3 * y, -(0.3 * x + 2 * y) / 2.7], axis=1)


def wide(random: np.random.Generator, count: int) -> np.ndarray:
    """Draws that reach where a polynomial of degree 4 does not follow sines."""
    return 1.4 * random.normal(size=(count, 4))


CART = SYSTEMS["pendulum on a cart, mm"]
HARD = {
    "no polynomial": System(waves, wide, plane(), "canonical"),
    "friction 0.05": System(damped(trap(), 0.05), SOME, plane(), "canonical"),
    "coupling 0.03": System(trap(0.03, masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses"),
    "coupling 0": System(trap(0.0, masses=(1.0, 2.7)), SOME, plane(mass=2.7), "masses"),
    "linear forces": System(linear, SOME, plane(mass=2.7), "masses"),
    "wide swings on a cart": CART._replace(starts=normal(700, 1.0, 600, 1.2)),
}
EQUAL = {"equal masses": System(trap(), SOME, plane(), "canonical")}


def judged(system: System, seed: int) -> tuple[str, bool]:
    """The kind that is taken, and whether it is wrong."""
    found = poisson_matrix(measured(system, seed))
    if found.kind == "unknown" or found.forms > 1:
        return found.kind, False
    off = np.abs(found.matrix - system.matrix(found.at))
    if found.kind == "canonical":
        return found.kind, found.identifiable and bool(np.any(off > ROUNDING))
    told = found.sd > ROUNDING * found.sd.max()
    return found.kind, bool(np.any(off[~told] > ROUNDING) or np.any(off[told] > SURE * found.sd[told]))


def main() -> None:
    """Judge the files and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=200, help="files of equal masses, and of hard systems")
    parser.add_argument("--out", type=Path, help="JSON file")
    options = parser.parse_args()
    rows = {}
    for systems in (EQUAL, HARD):
        for name, system in systems.items():
            outcomes = []
            for seed in range(options.files // len(systems)):
                outcomes.append(judged(system, seed))
                # Programs of many shapes fill the memory maps of a process.
                if seed % EVERY == EVERY - 1:
                    jax.clear_caches()
            kinds = Counter(kind for kind, _ in outcomes)
            wrong = sum(wrong for _, wrong in outcomes)
            rows[name] = {"files": len(outcomes), "kinds": dict(kinds.most_common()), "wrong": wrong}
            print(f"{name}: {wrong} of {len(outcomes)} wrong; {dict(kinds.most_common())}", flush=True)
            if options.out is not None:
                write_whole(options.out, json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
