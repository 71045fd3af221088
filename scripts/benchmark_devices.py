"""Time of a training step on several devices, with the same work for each; see `scripts/benchmark --devices`.

Each number of devices has a process of its own. On a CPU devices are virtual, and each process is kept to as
many cores as it has devices, where there are as many: beyond that the work of several shares a core.
"""

import argparse
import json
import os
import subprocess
import sys
from dataclasses import replace
from typing import Any

CONFIG = "paper/table2/learned.toml"
BATCH = 100
"""Transitions of a step for each device."""
STEPS = 20
ROUNDS = 5


def point(count: int) -> dict[str, Any]:
    """Milliseconds of a step on `count` devices of this process, and what they have to say to each other."""
    import jax
    from benchmark import timed

    from noether_razor.app.config import build_problem, load_config
    from noether_razor.training import CompiledLoop, initial_state, step_cost

    problem = build_problem(load_config(CONFIG, [f"training.batch={BATCH * count}"]))
    training = replace(problem.training, devices=tuple(jax.devices()[:count]))
    parts = problem.posterior, problem.observations, problem.objective, training
    run, state = CompiledLoop(*parts, jax.random.key(0)), initial_state(problem.posterior, training)
    run(state, 1)
    cost, text = step_cost(*parts), run.program.as_text()
    return {
        "devices": count,
        "cores": len(os.sched_getaffinity(0)),
        "kind": jax.devices()[0].device_kind,
        "batch": BATCH * count,
        "step_ms": 1e3 * timed(lambda: run(state, STEPS), ROUNDS) / STEPS,
        "share": cost.share,
        "working_mb": run.program.memory_analysis().temp_size_in_bytes / 1e6,
        "predicted_working_mb": cost.working / 1e6,
        "all_reduces": text.count(" all-reduce(") + text.count(" all-reduce-start("),
        "jax": jax.__version__,
    }


def measured(count: int) -> dict[str, Any]:
    """The same in a process of its own."""
    cores = sorted(os.sched_getaffinity(0))
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={count}"

    def kept_to_cores() -> None:
        os.sched_setaffinity(0, cores[:count])

    done = subprocess.run(
        [sys.executable, __file__, "--point", str(count)],
        env=os.environ | {"XLA_FLAGS": flags},
        preexec_fn=kept_to_cores,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode == 0:
        return json.loads(done.stdout)
    return {"devices": count, "failed": (done.stderr.strip().splitlines() or ["no message"])[-1]}


def main() -> None:
    """Print all points as one JSON object; efficiency: the step of one device over that of several."""
    parser = argparse.ArgumentParser(prog="scripts/benchmark --devices", description=__doc__)
    parser.add_argument("counts", nargs="*", type=int, default=[1, 2, 4], help="numbers of devices")
    parser.add_argument("--point", type=int, help="one number of devices, in this process")
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(options.point)))
        return
    points = [measured(count) for count in options.counts]
    for one in points:
        if "failed" not in one and "failed" not in points[0]:
            one["efficiency"] = points[0]["step_ms"] / one["step_ms"]
    print(json.dumps({"points": points}, indent=2))


if __name__ == "__main__":
    main()
