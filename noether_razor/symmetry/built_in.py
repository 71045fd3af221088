"""Quantities that are given: H is invariant under their flows by construction, not by smoothing.

An average over a finite piece of a flow without a period (translations, shears) only smooths. Of such flows
the network is given what they leave unchanged; flows that turn back are averaged over.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float
from scipy.linalg import expm

from ..quantities import ConservedQuantities, QuadraticQuantities
from ..typing import PRNGKey, State, VectorField
from .averaging import FlowAveraging, GroupDraws
from .group_samples import GroupSamples, IdentitySample
from .sized import sized

ROUNDING = 1e-5
"""Of a flow, in units of its largest entry, below which it is none."""
TURNS, EIGHTHS, FARTHER = 64, 8, 4.0
"""Turns over which a flow is followed, steps a turn, and how much farther than in two turns a bounded one may
take a state.
"""
PERIODS, WHOLE = 4, 1e-3
"""Turns of the fastest rotation after which slower ones are looked for at their start, and how near."""
CROSSED = 3
"""Directions of a shear, at most, whose invariants are built in."""

Directions = Float[np.ndarray, "_ _"]
"""Orthonormal columns."""
Flow = Float[np.ndarray, "_ _"]
"""The velocity L x + s of an affine flow, as [L | s]."""
Flows = Float[np.ndarray, "_ _ _"]


class CannotBuildInError(ValueError):
    """A quantity whose flow neither turns back nor leaves invariants that are simple enough; one line."""


class Slice(NamedTuple):
    """What flows without a period leave of a state: the same for all states of an orbit.

    projection: takes translations out. A shear moves y = positions x by t (speeds x + drifts), up to
    `CROSSED` numbers, and leaves their vector product, which `back` puts in the place of y.
    """

    projection: Float[Array | np.ndarray, "dim dim"]
    positions: Float[Array | np.ndarray, "crossed dim"]
    speeds: Float[Array | np.ndarray, "crossed dim"]
    drifts: Float[Array | np.ndarray, " crossed"]
    back: Float[Array | np.ndarray, "dim crossed"]

    def __call__(self, state: State) -> State:
        product = jnp.cross(self.positions @ state, self.speeds @ state + self.drifts)
        return jnp.asarray(self.projection @ state + self.back @ product)


class SliceSamples(NamedTuple):
    """What `slice` leaves of the images of a state."""

    samples: GroupSamples
    slice: Slice

    def __call__(self, state: State) -> Float[Array, "samples dim"]:
        return jax.vmap(self.slice)(self.samples(state))


class BuiltIn(ConservedQuantities):
    """Given quantities, and how H becomes invariant under their flows: the network sees what a `Slice` leaves
    of a state, averaged over the flows of the quantities `averaged` (None: of none).
    """

    def __init__(
        self, quantities: QuadraticQuantities, averaged: QuadraticQuantities | None, invariants: Slice
    ):
        self.quantities = quantities
        self.averaged = averaged
        self.parts = nnx.Dict(
            {name: nnx.Param(jnp.asarray(part, jnp.float32)) for name, part in invariants._asdict().items()}
        )

    def __repr__(self) -> str:
        averaged = 0 if self.averaged is None else self.averaged.count
        return f"BuiltIn({self.quantities!r}, averaged over {averaged})"

    @property
    def count(self) -> int:
        return self.quantities.count

    def __call__(self, state: State) -> Float[Array, " K"]:
        return self.quantities(state)

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        return self.quantities.gradient(weights)

    def slice(self) -> Slice:
        """What the network sees of a state."""
        return Slice(**{name: self.parts[name][...] for name in Slice._fields})


@dataclass(frozen=True)
class BuiltInAveraging:
    """The averaging of `BuiltIn` quantities: `flows` of those that are averaged over, then their slice."""

    flows: FlowAveraging = field(default_factory=FlowAveraging)

    def sample(self, key: PRNGKey, quantities: ConservedQuantities | None, draws: GroupDraws) -> SliceSamples:
        if not isinstance(quantities, BuiltIn):
            raise ValueError(f"built-in quantities are needed, got {quantities!r}")
        averaged = quantities.averaged
        samples = IdentitySample() if averaged is None else self.flows.sample(key, averaged, draws)
        return SliceSamples(samples, quantities.slice())


def built_in(
    quantities: QuadraticQuantities,
    states: Float[np.ndarray, "points dim"],
    spreads: Float[np.ndarray, " dim"],
) -> BuiltIn:
    """How to build `quantities` in for data of such `states` and `spreads`.

    - Translations, of linear quantities and of functions of these such as p1^2: the network sees the state
      projected along them. Other flows carry translations along, so H is invariant under those as well: with
      p1 and q1 p2 - q2 p1 under that of p2 (their Poisson bracket, which is conserved with them).
    - A single shear of two or three directions, such as that of p1^2 + p2^2: the network sees the vector
      product of what moves and of its velocity, q1 p2 - q2 p1, in place of what moves.
    - Flows that stay bounded are averaged over: one over its circle, which is exact; several over a ball,
      which is not, see `FlowAveraging`.

    Raises `CannotBuildInError` for other flows, such as that of q1 p1, and where translations mix an angle
    with other coordinates.
    """
    sizes = np.where(spreads > 0, spreads, 1.0)
    fields = _fields(quantities, sizes)
    gone = _translations(fields)
    across = _complement(gone)
    left = _induced(fields, across)
    moving = _independent(left)
    bounded = [k for k in moving if _bounded(left[k])]
    shear, crossed = np.zeros((len(sizes), 0)), None
    if len(bounded) < len(moving):
        if len(moving) > 1 or not _is_shear(left[moving[0]]):
            raise CannotBuildInError(
                "the bound cannot judge this: its flow neither turns back nor leaves invariants that are "
                "simple enough to build in"
            )
        crossed = left[moving[0]]
        shear = across @ _range(crossed)
    invariants = _slice(gone, shear, across, crossed, sizes, states)
    _keep_angles(invariants, quantities.angles)
    averaged = _averaged(quantities, bounded, left, states, spreads) if bounded else None
    return BuiltIn(quantities, averaged, invariants)


def _fields(quantities: QuadraticQuantities, sizes: Float[np.ndarray, " dim"]) -> Flows:
    """The flow of each quantity in coordinates divided by `sizes`, at unit size."""
    raw = np.asarray(quantities.generators(), np.float64)[:, :-1] / sizes[:, None]
    raw = raw * np.append(sizes, 1.0)
    norms = np.linalg.norm(raw, axis=(1, 2), keepdims=True)
    return raw / np.where(norms > 0, norms, 1.0)


def _complement(basis: Directions) -> Directions:
    """The directions at right angles to those of `basis`."""
    return np.linalg.svd(basis, full_matrices=True)[0][:, basis.shape[1] :]


def _induced(fields: Flows, across: Directions) -> Flows:
    """Flows as they move states modulo the directions at right angles to `across`."""
    linear = across.T @ fields[:, :, :-1] @ across
    return np.concatenate([linear, across.T @ fields[:, :, -1:]], axis=2)


def _range(flow: Flow) -> Directions:
    """The directions of the velocities of a flow."""
    directions, values, _ = np.linalg.svd(flow, full_matrices=False)
    return directions[:, values > ROUNDING]


def _translations(fields: Flows) -> Directions:
    """Directions along which a continuous H is constant that is invariant under all flows: those of flows
    along parallel lines, and where the other flows carry them.
    """
    gone = np.zeros((fields.shape[1], 0))
    while gone.shape[1] < len(gone):
        across = _complement(gone)
        left = _induced(fields, across)
        # Combinations of flows that are pure translations.
        linear = left[:, :, :-1].reshape(len(left), -1)
        mixed, values, _ = np.linalg.svd(linear, full_matrices=True)
        pure = np.ones(len(left), dtype=bool)
        pure[: len(values)] = values <= ROUNDING
        found = [left[:, :, -1].T @ mixed[:, pure]]
        # A velocity a(x) u with a constant along u has the orbits of the translation along u.
        lines = [(flow, _range(flow)) for flow in left]
        found += [line for flow, line in lines if line.shape[1] == 1 and not _any(flow[:, :-1] @ line)]
        found += [across.T @ flow[:, :-1] @ gone for flow in fields]
        more = _range(np.concatenate(found, axis=1))
        if not more.shape[1]:
            break
        gone = np.concatenate([gone, across @ more], axis=1)
    return gone


def _any(values: np.ndarray) -> bool:
    return bool(np.abs(values).max(initial=0.0) > ROUNDING)


def _independent(fields: Flows) -> list[int]:
    """Flows of which none is a combination of those before, still ones left out."""
    kept: list[int] = []
    flat = fields.reshape(len(fields), -1)
    for k in range(len(flat)):
        if np.linalg.matrix_rank(flat[[*kept, k]], tol=ROUNDING) > len(kept):
            kept.append(k)
    return kept


def _frequencies(flow: Flow) -> Float[np.ndarray, " _"]:
    return np.abs(np.linalg.eigvals(flow[:, :-1]).imag)


def _bounded(flow: Flow) -> bool:
    """Whether a flow turns back: many turns of its fastest rotation take states not much farther than two."""
    fastest = _frequencies(flow).max(initial=0.0)
    if fastest <= ROUNDING:
        return False
    generator = np.concatenate([flow, np.zeros((1, flow.shape[1]))])
    step = expm(2 * np.pi / fastest / EIGHTHS * generator)
    element, reached = np.eye(len(step)), []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(TURNS * EIGHTHS):
            element = step @ element
            reached.append(np.linalg.norm(element))
    return bool(max(reached) <= FARTHER * max(reached[: 2 * EIGHTHS]))


def _is_shear(flow: Flow) -> bool:
    """Whether states move at constant velocities, in few enough directions."""
    return _range(flow).shape[1] <= CROSSED and not _any(flow[:, :-1] @ flow)


def _slice(
    gone: Directions,
    shear: Directions,
    across: Directions,
    flow: Flow | None,
    sizes: Float[np.ndarray, " dim"],
    states: Float[np.ndarray, "points dim"],
) -> Slice:
    """The slice without the translations `gone` and the `shear` of a `flow`, if any, from coordinates
    divided by `sizes` back to those of `states`.
    """
    dim, count = shear.shape
    kept = np.eye(dim) - gone @ gone.T - shear @ shear.T
    positions, speeds, drifts = np.zeros((CROSSED, dim)), np.zeros((CROSSED, dim)), np.zeros(CROSSED)
    back = np.zeros((dim, CROSSED))
    if flow is not None:
        velocity = shear.T @ across @ flow
        positions[:count] = shear.T / sizes
        speeds[:count], drifts[:count] = velocity[:, :-1] @ across.T / sizes, velocity[:, -1]
        products = np.cross(states @ positions.T, states @ speeds.T + drifts)
        scale = products.std(axis=0)
        # Of two directions the product has only its third entry.
        used = [2] if count == 2 else list(range(count))
        back[:, used] = sizes[:, None] * shear[:, : len(used)] / np.where(scale > 0, scale, 1.0)[used]
    return Slice(sizes[:, None] * kept / sizes, positions, speeds, drifts, back)


def _keep_angles(invariants: Slice, angles: Sequence[int]) -> None:
    """Raise `CannotBuildInError` where an angle is neither left as it is nor left out."""
    projection = np.asarray(invariants.projection)
    for k in angles:
        row, column = projection[k], projection[:, k]
        mixed = _any(np.delete(row, k)) or _any(np.delete(column, k)) or _any(row[k : k + 1] * (1 - row[k]))
        if mixed or _any(np.asarray(invariants.positions)[:, k]):
            raise CannotBuildInError(
                "the bound cannot judge this: its flow moves an angle together with other coordinates"
            )


def _averaged(
    quantities: QuadraticQuantities,
    kept: Sequence[int],
    left: Flows,
    states: Float[np.ndarray, "points dim"],
    spreads: Float[np.ndarray, " dim"],
) -> QuadraticQuantities:
    """The quantities `kept`, sized; a single one such that slower rotations also come back to their start."""
    rows = np.asarray(kept)
    chosen = QuadraticQuantities(
        quantities.symmetric_matrices()[rows], quantities.vectors[...][rows], angles=quantities.angles
    )
    found = sized(chosen, states, spreads)
    if len(rows) > 1:
        return found
    frequencies = _frequencies(left[rows[0]])
    turns = np.arange(1, PERIODS + 1)
    ratios = turns[:, None] * frequencies / frequencies.max()
    whole = np.abs(ratios - np.round(ratios)).max(axis=1) <= WHOLE
    factor = int(turns[whole][0]) if whole.any() else 1
    return QuadraticQuantities(
        factor * found.matrices[...], factor * found.vectors[...], angles=quantities.angles
    )
