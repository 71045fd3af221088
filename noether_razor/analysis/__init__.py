"""Reading the answer: the bound, errors, generators."""

from ._errors import PredictionErrors as PredictionErrors
from ._errors import learned_hamiltonian as learned_hamiltonian
from ._errors import learned_substep_error as learned_substep_error
from ._errors import prediction_errors as prediction_errors
from ._errors import substep_error as substep_error
from ._evidence import BoundEstimate as BoundEstimate
from ._evidence import estimate_bound as estimate_bound
from ._generators import direction_quantities as direction_quantities
from ._generators import flat_generators as flat_generators
from ._generators import nearest_generators as nearest_generators
from ._generators import parallelness as parallelness
from ._generators import principal_cosines as principal_cosines
from ._generators import singular_directions as singular_directions
