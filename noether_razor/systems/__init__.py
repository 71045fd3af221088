"""True systems to simulate: one file a family, which registers its class for configurations."""

from .base import SYSTEMS, HamiltonianSystem, InitialStates, register_system
from .custom import CustomSystem
from .n_body import NBody
from .oscillators import Oscillators
from .pendulum import Pendulum

__all__ = [
    "SYSTEMS",
    "CustomSystem",
    "HamiltonianSystem",
    "InitialStates",
    "NBody",
    "Oscillators",
    "Pendulum",
    "register_system",
]
