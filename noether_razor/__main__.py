"""``python -m noether_razor``."""

from .app.cli import main

main()
