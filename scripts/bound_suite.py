"""Ask the bound of networks about true quantities and false controls, beside the exact evidence, and write
the table.
"""

import argparse
import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from evidence_suite import ANGULAR, ENERGY, NOISE, ROWS, SUITE, TRAJECTORIES, Item, make_file

from noether_razor.discovery import RECIPE, Refits, RunFolder, judgement, settled_gain
from noether_razor.discovery.comparison import CHANCE, MOST_ROUNDS
from noether_razor.discovery.invariance import INVARIANT
from noether_razor.exact_evidence import evidence
from noether_razor.files import write_whole
from noether_razor.modelling import Problem, make_problem
from noether_razor.quantities import parse_hypothesis
from noether_razor.reporting.answer import gain_text
from noether_razor.symmetry import CannotBuildInError
from noether_razor.trajectories import Trajectories, load_trajectories

TABLE = Path(__file__).parents[1] / "docs" / "bound_suite.md"
TRUE = {
    "two equal oscillators": (ANGULAR, "q1^2 + p1^2", ENERGY, f"{ANGULAR}, q1*q2 + p1*p2"),
    "central quartic": (ANGULAR,),
}
"""The systems, and which of their conserved quantities are asked about."""
Entry = dict[str, Any]
"""What is said of a quantity."""
WORDS = {True: "true", False: "false"}


def heading(width: int, steps: int, seeds: int) -> str:
    """What the table shows."""
    return f"""# What the bound says of true and false quantities

`scripts/bound_suite` writes this page. Each file has {TRAJECTORIES} trajectories of {ROWS} rows
with noise of {NOISE:.0%} of the spread on all columns. Networks have 3 layers of {width} units.
{seeds} seeds of each kind are trained in rounds of {steps // 2} steps, in 2 to {MOST_ROUNDS} rounds.

Delta-ELBO is the mean over seeds of the difference between a fit with the quantity built in and one
without, in nats, with the standard error of these differences. {{C, H}} is that of the refit, in per
cent of |grad C||grad H|; above {INVARIANT:.0%} the bound says nothing. "Accepted" and "rejected" hold
for settled differences, which chance gives in {CHANCE:.0%} of cases at most (Student's t). The exact
evidence stands beside it. Random ones are quadratic forms with random coefficients.

Compare the sizes: a true symmetry is worth tens of nats exactly. What Delta-ELBO shows beyond that is
how much farther one bound is from its log marginal likelihood than the other. Only the sign counts.

"""


def controls(dof: int) -> dict[str, str]:
    """Quantities that nothing conserves, by what the table calls them."""
    names = [f"{letter}{k + 1}" for letter in "qp" for k in range(dof)]
    draw = np.random.default_rng(dof).normal(size=(2 * dof, 2 * dof))
    forms = {"random": draw + draw.T, "random, definite": draw @ draw.T + np.eye(2 * dof)}
    return {name: name for name in names} | {name: _formula(form, names) for name, form in forms.items()}


def _formula(form: np.ndarray, names: Sequence[str]) -> str:
    """x^T A x / 2, with coefficients of two decimals."""
    terms = [
        f"{form[i, j] / (2 if i == j else 1):+.2f}*{names[i]}*{names[j]}"
        for i in range(len(names))
        for j in range(i, len(names))
    ]
    return " ".join(terms).removeprefix("+")


def asked_of(item: Item, data: Trajectories, problem: Problem, folder: RunFolder, seeds: int) -> list[Entry]:
    """What the bound and the exact evidence say of each quantity."""
    questions = {text: text for text in TRUE[item.name]} | controls(data.dof)
    exact = evidence(data, list(questions.values()))
    none = Refits(problem, "none", seeds, keep=folder.keep)
    found = []
    for (name, text), beside in zip(questions.items(), exact, strict=True):
        said: Entry = {"quantity": name, "true": name in TRUE[item.name]}
        said |= {"exact": beside.verdict, "exact_gain": beside.gain if np.isfinite(beside.gain) else None}
        quantities = problem.scale.quantities(parse_hypothesis(text, data.names).quadratics)
        try:
            refits = Refits(
                problem, "fixed", seeds, quantities, name=f"quantity {len(found)}", keep=folder.keep
            )
            gain = settled_gain(none, refits)
            bound = refits.bound()
            said |= {"gain": gain._asdict()} | bound.to_json() | judgement(bound, gain)._asdict()
        except (CannotBuildInError, FloatingPointError) as error:
            said["failed"] = str(error)
        found.append(said)
        words = ("gain", "verdict", "why", "failed")
        print(f"{item.name}: {name}:", *(said.get(word) for word in words), flush=True)
    return found


def table(found: dict[str, list[Entry]]) -> str:
    """One row a quantity."""
    lines = [
        "| system | quantity | | Delta-ELBO | rounds | {C, H}, % | the bound | exact evidence |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for system, entries in found.items():
        for entry in entries:
            gain = "no such H fits" if entry["exact_gain"] is None else f"{entry['exact_gain']:+.0f}"
            exact = f"{entry['exact']}, {gain}"
            cells = [system, entry["quantity"], WORDS[entry["true"]], *_bound(entry), exact]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _bound(entry: Entry) -> Iterable[str]:
    if "failed" in entry:
        return "", "", "", "cannot be built in"
    said = f"no evidence: {entry['why']}" if entry["why"] else entry["verdict"]
    return (
        gain_text(entry["gain"]).removesuffix(" nats"),
        str(len(entry["rounds"])),
        f"{100 * entry['bracket']:.2g}",
        said,
    )


def main() -> None:
    """Read the arguments, make the files, fit, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/bound"), help="folder for files and fits")
    parser.add_argument("--only", nargs="*", default=list(TRUE), choices=list(TRUE), help="names of systems")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each kind")
    parser.add_argument("--width", type=int, default=32, help="units of a layer")
    parser.add_argument("--steps", type=int, default=1200, help="training steps of two rounds")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    options = replace(
        RECIPE,
        network=replace(RECIPE.network, width=arguments.width),
        training=replace(RECIPE.training, steps=arguments.steps),
    )
    found = {}
    for item in SUITE:
        if item.name not in arguments.only:
            continue
        folder = RunFolder(arguments.out / item.name.replace(" ", "_"))
        folder.path.mkdir(exist_ok=True)
        if not folder.data.exists():
            make_file(item, 0, folder.data)
        data = load_trajectories(folder.data)
        found[item.name] = asked_of(item, data, make_problem(data, options), folder, arguments.seeds)
        write_whole(folder.path / "bound.json", json.dumps(found[item.name], indent=1) + "\n")
    write_whole(arguments.table, heading(arguments.width, arguments.steps, arguments.seeds) + table(found))


if __name__ == "__main__":
    main()
