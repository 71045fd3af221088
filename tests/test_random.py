"""Draws of several axes are those of `jax.random`."""

import jax
import numpy as np
import pytest

from noether_razor import random


@pytest.mark.parametrize("shape", [(), (7,), (3, 5), (2, 3, 4)])
@pytest.mark.parametrize("double", [False, True])
def test_values_are_those_of_jax(shape: tuple[int, ...], double: bool) -> None:
    key = jax.random.key(3)
    with jax.enable_x64(double):
        for ours, theirs in ((random.normal, jax.random.normal), (random.uniform, jax.random.uniform)):
            drawn, expected = ours(key, shape), theirs(key, shape)
            assert drawn.dtype == expected.dtype
            np.testing.assert_array_equal(drawn, expected)
        single = random.normal(key, shape, np.float32)
        assert single.dtype == np.float32
