"""Integrators: fixed steps to train through, adaptive float64 steps to make and check data."""

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .phase_space import hamiltonian_field
from .typing import Hamiltonian, Scalar, State, States, VectorField

Tree = TypeVar("Tree")
Step = Callable[[VectorField, State, Scalar], State]
"""One step of a one-step method: (field, state, step size) -> next state."""


def euler_step(field: VectorField, state: State, dt: Scalar) -> State:
    """One explicit Euler step, of order 1 (the paper's integrator)."""
    return state + dt * field(state)


def midpoint_step(field: VectorField, state: State, dt: Scalar) -> State:
    """One step of the explicit midpoint method, of order 2."""
    return state + dt * field(state + dt / 2 * field(state))


def rk4_step(field: VectorField, state: State, dt: Scalar) -> State:
    """One step of the classical Runge-Kutta method, of order 4."""
    return rk4_tree_step(field, state, dt)


def rk4_tree_step(field: Callable[[Tree], Tree], state: Tree, dt: Scalar) -> Tree:
    """The same for a tree of arrays, such as a state with its variational equations."""

    def along(slopes: Tree, step: Scalar) -> Tree:
        return jax.tree.map(lambda x, k: x + step * k, state, slopes)

    k1 = field(state)
    k2 = field(along(k1, dt / 2))
    k3 = field(along(k2, dt / 2))
    k4 = field(along(k3, dt))
    mean = jax.tree.map(lambda a, b, c, d: a + 2 * b + 2 * c + d, k1, k2, k3, k4)
    return along(mean, dt / 6)


def transition(
    field: VectorField, state: State, dt: Scalar, *, substeps: int = 1, step: Step = rk4_step
) -> State:
    """Advance `state` by `dt` in `substeps` equal steps.

    Differentiable in forward and reverse mode and in any composition of the two, so it serves both for
    transitions under a learned Hamiltonian and, inside that Hamiltonian, for the flow of a conserved
    quantity. The memory of reverse mode grows with `substeps`.
    """
    if substeps == 1:
        return step(field, state, dt)
    size = dt / substeps
    final, _ = jax.lax.scan(lambda x, _: (step(field, x, size), None), state, length=substeps)
    return final


@partial(jax.jit, static_argnums=0, static_argnames=("rtol", "atol"))
def rollout(
    hamiltonian: Hamiltonian,
    initial: States,
    times: Float[Array, "batch time"],
    *,
    rtol: float = 1e-10,
    atol: float = 1e-10,
    bound: Scalar | float | None = None,
) -> Float[Array, "batch time dim"]:
    """Accurate trajectories of a Hamiltonian: adaptive Dormand-Prince 8(7) over a batch, compiled once.

    `hamiltonian` must be hashable (a function or a bound method of a frozen dataclass). `times` increase
    along each row and start at the time of `initial`. Run it in float64 (``with jax.enable_x64(True)``);
    float32 cannot meet the default tolerances. Raises `equinox.EquinoxRuntimeError` where a trajectory needs
    more than 100000 steps. With a `bound`, a trajectory ends where a coordinate exceeds it, or it needs more
    steps, and is not finite from there on.
    """
    field = hamiltonian_field(hamiltonian)
    term = diffrax.ODETerm(lambda _, state, __: field(state))
    event = None
    if bound is not None:
        event = diffrax.Event(lambda t, state, *_, **__: ~(jnp.abs(state).max() <= bound))

    def solve(state: State, at: Float[Array, " time"]) -> Float[Array, "time dim"]:
        solution = diffrax.diffeqsolve(
            term,
            diffrax.Dopri8(),
            t0=at[0],
            t1=at[-1],
            dt0=None,
            y0=state,
            saveat=diffrax.SaveAt(ts=at),
            stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
            max_steps=100_000,
            event=event,
            throw=bound is None,
        )
        assert solution.ys is not None
        return solution.ys

    return jax.vmap(solve)(initial, times)
