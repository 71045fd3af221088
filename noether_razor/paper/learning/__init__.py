"""The experiments on learning dynamics."""

from .experiment import Experiment
from .reproduction import EXPERIMENTS, reproduce_experiment

__all__ = ["EXPERIMENTS", "Experiment", "reproduce_experiment"]
