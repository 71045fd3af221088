"""The paper's tables and figures."""

from ..workers import Progress, share_out
from .claims import AtLeast, AtMost, Claim, Comparison, FullAlgebra, NearFloor, Spectrum, Verdict
from .learning import EXPERIMENTS, Experiment, reproduce_experiment
from .reproduction import reproduce, table_result
from .runner import Run, plan, run_all
from .suite import SUITE, Score, SuiteSystem, run_suite, score, suite_table
from .targets import BUDGETS, TARGETS, Budget, Column, PhasePlane, Row, Spectra, Table, row_config

__all__ = [
    "BUDGETS",
    "EXPERIMENTS",
    "SUITE",
    "TARGETS",
    "AtLeast",
    "AtMost",
    "Budget",
    "Claim",
    "Column",
    "Comparison",
    "Experiment",
    "FullAlgebra",
    "NearFloor",
    "PhasePlane",
    "Progress",
    "Row",
    "Run",
    "Score",
    "Spectra",
    "Spectrum",
    "SuiteSystem",
    "Table",
    "Verdict",
    "plan",
    "reproduce",
    "reproduce_experiment",
    "row_config",
    "run_all",
    "run_suite",
    "score",
    "share_out",
    "suite_table",
    "table_result",
]
