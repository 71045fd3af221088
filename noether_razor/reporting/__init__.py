"""Tables, figures and the report of a run."""

from .answer import headline, symmetry_text
from .bands import bands_figure
from .discovery import discovery_text
from .figures import contour_figure, spectra_figure
from .report import ReportData, summary_text, write_report
from .symmetry import symmetry_section

__all__ = [
    "ReportData",
    "bands_figure",
    "contour_figure",
    "discovery_text",
    "headline",
    "spectra_figure",
    "summary_text",
    "symmetry_section",
    "symmetry_text",
    "write_report",
]
