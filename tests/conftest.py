"""Fixtures that several files share; the posterior is small, so that what is compiled for it is small too."""

import ctypes
import gc
import os
import sys
from collections.abc import Iterator

import hypothesis
import jax
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


@pytest.fixture(scope="module", autouse=True)
def compiled_programs() -> Iterator[None]:
    """Programs that a file has compiled go with it: kept for the whole session, they take gigabytes."""
    yield
    jax.clear_caches()
    gc.collect()
    if sys.platform == "linux":
        # Without this, glibc keeps most of what was freed.
        getattr(ctypes.CDLL(None), "malloc_trim", lambda pad: None)(0)


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
