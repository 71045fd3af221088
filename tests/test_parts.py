"""Parts of an answer side by side, and the folder of compiled programs."""

import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from threadpoolctl import threadpool_info, threadpool_limits

import noether_razor as nr
from noether_razor.app.cli import compiled
from noether_razor.discovery import BUDGETS, Discovery
from noether_razor.discovery.parts import Abandoned, Parts
from noether_razor.threads import on_one_thread
from noether_razor.training import Report


def blas_threads() -> set[int]:
    return {one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"}


def test_parts_run_at_the_same_time_and_keep_their_order_and_seconds():
    both, parts = threading.Barrier(2, timeout=20), Parts()

    def first() -> int:
        both.wait()  # passes only if the other runs too
        return int(jnp.arange(5).sum())

    def second() -> np.ndarray:
        both.wait()
        return np.asarray(jax.jit(jnp.sin)(jnp.zeros(3)))

    with threadpool_limits(2, user_api="blas"):
        found = parts.side_by_side({"first": first, "second": second, "threads": blas_threads})
        assert found[0] == 10 and found[1].shape == (3,) and found[2] == {1}
        assert blas_threads() == {2}
    assert set(parts.seconds) == {"first", "second", "threads"} and min(parts.seconds.values()) >= 0


def test_a_function_on_one_thread_leaves_the_others_as_they_were():
    with threadpool_limits(2, user_api="blas"):
        assert on_one_thread(blas_threads)() == {1} and blas_threads() == {2}


def test_a_part_that_fails_ends_those_that_tell_of_their_steps():
    parts, told = Parts(), []
    report = Report(1, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, state=cast(Any, None))

    def endless() -> None:
        tell = parts.told(lambda name, _: told.append(name))
        for _ in range(2000):
            tell("endless", report)
            time.sleep(0.01)

    def breaks() -> None:
        for _ in range(2000):
            if told:
                break
            time.sleep(0.01)
        raise FloatingPointError("step 7")

    with pytest.raises(FloatingPointError, match="step 7"):
        parts.side_by_side({"endless": endless, "breaks": breaks})
    assert 0 < len(told) < 2000 and "endless" in parts.seconds
    # What is told of a failed answer afterwards ends at once.
    with pytest.raises(Abandoned):
        parts.told(lambda name, _: None)("late", report)


def test_an_interrupted_part_does_not_wait_for_the_others():
    parts, over = Parts(), threading.Event()

    def interrupted() -> None:
        raise KeyboardInterrupt

    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        parts.side_by_side({"long": lambda: over.wait(30), "interrupted": interrupted})
    assert time.monotonic() - started < 20
    over.set()


def judged(exact: Any, hamiltonian: Any) -> Discovery:
    """An answer without a model, with what a budget looks at."""
    found = object.__new__(Discovery)
    beyond = SimpleNamespace(hamiltonian=hamiltonian)
    for name, value in (("exact", exact), ("beyond", beyond)):
        object.__setattr__(found, name, value)
    return found


@pytest.mark.parametrize(
    ("exact", "hamiltonian", "standard"),
    [
        (SimpleNamespace(adequate=True, withdrawn=""), None, 0),
        (SimpleNamespace(adequate=False, withdrawn=""), None, 1),
        (SimpleNamespace(adequate=True, withdrawn="it supports a false one"), None, 1),
        (None, None, 1),
        (None, "a formula", 0),
    ],
)
def test_fits_for_the_bound_are_made_where_no_formula_of_H_judges(exact, hamiltonian, standard):
    found = judged(exact, hamiltonian)
    assert [BUDGETS[name].fits(found) for name in ("quick", "standard", "thorough")] == [0, standard, 3]


def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, **said: str) -> dict[str, str]:
    names = ("JAX_COMPILATION_CACHE_DIR", "JAX_COMPILATION_CACHE_MAX_SIZE", compiled.SWITCH)
    for name in names:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    compiled.keep_compiled()
    after = {name: os.environ[name] for name in names[:2] if name in os.environ}
    for name in after:  # set by the function, so taken back by hand
        monkeypatch.delenv(name)
    return after


@pytest.mark.skipif(sys.platform != "linux", reason="the folder of a user differs elsewhere")
def test_compiled_programs_are_kept_in_a_folder_of_the_user(tmp_path, monkeypatch):
    folder = Path(kept(tmp_path, monkeypatch)["JAX_COMPILATION_CACHE_DIR"])
    assert folder.is_dir() and folder.parent == tmp_path / "home" / "noether-razor" / "compiled"


def test_the_folder_of_compiled_programs_has_a_switch(tmp_path, monkeypatch):
    other = kept(tmp_path, monkeypatch, NOETHER_RAZOR_CACHE=str(tmp_path / "other"))
    assert Path(other["JAX_COMPILATION_CACHE_DIR"]).parent == tmp_path / "other"
    assert other["JAX_COMPILATION_CACHE_MAX_SIZE"] == str(compiled.LARGEST)
    assert kept(tmp_path, monkeypatch, NOETHER_RAZOR_CACHE="off") == {}
    own = kept(tmp_path, monkeypatch, JAX_COMPILATION_CACHE_DIR="/mine")
    assert own == {"JAX_COMPILATION_CACHE_DIR": "/mine"}
    # A folder that cannot be made costs nothing but time.
    (tmp_path / "file").write_text("")
    assert kept(tmp_path, monkeypatch, NOETHER_RAZOR_CACHE=str(tmp_path / "file")) == {}


def test_jax_keeps_a_program_there_and_a_second_run_says_nothing(tmp_path):
    program = (
        "from noether_razor.app.cli.compiled import keep_compiled; keep_compiled()\n"
        "import jax; print(jax.jit(lambda x: x * 3 + 1)(2.0))"
    )
    cleared = {key: value for key, value in os.environ.items() if not key.startswith("JAX_COMPILATION")}
    there = {compiled.SWITCH: str(tmp_path), "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0"}
    for _ in range(2):
        said = subprocess.run(
            [sys.executable, "-c", program], env=cleared | there, capture_output=True, text=True, check=True
        )
        assert (said.stdout, said.stderr) == ("7.0\n", "")
    assert any(path.stat().st_size > 100 for path in tmp_path.glob("*/*"))


def test_a_caller_is_told_the_first_answer_and_may_stop_there():
    class Enough(Exception):
        pass

    told = []

    def progress(name, what):
        told.append((name, what))
        raise Enough

    times = np.arange(40) * 0.2
    phases = np.random.default_rng(0).uniform(0.5, 6, (12, 2))
    states = [size * np.stack([np.cos(times + at), -np.sin(times + at)], axis=1) for size, at in phases]
    with pytest.raises(Enough):
        nr.discover(nr.Trajectories.from_arrays([times] * len(states), states), progress=progress)
    ((name, found),) = told
    assert name == "the data alone" and found.model is None
    assert [one.text for one in found.quantities] == ["q1^2 + p1^2"]
