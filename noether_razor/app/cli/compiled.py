"""Compiled programs are kept in a folder of the user, so that a second run does not compile them again."""

import hashlib
import os
import platform
from pathlib import Path

SWITCH = "NOETHER_RAZOR_CACHE"
"""The environment variable that names another folder, or says `off`."""
LARGEST = 2**30
"""Bytes that the folder holds, at most: what has not been used for longest goes first."""
WORTH_KEEPING = 0.1
"""Seconds of compilation from which a program is kept."""


def keep_compiled() -> None:
    """Tell JAX where to keep compiled programs, by its own environment variables, which workers inherit; what
    the user has set stays. To be called before JAX is imported.
    """
    said = os.environ.get(SWITCH, "")
    if said.lower() == "off" or "JAX_COMPILATION_CACHE_DIR" in os.environ:
        return
    from platformdirs import user_cache_path

    folder = Path(said) if said else user_cache_path("noether-razor") / "compiled"
    try:
        (folder / _machine()).mkdir(parents=True, exist_ok=True)
    except OSError:  # a home that cannot be written to is no reason to fail
        return
    os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder / _machine())
    os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(LARGEST))
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", str(WORTH_KEEPING))
    # XLA warns of each program it reads that was compiled with options that this processor does not list, on
    # the very machine that compiled it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")


def _machine() -> str:
    """A name for this kind of processor: a home folder may be shared, and programs are not for all."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        about = next(line for line in lines if line.startswith(("flags", "Features")))
    except (OSError, StopIteration):
        about = f"{platform.node()} {platform.processor()}"
    return hashlib.sha256(f"{platform.machine()} {about}".encode()).hexdigest()[:12]
