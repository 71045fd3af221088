"""The quantities of a library as they are listed, simplest first, with H among them where it is found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float

from ..invariants import FoundQuantity, Motion
from ..invariants.energy import ENERGY
from ..invariants.found import QuantityMaker
from ..invariants.on_states import DEPENDENT, independence
from ..invariants.simple_numbers import simple_number, with_error
from ..invariants.spans import listed
from ..thinning import evenly
from .brackets import MOST_POINTS, Members
from .energy import EnergyFit, energy_fit
from .library import Library
from .result import LibraryHamiltonian, LibraryQuantity
from .spaces import LibrarySpace

AMPLIFIED, LEAST_DEPENDENT = 8.0, 0.02
"""By how much errors of coefficients may be larger in gradients, and the share of the largest singular value
of these up to which others are nothing, however small the errors.
"""


@dataclass(frozen=True, eq=False)
class Listed:
    """Quantities in the terms of `library`, sorted by grade and number of terms; `energy_row` (M,) are the
    coefficients of H, None where it is no combination of them, and `source` is what they were found by.
    """

    library: Library
    motion: Motion
    quantities: tuple[FoundQuantity, ...]
    hamiltonian: LibraryHamiltonian | None
    energy_row: Float[np.ndarray, " M"] | None
    source: str

    @classmethod
    def by_trajectories(cls, own: LibrarySpace) -> "Listed":
        """Of the conserved space of the data."""
        library, motion = own.library, own.space.motion
        make, (rows, _, _) = QuantityMaker(own.space), listed(own.space, None)
        quantities, _ = make.quantities(rows, None)
        # By the rows before they are rounded: errors of what is rounded would move the data elsewhere.
        exact = rows * make.units
        energy = energy_fit(motion, exact)
        if energy is None:
            return cls(library, motion, in_order(library, quantities), None, None, "trajectories")
        points = motion.trajectories.points()
        on_states = energy.on_states(library, exact, points[evenly(len(points), MOST_POINTS)])
        quantities, _ = make.quantities(rows, on_states)
        row = energy.row(exact)
        quantities = [_noted(one, library, row, energy, motion) for one in quantities]
        hamiltonian = _hamiltonian(quantities, library, row, energy, motion)
        return cls(library, motion, in_order(library, quantities), hamiltonian, row, "trajectories")

    @cached_property
    def states(self) -> Float[np.ndarray, "rows dim"]:
        """Those of the data."""
        return self.motion.trajectories.points()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """H for the energy, else I1, I2, ..: C1, C2, .. are those of degree two."""
        return tuple("H" if "energy H" in one.note else f"I{k}" for k, one in enumerate(self.quantities, 1))

    @cached_property
    def _independence(self) -> tuple[int, tuple[int, ...]]:
        rows = np.array([one.row for one in self.quantities]).reshape(-1, len(self.library))
        none = np.zeros((0, len(self.library)))
        # Gradients of what depends on others differ by the errors of coefficients.
        off = max((AMPLIFIED * self.error(one) for one in self.quantities), default=0.0)
        dependent = float(np.clip(off, LEAST_DEPENDENT, DEPENDENT))
        return independence(self.motion, list(rows), none, dependent)

    @property
    def independent(self) -> int:
        """The rank of the gradients."""
        return self._independence[0]

    @property
    def generating(self) -> tuple[int, ...]:
        """The indices of as many, the simplest."""
        return self._independence[1]

    def error(self, one: FoundQuantity) -> float:
        """The relative error of the coefficients, of terms of unit spread."""
        return relative_error(one, self.library, self.motion)

    def members(self) -> Members:
        """The quantities at some states, for brackets."""
        some = self.states[evenly(len(self.states), MOST_POINTS)]
        rows = np.array([one.row for one in self.quantities]).reshape(-1, len(self.library))
        slopes = [self.library.slopes(some, i) @ rows.T for i in range(some.shape[1])]
        scales = self.motion.scales
        return Members(
            names=self.names,
            values=self.library.values(some) @ rows.T,
            gradients=np.stack(slopes, axis=2) * scales,
            errors=np.array([self.error(one) for one in self.quantities]),
            generating=self.generating,
            action=float(scales[0] * scales[len(scales) // 2]),
        )

    def described(self, number: int) -> LibraryQuantity:
        """One of them, typed."""
        one, motion = self.quantities[number], self.motion
        row = motion.rows(one.row[None])
        within = motion.deviations(motion.recording) @ row[0]
        noise = float(motion.noise_variances(row).mean()) * (1 - motion.recordings / len(within))
        spread, change = one.change.spread, one.change
        return LibraryQuantity(
            name=self.names[number],
            formula=one.text,
            expression=str(one.expression),
            latex=one.formula.latex(),
            coefficients={one.formula.keyed(part): float(v) for part, v in one.formula.coefficients.items()},
            stderr={
                one.formula.keyed(part): float(m.error) for part, m in one.formula.measurements().items()
            },
            generator=number in self.generating,
            ratio=float(np.mean(within**2)) / max(noise, motion.floor**2 * spread**2, np.finfo(float).tiny),
            snr=float(min(spread**2 / max(self._typical_noise(row), 1e-18 * spread**2), 1e18)),
            bracket=one.bracket,
            drift=float(change.change),
            limit=float(change.limit),
            note=one.note,
            source=self.source,
        )

    def _typical_noise(self, row: Float[np.ndarray, "one M"]) -> float:
        """The variance of the noise by the rows that say most: its harmonic mean."""
        levels = self.motion.noise_variances(row)[:, 0] + float(self.motion.floors(row)[0])
        return float(1 / np.mean(1 / np.maximum(levels, np.finfo(float).tiny)))


def in_order(library: Library, quantities: Sequence[FoundQuantity]) -> tuple[FoundQuantity, ...]:
    """By grade, then number of terms."""

    def order(one: FoundQuantity) -> tuple[int, int]:
        used = np.flatnonzero(one.row).tolist()
        return max((library.grades[k] for k in used), default=0), len(used)

    return tuple(sorted(quantities, key=order))


def coefficient_errors(one: FoundQuantity, library: Library) -> Float[np.ndarray, " M"]:
    """Standard errors of all coefficients, before simple numbers took their place."""
    found, place = np.zeros(len(library)), {term: k for k, term in enumerate(library.terms)}
    for term, measured in one.formula.measurements().items():
        found[place[term]] = measured.error  # type: ignore[index]
    return found


def relative_error(one: FoundQuantity, library: Library, motion: Motion) -> float:
    """The relative error of the coefficients, of terms of unit spread."""
    size = float(np.linalg.norm(one.row * motion.own_sizes))
    off = float(np.linalg.norm(coefficient_errors(one, library) * motion.own_sizes))
    return off / max(size, np.finfo(float).tiny)


def hamiltonian_text(pairs: Mapping[str, tuple[float, float]]) -> str:
    """As 0.500(1) (p1^2 + p2^2) - 1.000(2) cos(q1): terms of one coefficient stand together."""
    together: dict[float, list[str]] = {}
    for name, (value, _) in pairs.items():
        together.setdefault(abs(value), []).append(name)
    text = ""
    for size, names in together.items():
        first, error = pairs[names[0]][0] < 0, pairs[names[0]][1]
        inside = names[0]
        for name in names[1:]:
            inside += f" {'+' if (pairs[name][0] < 0) == first else '-'} {name}"
        term = f"{with_error(size, error)} {inside if len(names) == 1 else f'({inside})'}"
        text += (" - " if first else " + ") + term if text else ("-" if first else "") + term
    return text


def _noted(
    one: FoundQuantity, library: Library, row: Float[np.ndarray, " M"], energy: EnergyFit, motion: Motion
) -> FoundQuantity:
    """The energy itself, by the exact weights, where a quantity is a multiple of it."""
    if "energy H" not in one.note:
        return one
    weight = _projected(row * motion.own_sizes, one.row * motion.own_sizes)
    error = max(_weight_error(energy), relative_error(one, library, motion))
    factor = simple_number(weight, error * abs(weight)) or weight
    return replace(
        one,
        formula=one.formula.times(factor, error),
        row=one.row * float(factor),
        mean=one.mean * float(factor),
        note=ENERGY,
    )


def _hamiltonian(
    quantities: Sequence[FoundQuantity],
    library: Library,
    row: Float[np.ndarray, " M"],
    energy: EnergyFit,
    motion: Motion,
) -> LibraryHamiltonian:
    """H as a formula: a multiple of the quantity that is one, else a combination of all."""
    sizes, share = motion.own_sizes, _weight_error(energy)
    one = next((one for one in quantities if "energy H" in one.note), None)
    if one is not None:
        weight = _projected(row * sizes, one.row * sizes)
        values = weight * one.row
        errors = np.hypot(abs(weight) * coefficient_errors(one, library), share * values)
    else:
        values = np.where(np.abs(row * sizes) > 1e-3 * np.abs(row * sizes).max(), row, 0.0)
        errors = share * np.abs(values)
    pairs = {library.terms[k].name: (float(values[k]), float(errors[k])) for k in np.flatnonzero(values)}
    return LibraryHamiltonian(hamiltonian_text(pairs), pairs, energy.chi2_dof, "trajectories")


def _projected(target: np.ndarray, along: np.ndarray) -> float:
    return float(target @ along / max(along @ along, np.finfo(float).tiny))


def _weight_error(energy: EnergyFit) -> float:
    """The relative error of the scale of H."""
    used = energy.weights != 0
    share = energy.errors[used] / np.abs(energy.weights[used])
    return float(share.min()) if used.any() else 0.0
