"""Checked sets of trajectories."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Array, Bool, Float, Int

from ..scaling import Periods, centres_and_spreads, whole_turns
from .canonical import CanonicalMap


class Transitions(NamedTuple):
    """Pairs (x_t, target of x_{t+1}) and the time between them; rows are independent given H."""

    states: Float[Array | np.ndarray, "transitions dim"]
    targets: Float[Array | np.ndarray, "transitions dim"]
    dt: Float[Array | np.ndarray, " transitions"]

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.dt.shape[0]

    def __repr__(self) -> str:
        dt = f", dt {_range(self.dt)}" if isinstance(self.dt, np.ndarray) and self.dt.size else ""
        return f"Transitions(states {np.shape(self.states)}, targets {np.shape(self.targets)}{dt})"


UNPAIRED = "unpaired"
"""The bracket of states that are no pairs of positions and momenta."""
MOST_NAMES, LONGEST_NAME = 12, 40
"""Columns that are named where a set of trajectories is printed, and letters of each."""


def _range(values: np.ndarray) -> str:
    """Between which numbers these are."""
    least, most = f"{values.min():.4g}", f"{values.max():.4g}"
    return least if least == most else f"{least} to {most}"


def default_names(dof: int) -> tuple[str, ...]:
    """q1..qn, p1..pn."""
    return (*(f"q{i + 1}" for i in range(dof)), *(f"p{i + 1}" for i in range(dof)))


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Trajectories of one system, each sampled at times and for a length of its own.

    `times` (trajectories, time) increase strictly along each row; `states` (trajectories, time, 2n) hold
    positions first; `targets`, if given, are noisy copies of ``states[:, 1:]`` to learn from, with the states
    themselves as noise-free inputs. `names` and `units` have one entry a coordinate; by default q1..pn and no
    units. `lengths` (trajectories,) says how many points of each row are the trajectory; empty: all. What
    follows them is padding: whatever was given there, it is stored as a copy of the last time, state and
    target, so that nothing moves in it. `time_unit` is the unit of `times`. `periods` has one entry a
    coordinate: the period of an angle, None for what is none; states hold angles unwrapped, and which turn a
    trajectory begins in means nothing.

    `recordings` (trajectories,) number the recordings: trajectories with one number are pieces of one, cut at
    gaps, along which the same is conserved with the same value. By default each is its own. `velocities` are
    the masses by which velocities, in the order of the momenta, were multiplied to make these, by the names
    of the velocities; empty where momenta were measured. `bracket` is not empty where the last n coordinates
    are velocities of which no masses are known: it names the kind of Poisson matrix to look for (see
    `poisson_matrix`); "unpaired" says that the coordinates, of any number, are no positions and momenta (see
    `lie_poisson` and `log_canonical`). `canonical` says how canonical coordinates were made of the columns of
    a file, None where the columns are these.

    Raises ValueError, with what was got and what is expected, on any other input. Arrays are kept in float64.
    """

    times: np.ndarray
    states: np.ndarray
    targets: np.ndarray | None = None
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = field(default=())
    lengths: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    time_unit: str = ""
    recordings: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    velocities: Mapping[str, float] = field(default_factory=dict)
    periods: Periods = ()
    bracket: str = ""
    canonical: CanonicalMap | None = None

    def __post_init__(self) -> None:
        for name in ("times", "states", "targets"):
            value = getattr(self, name)
            if value is not None:
                if np.iscomplexobj(value):
                    raise ValueError(f"{name} must be real numbers, got complex ones")
                object.__setattr__(self, name, np.asarray(value, dtype=np.float64))
        if self.states.ndim != 3:
            raise ValueError(f"states must have shape (trajectories, time, 2n), got {self.states.shape}")
        count, length, dim = self.states.shape
        paired = self.bracket != UNPAIRED
        if dim == 0 or (paired and dim % 2):
            raise ValueError(
                f"states need as many momenta as positions, got {dim} columns, an odd number or none"
            )
        if count < 1 or length < 2:
            raise ValueError(
                f"at least 1 trajectory of 2 points is needed, got {count} trajectories of {length} points"
            )
        if self.times.shape != (count, length):
            raise ValueError(f"times must have shape {(count, length)}, got {self.times.shape}")
        if self.targets is not None and self.targets.shape != (count, length - 1, dim):
            raise ValueError(f"targets must have shape {(count, length - 1, dim)}, got {self.targets.shape}")
        lengths = _whole_numbers("lengths", self.lengths, np.full(count, length))
        if lengths.min() < 2 or lengths.max() > length:
            wrong = int(np.argmax((lengths < 2) | (lengths > length)))
            raise ValueError(
                f"lengths must be from 2 to {length}, got {int(lengths[wrong])} for trajectory {wrong}"
            )
        object.__setattr__(self, "lengths", lengths)
        if self.lengths.min() < length:
            for name, shift in (("times", 0), ("states", 0), ("targets", 1)):
                if getattr(self, name) is not None:
                    object.__setattr__(self, name, _padded(getattr(self, name), self.lengths - shift))
        for name in ("times", "states", "targets"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
                raise ValueError(f"{name} must be finite, got {value[where]} at index {where}")
        late = np.argwhere((np.diff(self.times, axis=1) <= 0) & self.present()[:, 1:])
        if late.size:
            trajectory, step = (int(i) for i in late[0])
            raise ValueError(
                f"times must increase along each trajectory, got {self.times[trajectory, step]} then "
                f"{self.times[trajectory, step + 1]} in trajectory {trajectory}"
            )
        usual = default_names(dim // 2) if paired else tuple(f"x{i + 1}" for i in range(dim))
        object.__setattr__(self, "names", tuple(self.names) or usual)
        object.__setattr__(self, "units", tuple(self.units) or ("",) * dim)
        object.__setattr__(self, "periods", tuple(self.periods) or (None,) * dim)
        for name in ("names", "units", "periods"):
            if len(getattr(self, name)) != dim:
                raise ValueError(f"{name} must have {dim} entries, got {len(getattr(self, name))}")
        recordings = _whole_numbers("recordings", self.recordings, np.arange(count))
        object.__setattr__(self, "recordings", recordings)
        if len(self.velocities) not in (0, dim // 2):
            raise ValueError(f"velocities must have {dim // 2} entries or none, got {len(self.velocities)}")
        for name, period in zip(self.names, self.periods, strict=True):
            if period is not None and not (period > 0 and np.isfinite(period)):
                raise ValueError(f"periods must be positive and finite, or None, got {period} for {name}")

    @classmethod
    def of_segments(
        cls,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        *,
        names: tuple[str, ...] = (),
        units: tuple[str, ...] = (),
        time_unit: str = "",
        recordings: Sequence[int] | np.ndarray = (),
        velocities: Mapping[str, float] | None = None,
        periods: Periods = (),
        bracket: str = "",
    ) -> "Trajectories":
        """A set of trajectories given one by one as times (time,) and states (time, 2n), of any lengths.

        Raises ValueError where times and states do not fit each other, and as the constructor does.
        """
        if not segments:
            raise ValueError("at least 1 trajectory of 2 points is needed, got 0 trajectories")
        lengths = np.array([len(times) for times, _ in segments])
        dim = np.shape(segments[0][1])[-1]
        times = np.zeros((len(segments), lengths.max()))
        states = np.zeros((len(segments), lengths.max(), dim))
        for row, (at, path) in enumerate(segments):
            if np.shape(path) != (len(at), dim):
                raise ValueError(
                    f"states of trajectory {row} must have shape {(len(at), dim)}, got {np.shape(path)}"
                )
            times[row, : len(at)], states[row, : len(at)] = at, path
        return cls(
            times,
            states,
            names=names,
            units=units,
            lengths=lengths,
            time_unit=time_unit,
            recordings=np.asarray(recordings, dtype=None if len(recordings) else np.int64),
            velocities=velocities or {},
            periods=periods,
            bracket=bracket,
        )

    @classmethod
    def from_frame(
        cls,
        frame: Any,
        *,
        trajectory: str | None = None,
        time: str | None = None,
        positions: Sequence[str] | None = None,
        momenta: Sequence[str] | None = None,
        velocities: Sequence[str] | None = None,
        masses: float | int | Sequence[float | int] | None = None,
        states: Sequence[str] | None = None,
        step: float | None = None,
        periodic: Sequence[str] | None = None,
        period: float | None = None,
        units: Mapping[str, str] | None = None,
        ignore: Sequence[str] | None = None,
        gap: float | None = None,
    ) -> "Trajectories":
        """The trajectories of a table in memory, one row a point: a frame of pandas or polars, or a dict of
        arrays; all that is used of it are ``.columns`` (or the keys) and the columns by name.

        What the columns mean, and what is checked, is as for files: see `Layout` for the options. By default
        trajectory, time, q1..qn and p1..pn; without a column of trajectories the table is one, and without a
        column of times `step` is the time between rows. What was done to the data that their owner should
        know is a `DataFileWarning`. Raises `DataFileError` naming row and column, ValueError for options.
        """
        # Readers of tables know this class.
        from .files import DataFileWarning
        from .frames import frame_layout, read_frame

        layout = frame_layout(
            trajectory=trajectory,
            time=time,
            positions=positions,
            momenta=momenta,
            velocities=velocities,
            masses=masses,
            states=states,
            step=step,
            periodic=periodic,
            period=period,
            units=units,
            ignore=ignore,
            gap=gap,
        )
        trajectories, notes = read_frame(frame, layout)
        for note in notes:
            warnings.warn(note, DataFileWarning, stacklevel=2)
        return trajectories

    @classmethod
    def from_arrays(
        cls,
        times: Any,
        states: Any,
        *,
        names: Sequence[str] = (),
        units: Sequence[str] = (),
        time_unit: str = "",
        masses: float | int | Sequence[float | int] | Literal["unknown"] = (),
    ) -> "Trajectories":
        """Trajectories of arrays: `states` (traj, time, 2n), or a list of (time_k, 2n) of any lengths, or one
        (time, 2n); `times` (traj, time), or a list of (time_k,), or one (time,) for all.

        With `masses`, one for all or one a position, the last n columns are velocities, and momenta m v are
        kept; with `masses` "unknown" canonical momenta are to be found from the data. `names` and `units` are
        those of the columns as given. Angles must be unwrapped; `from_frame` does so. Raises ValueError with
        what was got and what is expected.
        """
        from .frames import arrays_to_trajectories

        return arrays_to_trajectories(
            times, states, names=names, units=units, time_unit=time_unit, masses=masses
        )

    @property
    def dof(self) -> int:
        """Degrees of freedom n."""
        return self.states.shape[2] // 2

    def __repr__(self) -> str:
        most, (count, length, dim) = MOST_NAMES, self.states.shape
        fewest, rows = int(self.lengths.min()), int(self.lengths.sum())
        points = f"{length} points" if fewest == length else f"{fewest} to {length} points, {rows} in all"
        columns = [
            name[:LONGEST_NAME]
            + (f" [{unit[:LONGEST_NAME]}]" if unit else "")
            + (f" (angle of period {period:.4g})" if period else "")
            for name, unit, period in zip(self.names, self.units, self.periods, strict=True)
        ]
        listed = columns if dim <= most else [*columns[: most // 2], "...", *columns[-most // 2 :]]
        clock = f"times {_range(self.times)}" + (f" {self.time_unit}" if self.time_unit else "")
        steps = np.diff(self.times, axis=1)[self.present()[:, 1:]]
        lines = [
            f"Trajectories({count} of {points}, {clock}, dt {_range(steps)}",
            f"  {dim} columns: {', '.join(listed)}",
        ]
        if self.recording_count < count:
            lines[0] += f", pieces of {self.recording_count} recordings"
        if self.velocities:
            masses = [f"{mass:.4g}" for mass in self.velocities.values()]
            shown = masses if len(set(masses)) > 1 else masses[:1]
            more = ", ..." if len(shown) > most else ""
            lines.append(f"  momenta are mass times velocity, masses {', '.join(shown[:most])}{more}")
        if self.bracket == UNPAIRED:
            lines.append("  without pairs of positions and momenta")
        elif self.bracket:
            lines.append("  the last columns are velocities of unknown masses")
        if self.canonical is not None and (formulas := self.canonical.formulas()):
            lines.append("  " + ", ".join(f"{name} = {text}" for name, text in formulas.items()))
        if self.targets is not None:
            lines.append("  with noisy targets beside the states")
        return ",\n".join(lines) + ")"

    def other_names(self) -> dict[str, Float[np.ndarray, " dim"]]:
        """Columns that formulas may name though they are no coordinates, such as velocities, as linear
        combinations of the coordinates.
        """
        rows = np.eye(2 * self.dof)[self.dof :]
        parts = zip(rows, self.velocities.items(), strict=False)
        found = {name: row / mass for row, (name, mass) in parts if name not in self.names}
        return found | (self.canonical.other_names() if self.canonical is not None else {})

    def require_canonical(self) -> None:
        """Raises ValueError where the coordinates are not positions and momenta: velocities, or no pairs."""
        if self.bracket == UNPAIRED:
            raise ValueError(
                "these states are no pairs of positions and momenta: ask noether_razor.lie_poisson(data) "
                "or log_canonical(data) for their bracket"
            )
        if self.bracket:
            raise ValueError(
                "these are velocities without masses: find canonical momenta first, "
                "data = noether_razor.poisson_matrix(data).canonical(data)"
            )

    @property
    def recording_count(self) -> int:
        """How many recordings the trajectories are pieces of."""
        return len(np.unique(self.recordings))

    def __len__(self) -> int:
        return self.states.shape[0]

    def __iter__(self) -> Iterator[np.ndarray]:
        return (states for _, states in self.segments())

    def __getitem__(self, rows: slice | Int[np.ndarray, " chosen"]) -> "Trajectories":
        """The trajectories of a slice or of numbers, as a set of the same kind, padded no further than it
        needs.
        """
        lengths = self.lengths[rows]
        end = int(lengths.max(initial=0))
        return replace(
            self,
            times=self.times[rows, :end],
            states=self.states[rows, :end],
            targets=None if self.targets is None else self.targets[rows, : max(end - 1, 0)],
            lengths=lengths,
            recordings=self.recordings[rows],
        )

    def first_states(self) -> Float[np.ndarray, "traj dim"]:
        """The state that each trajectory begins in."""
        return self.states[:, 0].copy()

    def first(self, points: int) -> "Trajectories":
        """The first `points` (at least 2) of each trajectory, of shorter ones all."""
        end = min(points, self.times.shape[1])
        return replace(
            self,
            times=self.times[:, :end],
            states=self.states[:, :end],
            targets=None if self.targets is None else self.targets[:, : end - 1],
            lengths=np.minimum(self.lengths, end),
        )

    def without(self, rows: Bool[np.ndarray, "traj time"]) -> "Trajectories":
        """The same without these points; at least 2 of each trajectory must stay. Targets go with them."""
        kept = self.present() & ~rows
        segments = [(t[k], x[k]) for t, x, k in zip(self.times, self.states, kept, strict=True)]
        shorter = Trajectories.of_segments(segments, bracket=self.bracket)
        return replace(
            self, times=shorter.times, states=shorter.states, targets=None, lengths=shorter.lengths
        )

    def present(self) -> Bool[np.ndarray, "traj time"]:
        """Which points are measured; the others are padding."""
        return np.arange(self.times.shape[1]) < self.lengths[:, None]

    def points(self) -> Float[np.ndarray, "points dim"]:
        """All measured states, trajectory by trajectory."""
        return self.states[self.present()]

    def spreads(self) -> Float[np.ndarray, " dim"]:
        """The standard deviation of each coordinate over all measured states, of an angle that on its
        circle.
        """
        return centres_and_spreads(self.points(), self.periods)[1]

    def angles(self) -> tuple[int, ...]:
        """Which coordinates of a state are angles."""
        return tuple(k for k, period in enumerate(self.periods) if period is not None)

    def segments(self) -> list[tuple[Float[np.ndarray, " time"], Float[np.ndarray, "time dim"]]]:
        """Each trajectory as its times (time,) and states (time, 2n), without padding."""
        rows = zip(self.times, self.states, self.lengths, strict=True)
        return [(times[:length], states[:length]) for times, states, length in rows]

    def transitions(self) -> Transitions:
        """Every (x_t, target of x_{t+1}, dt), trajectory by trajectory; the next states are the targets where
        none are stored. Nothing leads into the padding or out of it. Whole turns of x_t are taken from both
        ends: however many there are, float32 holds what is left.
        """
        targets = self.states[:, 1:] if self.targets is None else self.targets
        present = self.present()[:, 1:]
        states, targets = self.states[:, :-1][present], targets[present]
        if self.angles():
            turns = whole_turns(states, self.periods)
            states, targets = states - turns, targets - turns
        return Transitions(states, targets, np.diff(self.times, axis=1)[present])


def _whole_numbers(name: str, values: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """`values`, whole numbers as many as `otherwise`, which stand where none are given."""
    if np.size(values) == 0:
        return otherwise
    array = np.asarray(values)
    if array.shape != otherwise.shape or not np.issubdtype(array.dtype, np.integer):
        raise ValueError(
            f"{name} must be {len(otherwise)} whole numbers, got {array.dtype} of shape {array.shape}"
        )
    return array.astype(np.int64)


def _padded(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """`values` with everything from ``lengths[k]`` on in row k replaced by the entry before."""
    columns = np.minimum(np.arange(values.shape[1]), lengths[:, None] - 1)
    return values[np.arange(len(values))[:, None], columns]
