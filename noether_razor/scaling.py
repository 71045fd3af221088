"""Changes of units: each coordinate scaled and shifted, and back."""

from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from .quadratic_forms import Quadratics
from .typing import Hamiltonian, State

Periods = tuple[float | None, ...]
"""The period of each coordinate of a state, None where it is no angle; empty where none is."""


def centres_and_spreads(
    points: Float[np.ndarray, "points dim"], periods: Periods = ()
) -> tuple[Float[np.ndarray, " dim"], Float[np.ndarray, " dim"]]:
    """Mean and standard deviation of each coordinate over `points`; for an angle those on its circle.

    On a circle of radius r = period / 2 pi with mean point m, the centre is the direction of m, within half
    a period of 0, and the spread sqrt(r^2 - |m|^2): the r.m.s. distance from m, the standard deviation of a
    small swing and r, 1 for 2 pi, of full turns. Turns count for nothing.
    """
    centres, spreads = points.mean(axis=0), points.std(axis=0)
    for k, period in enumerate(periods):
        if period is not None:
            phase = 2 * np.pi * points[:, k] / period
            mean = np.exp(1j * phase).mean()
            radius = period / (2 * np.pi)
            centres[k] = radius * np.angle(mean)
            # sqrt(1 - |mean|^2) of a tiny swing would be rounding: the mean square about the mean point.
            from_centre = np.exp(1j * (phase - np.angle(mean))) - 1
            spreads[k] = radius * np.sqrt(np.mean(np.abs(from_centre - from_centre.mean()) ** 2))
    return centres, spreads


def whole_turns(states: Float[np.ndarray, "*batch dim"], periods: Periods) -> Float[np.ndarray, "*batch dim"]:
    """The whole periods in `states`: taken away, they leave each angle within half a period of 0, and the
    other coordinates as they are.
    """
    turns = np.zeros_like(states)
    for k, period in enumerate(periods):
        if period is not None:
            turns[..., k] = period * np.round(states[..., k] / period)
    return turns


ALIKE = 30.0
"""Spreads within this factor of each other are taken for coordinates of one kind where no units say more."""
FAR = 3.0
"""An offset is taken away when it exceeds this many standard deviations."""


@dataclass(frozen=True)
class ColumnScale(ABC):
    """Scaled coordinates x' = (x - shifts) / scales of n positions and as many momenta or velocities,
    t' = t / time, and the way back.

    `positions` are the scales of the positions, `action` is the product of those of the first pair, `shifts`
    (2n,) are offsets in the user's units, `time` the unit of time.

    Raises ValueError for scales that are not positive and finite, and for shifts of another number.
    """

    positions: tuple[float, ...]
    action: float
    time: float
    shifts: tuple[float, ...]

    def __post_init__(self) -> None:
        scales = np.array([*self.positions, self.action, self.time])
        if not self.positions or not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"scales must be positive and finite, got {scales.tolist()}")
        if len(self.shifts) != 2 * len(self.positions) or not np.isfinite(self.shifts).all():
            raise ValueError(f"{2 * len(self.positions)} finite shifts are needed, got {self.shifts}")

    @property
    @abstractmethod
    def momenta(self) -> tuple[float, ...]:
        """The scales of the momenta or velocities."""

    @property
    def dof(self) -> int:
        """Degrees of freedom n."""
        return len(self.positions)

    @property
    def rest(self) -> Float[np.ndarray, " dof"]:
        """The scaled momenta of the origin, from momenta that are zero in the units of the data."""
        return np.array(self.shifts[self.dof :]) / np.array(self.momenta)

    @property
    def rate(self) -> float:
        """How fast the first scaled position moves where its scaled velocity is 1."""
        return self.momenta[0] * self.time / self.positions[0]

    @property
    def pairs(self) -> Float[np.ndarray, " dof"]:
        """The products of the scales of each position and its momentum, over the action."""
        return np.array(self.positions) * np.array(self.momenta) / self.action

    @property
    def alike(self) -> bool:
        """Whether canonical scaled columns are canonical in the units of the data, so that masses that are
        one in these may be so.
        """
        return np.allclose(self.pairs, 1.0, rtol=1e-9, atol=0.0)

    @property
    def scales(self) -> Float[np.ndarray, " dim"]:
        """The scales of all coordinates, positions first."""
        return np.array([*self.positions, *self.momenta])

    def states(self, states: Float[Any, "*batch dim"]) -> Float[Any, "*batch dim"]:
        """Scaled states of states in the user's units, of any leading shape."""
        return (states - np.array(self.shifts)) / self.scales

    def states_back(self, states: Float[Any, "*batch dim"]) -> Float[Any, "*batch dim"]:
        """States in the user's units of scaled ones; the inverse of `states`."""
        return states * self.scales + np.array(self.shifts)

    def times(self, times: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
        """Scaled times, or time steps, of those in the user's units."""
        return times / self.time

    def times_back(self, times: Float[Any, "*batch"]) -> Float[Any, "*batch"]:
        """Times in the user's units of scaled ones."""
        return times * self.time


@dataclass(frozen=True)
class VelocityScale(ColumnScale):
    """The scales of positions and velocities: s_vi = s_qi / T with one time T for all.

    A mass matrix M, symmetric in p = M v, is the symmetric s_qi M_ij s_qj in scaled columns, up to a factor,
    whatever units the positions have. Where all positions share a scale, this is that of canonical ones.
    """

    @property
    def momenta(self) -> tuple[float, ...]:
        rate = self.action / self.positions[0] ** 2
        return tuple(rate * scale for scale in self.positions)

    @classmethod
    def fitted(
        cls,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        *,
        kinds: Sequence[Hashable] | None = None,
        periods: Periods = (),
    ) -> "VelocityScale":
        """As `PhaseScale.fitted`, with scales as they are: near a spread and a speed of 1."""
        spread = _Spread.of(segments, kinds, periods)
        # The least squares of log(s_q / spread_q) and log(s_v / spread_v) under s_v = s_q / T.
        rate = float(np.exp(np.mean(np.log(spread.pooled[1] / spread.pooled[0]))))
        positions = np.sqrt(spread.pooled[0] * spread.pooled[1] / rate)
        action = float(rate * positions[0] ** 2)
        scale = cls(tuple(positions.tolist()), action, 1.0, spread.shifts)
        time = _moving_time([(at, scale.states(path)) for at, path in segments], 1.0)
        return cls(scale.positions, scale.action, time, scale.shifts)


@dataclass(frozen=True)
class PhaseScale(ColumnScale):
    """Scaled canonical coordinates x' = (x - shifts) / scales, t' = t / time, and the way back.

    `positions` are the scales s_qi of the n positions; those of the momenta are s_pi = action / s_qi with ONE
    constant `action`, which is what keeps Poisson brackets up to a common factor: {f, g} = {f', g'} / action
    for the same functions of scaled states. Hence what is conserved, the rank and the algebra of a set of
    quantities are those of the scaled one, and Hamilton's equations hold with H' = (time / action) H.
    `shifts` (2n,) are offsets in the user's units, `time` the unit of time.

    Raises ValueError for scales that are not positive and finite, and for shifts of another number.
    """

    @classmethod
    def identity(cls, dof: int) -> "PhaseScale":
        """The coordinates as they are."""
        return cls((1.0,) * dof, 1.0, 1.0, (0.0,) * (2 * dof))

    @classmethod
    def fitted(
        cls,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        *,
        kinds: Sequence[Hashable] | None = None,
        spread: float = 1.0,
        periods: Periods = (),
        rounded: bool = True,
    ) -> "PhaseScale":
        """Scales that give trajectories, each (times (time,), states (time, 2n)), a standard deviation near
        `spread` and speeds near 1.

        Degrees of freedom of one kind share their scales, so that rotations among them stay rotations;
        `kinds` has one label for each (its units, say), and without them all are of one kind where their
        spreads differ by less than a factor of 30. Scales are powers of two, so that dividing by them rounds
        nothing, or as they are where not `rounded`. A coordinate is shifted by its mean where this exceeds
        three standard deviations. The unit of time is that in which scaled states move by about `spread`.

        `periods` (2n,), or empty, are those of angles, None for other coordinates. Mean and deviation of an
        angle are those on the circle (`centres_and_spreads`), so that turns neither shift nor widen it, and
        it is of a kind of its own.
        """
        own = _Spread.of(segments, kinds, periods)
        # The least squares of log(s_q / spread_q) and log(s_p / spread_p) under s_q s_p = action.
        near = _power_of_two if rounded else float
        action = near(np.exp(np.mean(np.log(own.pooled).sum(axis=0))) / spread**2)
        positions = [near(np.sqrt(action * q / p)) for q, p in own.pooled.T]
        scale = cls(tuple(positions), action, 1.0, own.shifts)
        time = near(_moving_time([(at, scale.states(path)) for at, path in segments], spread))
        return cls(scale.positions, scale.action, time, scale.shifts)

    @property
    def momenta(self) -> tuple[float, ...]:
        """The scales s_pi = action / s_qi."""
        return tuple(self.action / scale for scale in self.positions)

    @property
    def energy(self) -> float:
        """The unit of energy, action / time: H = energy H'."""
        return self.action / self.time

    def quantities(self, quantities: Quadratics) -> Quadratics:
        """The same functions of the scaled state: C'(x') = C(x) with A' = S A S, b' = S (A m + b) and
        c' = C(m) for scales S and shifts m.
        """
        scales, shifts = self.scales, np.array(self.shifts)
        matrices, vectors, constants = quantities
        gradient = np.einsum("kij,j->ki", matrices, shifts) + vectors
        return Quadratics(
            scales[:, None] * matrices * scales,
            gradient * scales,
            np.einsum("i,ki->k", shifts, gradient + vectors) / 2 + constants,
        )

    def quantities_back(self, quantities: Quadratics) -> Quadratics:
        """The same functions of the state in the user's units; the inverse of `quantities`."""
        matrices = quantities.matrices / self.scales[:, None] / self.scales
        slopes = quantities.vectors / self.scales
        shifts = np.array(self.shifts)
        moved = np.einsum("kij,j->ki", matrices, shifts)
        constants = np.einsum("i,ki->k", shifts, moved / 2 - slopes) + quantities.constants
        return Quadratics(matrices, slopes - moved, constants)

    def hamiltonian(self, hamiltonian: Hamiltonian) -> Hamiltonian:
        """H'(x') = H(x) / energy: it moves scaled states in scaled time as H moves states in time."""
        return lambda state: hamiltonian(self._jax_back(state)) / self.energy

    def hamiltonian_back(self, hamiltonian: Hamiltonian) -> Hamiltonian:
        """H(x) = energy H'(x'), in the user's units of energy (action over time)."""
        return lambda state: self.energy * hamiltonian(self._jax(state))

    def variance(self, variance: float) -> float:
        """The variance in scaled coordinates of isotropic noise of `variance` in the user's units: the mean
        over coordinates, because it is no longer isotropic.
        """
        return float(np.mean(variance / self.scales**2))

    def _jax(self, state: State) -> State:
        return (state - jnp.asarray(self.shifts, state.dtype)) / jnp.asarray(self.scales, state.dtype)

    def _jax_back(self, state: State) -> State:
        return state * jnp.asarray(self.scales, state.dtype) + jnp.asarray(self.shifts, state.dtype)


class _Spread(NamedTuple):
    """Standard deviations of positions and momenta, (2, n), the same for all of a kind, and offsets (2n,)."""

    pooled: Float[np.ndarray, "2 dof"]
    shifts: tuple[float, ...]

    @classmethod
    def of(
        cls,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        kinds: Sequence[Hashable] | None,
        periods: Periods,
    ) -> "_Spread":
        """Of trajectories, as `PhaseScale.fitted` says."""
        points = np.concatenate([states for _, states in segments]).astype(np.float64)
        dof = points.shape[1] // 2
        mean, deviation = centres_and_spreads(points, periods)
        # Below the rounding of the values themselves nothing has moved.
        deviation[deviation <= 1e-12 * np.abs(points).max(axis=0)] = 0.0
        of_position = list(periods[:dof]) or [None] * dof
        labels: list[Hashable] = list(kinds) if kinds is not None else []
        if kinds is not None and len(labels) != dof:
            raise ValueError(f"kinds needs one label a degree of freedom, {dof}, got {len(labels)}")
        if kinds is None:
            labels = [0] * dof
            for period in set(of_position):
                members = [i for i in range(dof) if of_position[i] == period]
                for i, label in zip(members, _kinds(deviation.reshape(2, dof)[:, members]), strict=True):
                    labels[i] = label
        labels = list(zip(labels, of_position, strict=True))
        pooled = deviation.reshape(2, dof).copy()
        for label in set(labels):
            members = [i for i in range(dof) if labels[i] == label]
            pooled[:, members] = np.sqrt(np.mean(pooled[:, members] ** 2, axis=1, keepdims=True))
        pooled[pooled == 0] = 1.0
        far = np.abs(mean) > FAR * np.where(deviation > 0, deviation, pooled.reshape(-1))
        return cls(pooled, tuple(np.where(far, mean, 0.0).tolist()))


def _power_of_two(value: float) -> float:
    return float(2.0 ** np.round(np.log2(value)))


def _kinds(deviation: Float[np.ndarray, "2 dof"]) -> list[int]:
    """One kind where all spreads that are not zero lie within a factor of `ALIKE`, else each its own."""
    within = [row[row > 0].max() <= ALIKE * row[row > 0].min() for row in deviation if (row > 0).any()]
    return [0] * deviation.shape[1] if all(within) else list(range(deviation.shape[1]))


def _moving_time(segments: Sequence[tuple[np.ndarray, np.ndarray]], spread: float) -> float:
    """The time in which states move by about `spread` a coordinate.

    From the shortest lag over which they move by half of that, so that noise on closely sampled states is not
    taken for motion; from the longest one where none does.
    """
    longest = max(len(times) for times, _ in segments) - 1
    lag, elapsed, moved = 1, 1.0, 0.0
    while lag <= longest:
        pairs = [(t, x) for t, x in segments if len(t) > lag]
        elapsed = float(np.sqrt(np.mean(np.concatenate([(t[lag:] - t[:-lag]) ** 2 for t, _ in pairs]))))
        moved = float(np.sqrt(np.mean(np.concatenate([(x[lag:] - x[:-lag]) ** 2 for _, x in pairs]))))
        if moved >= spread / 2:
            break
        lag *= 2
    return elapsed * spread / moved if moved > 0 else elapsed
