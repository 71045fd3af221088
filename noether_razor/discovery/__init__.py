"""From trajectories to a typed answer, in memory: what is conserved, and what a model adds."""

from ..quantities import Hypothesis, HypothesisError, parse_hypothesis
from .agreement import Agreement, Halves
from .beyond import LIBRARY, check_library
from .checks import Checks
from .comparison import Bound, Gain, Judgement, Refits, gain, judgement, settled_gain
from .discovering import (
    BUDGETS,
    RECIPE,
    Budget,
    Trained,
    discover,
    first_words,
    step_metrics,
    with_beyond,
    with_exact,
    with_model,
    without_model,
)
from .examination import Along, Evidence, along, analysis_of, data_answer, weigh
from .fitted import Fitted, HeldOut, kept_aside, kept_aside_sets, named_noise, noise_on_states
from .folder import RunError, RunFolder
from .hypotheses import HypothesisAnswer, judged_by_data
from .keeping import Keep, KeptFit, Tell
from .learned import Learned, LearnedDirection, LearnedFormula, learned_answer
from .parts import Parts
from .prediction import Prediction
from .result import Discovery, predict_states
from .saving import report_data, write_reports, write_run_report
from .summary import reached, summarise

__all__ = [
    "BUDGETS",
    "LIBRARY",
    "RECIPE",
    "Agreement",
    "Along",
    "Bound",
    "Budget",
    "Checks",
    "Discovery",
    "Evidence",
    "Fitted",
    "Gain",
    "Halves",
    "HeldOut",
    "Hypothesis",
    "HypothesisAnswer",
    "HypothesisError",
    "Judgement",
    "Keep",
    "KeptFit",
    "Learned",
    "LearnedDirection",
    "LearnedFormula",
    "Parts",
    "Prediction",
    "Refits",
    "RunError",
    "RunFolder",
    "Tell",
    "Trained",
    "along",
    "analysis_of",
    "check_library",
    "data_answer",
    "discover",
    "first_words",
    "gain",
    "judged_by_data",
    "judgement",
    "kept_aside",
    "kept_aside_sets",
    "learned_answer",
    "named_noise",
    "noise_on_states",
    "parse_hypothesis",
    "predict_states",
    "reached",
    "report_data",
    "settled_gain",
    "step_metrics",
    "summarise",
    "weigh",
    "with_beyond",
    "with_exact",
    "with_model",
    "without_model",
    "write_reports",
    "write_run_report",
]
