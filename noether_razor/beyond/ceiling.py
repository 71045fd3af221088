"""How many conserved quantities a Hamiltonian can have at most, by how fast neighbouring motions separate."""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..phase_space import hamiltonian_field
from ..thinning import evenly
from ..typing import Hamiltonian, State

FIRST, LAST = 40.0, 320.0
"""Between which times growth is measured, in units of the time in which a typical state moves by a spread."""
STEP, STRIDE = 0.025, 40
"""Step of the integrator in these units, and steps between renormalisations."""
STARTS = 24
"""States of the data that motions start from."""
CHAOTIC, TWISTED = 2.2, 0.5
"""Exponents of growth from which a pair of directions is chaotic, and from which it is twisted."""
QUANTILE = 0.1
"""Over the starts: most of them must be as orderly."""
DRIFT, FARTHEST = 0.01, 30.0
"""Change of H over its spread up to which a motion is followed well, and distance in spreads up to which it
is bounded.
"""
FEWEST = 12
"""Motions that must be followed well."""


IGNORED = 1e-9
"""Singular values of forces below this share of the largest belong to directions that H is constant along."""


class Ceiling(NamedTuple):
    """At most so many independent quantities, None where that is not known, and `why`; `exponents` (starts,
    n) of growth of the pairs of directions, the largest first, of the motions that were followed well, over
    that `time`.

    It is an upper limit: chaos that is slower than this time is not seen, and leaves it too high.
    """

    most: int | None
    exponents: Float[np.ndarray, "starts n"]
    time: float
    why: str = ""


def ceiling(
    hamiltonian: Hamiltonian,
    points: Float[np.ndarray, "points dim"],
    scales: Float[np.ndarray, " dim"],
    angles: Sequence[int] = (),
) -> Ceiling:
    """The ceiling of H, a function of the state in the units of the data, for motions from some `points`;
    `scales` (2n,) are canonical units. It is not known where motions are not bounded, turns of the `angles`
    and directions that H does not depend on (a centre of mass) apart, or cannot be followed.

    Singular values of the tangent map of a Hamiltonian flow are pairs s, 1 / s. One that grows as a power of
    time above 2.2 is chaotic: on it nothing is conserved. One that grows like time is twisted, as where
    frequencies depend on an action: one quantity. One that does not grow: two. The sum, at most one less than
    twice the pairs that are not chaotic, is that of all but a tenth of the motions. The rule was chosen on
    eleven known systems: see docs/beyond.md.
    """
    dof, dim = len(scales) // 2, len(scales)
    action = float(scales[0] * scales[dof])
    starts = points[evenly(len(points), STARTS)] / scales
    with jax.enable_x64(True):
        units = jnp.asarray(scales)

        def scaled(state: State) -> Array:
            return hamiltonian(state * units) / action

        field = jax.vmap(hamiltonian_field(scaled))
        speed = np.asarray(field(jnp.asarray(points[evenly(len(points), 500)] / scales)))
        spread = np.sqrt(np.mean(np.var(points / scales, axis=0)))
        unit = float(spread / max(np.sqrt(np.mean(speed**2)), np.finfo(float).tiny))
        counted = _counted(np.asarray(speed), angles)
        logs, farthest, energies = _followed(scaled, jnp.asarray(starts), unit, jnp.asarray(counted))
        values = np.asarray(jax.vmap(scaled)(jnp.asarray(points[evenly(len(points), 500)] / scales)))
    off = np.abs(np.asarray(energies)[-1] - np.asarray(energies)[0]) / max(values.std(), np.finfo(float).tiny)
    reach = np.asarray(farthest) / np.sqrt(np.mean(np.sum((points / scales @ counted) ** 2, axis=1)))
    good = np.isfinite(logs).all(axis=(0, 2)) & (off < DRIFT) & (reach < FARTHEST)
    time = LAST * unit
    none = np.zeros((0, dof))
    if not np.isfinite(off).all() or np.sum(reach >= FARTHEST) > QUANTILE * len(starts):
        far = int(np.sum(~np.isfinite(off) | (reach >= FARTHEST)))
        return Ceiling(None, none, time, f"{far} of {len(starts)} motions of H from the data are not bounded")
    if good.sum() < FEWEST:
        return Ceiling(None, none, time, f"only {good.sum()} of {len(starts)} motions of H can be followed")
    exponents = _exponents(logs[:, good, : dim // 2])
    each = np.sum(np.where(exponents > CHAOTIC, 0, np.where(exponents > TWISTED, 1, 2)), axis=1)
    # The flow itself is in a pair that is not chaotic, and what is conjugate to H is not conserved.
    regular = np.sum(exponents <= CHAOTIC, axis=1)
    most = int(np.quantile(np.minimum(each, 2 * regular - 1), QUANTILE, method="lower"))
    return Ceiling(max(1, most), exponents, time)


def _counted(fields: Float[np.ndarray, "points dim"], angles: Sequence[int]) -> Float[np.ndarray, "dim dim"]:
    """The projection on the coordinates that say how far a motion gets: no angles, and no directions of the
    positions that no force acts along.
    """
    dim = fields.shape[1]
    forces = fields[:, dim // 2 :]
    _, values, right = np.linalg.svd(forces, full_matrices=False)
    free = right[values <= IGNORED * values.max(initial=0.0)]
    projection = np.diag([float(k not in angles) for k in range(dim)])
    projection[: dim // 2] = (np.eye(dim // 2) - free.T @ free) @ projection[: dim // 2]
    return projection


def _exponents(logs: Float[np.ndarray, "times starts n"]) -> Float[np.ndarray, "starts n"]:
    """Slopes of logarithms of growth over the logarithm of time, from FIRST to LAST."""
    times = np.log(STEP * STRIDE * np.arange(1, len(logs) + 1))
    used = times >= np.log(FIRST)
    # As many from each octave: late times are many.
    centred = times[used] - np.average(times[used], weights=np.exp(-times[used]))
    weights = np.exp(-times[used]) * centred
    return np.einsum("t,tsn->sn", weights, logs[used]) / np.sum(weights * centred)


def _followed(
    hamiltonian: Hamiltonian,
    starts: Float[Array, "starts dim"],
    unit: float,
    counted: Float[Array, "dim dim"],
) -> tuple[Float[np.ndarray, "times starts dim"], Array, Array]:
    """Logarithms of the growth of orthonormal directions, the farthest distances from 0 by the coordinates
    that are `counted` (a projection), and energies.
    """
    dim, h = starts.shape[1], STEP * unit
    field = hamiltonian_field(hamiltonian)

    def step(state: State) -> State:
        one = field(state)
        two = field(state + h / 2 * one)
        three = field(state + h / 2 * two)
        return state + h / 6 * (one + 2 * two + 2 * three + field(state + h * three))

    def moved(state: State, directions: Array) -> tuple[Array, Array]:
        return step(state), jax.jvp(step, (state,), (directions,))[1]

    each = jax.vmap(lambda x, frame: (step(x), jax.vmap(lambda d: moved(x, d)[1], 1, 1)(frame)))

    def once(carry: tuple[Array, Array], _: None) -> tuple[tuple[Array, Array], Array]:
        state, frame = each(*carry)
        return (state, frame), jnp.linalg.norm(state @ counted, axis=1)

    def renormalised(
        carry: tuple[Array, Array, Array], _: None
    ) -> tuple[tuple[Array, Array, Array], tuple[Array, Array]]:
        state, frame, far = carry
        (state, frame), distance = jax.lax.scan(once, (state, frame), None, length=STRIDE)
        frame, triangle = jnp.linalg.qr(frame)
        grown = jnp.log(jnp.abs(jnp.diagonal(triangle, axis1=1, axis2=2)))
        return (state, frame, jnp.maximum(far, distance.max(axis=0))), (grown, jax.vmap(hamiltonian)(state))

    # Any frame but one along the motion.
    first = np.linalg.qr(np.random.default_rng(0).normal(size=(dim, dim)))[0]
    frames = jnp.broadcast_to(jnp.asarray(first), (len(starts), dim, dim))

    @jax.jit
    def all_of_it(starts: Array, frames: Array) -> tuple[Array, Array, Array]:
        begin = (starts, frames, jnp.zeros(len(starts)))
        count = round(LAST / (STEP * STRIDE))
        (_, _, far), (grown, energies) = jax.lax.scan(renormalised, begin, None, length=count)
        first = jax.vmap(hamiltonian)(starts)
        return grown, far, jnp.concatenate([first[None], energies])

    grown, far, energies = all_of_it(starts, frames)
    return np.cumsum(np.asarray(grown), axis=0), far, energies
