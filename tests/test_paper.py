"""Claims of the paper on its first experiment, by the shipped configurations, at full size; minutes each."""

from collections.abc import Callable
from statistics import mean, median
from typing import Any

import pytest

from noether_razor.paper import TARGETS, Table, plan, run_all

SEEDS = 5

Summary = Callable[[str, int], dict[str, Any]]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int, tuple[str, ...]], Summary]:
    """Trains rows of table 1 with so many seeds, in processes side by side; runs are kept."""
    out = tmp_path_factory.mktemp("table1")

    def train(seeds: int, rows: tuple[str, ...]) -> Summary:
        table = TARGETS["table1"]
        assert isinstance(table, Table)
        wanted = [row for row in table.rows if row.name in rows]
        runs = plan(wanted, seeds=seeds, budget="standard", out=out)
        summaries = run_all(runs)
        by_row = {(run.row, run.seed): found for run, found in zip(runs, summaries, strict=True)}
        for name, found in by_row.items():
            print(*name, found["train"], found["test"], found["symmetry"].get("parallelness"))
        return lambda row, seed: by_row[row, seed]

    return train


@pytest.fixture(scope="module")
def summary(trained: Callable[[int, tuple[str, ...]], Summary]) -> Summary:
    return trained(SEEDS, ("vanilla", "learned", "fixed"))


def test_cheapest_claim_a_learned_symmetry_has_the_better_bound(
    trained: Callable[[int, tuple[str, ...]], Summary],
) -> None:
    summary = trained(1, ("vanilla", "learned"))
    learned, vanilla = summary("learned", 0), summary("vanilla", 0)
    assert learned["train"]["nll_stderr"] <= 0.02
    assert learned["train"]["negative_elbo"] < vanilla["train"]["negative_elbo"]
    assert learned["symmetry"]["parallelness"][0] >= 0.95


def test_the_learned_generator_is_the_rotation_on_every_seed(summary: Summary) -> None:
    parallel = [summary("learned", seed)["symmetry"]["parallelness"][0] for seed in range(SEEDS)]
    assert median(parallel) >= 0.985
    assert min(parallel) >= 0.95


def test_the_bound_of_learned_is_below_vanilla_and_near_the_oracle(summary: Summary) -> None:
    for seed in range(SEEDS):
        learned, vanilla, fixed = (
            summary(row, seed)["train"]["negative_elbo"] for row in ("learned", "vanilla", "fixed")
        )
        assert learned < vanilla, seed
        assert learned <= fixed + max(0.3, 0.05 * abs(fixed)), seed


@pytest.mark.parametrize("name", ["test", "wider", "moved"])
def test_learned_predicts_better_than_vanilla(summary: Summary, name: str) -> None:
    learned, vanilla = (
        mean(summary(row, seed)["test"][name]["mse"] for seed in range(SEEDS))
        for row in ("learned", "vanilla")
    )
    assert learned < vanilla
