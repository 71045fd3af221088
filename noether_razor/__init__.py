"""Learn Hamiltonians, conserved quantities and symmetry groups from trajectories (Noether's Razor).

The public names, room by room; ``README.md`` shows how they go together.
"""

from .analysis import Analysis as Analysis
from .analysis import analyse as analyse
from .analysis import estimate_bound as estimate_bound
from .analysis import learned_hamiltonian as learned_hamiltonian
from .analysis import lie_algebra as lie_algebra
from .analysis import parallelness as parallelness
from .analysis import prediction_errors as prediction_errors
from .analysis import singular_directions as singular_directions
from .conserved import ConservedQuantities as ConservedQuantities
from .conserved import GeneralQuantities as GeneralQuantities
from .conserved import QuadraticQuantities as QuadraticQuantities
from .conserved import angular_momentum as angular_momentum
from .conserved import linear_momentum as linear_momentum
from .conserved import quadratic_form as quadratic_form
from .conserved import unitary_quantities as unitary_quantities
from .data import Trajectories as Trajectories
from .data import Transitions as Transitions
from .data import load_trajectories as load_trajectories
from .data import save_trajectories as save_trajectories
from .data import simulate as simulate
from .inference import Estimator as Estimator
from .inference import InitialStates as InitialStates
from .inference import Posterior as Posterior
from .inference import bound_and_gradient as bound_and_gradient
from .inference import bound_terms as bound_terms
from .inference import paper_estimator as paper_estimator
from .inference import predict as predict
from .inference import windows_of as windows_of
from .integrators import rollout as rollout
from .integrators import transition as transition
from .invariants import ConservedSpace as ConservedSpace
from .invariants import conserved_space as conserved_space
from .networks import HamiltonianNetwork as HamiltonianNetwork
from .phase_space import hamiltonian_field as hamiltonian_field
from .phase_space import poisson_bracket as poisson_bracket
from .phase_space import symplectic_matrix as symplectic_matrix
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
