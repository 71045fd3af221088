"""The parts of an answer: independent ones side by side on the cores there are, and how long each takes."""

import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from contextlib import contextmanager
from typing import Any, TypeVar

import jax

from ..threads import one_thread

Result = TypeVar("Result")


class Abandoned(BaseException):
    """Ends a part whose result nobody waits for."""


class Parts:
    """Runs the parts of one answer, and keeps the wall `seconds` of each by name.

    Threads serve: the compiler and compiled code let other threads run, and small products leave half of the
    cores idle.
    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._over = threading.Event()

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Keep the seconds that its body takes, whatever it raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started

    def told(self, tell: Callable[[str, Any], None]) -> Callable[[str, Any], None]:
        """`tell`, which also ends a part once another has failed."""

        def told(name: str, what: Any) -> None:
            if self._over.is_set():
                raise Abandoned
            tell(name, what)

        return told

    def side_by_side(self, parts: Mapping[str, Callable[[], Any]]) -> list[Any]:
        """What each part returns, in their order, in which they begin.

        The first part that fails ends those that are told of, by `told`; what it raises is raised when all
        have ended. An interrupt, of a part or of this thread, does not wait for the others.
        """
        # The default device is a thread's own.
        device = jax.config.jax_default_device  # type: ignore[attr-defined]
        first: list[BaseException] = []

        def run(name: str, part: Callable[[], Result]) -> Result:
            with jax.default_device(device), self.timed(name):
                try:
                    return part()
                except BaseException as error:
                    first.append(error)
                    self._over.set()
                    raise

        pool = ThreadPoolExecutor(min(len(parts), os.cpu_count() or 1))
        with one_thread():
            waiting = [pool.submit(run, name, part) for name, part in parts.items()]
            try:
                wait(waiting, return_when=FIRST_EXCEPTION)
                if not any(isinstance(error, KeyboardInterrupt) for error in first):
                    wait(waiting)
            except BaseException as error:  # an interrupt of this thread
                first.insert(0, error)
                self._over.set()
        interrupted = any(isinstance(error, KeyboardInterrupt) for error in first)
        pool.shutdown(wait=not interrupted, cancel_futures=True)
        if interrupted:
            raise KeyboardInterrupt
        if first:
            raise first[0]
        return [one.result() for one in waiting]
