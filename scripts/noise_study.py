"""Learn from states with noise by either likelihood, and write the table of what each found; resumable."""

import argparse
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from noether_razor.app.config import build_problem, build_system, load_config, simulate_data
from noether_razor.app.runs import TrainedRun, analyse_run, discover_config, load_run, train_run
from noether_razor.discovery import RunFolder
from noether_razor.files import write_whole
from noether_razor.quadratic_forms import Quadratics
from noether_razor.quantities import QuadraticQuantities, principal_cosines, singular_directions
from noether_razor.trajectories import Trajectories, load_trajectories, save_trajectories

TABLE = Path(__file__).parents[1] / "docs" / "noise.md"
SYSTEMS = {"isotropic": "2 equal oscillators", "two_bodies": "2 bodies, plane"}
LIKELIHOODS = ("transitions", "windows")
HEADING = """# Noise on all states

`scripts/noise_study` writes this page. The files have independent normal noise on every row and column,
given as a share of each column's spread. The recipe is `configs/systems/base.toml`, which was that of
`discover` when this was measured, with the noise learned.

- *Noise / step* is the ratio by which `inference.likelihood = "auto"` decides, and *auto* is its choice.
  `windows` is multiple shooting.
- *Learned noise* is the learned standard deviation over the true one. A likelihood of single transitions
  can do no better than sqrt 2.
- *Cosines* are those of the principal angles, in scaled coordinates, between the true space and the
  strongest learned directions, as many as it has dimensions.
- *Rank* is what the analysis counts, of the true number.

"""


class Row(NamedTuple):
    """One run: `noise_to_step` as in its choice of a likelihood (None: it cannot be told), `auto` what that
    choice would be, `learned_noise` over the true standard deviation, `minutes` of training and evaluation.
    """

    system: str
    level: float
    seed: int
    likelihood: str
    noise_to_step: float | None
    auto: str
    learned_noise: float
    cosines: tuple[float, ...]
    rank: int
    true_rank: int
    minutes: float


def noisy_file(path: Path, system: str, level: float, seed: int, overrides: Sequence[str]) -> Path:
    """Trajectories of a system with noise of `level` times each column's spread, written once."""
    if not path.exists():
        settings = ("data.noise_variance=0.0", "inference.noise_variance=learned", f"seed={seed}")
        exact = load_config(f"configs/systems/{system}.toml", (*overrides, *settings))
        data = simulate_data(exact, build_system(exact.system))
        noise = (
            level * data.points().std(axis=0) * np.random.default_rng(seed).standard_normal(data.states.shape)
        )
        save_trajectories(path, Trajectories(data.times, data.states + noise))
    return path


def study_row(
    out: Path, system: str, level: float, seed: int, likelihood: str, overrides: Sequence[str]
) -> Row:
    """Train and analyse one run under `out`, or take up what is there. Raises as these do."""
    name = f"{system}-{100 * level:g}-{seed}"
    data = noisy_file(out / f"{name}.npz", system, level, seed, overrides)
    settings = (*overrides, f"seed={seed}")
    auto = build_problem(discover_config(data, overrides=settings)).likelihood
    config = discover_config(data, overrides=(*settings, f"inference.likelihood={likelihood}"))
    folder = RunFolder(out / f"{name}-{likelihood}")
    summary = train_run(config, folder, resume=True)
    symmetry = folder.read_symmetry() if folder.symmetry.exists() else analyse_run(folder, repeats=0)
    run = load_run(folder)
    known = build_system(load_config(f"configs/systems/{system}.toml").system).known_quantities()
    assert known is not None and isinstance(run.posterior.quantities, QuadraticQuantities)
    recorded = load_trajectories(data).points()
    # Over all columns, in the coordinates of training; what was measured spreads by its noise, too.
    true = level**2 / (1 + level**2) * np.mean(recorded.var(axis=0) / run.problem.scale.scales**2)
    directions = singular_directions(run.posterior.quantities)[1]
    return Row(
        system=system,
        level=level,
        seed=seed,
        likelihood=likelihood,
        noise_to_step=auto.noise_to_step,
        auto=auto.kind,
        learned_noise=float(np.sqrt(float(run.posterior.noise_variance()) / true)),
        cosines=tuple(principal_cosines(directions, _in_training(known, run)).tolist()),
        rank=symmetry["rank"],
        true_rank=known.count,
        minutes=(summary["wall_seconds"] + summary["evaluation_seconds"]) / 60,
    )


def _in_training(known: QuadraticQuantities, run: TrainedRun) -> QuadraticQuantities:
    """The true quantities in the coordinates of a run."""
    true = Quadratics(
        np.asarray(known.symmetric_matrices(), np.float64),
        np.asarray(known.vectors[...], np.float64),
        np.zeros(known.count),
    )
    scaled = run.problem.scale.quantities(true)
    return QuadraticQuantities(jnp.asarray(scaled.matrices), jnp.asarray(scaled.vectors))


def study_table(rows: Iterable[Row]) -> str:
    """The Markdown table, one line a run."""
    names = (
        "system",
        "noise",
        "seed",
        "noise / step",
        "auto",
        "likelihood",
        "learned noise",
        "cosines",
        "rank",
    )
    lines = [f"| {' | '.join(names)} | minutes |", "|---" * (len(names) + 1) + "|"]
    for row in rows:
        cells = (
            SYSTEMS[row.system],
            f"{row.level:.0%}",
            str(row.seed),
            "-" if row.noise_to_step is None else f"{row.noise_to_step:.2f}",
            row.auto,
            row.likelihood,
            f"{row.learned_noise:.2f}",
            " ".join(f"{cosine:.2f}" for cosine in row.cosines),
            f"{row.rank} of {row.true_rank}",
            f"{row.minutes:.1f}",
        )
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Read the arguments, run, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/noise"), help="folder for files and runs")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument(
        "--levels", type=float, nargs="*", default=[0.01, 0.03, 0.1], help="noise as shares of the spread"
    )
    parser.add_argument("--only", nargs="*", choices=list(SYSTEMS), default=list(SYSTEMS))
    parser.add_argument("--set", dest="overrides", action="append", default=[], metavar="TABLE.KEY=VALUE")
    parser.add_argument("--table", type=Path, default=TABLE, help="the Markdown file to write")
    arguments = parser.parse_args()
    rows: list[Row] = []
    cases = [
        (system, level, seed, likelihood)
        for seed in range(arguments.seeds)
        for system in arguments.only
        for level in arguments.levels
        for likelihood in LIKELIHOODS
    ]
    for case in cases:
        try:
            rows.append(study_row(arguments.out, *case, arguments.overrides))
        except FloatingPointError as error:
            print(f"{case}: {error}", flush=True)
            continue
        print(study_table(rows).splitlines()[-1], flush=True)
        write_whole(arguments.table, HEADING + study_table(rows))


if __name__ == "__main__":
    main()
