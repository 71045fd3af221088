"""Run folders."""

from .analyse import analyse_run, data_answer
from .discover import discover_config, discover_run
from .folder import RunError, RunFolder, require_same, write_whole
from .held_out import held_out
from .hypotheses import Hypothesis, compare_hypotheses, parse_hypothesis
from .predict import Prediction, predict_run, save_prediction
from .run import TrainedRun, evaluate_run, load_run, report_run, train_run, warm_start_config

__all__ = [
    "Hypothesis",
    "Prediction",
    "RunError",
    "RunFolder",
    "TrainedRun",
    "analyse_run",
    "compare_hypotheses",
    "data_answer",
    "discover_config",
    "discover_run",
    "evaluate_run",
    "held_out",
    "load_run",
    "parse_hypothesis",
    "predict_run",
    "report_run",
    "require_same",
    "save_prediction",
    "train_run",
    "warm_start_config",
    "write_whole",
]
