"""True systems to simulate: one file a family. `SYSTEMS` maps the `system.kind` of a config to its class."""

from .base import HamiltonianSystem, normal_states
from .custom import CustomSystem
from .n_body import NBody
from .oscillators import Oscillators
from .pendulum import Pendulum

SYSTEMS: dict[str, type[HamiltonianSystem]] = {
    "oscillators": Oscillators,
    "n_body": NBody,
    "pendulum": Pendulum,
}

__all__ = [
    "SYSTEMS",
    "CustomSystem",
    "HamiltonianSystem",
    "NBody",
    "Oscillators",
    "Pendulum",
    "normal_states",
]
