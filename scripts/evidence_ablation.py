"""What else could tell a symmetry: the bound, a plain network with {C, H} = 0, the drift test.

Few trajectories and much noise. Each file's answers are kept under --out, so that a run which was stopped
goes on.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from evidence_scatter import ANGULAR, DOCS, ROWS, by_bound, measured, network_problem
from matplotlib.figure import Figure

from noether_razor.discovery import RECIPE, Refits, data_answer
from noether_razor.discovery.invariance import INVARIANT, learned_bracket
from noether_razor.exact_evidence import evidence
from noether_razor.files import write_whole
from noether_razor.invariants import Analysis
from noether_razor.quantities import Hypothesis, parse_hypothesis

TABLE = DOCS / "results" / "evidence_ablation.md"
FIGURE = DOCS / "figures" / "results" / "evidence_ablation.png"
CELLS = ((5, 0.01), (5, 0.1), (20, 0.1))
"""Trajectories, and the noise of all columns over their spread."""
INSIDE = 0.05
"""Of a quantity, the share outside the space that the drift test finds from which it is not in it."""
METHODS = {
    "exact": "exact evidence",
    "bound": "bound of networks (the razor)",
    "network": "plain network, {C, H} = 0",
    "drift": "drift test",
}
VERDICTS = ("right", "undecided", "wrong")
COLOURS = ("tab:green", "lightgrey", "tab:red")
Answer = dict[str, Any]


class System(NamedTuple):
    """A Hamiltonian, what it conserves and what it does not."""

    name: str
    hamiltonian: str
    true: tuple[str, ...]
    false: tuple[str, ...]


SYSTEMS = (
    System(
        "frequencies 1 and 1.3",
        "(p1^2 + p2^2 + q1^2 + 1.69*q2^2) / 2",
        ("q1^2 + p1^2", "1.69*q2^2 + p2^2"),
        (ANGULAR, "p1"),
    ),
    System(
        "central quartic",
        "(p1^2 + p2^2 + q1^2 + q2^2) / 2 + (q1^2 + q2^2)^2 / 4",
        (ANGULAR,),
        ("q1^2 + p1^2", "p1"),
    ),
)


def by_drift(analysis: Analysis, asked: Hypothesis) -> str:
    """Whether a quantity is in the space that the data alone show."""
    if not analysis.decided:
        return "undecided"
    found = [np.concatenate([one.matrix.ravel(), one.vector]) for one in analysis.quantities]
    own = np.concatenate([asked.matrices[0].ravel(), asked.vectors[0]])
    left = own
    if found:
        basis = np.array(found).T
        left = own - basis @ np.linalg.lstsq(basis, own, rcond=None)[0]
    return "accepted" if np.linalg.norm(left) < INSIDE * np.linalg.norm(own) else "rejected"


def answers(
    system: System, trajectories: int, noise: float, seed: int, width: int, steps: int, seeds: int
) -> list[Answer]:
    """What each method says of each quantity of one file."""
    data = measured(system.hamiltonian, seed, trajectories=trajectories, noise=noise)
    problem, texts = network_problem(data, width, steps), (*system.true, *system.false)
    none, analysis = Refits(problem, "none", seeds).train(2), data_answer(data)
    found = []
    for text, exact in zip(texts, evidence(data, texts), strict=True):
        asked = parse_hypothesis(text, data.names)
        quantities = problem.scale.quantities(asked.quadratics)
        bracket = learned_bracket(problem, none.posterior, quantities, jax.random.key(0))
        bound = by_bound(data, problem, none, text, seeds)
        found.append(
            {
                "quantity": text,
                "true": text in system.true,
                "exact": {"exact": "accepted", "undecided": "undecided"}.get(exact.verdict, "rejected"),
                "exact_gain": exact.gain if np.isfinite(exact.gain) else None,
                "bound": bound["said"],
                "bound_gain": bound["bound"],
                "bound_why": bound["why"],
                "network": "accepted" if bracket <= INVARIANT else "rejected",
                "bracket": bracket,
                "drift": by_drift(analysis, asked),
            }
        )
    return found


def counts(found: Sequence[Answer], method: str) -> tuple[int, int, int]:
    """How many answers of a method are right, undecided and wrong."""
    said = [one[method] for one in found]
    right = sum(
        one == ("accepted" if own["true"] else "rejected") for one, own in zip(said, found, strict=True)
    )
    return right, said.count("undecided"), len(said) - right - said.count("undecided")


def table(cells: dict[tuple[int, float], list[Answer]]) -> str:
    """A line for each cell and method."""
    lines = ["| trajectories | noise | method | right | undecided | wrong |", "|---|---|---|---|---|---|"]
    for (trajectories, noise), found in cells.items():
        for method, name in METHODS.items():
            numbers = " | ".join(map(str, counts(found, method)))
            lines.append(f"| {trajectories} | {noise:.0%} | {name} | {numbers} |")
    lines += [
        "",
        "| trajectories | noise | quantity | | exact, nats | Delta-ELBO, nats | {C, H} of the network, % |",
        "|---|---|---|---|---|---|---|",
    ]
    for (trajectories, noise), found in cells.items():
        for one in found:
            exact, bound = (
                "" if one[key] is None else f"{one[key]:+.0f}" for key in ("exact_gain", "bound_gain")
            )
            truth = "true" if one["true"] else "false"
            lines.append(
                f"| {trajectories} | {noise:.0%} | {one['quantity']} | {truth} | {exact} | {bound} | "
                f"{100 * one['bracket']:.2g} |"
            )
    return "\n".join(lines) + "\n"


def drawn(cells: dict[tuple[int, float], list[Answer]]) -> Figure:
    """Bars of right, undecided and wrong answers."""
    figure, every = plt.subplots(1, len(cells), figsize=(9, 2.8), sharey=True, layout="constrained")
    for axes, ((trajectories, noise), found) in zip(np.atleast_1d(every), cells.items(), strict=True):
        left = np.zeros(len(METHODS))
        for number, (verdict, colour) in enumerate(zip(VERDICTS, COLOURS, strict=True)):
            share = np.array([counts(found, method)[number] for method in METHODS])
            axes.barh(list(METHODS.values()), share, left=left, color=colour, label=verdict)
            left += share
        axes.set_title(f"{trajectories} trajectories, {noise:.0%} noise", fontsize=10)
        axes.set_xlabel("answers")
    np.atleast_1d(every)[0].invert_yaxis()
    figure.legend(
        *np.atleast_1d(every)[0].get_legend_handles_labels(), loc="outside upper center", ncols=len(VERDICTS)
    )
    return figure


def heading(names: Sequence[str], width: int, steps: int, seeds: int) -> str:
    """What the page shows."""
    return f"""# What else could tell a symmetry

`scripts/evidence_ablation` writes this page and its figure: {len(names)} files of {len(SYSTEMS) * len(CELLS)}
that it asks about ({", ".join(dict.fromkeys(names))}), with several numbers of trajectories (of {ROWS} rows)
and noise. The exact evidence, the bound and the drift
test have verdicts of their own; "approximate" counts as rejected. The plain network is the fit without
symmetry; a quantity counts as conserved where the r.m.s. {{C, H}} of its H is at most {INVARIANT:.0%} of
|grad C||grad H|. Networks have {RECIPE.network.layers} layers of {width} units; {seeds} seeds are trained in
rounds of {-(-steps // 2)} steps. Few files and small networks: read it as an example. Measured on 2 cores of
an AMD EPYC.

![Right, undecided and wrong answers of each method](../figures/results/evidence_ablation.png)

"""


def main() -> None:
    """Read the arguments, ask, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/ablation"), help="folder for the answers")
    parser.add_argument("--files", type=int, default=1, help="files of each system and cell")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each kind")
    parser.add_argument("--width", type=int, default=16, help="units of a layer")
    parser.add_argument("--steps", type=int, default=600, help="training steps of two rounds")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the figure to draw")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = (arguments.width, arguments.steps, arguments.seeds)
    cells: dict[tuple[int, float], list[Answer]] = {cell: [] for cell in CELLS}
    names: list[str] = []
    for output in (arguments.table, arguments.figure):
        output.parent.mkdir(parents=True, exist_ok=True)
    for seed in range(arguments.files):
        for number, system in enumerate(SYSTEMS):
            for cell in CELLS:
                name = "-".join(map(str, (number, *cell, seed, *settings)))
                path = arguments.out / f"{name}.json"
                if not path.exists():
                    found = answers(system, *cell, seed, *settings)
                    write_whole(path, json.dumps(found, indent=1) + "\n")
                cells[cell] += json.loads(path.read_text())
                names.append(system.name)
                print(name, {method: counts(cells[cell], method) for method in METHODS}, flush=True)
                figure = drawn(cells)
                figure.savefig(arguments.figure, dpi=130)
                plt.close(figure)
                write_whole(arguments.table, heading(names, *settings) + table(cells))


if __name__ == "__main__":
    main()
