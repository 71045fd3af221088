"""Reading the answer: the bound, errors, generators."""

from ._analyse import Analysis as Analysis
from ._analyse import FoundQuantity as FoundQuantity
from ._analyse import analyse as analyse
from ._analyse import symmetry_text as symmetry_text
from ._baseline import null_space_baseline as null_space_baseline
from ._drift import DriftTest as DriftTest
from ._drift import drift_test as drift_test
from ._drift import estimate_noise as estimate_noise
from ._errors import PredictionErrors as PredictionErrors
from ._errors import learned_hamiltonian as learned_hamiltonian
from ._errors import learned_substep_error as learned_substep_error
from ._errors import prediction_errors as prediction_errors
from ._errors import substep_error as substep_error
from ._evidence import BoundEstimate as BoundEstimate
from ._evidence import estimate_bound as estimate_bound
from ._formulas import QuantityFormula as QuantityFormula
from ._generators import direction_quantities as direction_quantities
from ._generators import flat_generators as flat_generators
from ._generators import nearest_generators as nearest_generators
from ._generators import parallelness as parallelness
from ._generators import principal_cosines as principal_cosines
from ._generators import singular_directions as singular_directions
from ._lie_algebra import LieAlgebra as LieAlgebra
from ._lie_algebra import lie_algebra as lie_algebra
