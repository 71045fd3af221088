"""What a run will cost, before it: parameters, memory, and time from a few steps."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import jax

from ...devices import Device
from ...modelling import Problem
from ...random import stream
from ...training import CompiledLoop, StepCost, initial_state, step_cost
from ...trajectories import Trajectories
from ..config import Config, build_problem, read_data
from .run import warm_start_config

SECONDS = 2.0
"""Of steps that are measured, about."""
MOST = 50
"""Steps that are measured."""


class Place(NamedTuple):
    """A step as it is on some devices of one kind. memory: bytes of each, of the compiled program with what
    goes in and what comes out.
    """

    kind: str
    devices: int
    compile_seconds: float
    step_seconds: float
    memory: int


class DryFit(NamedTuple):
    """One fit of a run: its steps, what each should cost by the formulas, and what it does cost, first where
    the run would be.
    """

    name: str
    steps: int
    rows: int
    cost: StepCost
    places: tuple[Place, ...]

    def seconds(self) -> float:
        """Of the whole fit."""
        return self.places[0].compile_seconds + self.steps * self.places[0].step_seconds

    def faster(self) -> Place:
        """Where a step takes least time."""
        return min(self.places, key=lambda place: place.step_seconds)


def dry_run(config: Config, places: Sequence[tuple[Device, ...]]) -> list[DryFit]:
    """The fits of a run of `config`, its warm starts first, on the devices of the first of `places`, with
    their steps on those of the others. Nothing is written. Raises as `train_run` does before its first step.
    """
    chain = [config]
    while (before := warm_start_config(chain[0])) is not None:
        chain.insert(0, before)
    recorded = None if config.data.file is None else read_data(config).trajectories
    return [_dry_fit(one, one is config, recorded, places) for one in chain]


def _dry_fit(
    config: Config, last: bool, recorded: Trajectories | None, places: Sequence[tuple[Device, ...]]
) -> DryFit:
    problem = build_problem(config, recorded)
    training = replace(problem.training, devices=places[0])
    cost = step_cost(problem.posterior, problem.observations, problem.objective, training)
    return DryFit(
        name="training" if last else "warm start",
        steps=training.steps,
        rows=problem.observations.size,
        cost=cost,
        places=tuple(_measured(problem, devices) for devices in places),
    )


def _measured(problem: Problem, devices: tuple[Device, ...]) -> Place:
    problem = problem._replace(training=replace(problem.training, devices=devices))
    first, training = devices[0], problem.training
    with jax.default_device(None if first.platform == jax.default_backend() else first):
        started = time.perf_counter()
        key = stream(problem.seed, "training")
        run = CompiledLoop(problem.posterior, problem.observations, problem.objective, training, key)
        compile_seconds = time.perf_counter() - started
        state = initial_state(problem.posterior, training)

        def seconds(steps: int) -> float:
            before = time.perf_counter()
            jax.block_until_ready(run(state, steps))
            return time.perf_counter() - before

        seconds(1)  # the first touches memory that is new
        steps = min(max(round(SECONDS / max(seconds(1), 1e-6)), 2), MOST, training.steps)
        step_seconds = seconds(steps) / steps
    sizes = run.program.memory_analysis()
    memory = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    return Place(first.platform, len(devices), compile_seconds, step_seconds, memory)


def dry_text(fits: Sequence[DryFit]) -> str:
    """What a dry run found, for a person to read."""
    lines = [line for fit in fits for line in _fit_lines(fit)]
    minutes = sum(fit.seconds() for fit in fits) / 60
    return "\n".join([*lines, f"whole run      about {minutes:.1f} min, and the evaluation at its end"])


def _fit_lines(fit: DryFit) -> list[str]:
    here, cost = fit.places[0], fit.cost
    share = f" ({cost.share:.0%} of the work on the busiest)" if here.devices > 1 else ""
    sizes = {"state": cost.state, "rows": cost.rows, "step": cost.working}
    parts = ", ".join(f"{name} {size / 1e6:.1f}" for name, size in sizes.items())
    found, step, products = here.memory / 1e6, 1e3 * here.step_seconds, cost.operations / 1e9
    flows = f", {cost.quantities / 1e9:.3g} for the quantities" if cost.quantities else ""
    lines = [
        f"{fit.name}: {fit.steps} steps, {here.kind} devices: {here.devices}{share}",
        f"  parameters   {cost.parameters}",
        f"  data         {fit.rows} rows, {cost.images} images of states at once on a device",
        f"  memory       {cost.memory / 1e6:.1f} MB of a device predicted ({parts}), {found:.1f} MB compiled",
        f"  a step       {step:.1f} ms measured, {products:.3g} GFLOP in matrix products of a device{flows}",
        f"  all steps    {fit.seconds() / 60:.1f} min, with {here.compile_seconds:.0f} s of compilation",
    ]
    for place in fit.places[1:]:
        verdict = "faster" if place is fit.faster() else "slower"
        lines.append(f"  {place.kind:<12} {1e3 * place.step_seconds:.1f} ms a step measured: {verdict} here")
    return lines
