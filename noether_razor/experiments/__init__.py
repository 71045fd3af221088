"""The paper's tables and figures: what each is made of, the runner, and the claims."""

from ._claims import Claim as Claim
from ._claims import Comparison as Comparison
from ._claims import FullAlgebra as FullAlgebra
from ._claims import NearFloor as NearFloor
from ._claims import Spectrum as Spectrum
from ._claims import Verdict as Verdict
from ._reproduce import reproduce as reproduce
from ._reproduce import table_result as table_result
from ._runner import run_all as run_all
from ._suite import SUITE as SUITE
from ._suite import Score as Score
from ._suite import SuiteSystem as SuiteSystem
from ._suite import run_suite as run_suite
from ._suite import score as score
from ._suite import suite_table as suite_table
from ._targets import BUDGETS as BUDGETS
from ._targets import TARGETS as TARGETS
from ._targets import Budget as Budget
from ._targets import Column as Column
from ._targets import PhasePlane as PhasePlane
from ._targets import Row as Row
from ._targets import Spectra as Spectra
from ._targets import Table as Table
from ._targets import row_config as row_config
from ._workers import Progress as Progress
from ._workers import share_out as share_out
