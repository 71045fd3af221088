"""Bound of networks and exact evidence side by side, on true and false quantities of fifty systems.

Each system's answers are kept under --out, so that a run which was stopped goes on.
"""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import jax
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from noether_razor.discovery import RECIPE, Refits, judgement, settled_gain
from noether_razor.exact_evidence import evidence
from noether_razor.files import write_whole
from noether_razor.modelling import Problem, make_problem
from noether_razor.quantities import parse_hypothesis
from noether_razor.symmetry import CannotBuildInError
from noether_razor.systems import CustomSystem, InitialStates
from noether_razor.trajectories import Trajectories, simulate

DOCS = Path(__file__).parents[1] / "docs"
TABLE = DOCS / "results" / "evidence_scatter.md"
FIGURE = DOCS / "figures" / "results" / "evidence_scatter.png"
TRAJECTORIES, ROWS, STEP, NOISE = 12, 31, 0.2, 0.02
SYSTEMS = 50
SMALL = 10.0
"""Nats up to which the axes are linear."""
ANGULAR = "q1*p2 - q2*p1"
Answer = dict[str, Any]


class Case(NamedTuple):
    """A system: its family, its Hamiltonian, a quantity that it conserves, and one that it does not."""

    family: str
    hamiltonian: str
    true: str
    false: str


def case(number: int) -> Case:
    """One of five families with random coefficients."""
    draws = np.random.default_rng(number)
    a, b = (round(float(x), 3) for x in draws.uniform([1.2, 0.3], [1.8, 1.2]))
    free = "(p1^2 + p2^2) / 2"
    square = round(a * a, 6)
    return (
        Case("oscillators", f"{free} + (q1^2 + {square}*q2^2) / 2", "q1^2 + p1^2", ANGULAR),
        Case(
            "central force", f"{free} + (q1^2 + q2^2) / 2 + {b}*(q1^2 + q2^2)^2 / 4", ANGULAR, "q1^2 + p1^2"
        ),
        Case("pair", f"{free} + {a}*(q1 - q2)^2 / 2 + {b}*(q1 - q2)^4 / 4", "p1 + p2", "p1"),
        Case(
            "charge in a field",
            f"((p1 + {a}*q2 / 2)^2 + (p2 - {a}*q1 / 2)^2) / 2",
            f"p1 - {a / 2:.6g}*q2",
            "p1",
        ),
        Case(
            "quartic and oscillator",
            f"{free} + q1^2 / 2 + {b}*q1^4 / 4 + {square}*q2^2 / 2",
            f"{square}*q2^2 + p2^2",
            ANGULAR,
        ),
    )[number % 5]


def measured(
    hamiltonian: str, seed: int, *, trajectories: int = TRAJECTORIES, noise: float = NOISE
) -> Trajectories:
    """Trajectories with noise on all states."""
    clean = simulate(
        CustomSystem(2, hamiltonian),
        jax.random.key(seed),
        trajectories=trajectories,
        transitions=ROWS - 1,
        dt=STEP,
        initial=InitialStates(1.0, 1.0),
    )
    added = np.random.default_rng(seed).normal(size=clean.states.shape)
    return Trajectories(clean.times, clean.states + noise * clean.points().std(axis=0) * added)


def network_problem(data: Trajectories, width: int, steps: int) -> Problem:
    """That of the bound."""
    options = replace(
        RECIPE,
        network=replace(RECIPE.network, width=width),
        training=replace(RECIPE.training, steps=steps),
    )
    return make_problem(data, options)


def by_bound(data: Trajectories, problem: Problem, none: Refits, text: str, seeds: int) -> Answer:
    """What the bound says of one quantity."""
    quantities = problem.scale.quantities(parse_hypothesis(text, data.names).quadratics)
    try:
        refits = Refits(problem, "fixed", seeds, quantities, name=text)
        gain = settled_gain(none, refits)
    except (CannotBuildInError, FloatingPointError) as error:
        return {"bound": None, "said": "undecided", "why": str(error)}
    bound = refits.bound()
    said = judgement(bound, gain)
    return {
        "bound": gain.nats,
        "stderr": gain.stderr,
        "bracket": bound.bracket,
        "said": said.verdict,
        "why": said.why,
    }


def answers(one: Case, number: int, width: int, steps: int, seeds: int) -> list[Answer]:
    """What both say of a true and of a false quantity."""
    data, texts = measured(one.hamiltonian, number), (one.true, one.false)
    problem = network_problem(data, width, steps)
    none = Refits(problem, "none", seeds)
    found = []
    for text, beside, true in zip(texts, evidence(data, texts), (True, False), strict=True):
        said: Answer = {"family": one.family, "quantity": text, "true": true, "verdict": beside.verdict}
        said["exact"] = beside.gain if np.isfinite(beside.gain) else None
        found.append(said | by_bound(data, problem, none, text, seeds))
    return found


def drawn(found: Sequence[Answer]) -> Figure:
    """Delta-ELBO over the exact gain, true and false quantities."""
    figure, axes = plt.subplots(figsize=(6.4, 4.8), layout="constrained")
    for true, marker, colour in ((True, "o", "tab:blue"), (False, "x", "tab:red")):
        own = [one for one in found if one["true"] == true and one["bound"] is not None and one["exact"]]
        for sure in (True, False):
            some = [one for one in own if (one["said"] != "undecided") == sure]
            axes.errorbar(
                [one["exact"] for one in some],
                [one["bound"] for one in some],
                [one["stderr"] or 0.0 for one in some],
                fmt=marker,
                color=colour,
                alpha=1.0 if sure else 0.35,
                label=f"{'true' if true else 'false'}{'' if sure else ', the bound says undecided'}",
            )
    axes.set_xscale("symlog", linthresh=SMALL)
    axes.set_yscale("symlog", linthresh=SMALL)
    axes.axhline(0, color="grey", linewidth=0.8)
    axes.axvline(0, color="grey", linewidth=0.8)
    axes.set_xlabel("exact evidence for the quantity, nats")
    axes.set_ylabel("Delta-ELBO of networks, nats")
    axes.legend()
    return figure


def table(found: Sequence[Answer]) -> str:
    """How often each is right, by family."""
    lines = [
        "| family | quantity | systems | exact evidence: right, undecided, wrong | the bound: right, "
        "undecided, wrong | sign of Delta-ELBO right | exact gain, nats | Delta-ELBO, nats |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for family in dict.fromkeys(one["family"] for one in found):
        for true in (True, False):
            own = [one for one in found if one["family"] == family and one["true"] == true]
            if not own:
                continue
            exact = [one["exact"] for one in own if one["exact"] is not None]
            bound = [one["bound"] for one in own if one["bound"] is not None]
            signs = sum((value > 0) == true for value in bound)
            cells = [
                family,
                "true" if true else "false",
                str(len(own)),
                _counted(
                    [one["verdict"] for one in own], ("exact",) if true else ("rejected", "approximate")
                ),
                _counted([one["said"] for one in own], ("accepted",) if true else ("rejected",)),
                f"{signs} of {len(bound)}",
                _range(exact),
                _range(bound),
            ]
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _counted(said: Sequence[str], right: Sequence[str]) -> str:
    good, open_ = sum(one in right for one in said), sum(one == "undecided" for one in said)
    return f"{good}, {open_}, {len(said) - good - open_}"


def _range(values: Sequence[float]) -> str:
    return f"{min(values):+.0f} to {max(values):+.0f}" if values else ""


def heading(systems: int, width: int, steps: int, seeds: int) -> str:
    """What the page shows."""
    return f"""# The bound beside the exact evidence

`scripts/evidence_scatter` writes this page and its figure: {systems} of {SYSTEMS} systems, {TRAJECTORIES}
trajectories of {ROWS} rows each, {NOISE:.0%} noise on all columns. Of each a quantity that is conserved
and one that is not is asked about. Networks have {RECIPE.network.layers} layers of {width} units; {seeds}
seeds are trained in rounds of {-(-steps // 2)} steps, until the difference settles, for four rounds at most.
Measured on 2 cores of an AMD EPYC.

![Delta-ELBO over the exact gain of true and false quantities](../figures/results/evidence_scatter.png)

"""


def main() -> None:
    """Read the arguments, ask, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/scatter"), help="folder for the answers")
    parser.add_argument("--systems", type=int, default=SYSTEMS, help="how many systems")
    parser.add_argument("--seeds", type=int, default=3, help="fits of each kind")
    parser.add_argument("--width", type=int, default=16, help="units of a layer")
    parser.add_argument("--steps", type=int, default=600, help="training steps of two rounds")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    parser.add_argument("--figure", type=Path, default=FIGURE, help="the figure to draw")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    settings = (arguments.width, arguments.steps, arguments.seeds)
    found: list[Answer] = []
    for number in range(arguments.systems):
        path = arguments.out / f"{number}-{'-'.join(map(str, settings))}.json"
        if not path.exists():
            write_whole(path, json.dumps(answers(case(number), number, *settings), indent=1) + "\n")
        own = json.loads(path.read_text())
        print(
            number,
            *(f"{one['quantity']}: {one['exact']} {one['bound']}" for one in own),
            sep="; ",
            flush=True,
        )
        found += own
        for output in (arguments.table, arguments.figure):
            output.parent.mkdir(parents=True, exist_ok=True)
        figure = drawn(found)
        figure.savefig(arguments.figure, dpi=130)
        plt.close(figure)
        write_whole(arguments.table, heading(number + 1, *settings) + table(found))


if __name__ == "__main__":
    main()
