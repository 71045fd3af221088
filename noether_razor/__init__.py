"""Learn Hamiltonians, conserved quantities and symmetry groups from trajectories (Noether's Razor).

The public names; ``README.md`` shows how they go together. A name is imported when it is first used, so that
``import noether_razor`` and the command line's help wait for nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .beyond import Beyond as Beyond
    from .beyond import LibraryError as LibraryError
    from .beyond import LibraryOptions as LibraryOptions
    from .beyond import conserved_library as conserved_library
    from .beyond import evidence as evidence
    from .bracket import Bracket as Bracket
    from .bracket import LiePoisson as LiePoisson
    from .bracket import LogCanonical as LogCanonical
    from .bracket import lie_poisson as lie_poisson
    from .bracket import log_canonical as log_canonical
    from .bracket import poisson_matrix as poisson_matrix
    from .discovery import Discovery as Discovery
    from .discovery import HypothesisError as HypothesisError
    from .discovery import Prediction as Prediction
    from .discovery import data_answer as data_answer
    from .discovery import discover as discover
    from .exact_evidence import Evidence as Evidence
    from .exact_evidence import EvidenceError as EvidenceError
    from .inference import ELBO as ELBO
    from .inference import Estimator as Estimator
    from .inference import Posterior as Posterior
    from .inference import elbo_and_gradient as elbo_and_gradient
    from .inference import estimate_elbo as estimate_elbo
    from .invariants import Analysis as Analysis
    from .invariants import ConservedSpace as ConservedSpace
    from .invariants import FoundQuantity as FoundQuantity
    from .invariants import analyse as analyse
    from .invariants import conserved_space as conserved_space
    from .lie import LieAlgebra as LieAlgebra
    from .lie import lie_algebra as lie_algebra
    from .networks import HamiltonianNetwork as HamiltonianNetwork
    from .options import OptionError as OptionError
    from .options import Options as Options
    from .phase_space import hamiltonian_field as hamiltonian_field
    from .phase_space import poisson_bracket as poisson_bracket
    from .prediction import learned_hamiltonian as learned_hamiltonian
    from .prediction import predict as predict
    from .prediction import prediction_errors as prediction_errors
    from .quantities import GeneralQuantities as GeneralQuantities
    from .quantities import QuadraticQuantities as QuadraticQuantities
    from .quantities import alignment as alignment
    from .quantities import angular_momentum as angular_momentum
    from .quantities import quadratic_form as quadratic_form
    from .quantities import singular_directions as singular_directions
    from .symmetry import Ball as Ball
    from .symmetry import Box as Box
    from .symmetry import FlowAveraging as FlowAveraging
    from .symmetry import Gaussian as Gaussian
    from .symmetry import HaarAveraging as HaarAveraging
    from .symmetry import NoAveraging as NoAveraging
    from .symmetry import symmetrised as symmetrised
    from .systems import CustomSystem as CustomSystem
    from .systems import HamiltonianSystem as HamiltonianSystem
    from .systems import InitialStates as InitialStates
    from .systems import NBody as NBody
    from .systems import Oscillators as Oscillators
    from .systems import Pendulum as Pendulum
    from .systems import register_system as register_system
    from .training import Rates as Rates
    from .training import Training as Training
    from .training import fit as fit
    from .trajectories import DataFileError as DataFileError
    from .trajectories import GaussianNoise as GaussianNoise
    from .trajectories import Layout as Layout
    from .trajectories import Trajectories as Trajectories
    from .trajectories import Transitions as Transitions
    from .trajectories import load_trajectories as load_trajectories
    from .trajectories import save_trajectories as save_trajectories
    from .trajectories import simulate as simulate

    __version__: str

__all__ = [
    "ELBO",
    "Analysis",
    "Ball",
    "Beyond",
    "Box",
    "Bracket",
    "ConservedSpace",
    "CustomSystem",
    "DataFileError",
    "Discovery",
    "Estimator",
    "Evidence",
    "EvidenceError",
    "FlowAveraging",
    "FoundQuantity",
    "Gaussian",
    "GaussianNoise",
    "GeneralQuantities",
    "HaarAveraging",
    "HamiltonianNetwork",
    "HamiltonianSystem",
    "HypothesisError",
    "InitialStates",
    "Layout",
    "LibraryError",
    "LibraryOptions",
    "LieAlgebra",
    "LiePoisson",
    "LogCanonical",
    "NBody",
    "NoAveraging",
    "OptionError",
    "Options",
    "Oscillators",
    "Pendulum",
    "Posterior",
    "Prediction",
    "QuadraticQuantities",
    "Rates",
    "Training",
    "Trajectories",
    "Transitions",
    "__version__",
    "alignment",
    "analyse",
    "angular_momentum",
    "conserved_library",
    "conserved_space",
    "data_answer",
    "discover",
    "elbo_and_gradient",
    "estimate_elbo",
    "evidence",
    "fit",
    "hamiltonian_field",
    "learned_hamiltonian",
    "lie_algebra",
    "lie_poisson",
    "load_trajectories",
    "log_canonical",
    "poisson_bracket",
    "poisson_matrix",
    "predict",
    "prediction_errors",
    "quadratic_form",
    "register_system",
    "save_trajectories",
    "simulate",
    "singular_directions",
    "symmetrised",
]

_ROOMS: dict[str, tuple[str, ...]] = {
    "beyond": ("Beyond", "LibraryError", "LibraryOptions", "conserved_library", "evidence"),
    "bracket": ("Bracket", "LiePoisson", "LogCanonical", "lie_poisson", "log_canonical", "poisson_matrix"),
    "discovery": ("Discovery", "HypothesisError", "Prediction", "data_answer", "discover"),
    "exact_evidence": ("Evidence", "EvidenceError"),
    "inference": ("ELBO", "Estimator", "Posterior", "elbo_and_gradient", "estimate_elbo"),
    "invariants": ("Analysis", "ConservedSpace", "FoundQuantity", "analyse", "conserved_space"),
    "lie": ("LieAlgebra", "lie_algebra"),
    "networks": ("HamiltonianNetwork",),
    "options": ("OptionError", "Options"),
    "phase_space": ("hamiltonian_field", "poisson_bracket"),
    "prediction": ("learned_hamiltonian", "predict", "prediction_errors"),
    "quantities": (
        "GeneralQuantities",
        "QuadraticQuantities",
        "alignment",
        "angular_momentum",
        "quadratic_form",
        "singular_directions",
    ),
    "symmetry": ("Ball", "Box", "FlowAveraging", "Gaussian", "HaarAveraging", "NoAveraging", "symmetrised"),
    "systems": (
        "CustomSystem",
        "HamiltonianSystem",
        "InitialStates",
        "NBody",
        "Oscillators",
        "Pendulum",
        "register_system",
    ),
    "training": ("Rates", "Training", "fit"),
    "trajectories": (
        "DataFileError",
        "GaussianNoise",
        "Layout",
        "Trajectories",
        "Transitions",
        "load_trajectories",
        "save_trajectories",
        "simulate",
    ),
}
"""The public names of each room."""
_HOMES = {name: room for room, names in _ROOMS.items() for name in names}


def __getattr__(name: str) -> Any:
    """A public name, or a room that has one, imported when it is first asked for."""
    if name == "__version__":
        from importlib.metadata import version

        value: Any = version("noether-razor")
    elif name in _HOMES:
        value = getattr(import_module(f".{_HOMES[name]}", __name__), name)
    elif name in _ROOMS:
        return import_module(f".{name}", __name__)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """The public names alone: neither rooms that happen to be imported nor what this file uses itself."""
    return sorted({*__all__, *(name for name in globals() if name.startswith("__"))})
