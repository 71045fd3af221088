"""Train and analyse the systems of the suite, and write the table of discoveries; resumable."""

import argparse
from pathlib import Path

from noether_razor.files import write_whole
from noether_razor.paper import SUITE, run_suite, suite_table

TABLE = Path(__file__).parents[1] / "docs" / "suite.md"
HEADING = (
    "# Discovery and false discovery\n\n"
    "Written by `scripts/systems_suite`, recipe `configs/systems/base.toml`. Each run learns from 200\n"
    "simulated trajectories and is tested on 100 fresh noise-free ones of the same simulator: the table\n"
    "says what runs learn of such data. What a file of its own can tell is in [files.md](files.md).\n\n"
)


def main() -> None:
    """Read the arguments, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/suite"), help="where runs are kept")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--repeats", type=int, default=0, help="refits of each run for the evidence")
    parser.add_argument("--only", nargs="*", default=[item.name for item in SUITE], help="names of systems")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    known = {item.name for item in SUITE}
    if unknown := [name for name in arguments.only if name not in known]:
        parser.error(f"--only: unknown {', '.join(unknown)}, expected some of {', '.join(sorted(known))}")
    scores = run_suite(
        arguments.out,
        systems=[item for item in SUITE if item.name in arguments.only],
        seeds=arguments.seeds,
        repeats=arguments.repeats,
        overrides=arguments.overrides,
        on_score=lambda item: print(
            f"{item.system}-{item.seed}: {item.rank} of {item.true_rank}, {item.algebra}"
            f"{'' if item.right else f', expected {item.true_algebra}'}",
            flush=True,
        ),
    )
    write_whole(arguments.table, HEADING + suite_table(scores))
    print(suite_table(scores))


if __name__ == "__main__":
    main()
