"""Join the processes that share a run, and end where one of them does."""

import os
import signal
import sys
import time
from typing import Any

AUTO = "auto"
"""The coordinator that a launcher names."""

kept: list[Any] = []
"""What C code calls must not be collected."""


def join(coordinator: str, processes: int | None, process: int | None) -> None:
    """Connect this process with the others of its run; before JAX computes anything.

    `coordinator` is the address, host:port, of process 0; `AUTO` takes all from the launcher, as JAX detects
    it (SLURM, MPI, Kubernetes). Raises ConfigError for addresses and numbers that are none, and
    `OtherProcessError` where the others cannot be reached.
    """
    import jax

    from ..config import ConfigError
    from ..runs import GONE, OtherProcessError

    given = coordinator != AUTO
    if given and (processes is None or process is None):
        raise ConfigError("--coordinator: an address needs --processes and --process-id, too")
    if given and not coordinator.rpartition(":")[2].isdigit():
        raise ConfigError(f"--coordinator: expected host:port or auto, got {coordinator}")
    if processes is not None and process is not None and not 0 <= process < processes:
        raise ConfigError(f"--process-id: expected 0 to {processes - 1}, got {process}")
    if not kept and "--debug" not in sys.argv:
        _end_in_one_line(f"noether-razor: {GONE}\n")
    try:
        jax.distributed.initialize(coordinator if given else None, processes, process)
    except ValueError as error:
        raise ConfigError(
            "--coordinator: no launcher that JAX knows (SLURM, MPI, Kubernetes) has started this process; "
            f"give host:port with --processes and --process-id ({error})"
        ) from None
    except RuntimeError as error:
        raise OtherProcessError(GONE) from error


def _end_in_one_line(line: str) -> None:
    """Say `line` and exit with 1 where the coordination service ends this process: it writes pages and
    aborts, in a thread of its own. What C code writes goes nowhere from now on; Python's streams stay.
    """
    import ctypes

    nowhere = os.open(os.devnull, os.O_WRONLY)
    for name, number in (("stdout", 1), ("stderr", 2)):
        getattr(sys, name).flush()
        ours = os.fdopen(os.dup(number), "w", buffering=1, encoding="utf-8")
        os.dup2(nowhere, number)
        setattr(sys, name, ours)
    stderr, text = sys.stderr.fileno(), line.encode()

    def ended(_: int) -> None:
        os.write(stderr, text)
        os._exit(1)

    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(ended)
    ctypes.CDLL(None).signal(signal.SIGABRT, handler)
    kept.append(handler)


def end_for_all(code: int) -> None:
    """Exit at once where other processes would wait for this one: that ends them, too."""
    if "jax" not in sys.modules:
        return
    import jax

    if not jax.distributed.is_initialized():
        return
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.process_index() == 0:
        time.sleep(1.0)  # the others may be about to say the same, and go with this one
    os._exit(code)
