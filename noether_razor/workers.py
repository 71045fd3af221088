"""Jobs side by side, by dask.distributed: on this machine a worker process for each accelerator, or for each
share of the cores, or else the workers of a cluster whose scheduler is named.

Processes, not threads: NumPyro's stack of handlers is one a process, so two threads must not trace at once.
Small products leave cores idle, so that on a CPU two runs of one core each finish sooner than one after the
other on both (docs/numerics.md). What is heavy is imported where it is used: a process imports what its
jobs need. Dask comes with the extra ``cluster``; without it jobs are done one after the other.
"""

import contextlib
import heapq
import importlib.util
import logging
import os
import queue
import signal
import tempfile
import time
import uuid
from collections.abc import Callable, Generator, Iterator, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeAlias, TypeVar, runtime_checkable

if TYPE_CHECKING:
    from distributed import Client, Future, Worker

Result = TypeVar("Result")
Result_co = TypeVar("Result_co", covariant=True)

Progress = Callable[[str, dict[str, Any]], None]
"""Told the name of a run and each step that it logs."""

POLL_SECONDS = 0.2
CONNECT_SECONDS = 10
"""How long a scheduler may take to answer."""
LOSSES = 10
"""Workers of this machine that a job may lose without getting further; one more is an error. It stands for
all that is queued where a worker is lost, too.
"""
RESTART_SECONDS = 10
"""How long a worker that was lost has to begin again before all of them end."""
SET_HERE = ("PYTHONHASHSEED", "DASK_LOGGING__DISTRIBUTED")
"""Variables that Dask sets in the process that starts workers, to hand them on."""
CORES = "NOETHER_RAZOR_CORES"
"""Tells a worker of this machine its cores."""
LOOPBACK = {"host": "127.0.0.1", "dashboard": False, "dashboard_address": "127.0.0.1:0"}
LOCAL = {
    # Besides, a worker has the environment of this process.
    "distributed.nanny.pre-spawn-environ": {"DASK_LOGGING__DISTRIBUTED": "critical"},
    "distributed.scheduler.worker-ttl": None,  # one that is silent has been stopped and may go on
    "distributed.worker.profile.enabled": False,
}


class LostWorkerError(RuntimeError):
    """A job during which one worker after the other ended."""


@runtime_checkable
class Job(Protocol[Result_co]):
    """A function of module level, or a partial one: it is sent to a process. It may be begun again by another
    one, where the first was lost: what it has written it must take up.
    """

    def __call__(self, *, on_progress: Progress, interrupted: Callable[[], bool]) -> Result_co: ...


class Place(NamedTuple):
    """Where a worker runs: its environment variables, and the cores that it is kept to (None: all)."""

    environment: tuple[tuple[str, str], ...] = ()
    cores: tuple[int, ...] | None = None


def dask_installed() -> bool:
    """Whether jobs can be done side by side."""
    return importlib.util.find_spec("distributed") is not None


def places(jobs: int) -> list[Place]:
    """At most one place a job: each accelerator of this machine, or on a CPU its cores in equal shares; one
    without Dask.
    """
    if not dask_installed():
        return [Place()]
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


def side_by_side(jobs: int, scheduler: str | None = None) -> int:
    """How many of so many jobs `share_out` does at a time, by the workers that are there now. Raises
    `ConfigError` where the scheduler cannot be reached.
    """
    if scheduler is None:
        return len(places(jobs))
    with _connected(scheduler) as client:
        known: Any = client.nthreads()
        return max(1, min(jobs, len(known)))


def share_out(
    jobs: Sequence[Job[Result]],
    *,
    scheduler: str | None = None,
    on_progress: Progress = lambda _, __: None,
    interrupted: Callable[[], bool] = lambda: False,
    on_result: Callable[[int, Result], None] = lambda _, __: None,
    on_failure: Callable[[int, Exception], None] | None = None,
) -> list[Result]:
    """The result of each job, in order; jobs are handed out in order, to a worker process at each of `places`
    or to the workers of the cluster of a `scheduler`, at ``tcp://host:port``, one at a time to each. A single
    job, or a single place, needs no other process.

    A job whose worker is lost is begun again by another, as long as it logs steps that it had not reached
    before, or has lost few workers. `on_result` is told the number and result of each
    job as it is done. `on_failure` is told the number and error of each job that fails, which costs that job
    alone: the results are those of the others. Without it a FloatingPointError, or a `LostWorkerError`, is
    raised when all others are done; any other error stops them. So does `interrupted()` turning true: running
    jobs are told, and KeyboardInterrupt or the error is raised when they have ended. Raises `ConfigError`
    for a scheduler that cannot be reached, and for workers that have other versions than this process.
    """
    at = places(len(jobs)) if scheduler is None and len(jobs) > 1 else []
    if not jobs or (scheduler is None and len(at) < 2):
        done = _one_after_another(jobs, on_progress, interrupted)
    else:
        done = _by_workers(jobs, scheduler, at, on_progress, interrupted)
    results: dict[int, Result] = {}
    failures: list[Exception] = []
    with contextlib.closing(done):
        for index, result, error in done:
            if error is None:
                results[index] = result
                on_result(index, result)
            elif on_failure is not None:
                on_failure(index, error)
            elif isinstance(error, FloatingPointError | LostWorkerError):
                failures.append(error)
            else:
                raise error
    if failures:
        raise failures[0]
    return [results[index] for index in sorted(results)]


Done: TypeAlias = Generator[tuple[int, Any, Exception | None], None, None]
"""The number of each job that is done, with its result or its error."""


def _one_after_another(
    jobs: Sequence[Job[Any]], on_progress: Progress, interrupted: Callable[[], bool]
) -> Done:
    for index, job in enumerate(jobs):
        try:
            result = job(on_progress=on_progress, interrupted=interrupted)
        except Exception as error:
            yield index, None, error
        else:
            yield index, result, None


def _by_workers(
    jobs: Sequence[Job[Any]],
    scheduler: str | None,
    at: Sequence[Place],
    on_progress: Progress,
    interrupted: Callable[[], bool],
) -> Done:
    run = f"noether-razor-{uuid.uuid4().hex}"
    messages: queue.SimpleQueue[Any] = queue.SimpleQueue()
    here = {**_versions(), "folder": str(Path.cwd())}
    with _local(at) if scheduler is None else _connected(scheduler) as client:
        client.subscribe_topic(run, lambda event: messages.put(event[1]))
        futures: dict[int, Future] = {}
        furthest = [0] * len(jobs)
        handed_out_at = [0] * len(jobs)  # steps, as `furthest`

        def hand_out(index: int) -> None:
            step = handed_out_at[index] = furthest[index]
            key = f"{run}-{index}-{step}"
            future = client.submit(_work, jobs[index], run, index, key, here, key=key, priority=-index)
            future.add_done_callback(partial(_put, messages, index))
            futures[index] = future

        try:
            for index in range(len(jobs)):
                hand_out(index)
            left = len(jobs)
            while left:
                if interrupted():
                    raise KeyboardInterrupt
                try:
                    index, *told = messages.get(timeout=POLL_SECONDS)
                except queue.Empty:
                    continue
                if len(told) == 2:
                    furthest[index] = max(furthest[index], told[1].get("step", 0))
                    on_progress(*told)
                    continue
                result, error = _outcome(told[0], scheduler)
                if isinstance(error, LostWorkerError) and furthest[index] > handed_out_at[index]:
                    hand_out(index)
                    continue
                yield index, result, error
                left -= 1
        finally:
            _stop(client, list(futures.values()), run)


def _put(messages: Any, index: int, future: "Future") -> None:
    messages.put((index, future))


def _outcome(future: "Future", scheduler: str | None) -> tuple[Any, Exception | None]:
    """The result or the error of a job. Raises `ConfigError` where workers cannot do the jobs, RuntimeError
    where the scheduler was lost.
    """
    from distributed import CancelledError, KilledWorker

    where = "" if scheduler is None else f"--scheduler {scheduler}: "
    try:
        result, error, refused = future.result()
    except KilledWorker as killed:
        times = killed.allowed_failures + 1
        return None, LostWorkerError(
            f"{times} workers ended one after the other, and it got no further (out of memory?)"
        )
    except (CancelledError, OSError):
        raise RuntimeError(f"{where}the scheduler was lost; start again to go on") from None
    except Exception as failed:
        # Of Dask: a job sends its own errors as its outcome.
        said = " ".join(f"{type(failed).__name__}: {failed}".split())
        raise _bad_input(f"{where}a worker or the scheduler cannot do the jobs: {said}") from None
    if refused:
        raise _bad_input(f"{where}{refused}")
    return result, error


def _stop(client: "Client", futures: "Sequence[Future]", run: str) -> None:
    """Cancel what is not done, and wait until no worker is at it any more."""
    unfinished = [future for future in futures if not future.done()]
    if not unfinished or client.status != "running":
        return
    client.cancel(unfinished, force=True)
    while True:
        busy: Any = client.run(_at_work, run, on_error="ignore")
        if not any(busy.values()):
            return
        time.sleep(POLL_SECONDS)


def _bad_input(text: str) -> Exception:
    from .app.config import ConfigError

    return ConfigError(text)


@contextlib.contextmanager
def _local(at: Sequence[Place]) -> "Iterator[Client]":
    """A cluster of worker processes on this machine, reached over the loopback only. It is a `SpecCluster`,
    of which `LocalCluster` is one with workers that are all alike.
    """
    from dask import config as settings
    from distributed import Client, Nanny, Scheduler, SpecCluster

    with (
        tempfile.TemporaryDirectory(prefix="noether-razor-", ignore_cleanup_errors=True) as scratch,
        settings.set(LOCAL),
        _same_after(*SET_HERE),
    ):
        alike = {
            **LOOPBACK,
            "nthreads": 1,
            "memory_limit": None,
            "preload": [__name__],
            "local_directory": scratch,
        }
        workers = {}
        for number, place in enumerate(at):
            environment = dict(place.environment)
            if place.cores is not None:
                environment[CORES] = ",".join(map(str, place.cores))
            workers[number] = {"cls": Nanny, "options": {**alike, "env": environment}}
        scheduler = {"cls": Scheduler, "options": {**LOOPBACK, "port": 0, "allowed_failures": LOSSES}}
        with (
            _quiet(),
            SpecCluster(workers=workers, scheduler=scheduler) as cluster,
            Client(cluster, set_as_default=False) as client,
        ):
            yield client
            # One that is about to begin again would not end in peace.
            with contextlib.suppress(TimeoutError):
                client.wait_for_workers(len(at), timeout=RESTART_SECONDS)


@contextlib.contextmanager
def _same_after(*variables: str) -> Iterator[None]:
    before = {name: os.environ[name] for name in variables if name in os.environ}
    try:
        yield
    finally:
        for name in variables:
            os.environ.pop(name, None)
        os.environ.update(before)


@contextlib.contextmanager
def _connected(scheduler: str) -> "Iterator[Client]":
    """The cluster of a scheduler. Raises `ConfigError` where it cannot be reached."""
    if not dask_installed():
        raise _bad_input(f"--scheduler {scheduler}: needs: pip install 'noether-razor[cluster]'")
    from distributed import Client

    with _quiet():
        try:
            client = Client(scheduler, timeout=CONNECT_SECONDS, set_as_default=False)
        except (OSError, ValueError, TypeError) as error:
            said = " ".join(str(error).split())
            raise _bad_input(f"--scheduler {scheduler}: cannot be reached: {said}") from None
        with client:
            yield client


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Dask logs nothing but what is critical."""
    loggers = [logging.getLogger(name) for name in ("distributed", *logging.root.manager.loggerDict)]
    before = {one: one.level for one in loggers if one.name.split(".")[0] == "distributed"}
    for one in before:
        one.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for one, level in before.items():
            one.setLevel(level)


# What follows is for the process of a worker.


def dask_setup(worker: "Worker") -> None:
    """Called by Dask when a worker of this machine begins: keep it to its cores, and let the client decide on
    interrupts of the terminal.
    """
    from threadpoolctl import threadpool_limits

    del worker
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # That a checkpoint was left half written by a worker that was lost is nothing to tell.
    logging.getLogger("absl").setLevel(logging.CRITICAL)
    if CORES not in os.environ:
        return
    cores = [int(core) for core in os.environ[CORES].split(",")]
    # A BLAS that was imported has started a thread for each core that it saw; threads that share a core wait
    # for each other by spinning.
    threadpool_limits(len(cores))
    if hasattr(os, "sched_setaffinity"):
        for thread in Path("/proc/self/task").iterdir():
            with contextlib.suppress(ProcessLookupError):
                os.sched_setaffinity(int(thread.name), cores)


def dask_teardown(worker: "Worker") -> None:
    """Called by Dask when a worker of this machine ends: threads of what its jobs imported would keep the
    process for seconds.
    """
    del worker
    if not at_work:
        os._exit(0)


def _versions() -> dict[str, str]:
    """What must be the same for a run to be taken up."""
    return {name: version(name) for name in ("noether-razor", "jax")}


at_work: set[str] = set()
"""The jobs that this process is at."""


def _at_work(run: str) -> bool:
    return any(key.startswith(run) for key in at_work)


def _comes_back(error: Exception) -> Exception:
    """An error as a process sends it: as it is where it is one of this package, else its words."""
    if type(error).__module__.startswith(__package__ or "noether_razor"):
        return error
    return RuntimeError(f"{type(error).__name__}: {error}")


def _work(
    job: Job[Result], run: str, index: int, key: str, there: dict[str, str]
) -> tuple[Result | None, Exception | None, str]:
    """Do a job in a worker: its result, its error, and why it was refused. It is told to stop where nobody
    waits for it any more, or where the worker is about to end; then another one takes it up.
    """
    from distributed import Reschedule, get_worker

    worker = get_worker()
    for name, ours in _versions().items():
        if ours != there[name]:
            return None, None, f"worker {worker.address} has {name} {ours}, expected {there[name]} as here"
    if worker.state.nthreads > 1:
        threads = f"{worker.state.nthreads} threads, expected 1: start it with --nthreads 1"
        return None, None, f"worker {worker.address} has {threads}"
    if not Path(there["folder"]).is_dir():
        return None, None, f"worker {worker.address} has no folder {there['folder']}: a shared disk is needed"

    def unwanted() -> bool:
        task = worker.state.tasks.get(key)
        up = worker.status.name in ("running", "paused")
        return not up or task is None or task.state != "executing"

    at_work.add(key)
    try:
        with contextlib.chdir(there["folder"]):
            told = lambda name, line: worker.log_event(run, (index, name, line))  # noqa: E731
            return job(on_progress=told, interrupted=unwanted), None, ""
    except KeyboardInterrupt:
        raise Reschedule from None
    except Exception as error:
        return None, _comes_back(error), ""
    finally:
        at_work.discard(key)


def makespan(seconds: Sequence[float], workers: int) -> float:
    """How long `workers` need for jobs of so many seconds that are handed out in order."""
    busy_until = [0.0] * max(1, workers)
    for job in seconds:
        heapq.heapreplace(busy_until, busy_until[0] + job)
    return max(busy_until)
