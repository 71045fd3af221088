"""Fits to the data of a run with other quantities, for the evidence; each is kept, and done once."""

import json
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from ...inference import Posterior, estimate_bound, random_part, transition_count
from ...quantities import QuadraticQuantities
from ...training import Checkpoint, Report, Training, TrainState, fit
from ..config import build_problem, derived_seed, stream
from .folder import RunFolder, write_whole
from .run import BOUND_SUBSET, TrainedRun

OnRefit = Callable[[str, int, Report], None]
"""Told the name and number of a refit, and each step that it logs."""

CHECKPOINT_SECONDS = 15.0
"""Between checkpoints of a refit."""
SETTLED = 0.02
"""Share of what a fit gained in all, that its last fifth may still gain when it counts as converged."""
ORBIT_GROWTH = 2 / 3
"""Share of the steps over which the orbits of several built-in quantities grow to their size: an average over
a few points of a wide orbit varies so much that the fit does not recover. Learned quantities grow by
themselves, and on the orbit of a single one the points are spaced equally, which is exact enough at once.
"""


class Refits(NamedTuple):
    """The bound of some fits of one kind, as in symmetry.json, and the first of them."""

    bound: dict[str, Any]
    posterior: Posterior


class KeptFit:
    """One fit in a folder of its own: a checkpoint to go on from, and what was estimated of it.

    `about` says what the fit depends on beside the run: of another kind nothing is taken.
    """

    def __init__(self, run: RunFolder, name: str, about: Any):
        digest = zlib.crc32(json.dumps(about, sort_keys=True).encode())
        self.path = run.refits / f"{name}-{digest:08x}"
        self.checkpoint = Checkpoint(self.path / "checkpoint")
        self.result = self.path / "result.json"
        self.saved = time.perf_counter()
        self.history: list[float] = []
        """-ELBO / N of the logged steps, of all resumes."""

    def restore(self, state: TrainState) -> TrainState | None:
        """The state to go on from, for `fit`."""
        found = self.checkpoint.restore(state)
        if found is None:
            return None
        self.history = list(found[1]["history"])
        return found[0]

    def keep(self, report: Report, training: Training) -> None:
        """Write a checkpoint where one is due."""
        self.history.append(report.negative_elbo)
        if report.step == training.steps or time.perf_counter() - self.saved >= CHECKPOINT_SECONDS:
            self.checkpoint.save(report.state, {"history": self.history})
            self.saved = time.perf_counter()

    def read(self) -> dict[str, Any] | None:
        """What was estimated of the finished fit, None where it is not finished."""
        try:
            value = json.loads(self.result.read_text(encoding="utf-8"))
            return value if isinstance(value, dict) else None
        except (OSError, ValueError):
            return None

    def write(self, result: dict[str, Any]) -> None:
        """Keep what was estimated."""
        write_whole(self.result, json.dumps(result) + "\n")


def refits(
    folder: RunFolder,
    run: TrainedRun,
    mode: str,
    repeats: int,
    quantities: QuadraticQuantities | None = None,
    *,
    name: str = "",
    on_refit: OnRefit | None = None,
) -> Refits:
    """The mean total bound of `repeats` fits to the data of a run, its standard error over them, and whether
    all converged.

    `mode` is that of the symmetry table; `quantities`, in the coordinates of training, are built in where it
    is fixed. The k-th repeat has the same seed whatever the mode. The error of a single fit is the Monte
    Carlo error of its estimate alone. `on_refit` is told the name (default: the mode), repeat and logged
    steps. A fit that is in `folder` is not done again.
    """
    symmetry = run.config.symmetry.model_copy(update={"mode": mode})
    several = quantities is not None and quantities.count > 1
    growth = run.config.training.orbit_growth or several * round(ORBIT_GROWTH * run.config.training.steps)
    training = run.config.training.model_copy(update={"orbit_growth": growth})
    built_in = None
    if quantities is not None:
        built_in = [
            np.asarray(p).tolist() for p in (quantities.symmetric_matrices(), quantities.vectors[...])
        ]
    found, posteriors = [], []
    for repeat in range(repeats):
        config = run.config.model_copy(
            update={
                "symmetry": symmetry,
                "training": training,
                "seed": derived_seed(run.config.seed, f"refit {repeat}"),
            }
        )
        problem = build_problem(config, run.problem.recorded, quantities=quantities)
        total = transition_count(problem.observations)
        kept = KeptFit(folder, f"{name or mode}-{repeat}".replace(" ", "-"), [mode, built_in, training.steps])
        told = _Told(on_refit, name or mode, repeat, kept, problem.training)
        result = fit(
            problem.posterior,
            problem.observations,
            problem.training,
            key=stream(config.seed, "training"),
            averaging=problem.averaging,
            estimator=problem.estimator,
            resume=kept.restore,
            callback=told,
        )
        estimate = kept.read()
        if estimate is None:
            for_subset, for_bound = jax.random.split(stream(config.seed, "evaluation"))
            bound = estimate_bound(
                result.posterior,
                for_bound,
                random_part(problem.observations, for_subset, BOUND_SUBSET),
                total,
                trained=problem.training.seen(total),
                prior_precision=config.inference.prior_precision,
                averaging=problem.averaging,
                estimator=problem.evaluator,
                stderr=config.evaluation.nll_stderr,
            )
            estimate = {
                "total": total * bound.negative_elbo,
                "stderr": total * bound.nll_stderr,
                "converged": converged(kept.history),
            }
            kept.write(estimate)
        posteriors.append(result.posterior)
        found.append(estimate)
    totals, errors = [entry["total"] for entry in found], [entry["stderr"] for entry in found]
    spread = np.std(totals, ddof=1) / np.sqrt(repeats) if repeats > 1 else errors[0]
    bound = {
        "negative_elbo_total": float(np.mean(totals)),
        "stderr": float(spread),
        "converged": all(entry["converged"] for entry in found),
        "repeats": repeats,
        "totals": totals,
        "stderrs": errors,
    }
    return Refits(bound, posteriors[0])


class _Told:
    """Keeps a refit, and passes its reports on with its name and number."""

    def __init__(self, listener: OnRefit | None, name: str, repeat: int, kept: KeptFit, training: Training):
        self.listener, self.name, self.repeat = listener, name, repeat
        self.kept, self.training = kept, training

    def __call__(self, report: Report) -> None:
        self.kept.keep(report, self.training)
        if self.listener is not None:
            self.listener(self.name, self.repeat, report)


def converged(history: Sequence[float]) -> bool:
    """Whether a logged -ELBO / N has settled: its last fifth gained at most 2 % of what was gained in all, or
    no more than it fluctuates.
    """
    values = np.asarray(history, dtype=np.float64)
    fifth = len(values) // 5
    if fifth < 1:
        return False
    last, before = values[-fifth:], values[-2 * fifth : -fifth]
    gain = before.mean() - last.mean()
    fluctuation = float(np.hypot(np.std(last), np.std(before)) / np.sqrt(fifth)) if fifth > 2 else 0.0
    return bool(gain <= max(SETTLED * (values[0] - last.mean()), 2 * fluctuation))
