"""Ask the exact evidence how often its ranks, intervals and verdicts hold, and write the table."""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np
from evidence_suite import ANGULAR, SUITE, make_file

from noether_razor.exact_evidence import Evidence, evidence
from noether_razor.files import write_whole
from noether_razor.trajectories import Trajectories, load_trajectories

TABLE = Path(__file__).parents[1] / "docs" / "evidence_calibration.md"
RANKED = ("two equal oscillators", "frequencies 1 and 1.02", "charge in a field", "central quartic")
CELLS = ((5, 0.01), (10, 0.03), (20, 0.1))
"""Trajectories of 51 rows, and the noise of all columns over their spread."""
STEP, ROWS, COUNT, NOISE = 0.2, 51, 20, 0.01
TARGET_VARIANCE, TARGET_ROWS = 1e-3, 31

HEADING = """# Calibration of the exact evidence

`scripts/evidence_calibration` writes this page. It simulates files of two degrees of freedom and compares
what the evidence says with the truth.

"""


def oscillators(frequency: float, decay: float, seed: int, rows: int = ROWS) -> Trajectories:
    """Exact trajectories of oscillators of frequency 1 and `frequency`, with -`decay` p added to p'."""
    draws = np.random.default_rng(seed)
    times, square = STEP * np.arange(rows), np.array([1.0, frequency**2])
    q, p = draws.normal(size=(2, COUNT, 1, 2))
    w = np.sqrt(square - decay**2 / 4)
    cos, sin = np.cos(np.outer(times, w)), np.sin(np.outer(times, w)) / w
    fades = np.exp(-decay * times / 2)[:, None]
    positions = fades * (q * cos + (p + decay / 2 * q) * sin)
    momenta = fades * (p * cos - (square * q + decay / 2 * p) * sin)
    return Trajectories(times, np.concatenate([positions, momenta], axis=2))


def noisy(exact: Trajectories, seed: int) -> Trajectories:
    """The same with noise on all states."""
    draws = np.random.default_rng(1000 + seed)
    size = NOISE * exact.points().std(axis=0)
    return Trajectories(exact.times, exact.states + size * draws.normal(size=exact.states.shape))


def broken_by(exact: Trajectories, frequency: float) -> float:
    """The r.m.s. of {L, H} over that of |grad L| |grad H|, for the angular momentum L."""
    q1, q2, p1, p2 = exact.points().T
    bound = (q1**2 + q2**2 + p1**2 + p2**2) * (q1**2 + p1**2 + p2**2 + frequency**4 * q2**2)
    return abs(frequency**2 - 1) * float(np.sqrt(np.mean((q1 * q2) ** 2) / np.mean(bound)))


def verdicts(found: list[Evidence]) -> str:
    """How often each verdict was given."""
    counted = Counter(one[0].verdict for one in found)
    return ", ".join(f"{name} in {count}" for name, count in counted.most_common())


def ranks(seeds: int, folder: Path) -> list[str]:
    """Lines of the table for the dimension of the space."""
    lines = []
    for trajectories, noise in CELLS:
        right = wrong = undecided = 0
        for item in SUITE:
            for seed in range(seeds if item.name in RANKED else 0):
                path = folder / f"{item.name.replace(' ', '_')}-{trajectories}-{noise}-{seed}.npz"
                make_file(item, seed, path, trajectories=trajectories, noise=noise)
                found = evidence(load_trajectories(path))
                decided = found.rank_margin >= 8
                right += decided and found.rank == item.rank
                wrong += decided and found.rank != item.rank
                undecided += not decided
        lines.append(
            f"| dimension of the space, {', '.join(RANKED)}; "
            f"{trajectories} trajectories, {noise:.0%} noise | {seeds * len(RANKED)} | "
            f"right {right}, undecided {undecided}, wrong {wrong} |"
        )
        print(lines[-1], flush=True)
    return lines


def intervals(seeds: int) -> list[str]:
    """Lines of the table for detuning and friction."""
    lines = []
    for frequency, decay, name in ((1.005, 0.0, "detuning of 0.5 %"), (1.0, 0.005, "friction of 0.005")):
        found, inside = [], 0
        for seed in range(seeds):
            exact = oscillators(frequency, decay, seed)
            found.append(evidence(noisy(exact, seed), [ANGULAR]))
            own, rate = found[-1][0].breaking, found[-1].friction
            if decay:
                inside += abs(rate.gamma - decay) < 1.96 * rate.sd
            else:
                inside += own.lo <= broken_by(exact, frequency) <= own.hi
        what = "rate" if decay else "{L, H}"
        lines.append(f"| {name} | {seeds} | {verdicts(found)}; true {what} inside its interval in {inside} |")
        print(lines[-1], flush=True)
    return lines


def targets(seeds: int) -> list[str]:
    """Lines of the table for the paper's protocol: exact inputs, noisy targets."""
    lines = []
    for frequency, name in ((1.02, "detuning of 2 %"), (1.0, "no detuning")):
        found = []
        for seed in range(seeds):
            exact = oscillators(frequency, 0.0, seed, TARGET_ROWS)
            draws = np.random.default_rng(1000 + seed)
            noise = np.sqrt(TARGET_VARIANCE) * draws.normal(size=exact.states[:, 1:].shape)
            data = Trajectories(exact.times, exact.states, exact.states[:, 1:] + noise)
            found.append(evidence(data, [ANGULAR], degree=2))
        seen = [100 * one[0].breaking.hi for one in found]
        lines.append(
            f"| exact inputs, noise of variance {TARGET_VARIANCE} on targets, {name} | {seeds} | "
            f"{verdicts(found)}; {{L, H}} below {min(seen):.2g} to {max(seen):.2g} % |"
        )
        print(lines[-1], flush=True)
    return lines


def main() -> None:
    """Read the arguments, ask, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/calibration"), help="folder for the files")
    parser.add_argument("--seeds", type=int, default=20, help="data sets of each interval; half for targets")
    parser.add_argument("--rank-seeds", type=int, default=3, help="data sets of each system and cell")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    lines = ["| data | files | found for the angular momentum L, or for the space |", "|---|---|---|"]
    lines += ranks(arguments.rank_seeds, arguments.out)
    lines += intervals(arguments.seeds) + targets(max(1, arguments.seeds // 2))
    write_whole(arguments.table, HEADING + "\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
