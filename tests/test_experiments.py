"""The paper's tables and figures: their configurations, the runner that fills them, the claims they check."""

import json
from pathlib import Path

import pytest

from noether_razor.config import load_config
from noether_razor.runs import RunFolder, train_run, warm_start_config

ROOT = Path(__file__).parents[1]
DEBUG = ROOT / "configs" / "debug.toml"


class Stop:
    """Interrupts a run once it has logged so many chunks."""

    def __init__(self, chunks: int):
        self.left = chunks

    def __call__(self) -> bool:
        self.left -= 1
        return self.left < 0


def logged(folder: Path) -> list[dict[str, float]]:
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key != "wall_seconds"} for line in lines]


TINY = (
    "training.steps=6",
    "training.log_every=2",
    "evaluation.trajectories=3",
    "evaluation.transitions=2",
    "evaluation.group_samples=4",
)


def test_a_warm_start_resumes_wherever_it_was_stopped(tmp_path: Path) -> None:
    config = load_config(DEBUG, [*TINY, "training.warm_start.steps=4", "training.warm_start.dt=0.05"])
    whole, stopped = RunFolder(tmp_path / "whole"), RunFolder(tmp_path / "stopped")
    wanted = train_run(config, whole)
    for chunks in (0, 2):  # in the warm start, and in the run itself
        with pytest.raises(KeyboardInterrupt):
            train_run(config, stopped, resume=True, interrupted=Stop(chunks))
    assert stopped.checkpoint.steps() == [4] and not stopped.summary.exists()
    got = train_run(config, stopped, resume=True)
    for part in (".", "warm_start"):
        assert logged(stopped.path / part) == logged(whole.path / part) != []
    for key in ("train", "test", "symmetry"):
        assert got[key] == wanted[key]
    warm = RunFolder(whole.path / "warm_start")
    assert warm.read_config() == warm_start_config(config)
    assert got["wall_seconds"] > warm.read_metrics()[-1]["wall_seconds"]
