"""Discovery and false discovery on systems of known symmetry; it takes up what is there."""

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ..app.config import Config, build_system, load_config
from ..app.runs import Listener, analyse_run, train_run
from ..discovery import RunFolder
from ..files import write_whole
from ..lie import lie_algebra
from ..workers import Progress, share_out


class SuiteSystem(NamedTuple):
    """A shipped configuration under ``configs/systems``, and how the table calls it."""

    name: str
    title: str


SUITE = (
    SuiteSystem("isotropic", "2 equal oscillators"),
    SuiteSystem("incommensurate", "frequencies 1, sqrt 2"),
    SuiteSystem("two_equal_one_other", "frequencies 1, 1, sqrt 2"),
    SuiteSystem("opposite_signs", "signs + and -"),
    SuiteSystem("central_plane", "central force, plane"),
    SuiteSystem("central_space", "central force, space"),
    SuiteSystem("uniform_field", "charge in a uniform field"),
    SuiteSystem("ring", "ring of 3 springs"),
    SuiteSystem("two_bodies", "2 bodies, plane"),
    SuiteSystem("pendulum", "pendulum"),
    SuiteSystem("duffing", "Duffing"),
    SuiteSystem("henon_heiles", "Henon-Heiles"),
    SuiteSystem("quartic", "quartic x^4 + y^4"),
)


class Score(NamedTuple):
    """One run against the truth: ranks and algebras, dimensions of the found space inside the true one
    (`discovered`) and outside it (`false`), how many the data alone show, and seconds of training and
    analysis.
    """

    system: str
    seed: int
    true_rank: int
    rank: int
    true_algebra: str
    algebra: str
    discovered: int
    false: int
    shown: int
    seconds: float

    @property
    def right(self) -> bool:
        """Rank and algebra as they should be."""
        return self.rank == self.true_rank and self.algebra == self.true_algebra and self.false == 0


def score(
    symmetry: Mapping[str, Any],
    truth: tuple[np.ndarray, np.ndarray],
    *,
    system: str,
    seed: int,
    seconds: float,
) -> Score:
    """The contents of a symmetry.json against the true quantities A (K, 2n, 2n), b (K, 2n).

    A dimension of the found space counts as discovered where its principal angle to the true space has a
    cosine above 0.95, as false below.
    """
    matrices, vectors = truth
    algebra = lie_algebra(matrices, vectors)
    found = symmetry["quantities"]
    dim = vectors.shape[1]
    flat = np.array([[*np.ravel(q["A"]), *q["b"]] for q in found]).reshape(len(found), dim * dim + dim)
    true = np.concatenate([matrices.reshape(len(matrices), dim * dim), vectors], axis=1)
    discovered = 0
    if len(flat) and len(true):
        cosines = np.linalg.svd(_orthonormal(flat) @ _orthonormal(true).T, compute_uv=False)
        discovered = int(np.sum(cosines > 0.95))
    return Score(
        system=system,
        seed=seed,
        true_rank=len(true),
        rank=symmetry["rank"],
        true_algebra=algebra.name,
        algebra=symmetry["algebra"]["name"],
        discovered=discovered,
        false=symmetry["rank"] - discovered,
        shown=symmetry["data"]["shown"],
        seconds=seconds,
    )


def _orthonormal(rows: np.ndarray) -> np.ndarray:
    return np.linalg.svd(rows, full_matrices=False)[2]


def run_suite(
    out: Path,
    *,
    systems: Sequence[SuiteSystem] = SUITE,
    seeds: int = 3,
    repeats: int = 0,
    overrides: Sequence[str] = (),
    scheduler: str | None = None,
    on_score: Callable[[Score], None] | None = None,
    interrupted: Callable[[], bool] = lambda: False,
) -> list[Score]:
    """Train and analyse every system with seeds 0 to `seeds` - 1 under `out`, side by side, and score
    each run.

    Runs that are finished are not repeated, interrupted ones go on from their checkpoint; after every run
    ``suite.json`` holds what is known. `repeats` is the number of refits for the evidence of each; for
    `scheduler` see `share_out`.
    `overrides` are those of the command line. Raises what training and analysis raise.
    """
    scores: dict[int, Score] = {}

    def scored(index: int, found: Score) -> None:
        scores[index] = found
        known = [scores[k]._asdict() for k in sorted(scores)]
        write_whole(out / "suite.json", json.dumps(known, indent=2) + "\n")
        if on_score is not None:
            on_score(found)

    jobs = []
    for seed in range(seeds):
        for system in systems:
            config = load_config(f"configs/systems/{system.name}.toml", (*overrides, f"seed={seed}"))
            jobs.append(partial(_scored_run, system.name, config, out / f"{system.name}-{seed}", repeats))
    return share_out(jobs, scheduler=scheduler, interrupted=interrupted, on_result=scored)


def _scored_run(
    name: str,
    config: Config,
    path: Path,
    repeats: int,
    *,
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> Score:
    folder = RunFolder(path)
    summary = train_run(
        config,
        folder,
        resume=True,
        listener=Listener(progress=partial(on_progress, path.name), interrupted=interrupted),
    )
    symmetry = folder.read_symmetry() if folder.symmetry.exists() else analyse_run(folder, repeats=repeats)
    system = build_system(config.system)
    known, dim = system.known_quantities(), 2 * system.dof
    truth = (np.zeros((0, dim, dim)), np.zeros((0, dim)))
    if known is not None:
        truth = np.array(known.symmetric_matrices(), float), np.array(known.vectors[...], float)
    seconds = summary["wall_seconds"] + summary["evaluation_seconds"] + symmetry["analysis_seconds"]
    return score(symmetry, truth, system=name, seed=config.seed, seconds=seconds)


def suite_table(scores: Sequence[Score], systems: Sequence[SuiteSystem] = SUITE) -> str:
    """The Markdown table of the suite: what is true, what was found, discovery and false discovery rates.

    The discovery rate is the share of true dimensions found, the false discovery rate the share of found
    dimensions that are not true; the last line weighs a run with a false discovery as two wrong ones.
    """
    lines = [
        "| system | truth | right | ranks found | algebras found | shown by the data | minutes |",
        "|---|---|---|---|---|---|---|",
    ]
    for system in systems:
        own = [item for item in scores if item.system == system.name]
        if not own:
            continue
        found = ", ".join(dict.fromkeys(item.algebra for item in own))
        ranks = ", ".join(str(item.rank) for item in own)
        shown = ", ".join(str(item.shown) for item in own)
        lines.append(
            f"| {system.title} | {own[0].true_rank}, {own[0].true_algebra} | "
            f"{sum(item.right for item in own)} of {len(own)} | {ranks} | {found} | {shown} | "
            f"{np.mean([item.seconds for item in own]) / 60:.1f} |"
        )
    true, found = sum(item.true_rank for item in scores), sum(item.rank for item in scores)
    discovered, false = sum(item.discovered for item in scores), sum(item.false for item in scores)
    wrong = sum((2 if item.false else 1) for item in scores if not item.right)
    lines += [
        "",
        f"Discovery rate {_share(discovered, true)}, false discovery rate {_share(false, found)}. "
        f"{_share(max(0, len(scores) - wrong), len(scores), 'runs')} are right, where a run with false "
        "directions counts as two wrong ones.",
    ]
    return "\n".join(lines) + "\n"


def _share(part: int, whole: int, of: str = "") -> str:
    share = f" ({part / whole:.0%})" if whole else ""
    return f"{part} of {whole}{f' {of}' if of else ''}{share}"
