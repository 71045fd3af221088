"""Search libraries of terms on noisy files of known systems, and write the table of what is found."""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np

from noether_razor.beyond import Beyond, LibraryOptions, conserved_library, libraries
from noether_razor.files import write_whole
from noether_razor.null_space import null_space
from noether_razor.paper.beyond import SYSTEMS, System, measured
from noether_razor.trajectories import Trajectories

TABLE = Path(__file__).parents[1] / "docs" / "beyond_suite.md"
NOISES = (0.003, 0.01, 0.03, 0.1)
TERMS = {"Morse": ("exp(-q1)", "exp(-2*q1)")}
"""Terms that are added for a system."""
HEADING = """# Beyond degree two: known systems

`scripts/beyond_suite` writes this page. Each file has 50 trajectories of 40 rows, with noise of a share of
the spread of positions or of momenta on all columns; the program is not told how large it is. The true number
of conserved combinations of terms is that of the equations of motion, in the library of the answer. *Right*:
both counts are. *Undecided*: the program says so. Seconds are of one core of an Intel Xeon.

"""


class Score(NamedTuple):
    """What one file gave, beside the true number of conserved combinations of terms."""

    name: str
    noise: float
    seed: int
    linear: int
    found: Beyond

    @property
    def system(self) -> System:
        return SYSTEMS[self.name]

    @property
    def right(self) -> bool:
        return (self.found.linear, self.found.independent) == (self.linear, self.system.independent)

    @property
    def said(self) -> str:
        """What the count is worth."""
        if not self.found.clear:
            return "undecided"
        return "right" if self.right else "wrong"


def true_count(system: System, data: Trajectories, found: Beyond, terms: tuple[str, ...]) -> int:
    """How many combinations of the terms of the answer's library the equations of motion conserve."""
    every = libraries(data, np.zeros(data.states.shape[2]), LibraryOptions(terms))
    library = next(one for one in every if one.label == found.library.label)
    states = data.points()[::3]
    moved = system.field(states)
    along = sum(library.slopes(states, i) * moved[:, [i]] for i in range(states.shape[1]))
    return len(null_space(np.asarray(along) / library.values(states).std(axis=0), 1e-9).basis)


def table(scores: list[Score], noises: list[float]) -> str:
    """One row a system: counts, and how many files at each noise are right and undecided."""
    head = " | ".join(f"{noise:.1%}" for noise in noises)
    lines = [
        f"| system | conserved: linear, independent | {head} | H exact in form | seconds |",
        "|---|---|" + "---|" * (len(noises) + 2),
    ]
    for name in dict.fromkeys(score.name for score in scores):
        own = [score for score in scores if score.name == name]
        cells = [_cell([score for score in own if score.noise == noise]) for noise in noises]
        linear = sorted({score.linear for score in own if score.noise <= 0.01})
        counts = f"{' or '.join(map(str, linear))}, {own[0].system.independent}"
        seconds = f"{np.mean([score.found.seconds for score in own]):.0f}"
        lines.append(f"| {name} | {counts} | {' | '.join(cells)} | {_forms(own)} | {seconds} |")
    return "\n".join(lines) + "\n"


def _cell(scores: list[Score]) -> str:
    kinds = [score.said for score in scores]
    parts = [f"{kinds.count(kind)} {kind}" for kind in ("right", "undecided", "wrong") if kind in kinds]
    decided = sum(score.found.decided for score in scores)
    return ", ".join(parts) + (f" ({decided} all that can exist)" if decided else "")


def _forms(scores: list[Score]) -> str:
    """In how many of the files that are not undecided H has just its own terms."""
    clear = [score for score in scores if score.found.clear]
    if not scores[0].system.hamiltonian or not clear:
        return ""
    exact = [
        score.found.hamiltonian is not None
        and set(score.found.hamiltonian.coefficients) == score.system.hamiltonian
        for score in clear
    ]
    return f"{sum(exact)} of {len(exact)}"


def totals(scores: list[Score]) -> str:
    """Shares of all files at 1 and 3 %, and at 10 %."""
    lines = [""]
    for title, some in (("at 1 and 3 %", (0.01, 0.03)), ("at 10 %", (0.1,))):
        own = [score.said for score in scores if score.noise in some]
        if own:
            shares = ", ".join(
                f"{own.count(kind) / len(own):.0%} {kind}" for kind in ("right", "undecided", "wrong")
            )
            lines.append(f"Of {len(own)} files {title}: {shares}.\n")
    return "\n".join(lines)


def main() -> None:
    """Read the arguments, make the files, search, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/beyond"), help="folder for answers")
    parser.add_argument("--seeds", type=int, default=3, help="data sets of each system")
    parser.add_argument("--noise", type=float, nargs="*", default=list(NOISES), help="shares of the spread")
    parser.add_argument("--only", nargs="*", default=list(SYSTEMS), help="names of systems")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    if unknown := [name for name in arguments.only if name not in SYSTEMS]:
        parser.error(f"--only: unknown {', '.join(unknown)}, expected some of {', '.join(SYSTEMS)}")
    arguments.out.mkdir(parents=True, exist_ok=True)
    scores: list[Score] = []
    for seed in range(arguments.seeds):
        for name in arguments.only:
            for noise in arguments.noise:
                data, terms = measured(SYSTEMS[name], noise, seed), TERMS.get(name, ())
                found = conserved_library(data, terms=terms)
                score = Score(name, noise, seed, true_count(SYSTEMS[name], data, found, terms), found)
                scores.append(score)
                kept = arguments.out / f"{name.replace(' ', '_')}-{noise:g}-{seed}.json"
                write_whole(kept, json.dumps(found.to_json(), indent=1) + "\n")
                counts = f"{found.linear} of {score.linear} linear, {found.independent} independent"
                print(
                    f"{name} {noise:.1%} {seed}: {score.said}, {counts}, ceiling {found.ceiling}, "
                    f"{found.seconds:.0f} s; {'; '.join(found.undecided)}",
                    flush=True,
                )
        write_whole(arguments.table, HEADING + table(scores, arguments.noise) + totals(scores))


if __name__ == "__main__":
    main()
