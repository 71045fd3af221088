"""Several devices: a mesh of them, what is divided over it, and what is not.

A mesh has two axes. Over `DATA` the transitions of a batch are divided, over `SAMPLES` the group samples of
an average. Parameters and the state of an optimiser are on every device. Which device computes what changes
neither the batches nor the random numbers, so results differ by rounding alone. Seeds have no axis: runs of
their own need no communication, share a compilation, and fail one at a time.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

DATA, SAMPLES = "data", "samples"
"""The axes of a mesh."""
Device: TypeAlias = Any
"""A `jax.Device`."""
WORTH = 1.25
"""How much more work than the least is worth less communication."""


def divided(tree: Any, axis: str, dim: int = 0) -> Any:
    """`tree`, its arrays divided along their axis `dim` over the mesh axis `axis`, in what is being compiled
    for a mesh (`jax.set_mesh`); the same `tree` where there is no such mesh.

    Where a length is no multiple of the devices, the last of them compute less than the others.
    """
    if mesh_size(axis) == 1:
        return tree

    def constrained(x: jax.Array) -> jax.Array:
        free = PartitionSpec.UNCONSTRAINED
        spec = PartitionSpec(*(axis if d == dim else free for d in range(x.ndim)))
        return jax.lax.with_sharding_constraint(x, spec)

    return jax.tree.map(constrained, tree)


def undivided(x: jax.Array) -> jax.Array:
    """`x`, the whole of it on every device of the mesh that is being compiled for, where there is one."""
    if jax.sharding.get_abstract_mesh().empty:
        return x
    return jax.lax.with_sharding_constraint(x, PartitionSpec())


@contextmanager
def full_precision() -> Iterator[None]:
    """Matrix products that are traced inside are those of float32 numbers: accelerators would round the
    factors to 11 bits or fewer. A block or a decorator; where set, ``jax_default_matmul_precision`` prevails.
    """
    chosen = jax.config.jax_default_matmul_precision  # type: ignore[attr-defined]
    with jax.default_matmul_precision(chosen or "highest"):
        yield


def mesh_size(axis: str) -> int:
    """The devices along an axis of the mesh that is being compiled for; 1 where there is none."""
    return dict(jax.sharding.get_abstract_mesh().shape).get(axis, 1)


def largest_share(parts: int, devices: int) -> float:
    """Of `parts` equal pieces of work, the share of the device that has most of them."""
    return math.ceil(parts / devices) / parts


def division(parts: Sequence[int], devices: int) -> int:
    """Which of several axes of these lengths is divided among `devices`: the one that leaves the busiest of
    them least to do, the first of equals.
    """
    shares = [largest_share(length, devices) for length in parts]
    return shares.index(min(shares))


def mesh_of(devices: Sequence[Device], batch: Sequence[int], samples: int) -> Mesh:
    """The mesh of all `devices` for a batch that may be divided along axes of the lengths `batch`, and so
    many group `samples` (1: none to divide).

    It divides the batch as far as that leaves the busiest device no more than `WORTH` times the least work
    that any mesh would: those that share a batch communicate twice a step, those that share group samples at
    every stage of the integrator.
    """
    count = len(devices)

    def busiest(data: int) -> float:
        share = min(largest_share(length, data) for length in batch)
        return share * largest_share(samples, count // data)

    divisors = [d for d in range(count, 0, -1) if count % d == 0]
    least = min(map(busiest, divisors))
    along = next(d for d in divisors if busiest(d) <= WORTH * least)
    grid = np.array(devices).reshape(along, count // along)
    return Mesh(grid, (DATA, SAMPLES), axis_types=(AxisType.Auto,) * 2)


def on_every_device(tree: Any, mesh: Mesh) -> Any:
    """`tree` with a copy of each array on every device of `mesh`; every process must hold the same."""
    whole = NamedSharding(mesh, PartitionSpec())

    def placed(x: jax.Array) -> jax.Array:
        if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(placed(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        values = np.asarray(x)
        return jax.make_array_from_callback(values.shape, whole, lambda index: values[index])

    return jax.tree.map(placed, tree)


def rows_on_devices(rows: Any, mesh: Mesh) -> Any:
    """`rows`, a tree of arrays with one entry a row, divided among all devices of `mesh`, numbers in float32:
    each device holds its share, each process that of its devices.

    They are followed by copies of the last row up to a multiple of the devices.
    """
    split = NamedSharding(mesh, PartitionSpec((DATA, SAMPLES)))

    def placed(x: Any) -> jax.Array:
        values = np.asarray(x)
        count = math.ceil(len(values) / mesh.size) * mesh.size
        last = len(values) - 1
        dtype = np.float32 if np.issubdtype(values.dtype, np.floating) else values.dtype

        def share(index: Any) -> np.ndarray:
            return values[np.minimum(np.arange(count)[index[0]], last)].astype(dtype)

        return jax.make_array_from_callback((count, *values.shape[1:]), split, share)

    return jax.tree.map(placed, rows)


def on_one_device(tree: Any) -> Any:
    """A tree that has a copy of each array on every device, as arrays of the first device of this process."""
    return jax.tree.map(lambda x: x.addressable_data(0), tree)
