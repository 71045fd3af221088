"""Several devices compute what one does: the same numbers to rounding, each its share, with little to say."""

import importlib.util
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from hypothesis import given
from hypothesis import strategies as st

from noether_razor.app.config import build_problem, load_config
from noether_razor.app.runs import dry_text
from noether_razor.app.runs.dry import DryFit, Place
from noether_razor.devices import DATA, SAMPLES, divided, full_precision, largest_share, mesh_of, undivided
from noether_razor.inference import ELBO, Estimator, in_single_precision
from noether_razor.integrators import euler_step
from noether_razor.training import CompiledLoop, StepCost, Training, initial_state, make_loop, step_cost

FEW = 1e-5


# The mesh


def shape(devices: int, batch: list[int], samples: int) -> tuple[int, int]:
    # A mesh is made of any objects.
    mesh = mesh_of(list(range(devices)), batch, samples)
    return mesh.shape[DATA], mesh.shape[SAMPLES]


@pytest.mark.parametrize(
    ("devices", "batch", "samples", "expected"),
    [
        (4, [4, 25], 16, (4, 1)),  # a weight sample each
        (4, [2, 14], 4, (4, 1)),  # 4 of 14 rows: hardly more than a quarter
        (8, [4, 5], 16, (4, 2)),  # a batch for four
        (8, [100], 200, (8, 1)),
        (16, [2, 1], 16, (2, 8)),
        (3, [4, 25], 1, (3, 1)),
    ],
)
def test_devices_divide_the_batch_as_far_as_it_goes_and_then_the_group_samples(
    devices, batch, samples, expected
):
    assert shape(devices, batch, samples) == expected


@given(
    devices=st.integers(1, 64),
    batch=st.lists(st.integers(1, 300), min_size=1, max_size=2),
    samples=st.integers(1, 64),
)
def test_no_mesh_of_all_devices_would_do_much_better(devices, batch, samples):
    data, along = shape(devices, batch, samples)
    assert data * along == devices

    def busiest(d: int) -> float:
        return min(largest_share(n, d) for n in batch) * largest_share(samples, devices // d)

    assert busiest(data) <= 1.25 * min(busiest(d) for d in range(1, devices + 1) if devices % d == 0)


def test_without_a_mesh_nothing_is_divided():
    x = jnp.ones((4, 2))
    assert divided(x, DATA) is x
    assert undivided(x) is x


# Four devices, in one process of its own


@pytest.fixture(scope="module")
def four() -> dict[str, Any]:
    flags = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
    script = Path(__file__).parent / "on_four_devices.py"
    environment = os.environ | {"XLA_FLAGS": flags, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, script], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["devices"] == 4
    return found


def test_bound_and_gradient_are_those_of_one_device(four):
    assert four["bounds"].keys() == {"rows, in uneven parts", "group samples", "the paper's"}
    assert all(error < FEW for error in four["bounds"].values()), four["bounds"]


def test_a_fit_ends_where_that_on_one_device_does(four):
    assert four["fit"]["reports"] < FEW
    assert four["fit"]["parameters"] < FEW
    assert four["fit"]["result on"] == 1


def test_every_device_holds_its_share_of_the_rows(four):
    assert four["fit"]["mesh"] == {"data": 4, "samples": 1}
    assert four["fit"]["rows held"] == [7, 7, 7, 7]  # of 27


def test_devices_that_share_a_batch_communicate_twice_a_step(four):
    """The rows that were drawn, and the gradient."""
    found = four["fit"]["communication"]
    assert found == {"all-reduce": 2, "all-gather": 0, "all-to-all": 0, "collective-permute": 0}


def test_charges_are_followed_while_batches_are_divided(four):
    assert four["charges"]["value"] < FEW
    assert four["charges"]["violation"] < FEW


# What an accelerator gets to compute


@pytest.fixture(scope="module")
def lowered(posterior, transitions) -> str:
    """The training loop before compilation."""
    objective = ELBO.of(transitions, Estimator(step=euler_step, group_samples=2, weight_samples=2))
    training = Training(steps=2)
    loop = make_loop(nnx.split(posterior)[0], training, objective)
    data = in_single_precision(transitions)
    arguments = initial_state(posterior, training), data, jax.random.key(0), jnp.asarray(2, jnp.int32)
    return jax.jit(loop).lower(*arguments).as_text()


def test_all_matrix_products_of_training_are_of_whole_float32_numbers(lowered):
    assert set(re.findall(r"precision = \[([^]]*)\]", lowered)) == {"HIGHEST, HIGHEST"}


def test_a_step_scatters_nothing_and_asks_the_host_for_nothing(lowered):
    """jaxlib 0.10.2 to 0.11 add float32 numbers at indices thousands of times too slowly on a GPU."""
    assert "scatter" not in lowered
    assert not re.search(r"callback|infeed|outfeed|send|recv", lowered)


def test_precision_is_what_the_user_says_where_he_says_it():
    def product(x: jax.Array) -> jax.Array:
        with full_precision():
            return x @ x

    with jax.default_matmul_precision("tensorfloat32"):
        asked = jax.jit(product).lower(jnp.ones((2, 2))).as_text()
    assert "HIGHEST" not in asked
    assert "HIGHEST" in jax.jit(product).lower(jnp.ones((2, 2))).as_text()


# What it costs, on paper


def test_a_place_that_is_faster_is_named():
    cost = StepCost(parameters=1, images=1, operations=1e9, state=1, rows=1, working=1, share=1.0)
    places = Place("gpu", 1, 10.0, 2e-3, 10), Place("cpu", 1, 1.0, 1e-3, 10)
    said = dry_text([DryFit("training", 6000, 28, cost, places)])
    assert "cpu          1.0 ms a step measured: faster here" in said
    assert "whole run      about 0.4 min" in said


@pytest.mark.slow
@pytest.mark.parametrize("table", ["table1", "table2", "table3"])
@pytest.mark.parametrize("row", ["vanilla", "fixed", "learned"])
def test_memory_is_predicted_to_a_fifth(table, row):
    problem = build_problem(load_config(f"paper/{table}/{row}.toml"))
    parts = problem.posterior, problem.observations, problem.objective, problem.training
    sizes = CompiledLoop(*parts, jax.random.key(0)).program.memory_analysis()
    compiled = sizes.temp_size_in_bytes + sizes.argument_size_in_bytes + sizes.output_size_in_bytes
    assert 0.8 < step_cost(*parts).memory / compiled < 1.2


def test_the_check_of_a_device_runs_on_a_cpu(monkeypatch, capsys):
    """On a machine without an accelerator the device is the CPU, and differs from it by nothing."""
    path = Path(__file__).parents[1] / "scripts" / "device_check.py"
    found = importlib.util.spec_from_file_location("device_check", path)
    assert found is not None and found.loader is not None
    check = importlib.util.module_from_spec(found)
    found.loader.exec_module(check)
    monkeypatch.setitem(check.PROBLEMS, "table 1", ("../debug.toml", "symmetry.mode=none"))
    monkeypatch.setattr(
        "sys.argv", ["device_check", "--seconds", "0.01", "--skip-discover", "--only", "table 1"]
    )
    check.main()
    result = json.loads(capsys.readouterr().out)
    entry = result["problems"]["table 1"]
    assert result["device"] == "cpu" and "discover" not in result
    assert 0 < entry["device"]["step_ms"] < 1e4 and entry["device"]["compile_s"] > 0
    assert entry["rollouts"] == 0.0
    for errors in entry["accuracy"].values():
        assert set(errors) == {"nll", "kl", "gradient"} and max(errors.values()) < FEW
