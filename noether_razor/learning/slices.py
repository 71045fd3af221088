"""Symmetries among slices of arrays, found from gradients: which combinations of features vanish in all of
them.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from .features import Block, Features, Row
from .naming import family_name
from .report import NoEffect, SymmetryReport, counted
from .symmetries import Kind, Member, Symmetry

EXACT, QUASI = 1e-11, 1e-3
"""Breaking (root mean square of <g, xi> / |g| |xi|) of exact symmetries, and up to which one is a
quasi-symmetry.
"""
LEVELS = (EXACT, 1e-7, 1e-5, 10 * QUASI)
"""Singular values, as shares of the largest that they can be, up to which combinations are looked at in
turn.
"""
NOTHING = 1e-11
"""Of the largest gradient: what has smaller ones has no effect."""
KINDS = ("diagonal", "translation")


class FeatureRecorder:
    """Features of the gradients of a run, from which `report` finds symmetries.

    Call it with parameters and their gradients at every step, inside a compiled step or outside; keep what it
    returns, and hand all of it to `report`.
    """

    def __init__(self, params: Any):
        self.features = Features.of(params)

    def __call__(self, params: Any, gradients: Any) -> Row:
        """The row of one step."""
        return self.features.row(params, gradients)

    def report(self, rows: Sequence[Row] | Row) -> SymmetryReport:
        """What the recorded steps are symmetric under; `rows` are stacked, or a list of single ones."""
        single = isinstance(rows, Row)
        stacked = Row(*rows) if single else Row(*(np.stack(part) for part in zip(*rows, strict=True)))
        dtype = np.asarray(stacked.diagonal).dtype
        table = Row(*(np.asarray(part, float) for part in stacked))
        report = symmetries_of(self.features, table)
        if dtype != np.float64:
            report = report.noted(
                f"recorded in {dtype}: what breaks a symmetry by less than its rounding is not seen"
            )
        return report


class _Candidate(NamedTuple):
    """A combination of slices of one unit, and how strongly gradients break it."""

    members: tuple[tuple[Block, float], ...]
    unit: int
    breaking: float


def symmetries_of(features: Features, table: Row) -> SymmetryReport:
    """Find, name and sort the symmetries that a table of features shows."""
    live = table.total > 0
    table = Row(*(part[live] for part in table))
    norms = np.sqrt(table.total)
    idle = (np.sqrt(table.force) / norms[:, None]).max(axis=0) <= NOTHING
    exact: list[Symmetry] = []
    quasi: list[Symmetry] = []
    spectra, unnamed, dimensions, counts = {}, {}, {}, {}
    for kind in KINDS:
        search = _Search(features, table, kind, idle)
        candidates = search.candidates()
        some: dict[bool, list[Symmetry]] = {True: [], False: []}
        for family in _families(kind, candidates):
            some[max(family.breaking) <= EXACT].append(family)
        exact += some[True]
        quasi += some[False]
        spectra[kind] = search.spectrum()
        vectors = [search.vector(c) for c in candidates if c.breaking <= EXACT]
        vectors += [np.eye(features.count)[k] for k in np.flatnonzero(idle)]
        named = search.rank(vectors)
        dimensions[kind] = named
        unnamed[kind] = max(0, search.nullity() - named) if search.decided else None
        kept, broken = (sum(family.count for family in some[which]) for which in (True, False))
        counts[kind] = counted(named, features.trivial, kept, broken, unnamed[kind] or 0)
    return SymmetryReport(
        method="slices",
        exact=tuple(exact),
        quasi=tuple(quasi),
        no_effect=_no_effect(features, idle),
        trivial=features.trivial,
        dimensions=dimensions,
        unnamed=unnamed,
        spectra=spectra,
        counts=counts,
        rows=len(norms),
        features=features.count,
    )


@dataclass
class _Search:
    features: Features
    table: Row
    kind: str
    idle: np.ndarray

    def __post_init__(self) -> None:
        sums = self.table.diagonal if self.kind == "diagonal" else self.table.translation
        size = self.table.size if self.kind == "diagonal" else np.broadcast_to(self.entries, sums.shape)
        self.size = np.maximum(size, 1e-300)
        # Each generator alone, as a share of |g| and of its own root mean square.
        self.scale = np.sqrt(self.size.mean(axis=0))
        self.matrix = sums / np.sqrt(self.table.total)[:, None] / self.scale
        self.sums = sums

    @property
    def entries(self) -> np.ndarray:
        """How many numbers each slice holds."""
        found = np.zeros(self.features.count)
        for block in self.features.blocks:
            shape = self.features.shapes[block.path]
            found[block.start : block.stop] = np.prod(shape, dtype=float) / block.count
        return found

    @property
    def decided(self) -> bool:
        """Whether there are rows enough to see everything that does not vanish."""
        return len(self.matrix) >= self.features.count

    def spectrum(self) -> Float[np.ndarray, " k"]:
        """Singular values of all features, falling, as shares of the largest."""
        values = np.linalg.svd(self.matrix, compute_uv=False)
        return values / max(values[0], 1e-300)

    def nullity(self) -> int:
        return int(np.sum(self.spectrum() <= EXACT)) + max(0, self.features.count - len(self.matrix))

    def vector(self, candidate: _Candidate) -> np.ndarray:
        found = np.zeros(self.features.count)
        for block, weight in candidate.members:
            if candidate.unit < 0:
                found[block.start : block.stop] = weight
            else:
                found[block.start + candidate.unit] = weight
        return found

    def rank(self, vectors: list[np.ndarray]) -> int:
        """The dimension that vectors and trivial directions span together."""
        return len(self.spanned(vectors))

    @cached_property
    def trivial(self) -> np.ndarray:
        """An orthonormal basis of the trivial directions."""
        return _orthonormal(list(self.features.trivial_vectors()), self.features.count)

    def spanned(self, vectors: list[np.ndarray]) -> np.ndarray:
        """An orthonormal basis of what vectors and trivial directions span together."""
        if not vectors:
            return self.trivial
        rows = np.stack(vectors)
        rows = rows - (rows @ self.trivial.T) @ self.trivial
        return np.concatenate([self.trivial, _orthonormal(list(rows), self.features.count)])

    def breaking(self, vector: np.ndarray) -> float:
        """Root mean square over rows of <g, xi> / |g| |xi|, g on what the generator moves."""
        moved = vector != 0
        along = self.sums[:, moved] @ vector[moved]
        size = self.size[:, moved] @ vector[moved] ** 2 * self.table.force[:, moved].sum(axis=1)
        return float(np.sqrt(np.mean(along**2 / np.maximum(size, 1e-300))))

    def candidates(self) -> list[_Candidate]:
        """Sparse combinations within one unit that vanish: of the smallest slices first, then of larger ones
        and of whole arrays, as far as they are no sums of the former.
        """
        groups: dict[tuple[int, bool], list[list[Block]]] = defaultdict(list)
        for block in self.features.blocks:
            if block.count > 1 and (self.kind == "diagonal" or block.fold is None):
                coarse = block.fold is None and self.features.coarse(block)
                groups[block.count, coarse].append([block])
        whole = [block for block in self.features.blocks if block.axes == (0,) and block.fold is None]
        if self.kind == "diagonal":
            # Any slices of the same number may belong together; shifts are looked for one by one.
            groups = defaultdict(list, {key: [list(itertools.chain(*sets))] for key, sets in groups.items()})
        found: list[_Candidate] = []
        for (count, coarse), sets in sorted(groups.items(), key=lambda item: item[0][1]):
            for blocks in sets:
                some = [self.within(blocks, unit) for unit in range(count)]
                found += (
                    self.new(itertools.chain(*some), [self.vector(c) for c in found])
                    if coarse
                    else itertools.chain(*some)
                )
        sets = [whole] if self.kind == "diagonal" else [[block] for block in whole]
        for blocks in sets:
            found += self.new(self.within(blocks, -1), [self.vector(c) for c in found])
        return found

    def unmoved(self, block: Block, unit: int) -> bool:
        """Whether the loss does not depend on that slice, or on the whole array."""
        idle = self.idle[block.start : block.stop]
        return bool(idle.all() if unit < 0 else idle[unit])

    def new(self, candidates: Iterable[_Candidate], known: list[np.ndarray]) -> Iterator[_Candidate]:
        """Those outside the span of known vectors and of the trivial ones."""
        candidates = list(candidates)
        basis = self.spanned(known) if candidates else self.trivial
        for candidate in candidates:
            vector = self.vector(candidate)
            left = vector - (vector @ basis.T) @ basis
            if np.linalg.norm(left) > 1e-6 * np.linalg.norm(vector):
                basis = np.concatenate([basis, [left / np.linalg.norm(left)]])
                yield candidate

    def within(self, blocks: list[Block], unit: int) -> Iterable[_Candidate]:
        """Combinations of the slices number `unit` (-1: of all slices together) of some arrays that
        vanish.
        """
        blocks = [block for block in blocks if not self.unmoved(block, unit)]
        if not blocks:
            return
        if unit < 0:
            columns = np.stack([self.sums[:, b.start : b.stop].sum(axis=1) for b in blocks], axis=1)
            size = np.stack([self.size[:, b.start : b.stop].sum(axis=1) for b in blocks], axis=1)
            force = np.stack([self.table.force[:, b.start : b.stop].sum(axis=1) for b in blocks], axis=1)
        else:
            at = [block.start + unit for block in blocks]
            columns, size, force = self.sums[:, at], self.size[:, at], self.table.force[:, at]
        scale = np.sqrt(size.mean(axis=0))
        matrix = columns / np.sqrt(self.table.total)[:, None] / scale
        _, values, right = np.linalg.svd(matrix, full_matrices=False)
        # Of the largest that they can be.
        most = np.sqrt(np.sum(force.sum(axis=1) / self.table.total))
        known = np.zeros((0, len(blocks)))
        for level in LEVELS:
            # The strictest first: combinations that nearly vanish by chance must not mix with exact ones.
            null = right[values <= level * most] / scale
            if len(null) <= len(known):
                continue
            for row in _sparse(null):
                weights = _simple(row)
                if weights is None or _inside(weights, known):
                    continue
                members = tuple((b, w) for b, w in zip(blocks, weights, strict=True) if w)
                candidate = _Candidate(members, unit, 0.0)
                breaking = self.breaking(self.vector(candidate))
                if breaking <= QUASI:
                    known = np.concatenate([known, [weights]])
                    yield candidate._replace(breaking=breaking)


def _inside(vector: np.ndarray, rows: np.ndarray) -> bool:
    """Whether a vector is a combination of rows."""
    return bool(len(rows) and np.linalg.matrix_rank(np.concatenate([rows, [vector]])) == len(rows))


def _orthonormal(rows: list[np.ndarray], size: int) -> np.ndarray:
    if not rows:
        return np.zeros((0, size))
    _, values, basis = np.linalg.svd(np.stack(rows), full_matrices=False)
    return basis[values > 1e-9 * max(values[0], 1e-6)]


def _sparse(rows: np.ndarray) -> np.ndarray:
    """The same span in reduced echelon form, by the largest entry that is left."""
    rows = rows.copy()
    left = list(range(len(rows)))
    while left:
        sizes = np.abs(rows[left]) / np.abs(rows[left]).max(axis=1, keepdims=True).max()
        k, column = np.unravel_index(int(sizes.argmax()), sizes.shape)
        at = left.pop(int(k))
        rows[at] /= rows[at, column]
        for other in range(len(rows)):
            if other != at:
                rows[other] -= rows[other, column] * rows[at]
    return rows


def _simple(row: np.ndarray) -> np.ndarray | None:
    """The weights as small whole numbers, the first positive; None where they are none."""
    sizes = np.abs(row)
    sized = sizes[sizes > 0.02 * sizes.max()]
    weights = row / sized.min()
    rounded = np.rint(weights)
    if np.abs(weights - rounded).max() > 0.02 or not rounded.any():
        return None
    return rounded * np.sign(rounded[np.flatnonzero(rounded)[0]])


def _families(kind: str, candidates: list[_Candidate]) -> list[Symmetry]:
    """Candidates that differ in their unit alone, together; exact ones apart from others."""
    groups: dict[Any, list[_Candidate]] = defaultdict(list)
    for candidate in candidates:
        groups[(candidate.members, candidate.unit < 0, candidate.breaking <= EXACT)].append(candidate)
    found = []
    for (members, whole, _), some in groups.items():
        units = [c.unit for c in some]
        weights = [weight for _, weight in members]
        name: Kind = "translation" if kind == "translation" else "scale" if min(weights) > 0 else "rescale"
        if whole:
            parts = tuple(Member(block.path, (), weight) for block, weight in members)
        else:
            parts = tuple(block.member(weight, units) for block, weight in members)
        found.append(
            Symmetry(
                name,
                family_name(name, [(b.path, b.axes, w) for b, w in members], whole=whole),
                parts,
                1 if whole else len(some),
                tuple(c.breaking for c in some),
                () if whole or units == list(range(len(units))) else tuple(units),
            )
        )
    return found


def _no_effect(features: Features, idle: np.ndarray) -> tuple[NoEffect, ...]:
    found = []
    for block in features.blocks:
        units = np.flatnonzero(idle[block.start : block.stop])
        if len(units) and block.fold is None:
            found.append(NoEffect(block.path, block.axes, tuple(int(k) for k in units), block.count))
    return tuple(found)
