"""``python -m noether_razor``."""

from .cli import main

main()
