"""``python -m noether_razor`` and the command ``noether-razor``."""

import os
import signal
import sys
from typing import Any

INTERRUPTED = 130


def main() -> None:
    """Run the command line.

    An interrupt ends the process at once: while it is imported there is nothing to keep, and later what is to
    be kept has been written. Threads may still compute, and Python would wait for them.
    """
    before = signal.signal(signal.SIGINT, _leave)
    from .app.cli import main as run

    signal.signal(signal.SIGINT, before)
    try:
        run()
    except SystemExit as stopped:
        if stopped.code == INTERRUPTED:
            _leave()
        raise


def _leave(*_: Any) -> None:
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
