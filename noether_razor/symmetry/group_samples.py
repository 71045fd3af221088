"""Group samples: sampled group elements as maps of phase space."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..phase_space import by_body, of_bodies, symplectic_matrix
from ..quantities import BodyForms, BodyQuantities, ConservedQuantities, QuadraticQuantities, centred
from ..typing import State
from .exponential import expm
from .limited import FLOW_STEPS, LENGTH, FlowSamples

LARGEST_NORM = 60.0
"""Of |pi w . G|, below where the matrix exponential ends."""
LARGEST_STRETCH = 16.0
"""Of the symmetric part of pi w . J A: a state is stretched by exp of that at most, here to where the
square of an image and of its error still fit float32.
"""


@runtime_checkable
class GroupSamples(Protocol):
    """The group elements of one evaluation of the ELBO: a state to its images."""

    def __call__(self, state: State, /) -> Float[Array, "samples dim"]: ...


class IdentitySample:
    """The identity alone: no symmetry."""

    def __call__(self, state: State) -> Float[Array, "1 dim"]:
        return state[None]


class AffineSamples(NamedTuple):
    """Images M_s x + v_s: the exact flow of quantities of degree two, or elements of a linear group."""

    matrices: Float[Array, "samples dim dim"]
    shifts: Float[Array, "samples dim"]

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        return self.matrices @ state + self.shifts


class BodySamples(NamedTuple):
    """Images y_i -> R_s y_i, u -> M_s u + v_s of equal bodies, with y_i relative to the mean of all and u =
    sqrt(N) times that: the exact flow of `BodyQuantities`.
    """

    relative: Float[Array, "samples own own"]
    centre: Float[Array, "samples own own"]
    shifts: Float[Array, "samples own"]

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        own = self.shifts.shape[1]
        bodies = state.shape[0] // own
        relative, centre = centred(by_body(state, bodies))
        moved = jnp.einsum("sij,nj->sni", self.relative, relative)
        mean = (self.centre @ centre + self.shifts) / jnp.sqrt(jnp.asarray(bodies, state.dtype))
        return of_bodies(moved + mean[:, None])


def flow_samples(
    quantities: ConservedQuantities,
    coordinates: Float[Array, "samples K"],
    *,
    flow_steps: int = FLOW_STEPS,
    spreads: tuple[float, ...] | None = None,
    length: float = LENGTH,
) -> GroupSamples:
    """The group elements Phi_w with w the rows of `coordinates`.

    Of `QuadraticQuantities` and `BodyQuantities` these are the exact flows of sum_k w_k C_k for time pi
    (method: Phi_w = exp(pi w . G)). The time is shortened for elements so far out that no number would hold
    their images, see `_bounded`. Of any others they are speed-limited flows, see `FlowSamples`, with
    `spreads` the sizes of coordinates (2n,), None: all 1, and `length` the largest of an orbit at |w| = 1.
    """
    if isinstance(quantities, QuadraticQuantities):
        generators = jnp.pi * jnp.einsum("sk,kij->sij", coordinates, quantities.generators())
        elements = expm(_bounded(generators))
        return AffineSamples(elements[:, :-1, :-1], elements[:, :-1, -1])
    if isinstance(quantities, BodyQuantities):
        return _body_samples(quantities, coordinates)
    return FlowSamples(quantities, coordinates, flow_steps, spreads, length)


def _body_samples(quantities: BodyQuantities, coordinates: Float[Array, "samples K"]) -> BodySamples:
    """Exponentials of the matrices of one body, for its relative state and for the mean."""
    forms = BodyForms(*(jnp.pi * jnp.tensordot(coordinates, part, 1) for part in quantities.forms()))
    symplectic = symplectic_matrix(quantities.dimension).astype(forms.vectors.dtype)
    linear = jnp.stack([symplectic @ forms.relative, symplectic @ forms.centre])
    shifts = jnp.stack([jnp.zeros_like(forms.vectors), forms.vectors @ symplectic.T])
    generators = jnp.pad(
        jnp.concatenate([linear, shifts[..., None]], axis=-1), ((0, 0), (0, 0), (0, 1), (0, 0))
    )
    # One time for both parts of an element.
    factor = jnp.min(jax.vmap(_factor)(generators), axis=0)
    relative, centre = expm(factor[:, None, None] * generators)
    return BodySamples(relative[:, :-1, :-1], centre[:, :-1, :-1], centre[:, :-1, -1])


def _bounded(generators: Float[Array, "samples m m"]) -> Float[Array, "samples m m"]:
    """`generators`, those beyond `LARGEST_NORM` or `LARGEST_STRETCH` shortened to that: elements of the same
    one-parameter groups. The factor is exactly 1 below, and continuous.
    """
    return _factor(generators)[:, None, None] * generators


def _factor(generators: Float[Array, "samples m m"]) -> Float[Array, " samples"]:
    linear = generators[:, :-1, :-1]
    norm = _norm(generators)
    stretch = _norm((linear + linear.mT) / 2)
    return jnp.minimum(1.0, jnp.minimum(LARGEST_NORM / norm, LARGEST_STRETCH / stretch))


def _norm(matrices: Float[Array, "samples m m"]) -> Float[Array, " samples"]:
    # Of no square smaller than the least number: the root has no derivative at 0.
    squares = jnp.sum(matrices**2, axis=(-2, -1))
    return jnp.sqrt(jnp.maximum(squares, jnp.finfo(matrices.dtype).tiny))
