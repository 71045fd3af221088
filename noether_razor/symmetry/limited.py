"""Flows of quantities without a closed form, at limited speed.

H is constant on the orbits of the flow of C wherever {C, H} = 0, so any time along them, also one that
depends on the state, leaves H as it is. Hence orbits may be followed at a speed of our own: v / sqrt(1 +
|v|^2) for the velocity v in units of the spread of the data. It has no period to know, no units, and ends
within `length` spreads, however large C is. (The plain flow of a cubic leaves the data in no time.)
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..integrators import rk4_step, transition
from ..phase_space import symplectic_gradient
from ..quantities import ConservedQuantities
from ..typing import State, VectorField

LENGTH = 1.5
"""Of an orbit at |w| = 1, at most, in spreads of the data."""
FLOW_STEPS = 8
"""Runge-Kutta steps along it: errors of 1e-5 spreads (docs/numerics.md)."""


def limited_field(gradient: VectorField, spreads: tuple[float, ...] | None = None) -> VectorField:
    """The velocity J grad C limited to one spread a unit of time, from the `gradient` of C.

    v is measured in `spreads` (2n,), of C over the mean spread of positions times that of momenta: the same
    in all units.
    """

    def velocity(state: State) -> State:
        plain = symplectic_gradient(gradient(state))
        if spreads is None:
            return plain / jnp.sqrt(1 + jnp.dot(plain, plain))
        sizes = jnp.asarray(spreads, state.dtype)
        position, momentum = jnp.split(sizes, 2)
        action = jnp.mean(position) * jnp.mean(momentum)
        inside = action * plain / sizes
        return action * plain / jnp.sqrt(1 + jnp.dot(inside, inside))

    return velocity


class FlowSamples(NamedTuple):
    """Images under the speed-limited flows of u . C, u = w / |w|, for the time `length` |w|, by the rows w of
    `coordinates`: of order 4 in 1 / `steps`.
    """

    quantities: ConservedQuantities
    coordinates: Float[Array, "samples K"]
    steps: int = FLOW_STEPS
    spreads: tuple[float, ...] | None = None
    length: float = LENGTH

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        def image(w: Float[Array, " K"]) -> State:
            size = jnp.sqrt(jnp.maximum(jnp.sum(w**2), jnp.finfo(w.dtype).tiny))
            field = limited_field(self.quantities.gradient(w / size), self.spreads)
            return transition(field, state, self.length * size, substeps=self.steps)

        return jax.vmap(image)(self.coordinates)


class CurveSamples(NamedTuple):
    """Images under the speed-limited flows of u . C, with u the rows of `directions`, for the times `length`
    times those in the same row of `positions`: of order 4 in 1 / `steps`.

    All images of a state by one direction lie on one curve, ahead of it: positions are not negative. It is
    integrated once, and the images are taken from its cubic Hermite interpolation, whatever their number.
    """

    quantities: ConservedQuantities
    directions: Float[Array, "curves K"]
    positions: Float[Array, "curves each"]
    steps: int = FLOW_STEPS
    spreads: tuple[float, ...] | None = None
    length: float = LENGTH

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        images = jax.vmap(self._on_a_curve, in_axes=(None, 0, 0))(state, self.directions, self.positions)
        return images.reshape(-1, state.shape[0])

    def _on_a_curve(
        self, state: State, direction: Float[Array, " K"], w: Float[Array, " each"]
    ) -> Float[Array, "each dim"]:
        field = limited_field(self.quantities.gradient(direction), self.spreads)
        longest = jnp.maximum(jnp.max(w), jnp.finfo(w.dtype).tiny)
        step = self.length * longest / self.steps

        def one(x: State, _: None) -> tuple[State, tuple[State, State]]:
            return rk4_step(field, x, step), (x, field(x))

        end, (nodes, slopes) = jax.lax.scan(one, state, length=self.steps)
        nodes = jnp.concatenate([nodes, end[None]])
        slopes = jnp.concatenate([slopes, field(end)[None]]) * step
        # Steps from each node, as far as its neighbours.
        away = jnp.clip(w[:, None] / longest * self.steps - jnp.arange(self.steps + 1), -1, 1)
        left = (1 - jnp.abs(away)) ** 2
        return ((1 + 2 * jnp.abs(away)) * left) @ nodes + (away * left) @ slopes
