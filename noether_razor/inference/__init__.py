"""The variational posterior, the bound and posterior-predictive trajectories."""

from ._bound import BoundTerms as BoundTerms
from ._bound import bound_terms as bound_terms
from ._estimator import Estimator as Estimator
from ._estimator import paper_estimator as paper_estimator
from ._gradient import bound_and_gradient as bound_and_gradient
from ._initial_states import InitialStates as InitialStates
from ._matrix_normal import IsotropicNormal as IsotropicNormal
from ._matrix_normal import KroneckerNormal as KroneckerNormal
from ._matrix_normal import optimal_precision as optimal_precision
from ._model import PriorPrecision as PriorPrecision
from ._observations import Observations as Observations
from ._observations import in_single_precision as in_single_precision
from ._observations import observed_bound_terms as observed_bound_terms
from ._observations import steps_a_row as steps_a_row
from ._observations import transition_count as transition_count
from ._posterior import Posterior as Posterior
from ._posterior import Weights as Weights
from ._predictive import predict as predict
from ._windows import Windows as Windows
from ._windows import window_bound_terms as window_bound_terms
from ._windows import window_guide as window_guide
from ._windows import window_model as window_model
from ._windows import windows_of as windows_of
