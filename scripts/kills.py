"""Sweeps of the debug configuration whose workers and hosts are killed at random moments. Every run must end
with the numbers of a run that nothing disturbed, bit for bit.

Half of the kills are of worker processes on this machine. The other half are of hosts: of `dask worker` with
all its processes, started by this script and started again, which serve a scheduler of their own.
"""

import argparse
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil

CONFIG = "debug.toml"
SETTINGS = ("training.log_every=1", "training.checkpoint_seconds=0", "evaluation.nll_stderr=0.5")
KEPT = ("step", "negative_elbo", "nll", "kl", "gradient_norm")
PARTS = ("train", "test", "symmetry")
WORKERS = 2
KILLS_A_RUN = 3
PAUSE = (0.0, 4.0)
"""Seconds between the moment at which a run goes on and the next kill."""


def sweep(out: Path, seeds: int, more: Sequence[str] = ()) -> list[str]:
    """The command."""
    words = [sys.executable, "-m", "noether_razor", "sweep", CONFIG, "--seeds", str(seeds), "--out", str(out)]
    return [*words, "--resume", *(word for one in SETTINGS for word in ("--set", one)), *more]


def results(out: Path) -> dict[str, Any]:
    """What must be the same, by run: all logged steps, and the numbers of the summary."""
    found = {}
    for folder in sorted(out.glob("seed=*")):
        if not (folder / "summary.json").exists():
            continue
        lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text("utf-8").splitlines()]
        summary = json.loads((folder / "summary.json").read_text("utf-8"))
        found[folder.name] = [
            [[line[key] for key in KEPT] for line in lines],
            {part: summary[part] for part in PARTS},
        ]
    return found


def logged(out: Path) -> int:
    """Bytes that runs have logged."""
    total = 0
    for path in out.glob("seed=*/metrics.jsonl"):
        try:
            total += path.stat().st_size
        except FileNotFoundError:  # just being replaced
            continue
    return total


class Disturbed:
    """A sweep under way, its victims, and how many were killed."""

    def __init__(self, out: Path, seeds: int, rng: random.Random, more: Sequence[str] = ()):
        self.out, self.rng, self.kills = out, rng, 0
        self.running = subprocess.Popen(sweep(out, seeds, more), stdout=subprocess.DEVNULL)

    def goes_on(self) -> bool:
        return self.running.poll() is None

    def disturb(self, kill: Callable[[], bool], most: int) -> None:
        """Up to `most` kills, each some seconds after any run has logged a step since the last."""
        while self.goes_on() and self.kills < most:
            before = logged(self.out)
            while self.goes_on() and logged(self.out) == before:
                time.sleep(0.05)
            time.sleep(self.rng.uniform(*PAUSE))
            if self.goes_on():
                self.kills += kill()
        if self.running.wait() != 0:
            raise SystemExit(f"the sweep ended with exit code {self.running.returncode}")


def kill_a_worker(disturbed: Disturbed) -> bool:
    """One worker process of a sweep on this machine."""
    children = psutil.Process(disturbed.running.pid).children()
    victims = [one for one in children if any("spawn_main" in word for word in one.cmdline())]
    if not victims:
        return False
    disturbed.rng.choice(victims).kill()
    return True


class Hosts:
    """A scheduler, and hosts that are processes of their own with their worker processes."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
        port = self.address.rpartition(":")[2]
        # A job may lose more workers than Dask allows by itself.
        several = {**os.environ, "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "20"}
        words = ["scheduler", "--host", "127.0.0.1", "--port", port, "--no-dashboard"]
        self.scheduler = self._start(words, several)
        self.hosts = [self._host() for _ in range(WORKERS)]

    def _start(self, words: list[str], environment: dict[str, str]) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:]]
        quiet = subprocess.DEVNULL
        return subprocess.Popen(command, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)

    def _host(self) -> "subprocess.Popen[bytes]":
        words = ["worker", self.address, "--nthreads", "1", "--host", "127.0.0.1", "--memory-limit", "0"]
        return self._start([*words, "--no-dashboard"], dict(os.environ))

    def kill_one(self) -> bool:
        """A host with all its processes; another takes its place."""
        place = self.rng.randrange(len(self.hosts))
        self._kill(self.hosts[place])
        self.hosts[place] = self._host()
        return True

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    def end(self) -> None:
        for process in (*self.hosts, self.scheduler):
            self._kill(process)


def main() -> None:
    """Read the arguments, kill, compare."""
    parser = argparse.ArgumentParser(prog="scripts/kills", description=__doc__)
    parser.add_argument("kills", type=int, help="how many")
    parser.add_argument("--seeds", type=int, default=4, help="runs of a sweep")
    parser.add_argument("--out", type=Path, default=Path("runs/kills"), help="folder for the runs")
    arguments = parser.parse_args()
    rng = random.Random(arguments.kills)
    shutil.rmtree(arguments.out, ignore_errors=True)
    wanted_in = arguments.out / "undisturbed"
    # One process does them all, one after the other, as on one device.
    alone = {"OMP_NUM_THREADS": "1"} if not hasattr(os, "sched_setaffinity") else {}
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else set()
    if cores:
        os.sched_setaffinity(0, {min(cores)})
    subprocess.run(
        sweep(wanted_in, arguments.seeds), check=True, stdout=subprocess.DEVNULL, env={**os.environ, **alone}
    )
    if cores:
        os.sched_setaffinity(0, cores)
    wanted, killed, sweeps = results(wanted_in), {"workers": 0, "hosts": 0}, 0
    while sum(killed.values()) < arguments.kills:
        what = "workers" if killed["workers"] <= killed["hosts"] else "hosts"
        out = arguments.out / str(sweeps)
        most = min(arguments.kills - sum(killed.values()), KILLS_A_RUN * arguments.seeds)
        if what == "workers":
            disturbed = Disturbed(out, arguments.seeds, rng)
            disturbed.disturb(lambda one=disturbed: kill_a_worker(one), most)
        else:
            hosts = Hosts(rng)
            try:
                disturbed = Disturbed(out, arguments.seeds, rng, ("--scheduler", hosts.address))
                disturbed.disturb(hosts.kill_one, most)
            finally:
                hosts.end()
        killed[what] += disturbed.kills
        sweeps += 1
        found = results(out)
        different = [name for name in wanted if found.get(name) != wanted[name]]
        if different:
            raise SystemExit(f"{out}: {', '.join(different)} ended with other numbers")
        print(
            f"{killed['workers']} workers and {killed['hosts']} hosts killed, {sweeps} sweeps of "
            f"{arguments.seeds} runs ended bitwise as undisturbed",
            flush=True,
        )
        shutil.rmtree(out)


if __name__ == "__main__":
    main()
