"""Jobs side by side: a process for each accelerator, or for each share of the cores.

Processes, not threads: NumPyro's stack of handlers is one a process, so two threads must not trace at once.
Small products leave cores idle, so that on a CPU two runs of one core each finish sooner than one after the
other on both (docs/numerics.md). What is heavy is imported where it is used: a process imports what its
jobs need.
"""

import contextlib
import heapq
import multiprocessing
import os
import queue
import signal
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.process import BaseProcess
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

Progress = Callable[[str, dict[str, Any]], None]
"""Told the name of a run and each step that it logs."""

POLL_SECONDS = 0.2


@runtime_checkable
class Job(Protocol[Result_co]):
    """A function of module level, or a partial one: it is sent to a process."""

    def __call__(self, *, on_progress: Progress, interrupted: Callable[[], bool]) -> Result_co: ...


class Place(NamedTuple):
    """Where a worker runs: its environment variables, and the cores that it is kept to (None: all)."""

    environment: tuple[tuple[str, str], ...] = ()
    cores: tuple[int, ...] | None = None


def places(jobs: int) -> list[Place]:
    """At most one place a job: each accelerator of this machine, or on a CPU its cores in equal shares."""
    import jax

    devices = jax.local_devices()
    if devices[0].platform == "cpu":
        cores = _cores()
        count = max(1, min(jobs, len(cores)))
        return [Place(cores=tuple(cores[k::count])) for k in range(count)]
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(k) for k in range(len(devices))]
    # This process has seen the devices, and may hold memory on them.
    return [
        Place((("CUDA_VISIBLE_DEVICES", name), ("XLA_PYTHON_CLIENT_PREALLOCATE", "false")))
        for name in names[: max(1, min(jobs, len(devices)))]
    ]


def _cores() -> list[int]:
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def share_out(
    jobs: Sequence[Job[Result]],
    *,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
    on_result: Callable[[int, Result], None] = lambda _, __: None,
) -> list[Result]:
    """The result of each job, in order; jobs are handed out in order, one at a time, to a worker process at
    each of `places`. A single job, or a single place, needs no other process.

    `on_result` is told the number and result of each job as it is done. A FloatingPointError of a job is
    raised when all others are done; any other error, and `interrupted()` turning true, stops them: running
    jobs are told, and KeyboardInterrupt or the error is raised when they have ended. RuntimeError where a
    worker died.
    """
    at = places(len(jobs)) if len(jobs) > 1 else []
    results: dict[int, Result] = {}
    failures: list[FloatingPointError] = []
    if len(at) < 2:
        for index, job in enumerate(jobs):
            try:
                results[index] = job(on_progress=on_progress, interrupted=interrupted)
                on_result(index, results[index])
            except FloatingPointError as error:
                failures.append(error)
        if failures:
            raise failures[0]
        return [results[index] for index in range(len(jobs))]

    stopped: BaseException | None = None
    with _workers(jobs, at) as (processes, messages, stop):
        working = len(processes)
        while working:
            if interrupted() and not stop.is_set():
                stop.set()
            try:
                kind, where, what = messages.get(timeout=POLL_SECONDS)
            except queue.Empty:
                dead = [p.exitcode for p in processes if p.exitcode not in (None, 0)]
                if dead:
                    raise RuntimeError(f"a worker process ended with exit code {dead[0]}") from None
                continue
            if kind == "progress":
                on_progress(where, what)
            elif kind == "result":
                results[where] = what
                on_result(where, what)
            elif kind == "end":
                working -= 1
            elif isinstance(what, FloatingPointError):
                failures.append(what)
            else:
                stopped = stopped or what
    if stopped is not None:
        raise stopped
    if len(results) + len(failures) < len(jobs):
        raise KeyboardInterrupt
    if failures:
        raise failures[0]
    return [results[index] for index in range(len(jobs))]


@contextlib.contextmanager
def _workers(jobs: Sequence[Job[Any]], at: Sequence[Place]) -> Iterator[tuple[list[BaseProcess], Any, Any]]:
    context = multiprocessing.get_context("spawn")
    waiting, messages, stop = context.Queue(), context.Queue(), context.Event()
    for index, job in enumerate(jobs):
        waiting.put((index, job))
    for _ in at:
        waiting.put(None)
    processes: list[BaseProcess] = [
        context.Process(target=_work, args=(place, waiting, messages, stop, os.getpid()), daemon=True)
        for place in at
    ]
    for place, process in zip(at, processes, strict=True):
        with _kept_to(place.cores):
            process.start()
    try:
        yield processes, messages, stop
    finally:
        waiting.cancel_join_thread()  # what was not handed out is not waited for
        for process in processes:
            if process.is_alive():
                process.join(timeout=5)
                process.terminate()


@contextlib.contextmanager
def _kept_to(cores: tuple[int, ...] | None) -> Iterator[None]:
    """This thread, and processes that it starts, kept to some cores. A process must be from its first import
    on: numpy's linear algebra starts a thread for each core that it sees then, and threads that share a core
    wait for each other by spinning.
    """
    if cores is None or not hasattr(os, "sched_setaffinity"):
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _comes_back(error: Exception) -> Exception:
    """An error as a process sends it: as it is where it is one of this package, else its words."""
    from .app.config import ConfigError
    from .discovery import RunError
    from .training import CheckpointError, NonFiniteELBOError
    from .trajectories import DataFileError

    if isinstance(error, (ConfigError, DataFileError, RunError, CheckpointError, NonFiniteELBOError)):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _work(place: Place, waiting: Any, messages: Any, stop: Any, parent: int) -> None:
    """Do jobs until none is left; what happens goes into `messages`. JAX has not chosen its devices yet."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # it reaches the parent, which tells by `stop`
    os.environ.update(place.environment)

    def interrupted() -> bool:
        return stop.is_set() or os.getppid() != parent

    while (item := waiting.get()) is not None and not interrupted():
        index, job = item
        try:
            result = job(
                on_progress=lambda name, line: messages.put(("progress", name, line)),
                interrupted=interrupted,
            )
            messages.put(("result", index, result))
        except KeyboardInterrupt:
            break
        except Exception as error:
            if not isinstance(error, FloatingPointError):
                stop.set()
            messages.put(("error", index, _comes_back(error)))
    messages.put(("end", None, None))


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long `workers` need for jobs of so many seconds that are handed out in order."""
    busy_until = [0.0] * max(1, workers)
    for job in seconds:
        heapq.heapreplace(busy_until, busy_until[0] + job)
    return max(busy_until)
