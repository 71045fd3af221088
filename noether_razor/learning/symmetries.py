"""Symmetries of a loss in parameter space: which slices of which arrays they move, and their bilinear forms.

A generator is xi(q) = A q + b. Scale and rescale symmetries have a diagonal A that is constant on slices of
arrays, translations have b constant on slices; one `Symmetry` is a family of them, one for each unit.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args, runtime_checkable

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

Kind = Literal["translation", "scale", "rescale", "linear"]
Arrays = Mapping[str, Any]
"""Arrays by their paths."""
QUASI = 1e-12
"""Breaking up to which a symmetry counts as exact in float64."""


class SymmetryError(ValueError):
    """A symmetry that does not fit the parameters, in one sentence."""


def flat_parameters(params: Any) -> dict[str, Any]:
    """The arrays of a tree of parameters by their paths: "layers.0.kernel".

    The tree may be a state of NNX, a dictionary of Linen, or any other.
    """
    leaves = jax.tree_util.tree_flatten_with_path(params)[0]
    return {path_name(path): leaf for path, leaf in leaves}


def path_name(path: Sequence[Any]) -> str:
    """A path of a tree in words; a variable of NNX holds its array under the attribute `value`."""
    if path and isinstance(path[-1], jax.tree_util.GetAttrKey) and path[-1].name == "value":
        path = path[:-1]
    return jax.tree_util.keystr(tuple(path), simple=True, separator=".") or "parameters"


def require_real(params: Any) -> None:
    """Raise `SymmetryError` unless the leaves of a tree are arrays of real numbers, and there are some."""
    flat = flat_parameters(params)
    if not flat:
        raise SymmetryError("there are no parameters")
    for path, leaf in flat.items():
        if not isinstance(leaf, jax.Array | np.ndarray | np.generic | float | int | complex):
            kind = type(leaf).__name__
            raise SymmetryError(f"{path}: got {kind}, expected an array (of a Linen module, its parameters)")
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.floating):
            raise SymmetryError(f"{path}: holds {jnp.result_type(leaf)}, expected real numbers")


@dataclass(frozen=True)
class Member:
    """The slices of one array that a family moves.

    path: the array. axes: those that number its slices; the slices are the entries along the other axes. None
    of them: the array is one slice.
    weight: the entry of A or b on them. units: the unit of each slice, in C order of `axes`, -1 for none;
    None: slice k is of unit k.
    """

    path: str
    axes: tuple[int, ...]
    weight: float = 1.0
    units: tuple[int, ...] | None = None

    def form(self, count: int, first: Array, second: Array | None) -> Float[Array, " units"]:
        """Sum over each unit's slices of first * second, or of `first` alone."""
        dtype = jnp.promote_types(first.dtype, jnp.float32)
        product = first.astype(dtype) if second is None else first.astype(dtype) * second.astype(dtype)
        values = _sum_over(product, tuple(k for k in range(product.ndim) if k not in self.axes))
        if self.units is None:
            return values
        units = np.asarray(self.units)
        numbers = np.where(units < 0, count, units)
        return jax.ops.segment_sum(values, numbers, num_segments=count + 1)[:count]


SMALL = 2**14
"""Entries of an array up to which a program spends more on starting a sum over its first axes than on it."""


def _sum_over(array: Array, axes: tuple[int, ...]) -> Float[Array, " slices"]:
    """The sums over some axes: of small arrays and over the last axes as a product with ones, for which a CPU
    needs one kernel; a reduction takes it more, and time even in a branch that is not taken.
    """
    first = array.ndim - len(axes)
    if axes and first and (array.size <= SMALL or axes[0] == first):
        ones = jnp.ones([array.shape[axis] for axis in axes], array.dtype)
        return jnp.tensordot(array, ones, (axes, tuple(range(len(axes)))), precision="highest").reshape(-1)
    return array.sum(axis=axes).reshape(-1)


@runtime_checkable
class Charged(Protocol):
    """A family of generators whose charges can be followed.

    `quadratic` charges are q^T A q, others b . q. `forms` are <first, A second>, and `sums` b . first, with a
    row for each of `paths`, whose weight decays may differ; the sum of the rows with `weights` is meant.
    `squared` is |first|^2 on what the generator moves, `squared_generator` |xi(q)|^2.
    """

    @property
    def name(self) -> str: ...
    @property
    def count(self) -> int: ...
    @property
    def quadratic(self) -> bool: ...
    @property
    def paths(self) -> tuple[str, ...]: ...
    @property
    def weights(self) -> tuple[float, ...]: ...
    def check(self, params: Arrays) -> None: ...
    def forms(self, first: Arrays, second: Arrays) -> Float[Array, "parts units"]: ...
    def sums(self, first: Arrays) -> Float[Array, "parts units"]: ...
    def squared(self, first: Arrays) -> Float[Array, " units"]: ...
    def squared_generator(self, params: Arrays) -> Float[Array, " units"]: ...
    def label(self, unit: int) -> str: ...


@dataclass(frozen=True)
class Symmetry:
    """A family of diagonal generators or of translations, one for each of `count` units.

    kind: translation (b), scale (A of one sign) or rescale (of both). breaking: the largest measured
    |<g, xi>| / |g| |xi| of each unit; empty where it was not measured. numbers: what the units are called;
    empty: 0, 1, ...
    """

    kind: Kind
    name: str
    members: tuple[Member, ...]
    count: int
    breaking: tuple[float, ...] = ()
    numbers: tuple[int, ...] = ()

    @property
    def quadratic(self) -> bool:
        return self.kind != "translation"

    @property
    def paths(self) -> tuple[str, ...]:
        return tuple(member.path for member in self.members)

    @property
    def weights(self) -> tuple[float, ...]:
        return tuple(member.weight for member in self.members)

    @property
    def exact(self) -> bool:
        """Whether no unit breaks it by more than rounding."""
        return max(self.breaking, default=0.0) <= QUASI

    def label(self, unit: int) -> str:
        """One generator in words."""
        number = self.numbers[unit] if self.numbers else unit
        return self.name if self.count == 1 else f"{self.name}, unit {number}"

    def __str__(self) -> str:
        size = "" if self.count == 1 else f" ({self.count} units)"
        strength = "" if self.exact else f", broken by up to {max(self.breaking):.1e}"
        return f"{self.name}{size}{strength}"

    def check(self, params: Arrays) -> None:
        """Raise `SymmetryError` where it does not fit the shapes of flat parameters."""
        if self.kind not in get_args(Kind) or not self.members:
            kinds = ", ".join(get_args(Kind))
            raise SymmetryError(f"{self.name}: expected a kind among {kinds} and a member or more")
        for member in self.members:
            if member.path not in params:
                known = ", ".join(sorted(params))
                raise SymmetryError(f"{self.name}: the parameters have no {member.path}, only {known}")
            shape = jnp.shape(params[member.path])
            if len(set(member.axes) & set(range(len(shape)))) < len(member.axes):
                raise SymmetryError(f"{self.name}: {member.path} of shape {shape} has no axes {member.axes}")
            slices = math.prod(shape[axis] for axis in member.axes)
            wanted = self.count if member.units is None else len(member.units)
            if slices != wanted:
                raise SymmetryError(
                    f"{self.name}: {member.path} of shape {shape} has {slices} slices along axes "
                    f"{member.axes}, expected {wanted}"
                )
            if member.units is not None and not all(-1 <= unit < self.count for unit in member.units):
                raise SymmetryError(f"{self.name}: {member.path} has units beyond 0 to {self.count - 1}")

    def forms(self, first: Arrays, second: Arrays) -> Float[Array, "parts units"]:
        """<first, second> on the slices of each member and unit, without weights."""
        return jnp.stack(
            [member.form(self.count, first[member.path], second[member.path]) for member in self.members]
        )

    def sums(self, first: Arrays) -> Float[Array, "parts units"]:
        """The sum of `first` on the slices of each member and unit, without weights."""
        return jnp.stack([member.form(self.count, first[member.path], None) for member in self.members])

    def squared(self, first: Arrays) -> Float[Array, " units"]:
        """|first|^2 on the slices of each unit."""
        return self.forms(first, first).sum(axis=0)

    def squared_generator(self, params: Arrays) -> Float[Array, " units"]:
        """|xi(q)|^2 of each unit."""
        squares = jnp.asarray(np.square(self.weights))
        if self.quadratic:
            return squares @ self.forms(params, params)
        return squares @ self.sums({path: jnp.ones_like(params[path]) for path in self.paths})
