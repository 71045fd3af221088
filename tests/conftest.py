"""Fixtures that several files share; the posterior is small, so that what is compiled for it is small too."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import jax
import numpy as np
import pytest
from flax import nnx

from noether_razor.inference import Posterior
from noether_razor.networks import HamiltonianNetwork
from noether_razor.quantities import QuadraticQuantities
from noether_razor.systems import Oscillators
from noether_razor.trajectories import GaussianNoise, Transitions, simulate

# jax 0.10.0 and 0.10.1 log kilobytes whenever they read a program from the cache on disk, and a child whose
# stderr is read only at its end then waits for ever. Children inherit this.
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

# The same code gives the same result each time. HYPOTHESIS_PROFILE=default looks at new examples.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))


LONGEST = (
    "test_beyond",
    "test_discover",
    "test_cli",
    "test_examples",
    "test_families",
    "test_lie_poisson",
    "test_experiments",
    "test_bracket",
    "test_exact_evidence",
    "test_dictionaries",
    "test_noisy_states",
    "test_readme",
    "test_inference",
    "test_field_files",
    "test_embedding",
    "test_embed_command",
    "test_analyse_run",
    "test_training",
    "test_invariants",
    "test_lie_algebra",
)
"""The files of the default suite that take longest, the longest first."""
MOST = 1.25
"""GiB that a process may hold before its compiled programs go; two processes run the default suite."""
GROWTH = 0.3
"""GiB that it may gain since they last went, where it holds that much without them."""

left = 0.0
"""GiB that were left when they last went."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest files first, so that no process ends with one while the other has nothing left to do."""
    place = {name: k for k, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(place)))


def pytest_collection_finish() -> None:
    """What is imported stays: the garbage collector need not look through it again and again."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 20, 20)


def resident() -> float:
    """The memory of this process in GiB; none is known outside Linux."""
    if sys.platform != "linux":
        return np.inf
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE") / 2**30


@pytest.fixture(autouse=True)
def compiled_programs() -> Iterator[None]:
    """Compiled programs go once they fill the memory: kept for the whole session, they take gigabytes."""
    global left
    yield
    if resident() < max(MOST, left + GROWTH):
        return
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        # Without this, glibc keeps most of what was freed.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)
        left = resident()


@pytest.fixture(scope="class")
def double_precision() -> Iterator[None]:
    """The test, or class of tests, computes in float64; Hypothesis objects to fixtures of function scope."""
    with jax.enable_x64(True):
        yield


@pytest.fixture(scope="session")
def transitions() -> Transitions:
    """28 noisy transitions of one oscillator, as in the paper's first experiment."""
    data = simulate(
        Oscillators(),
        jax.random.key(0),
        trajectories=7,
        transitions=4,
        dt=0.2,
        noise=GaussianNoise(1e-3, jax.random.key(1)),
    )
    return data.transitions()


@pytest.fixture(scope="session")
def posterior() -> Posterior:
    """A float32 posterior for one oscillator with one learnable quantity. Tests must not change it."""
    with jax.enable_x64(False):
        network = HamiltonianNetwork(2, layers=2, width=8, rngs=nnx.Rngs(0))
        return Posterior(network, QuadraticQuantities.random(jax.random.key(2), 1, 1, 0.1))
