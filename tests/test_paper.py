"""Claims of the paper on its first experiment, by the shipped configurations, at full size; minutes each."""

import json
from functools import cache
from pathlib import Path
from statistics import mean, median
from typing import Any

import pytest

from noether_razor.config import load_config
from noether_razor.runs import RunFolder, train_run

CONFIGS = Path(__file__).parents[1] / "configs" / "oscillator"
SEEDS = range(5)

# One worker trains all of them, so that the tests share the runs.
pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("paper")]


@pytest.fixture(scope="module")
def summary(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("runs")

    @cache
    def trained(row: str, seed: int) -> dict[str, Any]:
        config = load_config(CONFIGS / f"{row}.toml", [f"seed={seed}"])
        result = train_run(config, RunFolder(folder / f"{row}-{seed}"))
        print(row, seed, json.dumps(result))
        return result

    return trained


def test_cheapest_claim_a_learned_symmetry_has_the_better_bound(summary) -> None:  # type: ignore[no-untyped-def]
    learned, vanilla = summary("learned", 0), summary("vanilla", 0)
    assert learned["train"]["nll_stderr"] <= 0.02
    assert learned["train"]["negative_elbo"] < vanilla["train"]["negative_elbo"]
    assert learned["symmetry"]["parallelness"][0] >= 0.95


def test_the_learned_generator_is_the_rotation_on_every_seed(summary) -> None:  # type: ignore[no-untyped-def]
    parallel = [summary("learned", seed)["symmetry"]["parallelness"][0] for seed in SEEDS]
    assert median(parallel) >= 0.985
    assert min(parallel) >= 0.95


def test_the_bound_of_learned_is_below_vanilla_and_near_the_oracle(summary) -> None:  # type: ignore[no-untyped-def]
    for seed in SEEDS:
        learned, vanilla, fixed = (
            summary(row, seed)["train"]["negative_elbo"] for row in ("learned", "vanilla", "fixed")
        )
        assert learned < vanilla, seed
        assert learned <= fixed + max(0.3, 0.05 * abs(fixed)), seed


@pytest.mark.parametrize("name", ["test", "wider", "moved"])
def test_learned_predicts_better_than_vanilla(summary, name: str) -> None:  # type: ignore[no-untyped-def]
    learned, vanilla = (
        mean(summary(row, seed)["test"][name]["mse"] for seed in SEEDS) for row in ("learned", "vanilla")
    )
    assert learned < vanilla
