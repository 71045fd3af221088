"""Check an accelerator against the CPU of its host in one process and print one JSON object.

step_ms: milliseconds per training step, optimiser included, on the device and on the host's CPU, and seconds
of compilation. accuracy: relative difference of the ELBO's parts and of its gradient on the device from those
on the CPU with the highest precision of matrix products, for the device's default precision and its highest;
the random draws are the same. rollouts: r.m.s. difference of predictions on the device from those on the CPU,
over their spread. memory_mb: peak of the device so far. discover: seconds of a short `discover` of the demo's
data on the device, and what it found.
"""

import argparse
import dataclasses
import json
import sys
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import jax
import numpy as np
from flax import nnx

from noether_razor.app.cli.demo import two_oscillators
from noether_razor.app.config import build_problem, load_config
from noether_razor.discovery import discover
from noether_razor.inference import ELBO, elbo_and_gradient, in_single_precision
from noether_razor.modelling import Problem
from noether_razor.prediction import predict
from noether_razor.training import Report, fit
from noether_razor.trajectories import load_trajectories

Device = Any
"""A `jax.Device`."""
CONFIGS = Path(__file__).parents[1] / "configs" / "paper"
PROBLEMS: dict[str, tuple[str, ...]] = {
    "table 1": ("table1/learned.toml",),
    "table 2": ("table2/learned.toml",),
    "table 3": ("table3/learned.toml",),
    "64 oscillators": (
        "table2/learned.toml",
        "system.dof=64",
        "data.trajectories=4",
        "symmetry.quantities=64",
    ),
    "8 bodies": ("table3/learned.toml", "system.dof=16", "data.trajectories=4"),
}
"""A configuration and its overrides."""
DEFAULT = ["table 1", "table 2", "table 3"]
"""The others take minutes to build and compile."""
ROUND = 5
"""Steps between two looks at the clock."""


def problem_of(name: str) -> Problem:
    """The problem of that name before its first step."""
    path, *overrides = PROBLEMS[name]
    return build_problem(load_config(CONFIGS / path, overrides))


def step_time(problem: Problem, device: Device, seconds: float) -> dict[str, float]:
    """Milliseconds per training step on `device`, the median of as many steps as take `seconds`."""
    marks: list[float] = []

    def enough(report: Report) -> str:
        marks.append(report.seconds)
        return "measured" if len(marks) > 2 and marks[-1] - marks[0] > seconds else ""

    with jax.default_device(device):
        history = fit(
            problem.posterior,
            problem.observations,
            problem.objective,
            dataclasses.replace(problem.training, log_every=ROUND),
            key=jax.random.key(0),
            should_stop=enough,
        ).history
    return {"step_ms": 1e3 * median(np.diff(marks)) / ROUND, "compile_s": history[0].compile_seconds}


def gradient(problem: Problem, device: Device, precision: str) -> list[np.ndarray]:
    """The likelihood part, the KL divergence and the gradient of the ELBO of one batch."""
    with jax.default_device(device), jax.default_matmul_precision(precision):
        graph, params = nnx.split(problem.posterior)
        rows = min(problem.observations.size, problem.training.batch or problem.observations.size)
        rows -= rows % problem.estimator.weight_samples
        batch = jax.tree.map(lambda x: np.asarray(x)[:rows], in_single_precision(problem.observations))

        def evaluate(params: nnx.State, key: jax.Array) -> tuple[Any, nnx.State]:
            return elbo_and_gradient(ELBO.of(batch, problem.estimator), graph, params, key, batch)

        terms, slope = jax.jit(evaluate)(params, jax.random.key(0))
        leaves = [np.ravel(leaf) for leaf in jax.tree.leaves(slope)]
        return [np.asarray(terms.nll), np.asarray(terms.total_kl()), np.concatenate(leaves)]


def accuracy(name: str, device: Device, host: Device) -> dict[str, Any]:
    """Relative differences of `gradient` on the device from that on the host."""
    problem = problem_of(name)
    exact = gradient(problem, host, "highest")
    errors = {}
    for precision in ("default", "highest"):
        pairs = zip(gradient(problem, device, precision), exact, strict=True)
        relative = [float(np.linalg.norm(f - e) / np.linalg.norm(e)) for f, e in pairs]
        errors[precision] = dict(zip(("nll", "kl", "gradient"), relative, strict=True))
    return errors


def rollouts(name: str, device: Device, host: Device) -> float:
    """R.m.s. difference of predicted trajectories on the two, over their spread; the same samples in both."""
    problem = problem_of(name)
    paths = []
    for place in (device, host):
        with jax.default_device(place):
            initial, times = problem.data.states[:4, 0], problem.data.times[:4]
            paths.append(
                predict(problem.posterior, jax.random.key(0), initial, times, estimator=problem.estimator)
            )
    return float(np.sqrt(np.mean((paths[0] - paths[1]) ** 2)) / np.std(paths[1]))


def short_discover(device: Device) -> dict[str, Any]:
    """Seconds of `discover` with the quick budget on the demo's data, and what it found."""
    with tempfile.TemporaryDirectory() as folder, jax.default_device(device):
        path = Path(folder) / "two_oscillators.csv"
        path.write_text(two_oscillators(), encoding="utf-8")
        started = time.perf_counter()
        found = discover(load_trajectories(path), budget="quick")
        return {
            "seconds": time.perf_counter() - started,
            "algebra": found.to_json()["algebra"]["name"],
            "failed": found.failed,
        }


def main() -> None:
    """Measure and print; what fails is named in its place."""
    parser = argparse.ArgumentParser(prog="scripts/device_check", description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="of steps, for each problem and device")
    parser.add_argument("--only", nargs="*", default=DEFAULT, choices=list(PROBLEMS), metavar="PROBLEM")
    parser.add_argument("--skip-discover", action="store_true")
    options = parser.parse_args()
    device, host = jax.devices()[0], jax.devices("cpu")[0]
    places = {"device": device} if device == host else {"device": device, "host": host}
    result: dict[str, Any] = {"device": device.device_kind, "jax": jax.__version__, "problems": {}}
    for name in options.only:
        entry: dict[str, Any] = {}
        for where, place in places.items():
            try:
                entry[where] = step_time(problem_of(name), place, options.seconds)
            except (RuntimeError, FloatingPointError) as error:
                entry[where] = {"failed": str(error).splitlines()[0]}
        stats = device.memory_stats() or {}
        entry["memory_mb"] = stats.get("peak_bytes_in_use", 0) / 1e6 or None
        if name.startswith("table"):
            entry["accuracy"] = accuracy(name, device, host)
            entry["rollouts"] = rollouts(name, device, host)
        result["problems"][name] = entry
        print(name, json.dumps(entry), file=sys.stderr, flush=True)
    if not options.skip_discover:
        result["discover"] = short_discover(device)
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
