"""Predict the test sets of the paper's table 1 by the Hamiltonian of the exact evidence; write its row."""

import argparse
import re
import time
from pathlib import Path

import numpy as np

from noether_razor.app.config import build_system, simulate_data, simulate_test_sets
from noether_razor.exact_evidence import Evidence, evidence
from noether_razor.files import write_whole
from noether_razor.paper.targets import TABLE1, row_config
from noether_razor.trajectories import Trajectories

RESULTS = Path(__file__).parents[1] / "docs" / "results.md"
NAME = "exact H"
COLUMNS = ("train", "test", "moved", "wider")


def one_step_error(found: Evidence, data: Trajectories) -> float:
    """The mean squared error of a step, on targets where there are any, as `prediction_errors` has it."""
    pairs = data.transitions()
    dt = np.asarray(pairs.dt)
    first, target = np.asarray(pairs.states, np.float64), np.asarray(pairs.targets, np.float64)
    errors = []
    for step in np.unique(dt):
        own = dt == step
        reached = found.predict(first[own], [0.0, step]).states[:, 1]
        errors.append(np.mean((reached - target[own]) ** 2, axis=1))
    return float(np.concatenate(errors).mean())


def scores(seed: int) -> tuple[dict[str, float], Evidence]:
    """Errors and the negative log evidence, a transition, of one seed of the table."""
    config = row_config(TABLE1.rows[0], seed=seed, budget="standard", paper=())
    system = build_system(config.system)
    data = simulate_data(config, system)
    found = evidence(data)
    sets = {"train": data, **simulate_test_sets(config, system)}
    errors = {name: one_step_error(found, sets[name]) for name in COLUMNS}
    return {**errors, "evidence": -found.logZ_none / data.transitions().size}, found


def cell(values: list[float], form: str) -> str:
    """Mean and standard error over seeds."""
    error = np.std(values, ddof=1) / np.sqrt(len(values)) if len(values) > 1 else np.nan
    return f"{np.mean(values):{form}} ± {error:{form}}"


def main() -> None:
    """Read the arguments, fit, predict, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5, help="data sets, those of the table")
    parser.add_argument("--table", type=Path, default=RESULTS, help="the Markdown file with the table")
    arguments = parser.parse_args()
    begun, found = time.perf_counter(), []
    for seed in range(arguments.seeds):
        numbers, answer = scores(seed)
        found.append(numbers)
        said = ", ".join(f"{name} {value:.3g}" for name, value in numbers.items())
        formula = answer.hamiltonian.text() if answer.hamiltonian else "no formula"
        print(f"seed {seed}: H = {formula}; {said}", flush=True)
    each = {name: [numbers[name] for numbers in found] for name in found[0]}
    train, *others = (cell(each[name], ".2e") for name in COLUMNS)
    cells = [train, "", "", cell(each["evidence"], ".3f"), *others]
    row = f"| {NAME} | {' | '.join(cells)} |"
    print(f"{row}\n{time.perf_counter() - begun:.0f} s")
    text, count = re.subn(rf"^\| {NAME} \|.*\|$", row, arguments.table.read_text(), flags=re.MULTILINE)
    if count != 1:
        parser.error(f"{arguments.table}: has {count} rows that begin with | {NAME} |, expected one")
    write_whole(arguments.table, text)


if __name__ == "__main__":
    main()
