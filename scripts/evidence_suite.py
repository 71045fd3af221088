"""Ask the exact evidence about true and false quantities of known systems, and write the table of gains."""

import argparse
import json
import time
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from noether_razor.exact_evidence import Evidence, evidence
from noether_razor.files import write_whole
from noether_razor.systems import CustomSystem, InitialStates
from noether_razor.trajectories import Trajectories, load_trajectories, save_trajectories, simulate

TABLE = Path(__file__).parents[1] / "docs" / "evidence_suite.md"
TRAJECTORIES, ROWS, STEP, NOISE = 20, 51, 0.2, 0.01
ANGULAR, ENERGY = "q1*p2 - q2*p1", "q1^2 + p1^2 + q2^2 + p2^2"
FALSE = ("q1", "p1", "q1*q2", "q1^2 + q2^2", "q1*p1 + q2*p2")
CENTRE = "p1 - q2/2"

HEADING = f"""# Exact evidence of known systems

`scripts/evidence_suite` writes this page. Each file has {TRAJECTORIES} trajectories of {ROWS} rows, a step
of {STEP} and noise of {NOISE:.0%} of the spread on all columns. The Hamiltonian is a polynomial of degree 4.
A gain is the log evidence with the quantity built in less that without, in nats: mean and range over data
seeds. What is far below 0 is only known to be rejected.

"""


class Item(NamedTuple):
    """A system, the quantities that it conserves, those that it does not, and the dimension of its space of
    quantities of degree <= 2.
    """

    name: str
    hamiltonian: str
    true: tuple[str, ...]
    false: tuple[str, ...]
    rank: int
    scale: float = 1.0
    dof: int = 2


def oscillator(second: str) -> str:
    """Two oscillators, the first of frequency 1."""
    return f"(p1^2 + p2^2 + q1^2 + ({second})^2 * q2^2) / 2"


QUARTIC = "(p1^2 + p2^2) / 2 + (q1^2 + q2^2)^2 / 4"
SUITE = (
    Item(
        "two equal oscillators",
        oscillator("1"),
        (
            ANGULAR,
            ENERGY,
            "q1*q2 + p1*p2",
            "q1^2 + p1^2",
            "q1^2 + p1^2, q2^2 + p2^2",
            f"q1^2 + p1^2, {ANGULAR}",
        ),
        FALSE,
        4,
    ),
    Item(
        "frequencies 1 and 1.02",
        oscillator("1.02"),
        ("q1^2 + p1^2", "1.0404*q2^2 + p2^2", "q1^2 + p1^2, 1.0404*q2^2 + p2^2"),
        (ANGULAR, "q1*q2 + p1*p2", "q2^2 + p2^2", ENERGY, *FALSE),
        2,
    ),
    Item(
        "frequencies 1 and sqrt 2",
        oscillator("2^0.5"),
        ("q1^2 + p1^2", "2*q2^2 + p2^2", "q1^2 + p1^2, 2*q2^2 + p2^2"),
        (ANGULAR, "q1*q2 + p1*p2", "q2^2 + p2^2", ENERGY, *FALSE),
        2,
    ),
    Item(
        "charge in a field",
        "((p1 + q2 / 2)^2 + (p2 - q1 / 2)^2) / 2",
        (ANGULAR, CENTRE, f"{CENTRE}, p2 + q1/2", f"{CENTRE}, p2 + q1/2, {ANGULAR}"),
        (ENERGY, "p1^2 + p2^2", *FALSE),
        6,
    ),
    Item("central quartic", QUARTIC, (ANGULAR,), (ENERGY, *FALSE), 1),
    Item("with a quadrupole of 1 %", f"{QUARTIC} + 0.01 * (q1^2 - q2^2)", (), (ANGULAR, ENERGY, *FALSE), 0),
    Item("with a quadrupole of 5 %", f"{QUARTIC} + 0.05 * (q1^2 - q2^2)", (), (ANGULAR, ENERGY, *FALSE), 0),
    Item(
        "Henon-Heiles",
        "(p1^2 + p2^2 + q1^2 + q2^2) / 2 + q1^2 * q2 - q2^3 / 3",
        (),
        (ANGULAR, ENERGY, *FALSE),
        0,
        0.3,
    ),
)
SQUARES = "(p1^2 + p2^2 + p3^2) / 2"
FURTHER = (
    Item("Duffing", "p1^2 / 2 - q1^2 / 2 + q1^4 / 4", (), ("q1", "p1", "q1^2 + p1^2", "q1*p1"), 0, dof=1),
    Item(
        "frequencies 1 and -1",
        "(p1^2 + q1^2 - p2^2 - q2^2) / 2",
        ("q1^2 + p1^2", ENERGY, "q1*q2 - p1*p2", "q1*p2 + q2*p1"),
        (ANGULAR, "q1*q2 + p1*p2", *FALSE),
        4,
    ),
    Item("two quartics", "(p1^2 + p2^2) / 2 + q1^4 + q2^4", (), (ANGULAR, ENERGY, *FALSE), 0),
    Item(
        "ring of three masses",
        f"{SQUARES} + ((q1 - q2)^2 + (q2 - q3)^2 + (q3 - q1)^2) / 2",
        ("p1 + p2 + p3", "q1*p2 - q2*p1 + q2*p3 - q3*p2 + q3*p1 - q1*p3"),
        (ANGULAR, ENERGY, *FALSE),
        6,
        dof=3,
    ),
    Item(
        "frequencies 1, 1 and sqrt 2",
        f"{SQUARES} + (q1^2 + q2^2 + 2*q3^2) / 2",
        (ANGULAR, "2*q3^2 + p3^2"),
        ("q2*p3 - q3*p2", "q3^2 + p3^2", *FALSE),
        5,
        dof=3,
    ),
)
"""The polynomial systems of configs/systems that are not among these."""
EVERY = (*SUITE, *FURTHER)


class Score(NamedTuple):
    """What one file gave."""

    item: Item
    seed: int
    found: Evidence
    seconds: float


def clean_trajectories(item: Item, seed: int) -> Trajectories:
    """Trajectories of a system without noise."""
    return simulate(
        CustomSystem(item.dof, item.hamiltonian),
        jax.random.key(seed),
        trajectories=TRAJECTORIES,
        transitions=ROWS - 1,
        dt=STEP,
        initial=InitialStates(item.scale, item.scale, energy_below=1 / 6 if item.scale < 1 else None),
    )


def make_file(item: Item, seed: int, path: Path) -> None:
    """Write the noisy trajectories of a system."""
    clean = clean_trajectories(item, seed)
    draws = np.random.default_rng(seed)
    added = NOISE * clean.points().std(axis=0) * draws.normal(size=clean.states.shape)
    save_trajectories(path, Trajectories(clean.times, clean.states + added))


def table(scores: list[Score]) -> str:
    """One row a quantity, one line a system for the space."""
    lines = ["| system | quantity | | gain | {C, H}, % | verdict |", "|---|---|---|---|---|---|"]
    spaces = [
        "| system | rank | found | margin, nats | angle, degrees | seconds |",
        "|---|---|---|---|---|---|",
    ]
    for item in dict.fromkeys(score.item for score in scores):
        own = [score for score in scores if score.item == item]
        for number, text in enumerate((*item.true, *item.false)):
            parts = [score.found[number] for score in own]
            gains = [part.gain for part in parts]
            spread = f"{np.mean(gains):.1f} ({min(gains):.1f} to {max(gains):.1f})"
            near = min(gains) > -200
            gain = spread if near else f"below {max(gains):.0f}"
            low, high = (
                100 * np.mean([getattr(part.breaking, edge) for part in parts]) for edge in ("lo", "hi")
            )
            truth = "true" if number < len(item.true) else "false"
            verdicts = ", ".join(dict.fromkeys(part.verdict for part in parts))
            lines.append(
                f"| {item.name} | {text} | {truth} | {gain} | {low:.2g} to {high:.2g} | {verdicts} |"
            )
        ranks = ", ".join(str(score.found.rank) for score in own)
        margins = ", ".join(f"{score.found.rank_margin:.0f}" for score in own)
        angles = ", ".join(f"{score.found.rank_angle:.2g}" for score in own)
        seconds = ", ".join(f"{score.seconds:.0f}" for score in own)
        spaces.append(f"| {item.name} | {item.rank} | {ranks} | {margins} | {angles} | {seconds} |")
    return "\n".join([*lines, "", "The space of all quantities of degree <= 2:", "", *spaces]) + "\n"


def formulas(scores: list[Score]) -> str:
    """The Hamiltonian that the first data set of each system gives, and in how many it has the same terms."""
    lines = ["| system | H | data sets with these terms |", "|---|---|---|"]
    for item in dict.fromkeys(score.item for score in scores):
        found = [score.found.hamiltonian for score in scores if score.item == item]
        terms = [None if one is None else {term.text for term in one.terms} for one in found]
        text = "no polynomial fits" if found[0] is None else found[0].text()
        lines.append(f"| {item.name} | {text} | {terms.count(terms[0])} of {len(terms)} |")
    return "\n".join(["", "The Hamiltonian, with errors of the last digits:", "", *lines]) + "\n"


def main() -> None:
    """Read the arguments, make the files, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--out", type=Path, default=Path("runs/evidence"), help="folder for files and answers"
    )
    parser.add_argument("--seeds", type=int, default=5, help="data sets of each system")
    parser.add_argument("--only", nargs="*", default=[item.name for item in EVERY], help="names of systems")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    known = [item.name for item in EVERY]
    if unknown := [name for name in arguments.only if name not in known]:
        parser.error(f"--only: unknown {', '.join(unknown)}, expected some of {', '.join(known)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    scores = []
    for item in EVERY:
        for seed in range(arguments.seeds if item.name in arguments.only else 0):
            path = arguments.out / f"{item.name.replace(' ', '_')}-{seed}.npz"
            if not path.exists():
                make_file(item, seed, path)
            begun = time.process_time()
            found = evidence(load_trajectories(path), [*item.true, *item.false])
            scores.append(Score(item, seed, found, time.process_time() - begun))
            write_whole(path.with_suffix(".json"), json.dumps(found.to_json(), indent=1) + "\n")
            said = "; ".join(f"{one.quantity} {one.gain:.1f} {one.verdict}" for one in found)
            print(f"{path.stem}: rank {found.rank}, {scores[-1].seconds:.0f} s; {said}", flush=True)
    write_whole(arguments.table, HEADING + table(scores) + formulas(scores))


if __name__ == "__main__":
    main()
