"""Run folders: a configuration trained, evaluated and kept on disk."""

from ._analyse import analyse_run as analyse_run
from ._analyse import data_answer as data_answer
from ._discover import discover_config as discover_config
from ._discover import discover_run as discover_run
from ._folder import RunError as RunError
from ._folder import RunFolder as RunFolder
from ._folder import require_same as require_same
from ._folder import write_whole as write_whole
from ._held_out import held_out as held_out
from ._hypotheses import Hypothesis as Hypothesis
from ._hypotheses import compare_hypotheses as compare_hypotheses
from ._hypotheses import parse_hypothesis as parse_hypothesis
from ._predict import Prediction as Prediction
from ._predict import predict_run as predict_run
from ._predict import save_prediction as save_prediction
from ._run import TrainedRun as TrainedRun
from ._run import evaluate_run as evaluate_run
from ._run import load_run as load_run
from ._run import report_run as report_run
from ._run import train_run as train_run
from ._run import warm_start_config as warm_start_config
