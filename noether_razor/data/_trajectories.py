"""Checked sets of trajectories."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float


class Transitions(NamedTuple):
    """Pairs (x_t, target of x_{t+1}) and the time between them; rows are independent given H."""

    states: Float[Array | np.ndarray, "transitions dim"]
    targets: Float[Array | np.ndarray, "transitions dim"]
    dt: Float[Array | np.ndarray, " transitions"]

    @property
    def size(self) -> int:
        """The number of transitions."""
        return self.dt.shape[0]


def default_names(dof: int) -> tuple[str, ...]:
    """q1..qn, p1..pn."""
    return (*(f"q{i + 1}" for i in range(dof)), *(f"p{i + 1}" for i in range(dof)))


@dataclass(frozen=True, eq=False)
class Trajectories:
    """Trajectories of one system, sampled at the same number of times each.

    `times` (trajectories, time) increase strictly along each row; `states` (trajectories, time, 2n) hold
    positions first; `targets`, if given, are noisy copies of ``states[:, 1:]`` to learn from, with the states
    themselves as noise-free inputs. `names` and `units` have one entry a coordinate; by default q1..pn and no
    units.

    Raises ValueError, with what was got and what is expected, on any other input. Arrays are kept in float64.
    """

    times: np.ndarray[Any, np.dtype[np.float64]]
    states: np.ndarray[Any, np.dtype[np.float64]]
    targets: np.ndarray[Any, np.dtype[np.float64]] | None = None
    names: tuple[str, ...] = ()
    units: tuple[str, ...] = field(default=())

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
        if dim == 0 or dim % 2:
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
        for name in ("times", "states", "targets"):
            value = getattr(self, name)
            if value is not None and not np.isfinite(value).all():
                where = tuple(int(i) for i in np.argwhere(~np.isfinite(value))[0])
                raise ValueError(f"{name} must be finite, got {value[where]} at index {where}")
        late = np.argwhere(np.diff(self.times, axis=1) <= 0)
        if late.size:
            trajectory, step = (int(i) for i in late[0])
            raise ValueError(
                f"times must increase along each trajectory, got {self.times[trajectory, step]} then "
                f"{self.times[trajectory, step + 1]} in trajectory {trajectory}"
            )
        object.__setattr__(self, "names", tuple(self.names) or default_names(dim // 2))
        object.__setattr__(self, "units", tuple(self.units) or ("",) * dim)
        for name in ("names", "units"):
            if len(getattr(self, name)) != dim:
                raise ValueError(f"{name} must have {dim} entries, got {len(getattr(self, name))}")

    @property
    def dof(self) -> int:
        """Degrees of freedom n."""
        return self.states.shape[2] // 2

    def __len__(self) -> int:
        return self.states.shape[0]

    def __iter__(self) -> Iterator[np.ndarray[Any, np.dtype[np.float64]]]:
        return iter(self.states)

    def __getitem__(self, rows: slice) -> "Trajectories":
        """The trajectories of a slice, as a set of the same kind."""
        targets = None if self.targets is None else self.targets[rows]
        return replace(self, times=self.times[rows], states=self.states[rows], targets=targets)

    def segments(self) -> list[tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]]:
        """Each trajectory as its times (time,) and states (time, 2n)."""
        return list(zip(self.times, self.states, strict=True))

    def transitions(self) -> Transitions:
        """Every (x_t, target of x_{t+1}, dt), trajectory by trajectory; the next states are the targets where
        none are stored.
        """
        dim = self.states.shape[2]
        targets = self.states[:, 1:] if self.targets is None else self.targets
        return Transitions(
            self.states[:, :-1].reshape(-1, dim),
            targets.reshape(-1, dim),
            np.diff(self.times, axis=1).reshape(-1),
        )
