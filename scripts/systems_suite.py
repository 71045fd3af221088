"""Train and analyse the systems of the suite, and write the table of discoveries; resumable."""

import argparse
from pathlib import Path

from noether_razor.files import write_whole
from noether_razor.paper import SUITE, run_suite, suite_table

TABLE = Path(__file__).parents[1] / "docs" / "suite.md"
HEADING = """# Discovery and false discovery

`scripts/systems_suite` writes this page, by the recipe `configs/systems/base.toml`. Each run learns from
200 simulated trajectories and is tested on 100 fresh noise-free ones from the same simulator. So the table
says what runs learn of what such data show. [What a file can tell](files.md) is about a single file.

"""


def main() -> None:
    """Read the arguments, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/suite"), help="folder for the runs")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument(
        "--repeats", type=int, default=0, help="fits of each kind for the Delta-ELBO of each run"
    )
    parser.add_argument("--only", nargs="*", default=[item.name for item in SUITE], help="names of systems")
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--scheduler", help="let the workers of a Dask cluster do the runs: tcp://host:port")
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
        scheduler=arguments.scheduler,
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
