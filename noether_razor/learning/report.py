"""What a search for symmetries found."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from ..lie import AbstractAlgebra
from .symmetries import Charged, Member, Symmetry, SymmetryError


@dataclass(frozen=True)
class NoEffect:
    """Slices of an array along some axes that the loss does not depend on, of `count`."""

    path: str
    axes: tuple[int, ...]
    units: tuple[int, ...]
    count: int

    def __str__(self) -> str:
        if len(self.units) == self.count:
            return self.path
        shown = ", ".join(map(str, self.units[:6])) + (", ..." if len(self.units) > 6 else "")
        return f"{self.path}, slices {shown} along axis {', '.join(map(str, self.axes))}"


@dataclass(frozen=True)
class LinearAlgebra:
    """The Lie algebra of the linear symmetries of a model.

    `structure_constants` belong to an orthonormal basis of (L, R, T); `closure_error` is the share of
    brackets that leaves it. charges: the dimension of the generators that are gradients of functions, which
    gradient flow conserves. blocks: how many dimensions move which layers alone.
    """

    algebra: AbstractAlgebra
    structure_constants: np.ndarray = field(repr=False)
    closure_error: float
    charges: int
    blocks: tuple[tuple[str, int], ...]

    @property
    def dimension(self) -> int:
        """Of the algebra, without what moves nothing."""
        return self.algebra.dimension

    def __str__(self) -> str:
        # The name of an algebra without a better one has it already.
        series = f", derived series {', '.join(map(str, self.algebra.derived_series))}"
        series = "" if "derived series" in self.algebra.name else series
        lines = [
            f"{self.dimension} linear symmetries, {self.charges} of them with a charge of gradient flow",
            *(f"  {count} that move {layers}" for layers, count in self.blocks),
            f"Lie algebra: {self.algebra.name}; centre {self.algebra.centre}{series}, "
            f"closure error {self.closure_error:.0e}",
        ]
        return "\n".join(lines)

    def to_json(self) -> dict[str, Any]:
        """The entry "algebra" of symmetries.json."""
        return self.algebra.to_json() | {
            "closure_error": self.closure_error,
            "charges": self.charges,
            "blocks": [{"layers": layers, "dimension": count} for layers, count in self.blocks],
        }


@dataclass(frozen=True)
class SymmetryReport:
    """Symmetries of a loss in parameter space, and the numbers by which they were found.

    exact: families that no gradient breaks beyond rounding. quasi: families that all gradients nearly keep,
    with the strength of the `breaking`. no_effect: parameters that the loss does not depend on. trivial:
    combinations of features that are no direction at all. dimensions: of the exact part of each kind of
    feature, with no_effect and trivial. unnamed: dimensions of it that no name was found for; None where the
    rows are too few to tell. spectra: singular values of each kind, falling, as shares of the largest.
    counts: the directions of each spectrum, see `counted`. algebra: what `method` "linear" says of the Lie
    algebra.
    """

    method: str
    exact: tuple[Symmetry, ...]
    quasi: tuple[Symmetry, ...]
    no_effect: tuple[NoEffect, ...]
    trivial: int
    dimensions: Mapping[str, int]
    unnamed: Mapping[str, int | None]
    spectra: Mapping[str, np.ndarray]
    counts: Mapping[str, Mapping[str, int]]
    rows: int
    features: int
    notes: tuple[str, ...] = ()
    algebra: LinearAlgebra | None = None
    followed: tuple[Charged, ...] = ()

    @property
    def charges(self) -> tuple[Charged, ...]:
        """What `track_charges` can follow: exact and quasi-symmetries."""
        return (*self.exact, *self.quasi, *self.followed)

    def noted(self, note: str) -> "SymmetryReport":
        """The same with one more note."""
        return replace(self, notes=(*self.notes, note))

    def with_families(self, found: Mapping[str, Any]) -> "SymmetryReport":
        """The same with the families of an earlier report of the same network, as `to_json` gives them: which
        generators stand for a space may hang on rounding. Raises `SymmetryError` for method linear, whose
        generators are not in it.
        """
        if self.followed:
            raise SymmetryError("the generators of method linear are not kept, start a new run")
        exact, quasi = (tuple(map(_read_family, found[key])) for key in ("exact", "quasi"))
        return replace(self, exact=exact, quasi=quasi)

    def __str__(self) -> str:
        if self.algebra is not None:
            return "\n".join([str(self.algebra), *(f"note: {note}" for note in self.notes)])
        lines = []
        for title, families in (("exact", self.exact), ("quasi", self.quasi)):
            total = sum(family.count for family in families)
            shifts = sum(family.count for family in families if family.kind == "translation")
            parts = (
                f" ({total - shifts} scales and rescalings, {shifts} shifts)" if 0 < shifts < total else ""
            )
            lines.append(f"{total} {title} symmetries{parts}" + (":" if families else ""))
            lines += [f"  {family}" for family in families]
        if self.no_effect:
            lines.append("parameters without effect: " + "; ".join(map(str, self.no_effect)))
        unnamed = sum(count or 0 for count in self.unnamed.values())
        if unnamed:
            lines.append(f"{unnamed} dimensions without a name")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetries.json, without what a method adds."""
        return {
            "method": self.method,
            "rows": self.rows,
            "features": self.features,
            "dimensions": dict(self.dimensions),
            "trivial": self.trivial,
            "unnamed": dict(self.unnamed),
            "exact": [_family(family) for family in self.exact],
            "quasi": [_family(family) for family in self.quasi],
            "no_effect": [str(part) for part in self.no_effect],
            "counts": {kind: dict(found) for kind, found in self.counts.items()},
            "spectra": {kind: [float(v) for v in values] for kind, values in self.spectra.items()},
            "algebra": None if self.algebra is None else self.algebra.to_json(),
            "notes": list(self.notes),
        }


def counted(dimension: int, trivial: int, exact: int, quasi: int, unnamed: int) -> dict[str, int]:
    """How the directions below the gap of a spectrum divide, and quasi-symmetries above it; `dimension` is
    that of the exact symmetries with what is trivial and without effect.
    """
    return {
        "exact": exact,
        "without effect": max(0, dimension - trivial - exact),
        "trivial": trivial,
        "without a name": unnamed,
        "quasi": quasi,
    }


def _family(family: Symmetry) -> dict[str, Any]:
    return {
        "kind": family.kind,
        "name": family.name,
        "count": family.count,
        "breaking": max(family.breaking, default=0.0),
        "breakings": list(family.breaking),
        "members": [
            {"path": m.path, "axes": list(m.axes), "weight": m.weight, "units": m.units}
            for m in family.members
        ],
        "numbers": list(family.numbers),
    }


def _read_family(found: Mapping[str, Any]) -> Symmetry:
    members = tuple(
        Member(m["path"], tuple(m["axes"]), m["weight"], None if m["units"] is None else tuple(m["units"]))
        for m in found["members"]
    )
    breaking, numbers = tuple(found["breakings"]), tuple(found["numbers"])
    return Symmetry(found["kind"], found["name"], members, found["count"], breaking, numbers)
