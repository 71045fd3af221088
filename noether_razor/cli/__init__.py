"""The command line: one small file a verb."""

from ._app import main as main
