"""The variational posterior, the bound and posterior-predictive trajectories."""

from ._bound import BoundTerms as BoundTerms
from ._bound import bound_and_gradient as bound_and_gradient
from ._bound import bound_terms as bound_terms
from ._estimator import Estimator as Estimator
from ._estimator import paper_estimator as paper_estimator
from ._matrix_normal import IsotropicNormal as IsotropicNormal
from ._matrix_normal import KroneckerNormal as KroneckerNormal
from ._matrix_normal import optimal_precision as optimal_precision
from ._model import PriorPrecision as PriorPrecision
from ._posterior import Posterior as Posterior
from ._predictive import predict as predict
