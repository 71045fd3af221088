"""Run folders: train, analyse, discover, predict, report."""

from .analyse import analyse_run
from .configured import config_of, require_same
from .discover import budget_named, discover_config, discover_run, library_named
from .dry import dry_run, dry_text
from .embed import embed_run, embedding_config
from .evidence import evidence_of_file
from .held_out import held_out
from .hosts import GONE, OtherProcessError
from .learning import charges_run, symmetries_run
from .listening import Listener
from .predict import predict_run
from .run import (
    TrainedRun,
    evaluate_run,
    load_run,
    report_run,
    train_run,
    train_with_others,
    warm_start_config,
)
from .states import has_states, states_run

__all__ = [
    "GONE",
    "Listener",
    "OtherProcessError",
    "TrainedRun",
    "analyse_run",
    "budget_named",
    "charges_run",
    "config_of",
    "discover_config",
    "discover_run",
    "dry_run",
    "dry_text",
    "embed_run",
    "embedding_config",
    "evaluate_run",
    "evidence_of_file",
    "has_states",
    "held_out",
    "library_named",
    "load_run",
    "predict_run",
    "report_run",
    "require_same",
    "states_run",
    "symmetries_run",
    "train_run",
    "train_with_others",
    "warm_start_config",
]
