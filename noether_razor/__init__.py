"""Learn Hamiltonians, conserved quantities and symmetry groups from trajectories (Noether's Razor).

The public names, room by room; ``README.md`` shows how they go together.
"""

from .inference import Estimator as Estimator
from .inference import InitialStates as InitialStates
from .inference import Posterior as Posterior
from .inference import bound_and_gradient as bound_and_gradient
from .inference import bound_terms as bound_terms
from .inference import estimate_bound as estimate_bound
from .inference import paper_estimator as paper_estimator
from .inference import windows_of as windows_of
from .integrators import rollout as rollout
from .integrators import transition as transition
from .invariants import Analysis as Analysis
from .invariants import ConservedSpace as ConservedSpace
from .invariants import analyse as analyse
from .invariants import conserved_space as conserved_space
from .lie import lie_algebra as lie_algebra
from .networks import HamiltonianNetwork as HamiltonianNetwork
from .phase_space import hamiltonian_field as hamiltonian_field
from .phase_space import poisson_bracket as poisson_bracket
from .phase_space import symplectic_matrix as symplectic_matrix
from .prediction import learned_hamiltonian as learned_hamiltonian
from .prediction import predict as predict
from .prediction import prediction_errors as prediction_errors
from .quantities import ConservedQuantities as ConservedQuantities
from .quantities import GeneralQuantities as GeneralQuantities
from .quantities import QuadraticQuantities as QuadraticQuantities
from .quantities import angular_momentum as angular_momentum
from .quantities import linear_momentum as linear_momentum
from .quantities import parallelness as parallelness
from .quantities import quadratic_form as quadratic_form
from .quantities import singular_directions as singular_directions
from .quantities import unitary_quantities as unitary_quantities
from .symmetry import Ball as Ball
from .symmetry import Box as Box
from .symmetry import FlowAveraging as FlowAveraging
from .symmetry import Gaussian as Gaussian
from .symmetry import HaarAveraging as HaarAveraging
from .symmetry import HaarUnitary as HaarUnitary
from .symmetry import NoAveraging as NoAveraging
from .symmetry import flow_orbit as flow_orbit
from .symmetry import symmetrised as symmetrised
from .systems import CustomSystem as CustomSystem
from .systems import HamiltonianSystem as HamiltonianSystem
from .systems import NBody as NBody
from .systems import Oscillators as Oscillators
from .systems import Pendulum as Pendulum
from .training import Rates as Rates
from .training import Training as Training
from .training import fit as fit
from .trajectories import Trajectories as Trajectories
from .trajectories import Transitions as Transitions
from .trajectories import load_trajectories as load_trajectories
from .trajectories import save_trajectories as save_trajectories
from .trajectories import simulate as simulate
