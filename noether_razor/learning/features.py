"""Sums of gradients over slices of arrays: what a search for diagonal symmetries and translations looks
at.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from .symmetries import Member, flat_parameters


class Row(NamedTuple):
    """What one gradient g at parameters q says of every slice: sums of g q and of g, |q|^2 and |g|^2, each of
    shape (features,), and |g|^2 of all; a table of them has rows first.
    """

    diagonal: Any
    translation: Any
    size: Any
    force: Any
    total: Any


@dataclass(frozen=True)
class Block:
    """The slices of one array along some axes: features `start` to `stop`. `fold`: slices are numbered modulo
    this, as those of a flattened image are by channels.
    """

    path: str
    axes: tuple[int, ...]
    start: int
    slices: int
    fold: int | None = None

    @property
    def count(self) -> int:
        return self.fold or self.slices

    @property
    def stop(self) -> int:
        return self.start + self.count

    def member(self, weight: float, units: Sequence[int] | None = None) -> Member:
        """Those slices whose numbers are `units`, which become units 0, 1, ...; None: all."""
        if units is not None and list(units) == list(range(self.count)):
            units = None
        if units is None and self.fold is None:
            return Member(self.path, self.axes, weight)
        place = {number: k for k, number in enumerate(range(self.count) if units is None else units)}
        labels = tuple(place.get(k % self.count, -1) for k in range(self.slices))
        return Member(self.path, self.axes, weight, labels)


@dataclass(frozen=True)
class Features:
    """The features of parameters of certain shapes."""

    shapes: Mapping[str, tuple[int, ...]]
    blocks: tuple[Block, ...]

    @classmethod
    def of(cls, params: Any) -> "Features":
        """Every axis of every array; of three axes also neighbouring two, which number the entries of heads;
        the entries of biases; and rows of a dense layer by the channels of a convolution before it.
        """
        shapes = {path: tuple(jnp.shape(leaf)) for path, leaf in flat_parameters(params).items()}
        shapes = {path: shape for path, shape in shapes.items() if shape}
        channels = sorted({shape[-1] for shape in shapes.values() if len(shape) >= 4})
        blocks: list[Block] = []
        start = 0
        for path, shape in shapes.items():
            for axes in _axes(path, shape):
                slices = math.prod(shape[axis] for axis in axes)
                folds: list[int | None] = [None]
                if len(shape) == 2 and axes == (0,):
                    folds += [n for n in channels if slices % n == 0 and slices > n]
                for fold in folds:
                    blocks.append(Block(path, axes, start, slices, fold))
                    start = blocks[-1].stop
        return cls(shapes, tuple(blocks))

    @property
    def count(self) -> int:
        return self.blocks[-1].stop if self.blocks else 0

    @property
    def trivial(self) -> int:
        """Combinations of slices that are no direction at all: sums over rows and over columns agree."""
        found = 0
        for path, shape in self.shapes.items():
            blocks = [block for block in self.blocks if block.path == path]
            inside = {axes for block in blocks for axes in _faces(block.axes)}
            independent = sum(math.prod(shape[axis] - 1 for axis in axes) for axes in inside)
            found += sum(block.count for block in blocks) - independent
        return found

    def row(self, params: Any, gradients: Any) -> Row:
        """The features of one gradient; it may be compiled."""
        q, g = flat_parameters(params), flat_parameters(gradients)

        def sums(arrays: Mapping[str, Array]) -> Array:
            parts = [
                Member(block.path, block.axes, units=block.member(1.0).units).form(
                    block.count, arrays[block.path], None
                )
                for block in self.blocks
            ]
            return jnp.concatenate(parts)

        return Row(
            sums({path: q[path] * g[path] for path in self.shapes}),
            sums(g),
            sums({path: q[path] ** 2 for path in self.shapes}),
            sums({path: g[path] ** 2 for path in self.shapes}),
            sum((jnp.sum(g[path] ** 2) for path in self.shapes), jnp.zeros(())),
        )

    def coarse(self, block: Block) -> bool:
        """Whether its slices are unions of those of another block of the same array."""
        return any(other.path == block.path and _finer(other, block) for other in self.blocks)

    def trivial_vectors(self) -> Iterator[Float[np.ndarray, " features"]]:
        """Combinations that span the trivial ones."""
        for path in self.shapes:
            blocks = [block for block in self.blocks if block.path == path]
            first, *others = [block for block in blocks if len(block.axes) == 1 and block.fold is None]
            for block in others:
                vector = np.zeros(self.count)
                vector[first.start : first.stop], vector[block.start : block.stop] = 1.0, -1.0
                yield vector
            for fine in blocks:
                for block in blocks:
                    if _finer(fine, block):
                        yield from self._unions(fine, block)

    def _unions(self, fine: Block, block: Block) -> Iterator[np.ndarray]:
        """Each slice of `block` less its parts."""
        shape = self.shapes[block.path]
        if block.fold is not None:
            labels = np.arange(fine.count) % block.fold
        else:
            numbers = np.indices([shape[axis] for axis in fine.axes])
            labels = numbers[fine.axes.index(block.axes[0])].ravel()
        for unit in range(block.count):
            vector = np.zeros(self.count)
            vector[block.start + unit] = 1.0
            vector[fine.start : fine.stop] -= labels == unit
            yield vector


def _finer(fine: Block, block: Block) -> bool:
    """Whether each slice of `block` is a union of slices of `fine`."""
    if fine.fold is not None:
        return False
    if block.fold is not None:
        return fine.axes == block.axes
    return len(fine.axes) > len(block.axes) and set(block.axes) < set(fine.axes)


def _axes(path: str, shape: tuple[int, ...]) -> list[tuple[int, ...]]:
    found: list[tuple[int, ...]] = [(axis,) for axis in range(len(shape))]
    if len(shape) == 3:
        found += [(0, 1), (1, 2)]
    if len(shape) == 2 and path.split(".")[-1] == "bias":
        found.append((0, 1))
    return found


def _faces(axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    yield ()
    yield from ((axis,) for axis in axes)
    if len(axes) > 1:
        yield axes
