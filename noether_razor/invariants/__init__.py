"""What measured trajectories alone say of conservation: noise, terms, the model-free test."""

from .conserved import ConservedSpace, conserved_space
from .motion import Change, Drift, Motion
from .noise import NoiseEstimate, noise_estimate

__all__ = [
    "Change",
    "ConservedSpace",
    "Drift",
    "Motion",
    "NoiseEstimate",
    "conserved_space",
    "noise_estimate",
]
