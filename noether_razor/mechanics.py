"""Mechanics of any Lagrangian L(q, v, t) by automatic differentiation, and of learning rules as Lagrangians.

A learning rule is kinetic energy, the loss is potential energy (Tanaka and Kunin 2021, arXiv 2105.02716).
Compute in float64 (``with jax.enable_x64(True)``): second derivatives of a Lagrangian are inverted.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import diffrax
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from .typing import Scalar

Vector: TypeAlias = Float[Array, " n"]
"""Coordinates q, velocities v or a generator xi(q), n numbers each."""
Lagrangian: TypeAlias = Callable[[Vector, Vector, Scalar], Scalar]
"""L(q, v, t)."""
Kinetic: TypeAlias = Callable[[Vector, Vector], Scalar]
"""A kinetic energy T(q, v) of unit mass."""
Generator: TypeAlias = Callable[[Vector], Vector]
"""The direction xi(q) in which a symmetry moves q."""


def euler_lagrange(lagrangian: Lagrangian) -> Callable[[Vector, Vector, Scalar], Vector]:
    """The acceleration q'' = L_vv^-1 (L_q - L_vq v - L_vt) at (q, v, t), for a regular L_vv."""
    momentum = jax.grad(lagrangian, argnums=1)

    def acceleration(q: Vector, v: Vector, t: Scalar) -> Vector:
        force = jax.grad(lagrangian)(q, v, t)
        _, moved = jax.jvp(lambda at, time: momentum(at, v, time), (q, t), (v, jnp.ones_like(t)))
        inertia = jax.jacfwd(momentum, argnums=1)(q, v, t)
        return jnp.linalg.solve(inertia, force - moved)

    return acceleration


def motion(
    lagrangian: Lagrangian,
    position: Vector,
    velocity: Vector,
    times: Float[Array, " time"],
    *,
    tolerance: float = 1e-12,
) -> tuple[Float[Array, "time n"], Float[Array, "time n"]]:
    """Positions and velocities at increasing `times`, from those at the first: adaptive Dormand-Prince 8(7).

    Raises `equinox.EquinoxRuntimeError` where more than 100000 steps are needed.
    """
    acceleration = euler_lagrange(lagrangian)

    def field(t: Any, state: tuple[Vector, Vector], _: Any) -> tuple[Vector, Vector]:
        q, v = state
        return v, acceleration(q, v, jnp.asarray(t, q.dtype))

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        diffrax.Dopri8(),
        t0=times[0],
        t1=times[-1],
        dt0=None,
        y0=(position, velocity),
        saveat=diffrax.SaveAt(ts=times),
        # Steps end at the times: between its steps the method is of lower order.
        stepsize_controller=diffrax.ClipStepSizeController(
            diffrax.PIDController(rtol=tolerance, atol=tolerance), step_ts=times
        ),
        max_steps=100_000,
    )
    assert solution.ys is not None
    return solution.ys


def noether_charge(
    lagrangian: Lagrangian, generator: Generator
) -> Callable[[Vector, Vector, Scalar], Scalar]:
    """The charge <L_v, xi(q)>; it is constant along solutions where `breaking` vanishes."""
    momentum = jax.grad(lagrangian, argnums=1)
    return lambda q, v, t: momentum(q, v, t) @ generator(q)


def breaking(lagrangian: Lagrangian, generator: Generator) -> Callable[[Vector, Vector, Scalar], Scalar]:
    """How fast the Noether charge changes on solutions: the derivative of L along (xi, D_t xi)."""

    def change(q: Vector, v: Vector, t: Scalar) -> Scalar:
        moved, carried = jax.jvp(generator, (q,), (v,))
        return jax.jvp(lambda at, speed: lagrangian(at, speed, t), (q, v), (moved, carried))[1]

    return change


def euclidean(q: Vector, v: Vector) -> Scalar:
    """|v|^2 / 2, the kinetic energy of gradient descent."""
    del q
    return v @ v / 2


def metric(matrix: Callable[[Vector], Float[Array, "n n"]]) -> Kinetic:
    """v^T G(q) v / 2: a constant diagonal is a frozen Adam, the Fisher matrix is the natural gradient."""
    return lambda q, v: v @ matrix(q) @ v / 2


def bregman(potential: Callable[[Vector], Scalar]) -> Kinetic:
    """The Bregman divergence h(q + v) - h(q) - <grad h(q), v> of a convex h: mirror descent."""

    def kinetic(q: Vector, v: Vector) -> Scalar:
        value, slope = jax.jvp(potential, (q,), (v,))
        return potential(q + v) - value - slope

    return kinetic


@dataclass(frozen=True)
class LearningLagrangian:
    """exp(mu t / m) [m T(q, v) - f(q) - k |q|^2 / 2]: loss f, mass m, damping mu, weight decay k.

    Its motion is m q'' + mu q' = -grad f - k q for the Euclidean T. Heavy-ball momentum beta at learning rate
    eta has m = eta (1 + beta) / 2 and mu = 1 - beta in the time t = eta n.
    """

    loss: Callable[[Vector], Scalar]
    kinetic: Kinetic = euclidean
    mass: float = 1.0
    damping: float = 0.0
    decay: float = 0.0

    def __call__(self, q: Vector, v: Vector, t: Scalar) -> Scalar:
        inside = self.mass * self.kinetic(q, v) - self.loss(q) - self.decay * (q @ q) / 2
        return jnp.exp(self.damping * t / self.mass) * inside


def learning_lagrangian(
    loss: Callable[[Vector], Scalar],
    kinetic: Kinetic = euclidean,
    mass: float = 1.0,
    damping: float = 0.0,
    decay: float = 0.0,
) -> LearningLagrangian:
    """The Lagrangian of a learning rule; see `LearningLagrangian`."""
    return LearningLagrangian(loss, kinetic, mass, damping, decay)


class Budget(NamedTuple):
    """A charge C = m <T_v, xi> of a learning Lagrangian, and the parts of dC/dt on its solutions.

    dissipation: -mu / m C. kinetic: m times the derivative of T along (xi, D_t xi); it vanishes for all
    motions exactly where xi is a Killing field of the metric. explicit: -k <q, xi> - <grad f, xi>.
    """

    charge: Float[Array, "*batch"]
    dissipation: Float[Array, "*batch"]
    kinetic: Float[Array, "*batch"]
    explicit: Float[Array, "*batch"]

    @property
    def total(self) -> Float[Array, "*batch"]:
        """Their sum, dC/dt."""
        return self.dissipation + self.kinetic + self.explicit


def budget(learning: LearningLagrangian, generator: Generator) -> Callable[[Vector, Vector], Budget]:
    """The budget of a charge without the factor exp(mu t / m), at any (q, v).

    Equation: Noether's learning dynamics, arXiv 2105.02716 section 4.
    """

    def parts(q: Vector, v: Vector) -> Budget:
        moved, carried = jax.jvp(generator, (q,), (v,))
        charge = learning.mass * (jax.grad(learning.kinetic, argnums=1)(q, v) @ moved)
        kinetic = jax.jvp(learning.kinetic, (q, v), (moved, carried))[1]
        pull = jax.jvp(learning.loss, (q,), (moved,))[1]
        return Budget(
            charge,
            -learning.damping / learning.mass * charge,
            learning.mass * kinetic,
            -learning.decay * (q @ moved) - pull,
        )

    return parts
