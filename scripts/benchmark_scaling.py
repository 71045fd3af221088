"""Time and memory of a training step against the size of the system; see `scripts/benchmark --scaling`.

Each point runs in a process of its own, so that its peak memory is its own.
"""

import argparse
import json
import resource
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
from benchmark import compiled, timed
from flax import nnx
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from noether_razor.app.config import build_problem, load_config
from noether_razor.training import initial_state, make_loop

BATCH = 100
"""Transitions a step, the same for both estimators."""

SYSTEMS = {
    "oscillators": ("paper/table2/learned.toml", range(1, 9), 1),
    "bodies": ("paper/table3/learned.toml", range(2, 7), 2),
}
"""Configuration, numbers of oscillators or bodies, and degrees of freedom of each."""

ESTIMATORS = {
    "efficient": ("inference.estimator=efficient",),
    # The numbers of samples of the paper's table 2.
    "paper": ("inference.estimator=paper", "inference.group_samples=100", "inference.weight_samples=5"),
}
STEPS = {"efficient": 10, "paper": 1}


def point(system: str, number: int, estimator: str, overrides: list[str]) -> dict[str, Any]:
    """Milliseconds and peak MB of one step, optimiser included, in this process."""
    path, _, dof = SYSTEMS[system]
    settings = (f"system.dof={dof * number}", "data.trajectories=4", *ESTIMATORS[estimator], *overrides)
    config = load_config(path, [*settings, f"training.batch={BATCH}"])
    problem = build_problem(config)
    transitions = problem.data.transitions()
    graph, _ = nnx.split(problem.posterior)
    loop = make_loop(graph, replace(problem.training, steps=1000), problem.objective)
    data = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), transitions)
    state, key = initial_state(problem.posterior, problem.training), jax.random.key(0)
    steps = STEPS[estimator]
    stop = jnp.asarray(steps, jnp.int32)
    run, compile_seconds = compiled(loop, state, data, key, stop)
    before = _peak_bytes()
    seconds = timed(lambda: run(state, data, key, stop), 3) / steps
    return {
        "system": system,
        "n": number,
        "dof": dof * number,
        "estimator": estimator,
        "batch": BATCH,
        "group_samples": problem.estimator.group_samples,
        "weight_samples": problem.estimator.weight_samples,
        "substeps": problem.estimator.substeps,
        "chunk": problem.estimator.chunk,
        "step_ms": 1e3 * seconds,
        "compile_s": compile_seconds,
        "peak_mb": _peak_bytes() / 1e6,
        "peak_before_mb": before / 1e6,
        "temporaries_mb": run.memory_analysis().temp_size_in_bytes / 1e6,  # type: ignore[attr-defined]
        "device": jax.devices()[0].device_kind,
    }


def _peak_bytes() -> float:
    """Peak memory of the accelerator, or of the process where there is none."""
    stats = jax.devices()[0].memory_stats()
    if stats and "peak_bytes_in_use" in stats:
        return stats["peak_bytes_in_use"]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak


def measured(system: str, number: int, estimator: str, overrides: list[str]) -> dict[str, Any]:
    """The same in a process of its own; a process that fails gives its last line instead of numbers."""
    command = [sys.executable, __file__, "--point", system, str(number), estimator]
    command += [word for override in overrides for word in ("--set", override)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode == 0:
        return json.loads(result.stdout)
    lines = result.stderr.strip().splitlines() or [f"exit code {result.returncode}"]
    return {"system": system, "n": number, "estimator": estimator, "failed": lines[-1]}


def plot(points: list[dict[str, Any]]) -> Figure:
    """Step time (above) and memory (below) against n, one column a kind of system.

    The memory shown is that of the compiled step's temporaries: on a CPU the compiler's own hides it in the
    peak of the process.
    """
    figure = Figure(figsize=(9, 6), layout="constrained")
    panels = figure.subplots(2, len(SYSTEMS), squeeze=False, sharex="col", sharey="row")
    for column, system in enumerate(SYSTEMS):
        for estimator in ESTIMATORS:
            shown = [
                p
                for p in points
                if (p["system"], p["estimator"]) == (system, estimator) and "failed" not in p
            ]
            for row, quantity in enumerate(("step_ms", "temporaries_mb")):
                panels[row, column].plot(
                    [p["n"] for p in shown], [p[quantity] for p in shown], ".-", label=estimator
                )
        panels[0, column].set_title(f"{system}, {BATCH} transitions a step")
        panels[1, column].set_xlabel(f"number of {system}")
        panels[1, column].xaxis.set_major_locator(MaxNLocator(integer=True))
    for row, label in enumerate(("milliseconds a step", "temporaries of a step, MB")):
        panels[row, 0].set(yscale="log", ylabel=label)
        for axes in panels[row]:
            axes.grid(alpha=0.3)
    panels[0, 0].legend()
    return figure


def main(arguments: list[str]) -> None:
    """Print the sweep as one JSON object and write it with its plot, or print one point of it."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark --scaling", description=__doc__)
    parser.add_argument("--point", nargs=3, metavar=("SYSTEM", "N", "ESTIMATOR"), help="one point only")
    parser.add_argument("--set", action="append", default=[], metavar="TABLE.KEY=VALUE", dest="overrides")
    parser.add_argument("--out", type=Path, default=Path("runs/scaling"), help="folder for JSON and plot")
    options = parser.parse_args(arguments)
    if options.point:
        system, number, estimator = options.point
        if system not in SYSTEMS or estimator not in ESTIMATORS or not number.isdigit() or int(number) < 1:
            parser.error(f"--point: got {' '.join(options.point)}, expected for instance oscillators 3 paper")
        print(json.dumps(point(system, int(number), estimator, options.overrides)))
        return
    points = []
    for system, (_, numbers, _) in SYSTEMS.items():
        for number in numbers:
            for estimator in ESTIMATORS:
                points.append(measured(system, number, estimator, options.overrides))
                print(points[-1], file=sys.stderr)
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps({"points": points, "jax": jax.__version__}, indent=2)
    (options.out / "scaling.json").write_text(text + "\n")
    plot(points).savefig(options.out / "scaling.png", dpi=130)
    print(text)


if __name__ == "__main__":
    main(sys.argv[1:])
