"""Trajectories of a vector field with parameters, their sensitivities, and the normal equations of a fit."""

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from .features import Frame
from .fields import PoissonStructure, VectorField, field_of


class Rows(NamedTuple):
    """B padded trajectories of K rows, cut into at most M segments, each with a first state of its own.

    steps: the time since the row before. begins: whether a segment begins here, `segment` its number.
    measured: the states. seen: 1 where they were measured, else 0.
    """

    steps: Float[Any, "B K"]
    begins: Bool[Any, "B K"]
    segment: Int[Any, "B K"]
    measured: Float[Any, "B K dim"]
    seen: Float[Any, "B K"]


class Blocks(NamedTuple):
    """Of residuals weighted by 1 / noise variance: sums of squares of each column (unweighted), and the
    Gauss-Newton blocks of the parameters c and first states x of all segments; the states at all rows.
    """

    squares: Float[Any, " dim"]
    hcc: Float[Any, "P P"]
    gc: Float[Any, " P"]
    hxx: Float[Any, "B M dim dim"]
    hxc: Float[Any, "B M dim P"]
    gx: Float[Any, "B M dim"]
    states: Float[Any, "B K dim"]


class Compiled(NamedTuple):
    """What normal equations are compiled for: the frame of features, the trajectories that are in memory at a
    time, a divisor of B, and the Poisson matrix, None in canonical coordinates.
    """

    frame: Frame
    chunk: int
    structure: PoissonStructure | None = None


FAST = {"xla_backend_optimization_level": 2, "xla_cpu_multi_thread_eigen": False}
"""A fit runs the normal equations a hundred times and more: whatever the flags say, code that is fast pays.
Their matrices are so small that handing products to other threads costs a third of the time.
"""


@partial(jax.jit, static_argnums=0, compiler_options=FAST)
def normal_equations(
    compiled: Compiled,
    tables: Any,
    parameters: Float[Array, " P"],
    firsts: Float[Array, "B M dim"],
    rows: Rows,
    weights: Float[Array, " dim"],
    rest: Float[Array, " rubbed"],
    panels: Int[Array, ""],
) -> Blocks:
    """The blocks at `parameters` of the field and first states, for features of the given `tables`; `weights`
    are 1 / noise variance, `rest` is the scaled momentum of the origin.

    RK4 with its variational equations, two steps a panel and `panels` a row.
    """
    field, chunk = field_of(compiled.frame.filled(tables), compiled.structure), compiled.chunk
    prepared = field.prepared(parameters, rest)

    def reduced(first: Array, own: Rows) -> Blocks:
        states, slopes = _trajectory(field, prepared, first, own, panels)
        return _reduced(states, slopes, own, weights, len(first))

    def some(total: Blocks, part: tuple[Array, Rows]) -> tuple[Blocks, Blocks]:
        found = jax.vmap(reduced)(*part)
        summed = [old + new.sum(axis=0) for old, new in zip(total[:3], found[:3], strict=True)]
        return total._replace(squares=summed[0], hcc=summed[1], gc=summed[2]), found

    count, _, dim = firsts.shape
    size = field.size
    zero = jnp.zeros(())
    start = Blocks(jnp.zeros(dim), jnp.zeros((size, size)), jnp.zeros(size), zero, zero, zero, zero)
    parts = jax.tree.map(lambda x: x.reshape(count // chunk, chunk, *x.shape[1:]), (firsts, rows))
    total, each = jax.lax.scan(some, start, parts)
    whole = [x.reshape(count, *x.shape[2:]) for x in each[3:]]
    return Blocks(*total[:3], *whole)


def _trajectory(
    field: VectorField, prepared: Any, firsts: Array, rows: Rows, panels: Array
) -> tuple[Array, Array]:
    """States (K, dim) and sensitivities (K, dim, dim + P) to the segment's first state and the parameters.

    From row to row, S' = A S + F gives S(h) = Phi (S(0) + int Phi^-1 F dt) with Phi' = A Phi, Phi(0) = 1. The
    integral is Simpson's over the steps of RK4.
    """
    dim = firsts.shape[1]

    def moving(state: tuple[Array, Array]) -> tuple[Array, Array]:
        x, phi = state
        velocity, matrix = field.at(x, prepared)
        return velocity, matrix @ phi

    def source(state: tuple[Array, Array], time: Array) -> Array:
        """Phi^-1 F."""
        x, phi = state
        return field.moved_back(phi, field.of_parameters(x, prepared), time, prepared)

    def advance(state: tuple[Array, Array], row: Rows) -> tuple[tuple[Array, Array], tuple[Array, Array]]:
        x, s = state
        size, last = row.steps / (2 * panels), 2 * panels - 1

        def step(k: Array, inner: tuple[tuple[Array, Array], Array]) -> tuple[tuple[Array, Array], Array]:
            begin, total = inner
            end = _rk4(moving, begin, size)
            weight = jnp.where(k == last, 1.0, jnp.where(k % 2 == 0, 4.0, 2.0))
            return end, total + weight * source(end, (k + 1) * size)

        start = (x, jnp.eye(dim))
        (moved, phi), total = jax.lax.fori_loop(0, last + 1, step, (start, source(start, jnp.zeros(()))))
        total = total * size / 3
        s = phi @ (s + jnp.concatenate([jnp.zeros((dim, dim)), total], axis=1))
        state = (jnp.where(row.begins, firsts[row.segment], moved), jnp.where(row.begins, fresh, s))
        return state, state

    fresh = jnp.concatenate([jnp.eye(dim), jnp.zeros((dim, field.size))], axis=1)
    return jax.lax.scan(advance, (firsts[0], fresh), rows)[1]


Stage = tuple[Array, Array]


def _rk4(field: Callable[[Stage], Stage], state: Stage, size: Array) -> Stage:
    """One step of the classical method of order 4, its stages in a loop: one copy of the field compiles in a
    third of the time of four.
    """
    places, weights = jnp.array([0.0, 0.5, 0.5, 1.0]), jnp.array([1.0, 2.0, 2.0, 1.0]) / 6

    def stage(k: Array, carry: tuple[Stage, Stage]) -> tuple[Stage, Stage]:
        slope, total = carry
        at = jax.tree.map(lambda x, v: x + size * places[k] * v, state, slope)
        slope = field(at)
        return slope, jax.tree.map(lambda x, v: x + size * weights[k] * v, total, slope)

    none = jax.tree.map(jnp.zeros_like, state)
    return jax.lax.fori_loop(0, 4, stage, (none, state))[1]


def _reduced(states: Array, slopes: Array, rows: Rows, weights: Array, segments: int) -> Blocks:
    """The blocks of one trajectory."""
    length, dim = states.shape
    residuals = (rows.measured - states) * rows.seen[:, None]
    slopes = slopes * rows.seen[:, None, None]
    of_x, of_c = slopes[:, :, :dim], slopes[:, :, dim:]
    root = jnp.sqrt(weights)
    flat = (of_c * root[:, None]).reshape(length * dim, -1)
    weighted = of_x * weights[:, None]
    by_segment = (rows.segment[:, None] == jnp.arange(segments)).astype(states.dtype)

    def summed(values: Array) -> Array:
        return jnp.tensordot(by_segment, values, ((0,), (0,)))

    return Blocks(
        squares=jnp.sum(residuals**2, axis=0),
        hcc=flat.T @ flat,
        gc=flat.T @ (residuals * root).reshape(-1),
        hxx=summed(jnp.einsum("kda,kdb->kab", weighted, of_x)),
        hxc=summed(jnp.einsum("kda,kdp->kap", weighted, of_c)),
        gx=summed(jnp.einsum("kda,kd->ka", weighted, residuals)),
        states=states,
    )
