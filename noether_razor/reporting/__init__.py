"""Tables, figures and the report of a run."""

from .answer import beyond_text, elbo_fits, exact_lines, headline, symmetry_text
from .bands import bands_figure
from .data import ReportData
from .discovery import discovery_text
from .embedding import EMBEDDING_PICTURES, EmbeddingPicture, write_embedding_report
from .figures import contour_figure, spectra_figure
from .html import answer_html
from .learning import charges_report, charges_text, symmetries_report, symmetry_spectrum_figure
from .pictures import ANSWER_PICTURES, PICTURES, AnswerPicture, Picture, draw_answer, draw_pictures, png_of
from .report import Reports, summary_text, symmetry_section, write_report
from .seeds import mean_and_stderr, mean_cell, settings_figure
from .states import states_html, states_text

__all__ = [
    "ANSWER_PICTURES",
    "EMBEDDING_PICTURES",
    "PICTURES",
    "AnswerPicture",
    "EmbeddingPicture",
    "Picture",
    "ReportData",
    "Reports",
    "answer_html",
    "bands_figure",
    "beyond_text",
    "charges_report",
    "charges_text",
    "contour_figure",
    "discovery_text",
    "draw_answer",
    "draw_pictures",
    "elbo_fits",
    "exact_lines",
    "headline",
    "mean_and_stderr",
    "mean_cell",
    "png_of",
    "settings_figure",
    "spectra_figure",
    "states_html",
    "states_text",
    "summary_text",
    "symmetries_report",
    "symmetry_section",
    "symmetry_spectrum_figure",
    "symmetry_text",
    "write_embedding_report",
    "write_report",
]
