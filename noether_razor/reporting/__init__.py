"""Tables, figures and the report of a run."""

from ._answer import headline as headline
from ._answer import symmetry_text as symmetry_text
from ._discovery import discovery_text as discovery_text
from ._figures import contour_figure as contour_figure
from ._figures import spectra_figure as spectra_figure
from ._report import ReportData as ReportData
from ._report import summary_text as summary_text
from ._report import write_report as write_report
from ._symmetry import symmetry_section as symmetry_section
