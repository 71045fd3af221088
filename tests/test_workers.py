"""Jobs side by side in worker processes: their order, errors and interruption, and workers that are lost."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from jobs import AFFINITY, climb, die, work

from noether_razor import workers
from noether_razor.app.config import ConfigError
from noether_razor.training import NonFiniteELBOError
from noether_razor.workers import LostWorkerError, Place, makespan, places, share_out, side_by_side

TESTS = Path(__file__).parent


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    """The address of a cluster of two workers, which these tests share."""
    with workers._local([Place()] * 2) as client:
        assert client.scheduler is not None
        yield str(client.scheduler.address)


def test_workers_of_this_machine_begin_on_their_cores(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = os.sched_getaffinity(0) if AFFINITY else set()
    own = (min(before),) if AFFINITY else None
    monkeypatch.setattr(workers, "places", lambda _: [Place((("PLACE", "here"),), own)] * 2)
    # The first waits for the file of the second: both run at once.
    found = share_out([partial(work, k, tmp_path / str(3 - k), tmp_path) for k in (1, 2)])
    assert os.getpid() not in {process for process, _ in found}
    if AFFINITY:
        assert {cores for _, cores in found} == {own}
        assert os.sched_getaffinity(0) == before
    assert not set(workers.SET_HERE) & set(os.environ)


def test_an_error_of_one_does_not_lose_the_others(tmp_path: Path, scheduler: str) -> None:
    told, done = [], []
    jobs = [partial(work, k, tmp_path / str(1 - k) if k < 2 else None, tmp_path) for k in range(4)]
    with pytest.raises(NonFiniteELBOError, match="step 3"):
        share_out(
            jobs,
            scheduler=scheduler,
            on_progress=lambda name, line: told.append((name, line)),
            on_result=lambda number, result: done.append((number, result)),
        )
    assert sorted(told) == [(f"job {k}", {"step": 1}) for k in range(4)]
    assert sorted(number for number, _ in done) == [1, 2, 3]
    assert os.getpid() not in {process for _, (process, _) in done}


def test_failures_are_told_and_cost_themselves(tmp_path: Path, scheduler: str) -> None:
    failed: dict[int, Exception] = {}
    jobs = [partial(work, k, None, tmp_path) for k in (9, 1, 0, 2)]
    for where in (scheduler, None):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(workers, "places", lambda _: [Place()])  # in this process, where no scheduler is
            found = share_out(jobs, scheduler=where, on_failure=failed.__setitem__)
        assert len(found) == 2 and {process for process, _ in found} & {os.getpid()} == (
            set() if where else {os.getpid()}
        )
        assert isinstance(failed.pop(0), ConfigError) and isinstance(failed.pop(2), NonFiniteELBOError)


def test_bad_input_and_interruption_stop_the_others(tmp_path: Path, scheduler: str) -> None:
    never = tmp_path / "never"
    jobs = [partial(work, 1, never, tmp_path), partial(work, 9, tmp_path / "1", tmp_path)]
    with pytest.raises(ConfigError, match="wrong key"):
        share_out([*jobs, partial(work, 2, never, tmp_path)], scheduler=scheduler)
    jobs = [partial(work, 3, never, tmp_path), partial(work, 4, never, tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        share_out(
            jobs,
            scheduler=scheduler,
            interrupted=lambda: (tmp_path / "3").exists() and (tmp_path / "4").exists(),
        )
    # Both are free again.
    both = [partial(work, k, tmp_path / str(11 - k), tmp_path) for k in (5, 6)]
    assert len(share_out(both, scheduler=scheduler)) == 2


def test_a_job_stops_when_who_asked_for_it_is_killed(tmp_path: Path, scheduler: str) -> None:
    script = (
        "import sys; from pathlib import Path; from functools import partial; sys.path.append(sys.argv[1])\n"
        "from jobs import until_unwanted; from noether_razor.workers import share_out\n"
        "share_out([partial(until_unwanted, Path(sys.argv[2]))], scheduler=sys.argv[3])\n"
    )
    with subprocess.Popen([sys.executable, "-c", script, str(TESTS), str(tmp_path), scheduler]) as asking:
        _wait_for(tmp_path / "begun")
        asking.kill()
    _wait_for(tmp_path / "ended")


def _wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_job_that_every_worker_dies_of_is_said_unless_it_gets_further(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "LOSSES", 0)
    monkeypatch.setattr(workers, "places", lambda _: [Place()] * 2)
    results: list[tuple[int, int]] = []
    with pytest.raises(LostWorkerError, match="1 workers ended one after the other"):
        share_out([die, partial(climb, tmp_path)], on_result=lambda *done: results.append(done))
    assert results == [(1, 3)]


def test_other_versions_are_refused(scheduler: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert side_by_side(5, scheduler) == 2 and side_by_side(1, scheduler) == 1
    here = {**workers._versions(), "jax": "0.0.1"}
    monkeypatch.setattr(workers, "_versions", lambda: here)
    with pytest.raises(ConfigError, match=r"worker tcp://.* has jax .*, expected 0\.0\.1 as here"):
        share_out([partial(work, 1, None, tmp_path)], scheduler=scheduler)


def test_a_scheduler_that_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "CONNECT_SECONDS", 0.5)
    for address in ("tcp://127.0.0.1:1", "nonsense", "http://127.0.0.1:1"):
        with pytest.raises(ConfigError, match=f"--scheduler {address}: cannot be reached"):
            share_out([die], scheduler=address)
    monkeypatch.setattr(workers, "dask_installed", lambda: False)
    with pytest.raises(ConfigError, match=r"noether-razor\[cluster\]"):
        share_out([die], scheduler="tcp://127.0.0.1:1")
    assert places(4) == [Place()] and side_by_side(4) == 1


def test_cores_are_shared_among_the_jobs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_cores", lambda: [0, 1, 2, 3])
    assert [place.cores for place in places(2)] == [(0, 2), (1, 3)]
    assert [len(place.cores or ()) for place in places(9)] == [1, 1, 1, 1]
    assert len(places(0)) == 1
    # Handed out in order to whoever is free first: 5 and 1 + 1 + 4.
    assert makespan([5.0, 1.0, 1.0, 4.0], 2) == 6 and makespan([], 2) == 0
