"""True systems to simulate: one file a family. `SYSTEMS` maps the `system.kind` of a config to its class."""

from ._base import HamiltonianSystem as HamiltonianSystem
from ._base import normal_states as normal_states
from ._custom import CustomSystem as CustomSystem
from ._formula import FormulaError as FormulaError
from ._formula import parse_formula as parse_formula
from ._n_body import NBody as NBody
from ._oscillators import Oscillators as Oscillators
from ._pendulum import Pendulum as Pendulum

SYSTEMS: dict[str, type[HamiltonianSystem]] = {
    "oscillators": Oscillators,
    "n_body": NBody,
    "pendulum": Pendulum,
}
