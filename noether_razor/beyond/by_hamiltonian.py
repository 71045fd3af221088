"""The quantities that a fitted Hamiltonian conserves, as formulas with the errors that those of H leave."""

from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from typing import NamedTuple

import numpy as np
import sympy
from jaxtyping import Bool, Float, Int
from scipy.stats import chi2

from ..invariants import Drift, FoundQuantity, Motion, QuantityFormula
from ..invariants.energy import ENERGY
from ..invariants.formulas import reduced, sparse_basis
from ..invariants.on_states import OnStates, bracket_sizes
from ..invariants.rounding import Measured, settled_numbers
from ..invariants.simple_numbers import SimpleNumber, simple_number
from ..trajectories import Trajectories
from .commuting import Commuting
from .library import Library
from .listed import Listed, hamiltonian_text, in_order
from .result import LibraryHamiltonian
from .shooting import ShotHamiltonian
from .ties import tied

LEARNED = 0.025
"""Errors of coefficients, in units of their terms, against which others are small."""
CHANCE = 5e-4
"""Of simple numbers that fit worse than this, none is taken."""
EXACT = 1e-9
"""Relative error of the multiple of H that a formula is."""
ROUNDING = 1e-7
"""Coefficients below this share of the largest are rounding errors."""
DEPENDENT = 1e-4
"""Sizes of what is left of columns of rows, in units of gradients, below which they depend on others."""


class Row(NamedTuple):
    """Coefficients of all terms and their covariance, in the units of the data; the column that is chosen."""

    values: Float[np.ndarray, " M"]
    covariance: Float[np.ndarray, "M M"]
    pivot: int | None


def listed_by_hamiltonian(
    library: Library,
    found: Commuting,
    shot: ShotHamiltonian,
    data: Trajectories,
    noise_variance: float | Float[np.ndarray, " dim"] | None,
) -> Listed:
    """What is `found` to commute with H, by a sparse basis, and H among it where the library has its terms.

    Raises ValueError where terms are not finite at the noisy rows.
    """
    rows = gauged_rows(found, shot.covariance)
    place = {term.name: k for k, term in enumerate(library.terms)}
    at = [place[term.name] for term in shot.library.terms if term.name in place]
    energy = None
    if rows and len(at) == len(shot.library):
        energy = _energy_row(shot, np.array(at), len(library))
        rows = _with_energy(rows, energy, found.units)
    energies = OnStates.of_terms(shot.library, shot.coefficients, data.points())
    listed = listed_rows(library, rows, found.units, data, noise_variance, energies)
    return replace(
        listed,
        hamiltonian=library_hamiltonian(shot),
        energy_row=None if energy is None else energy.values[needed_terms(rows)],
    )


def needed_terms(rows: Sequence[Row]) -> Int[np.ndarray, " kept"]:
    """The terms that are needed for rows, the first where there are none."""
    return np.flatnonzero(np.any([row.values != 0 for row in rows], axis=0)) if rows else np.arange(1)


def listed_rows(
    library: Library,
    rows: Sequence[Row],
    units: Float[np.ndarray, " M"],
    data: Trajectories,
    noise_variance: float | Float[np.ndarray, " dim"] | None,
    energies: OnStates,
) -> Listed:
    """Combinations of terms as they are listed, with simple numbers where their errors allow them; `units`
    (M,) are the sizes of the gradients of terms, `energies` H on states.

    Raises ValueError where terms are not finite at the noisy rows.
    """
    needed = needed_terms(rows)
    short = library.chosen(needed)
    motion = Motion.of(data, noise_variance, short)
    drift = Drift(motion, np.ones(len(motion.values)))
    about = _Data(short, needed, units[needed], motion, drift, energies)
    quantities = in_order(short, [about.quantity(row) for row in rows])
    return Listed(short, motion, quantities, None, None, "hamiltonian")


def library_hamiltonian(shot: ShotHamiltonian) -> LibraryHamiltonian:
    """H as it is printed: terms of momenta alone first, coefficients of one size made equal."""
    variables = shot.library.variables
    positions = {sympy.Symbol(name) for name in variables[: len(variables) // 2]}
    values, covariance = tied(shot.coefficients, shot.covariance, shot.rows)
    errors = np.sqrt(np.maximum(np.diag(covariance), 0.0))
    terms = zip(shot.library.terms, values.tolist(), errors.tolist(), strict=True)
    kinetic_first = sorted(terms, key=lambda term: bool(term[0].expression.free_symbols & positions))
    pairs = {term.name: (value, error) for term, value, error in kinetic_first}
    return LibraryHamiltonian(hamiltonian_text(pairs), pairs, shot.chi2, "shooting")


def gauged_rows(found: Commuting, covariance: Float[np.ndarray, "of_H of_H"]) -> list[Row]:
    """A sparse basis of what commutes with H, with coefficient 1 at a pivot each, and its covariance."""
    if not found.rank:
        return []
    basis = found.rows[: found.rank]
    rows, at = reduced(sparse_basis(basis))
    rows = rows / rows[np.arange(len(rows)), at][:, None]
    rows = np.where(np.abs(rows) > ROUNDING * np.abs(rows).max(axis=1, keepdims=True), rows, 0.0)
    weights = np.linalg.lstsq(basis.T, rows.T, rcond=None)[0].T
    # First order, by the covariance of H; what draws of H differ by beyond that is added.
    turns = np.einsum("rj,kjm->rkm", weights, found.turns)
    turns = _in_gauge(turns, rows, at)
    spaces = [np.linalg.qr(own.T)[0] for own in found.drawn]
    drawn = np.stack([(rows @ space) @ space.T - rows for space in spaces], axis=1)
    beyond = _in_gauge(drawn, rows, at) - np.einsum("dk,rkm->rdm", found.of_draws, turns)
    ratio = found.units[at][:, None] / found.units
    made = []
    for row, turn, more, size, pivot in zip(rows, turns, beyond, ratio, at.tolist(), strict=True):
        moved = turn * size
        wider = np.diag(np.mean((more * size) ** 2, axis=0))
        made.append(Row(row * size, moved.T @ covariance @ moved + wider, pivot))
    return made


def _in_gauge(
    changes: Float[np.ndarray, "K some M"], rows: Float[np.ndarray, "K M"], at: Int[np.ndarray, " K"]
) -> Float[np.ndarray, "K some M"]:
    """Changes of rows that leave each what it is by choice: any multiples of others may be added, and those
    were chosen that make its pivot 1 and as many more entries 0.
    """
    found = changes.copy()
    for k, pivot in enumerate(at.tolist()):
        fixed = [pivot, *_independent(np.delete(rows, k, axis=0), rows[k] == 0, np.delete(at, k))]
        found[k] -= found[k][:, fixed] @ np.linalg.solve(rows[:, fixed], rows)
    return found


def _independent(
    rows: Float[np.ndarray, "J M"], first: Bool[np.ndarray, " M"], then: Int[np.ndarray, " J"]
) -> list[int]:
    """As many columns as there are rows, independent: of those that come `first` as far as possible, `then`
    of others.
    """
    left, columns = rows.copy(), []
    second = np.isin(np.arange(rows.shape[1]), then)
    for _ in range(len(rows)):
        sizes = np.linalg.norm(left, axis=0)
        usable = [some for some in (first, second) if sizes[some].max(initial=0.0) > DEPENDENT]
        column = int(np.argmax(np.where(usable[0], sizes, 0.0) if usable else sizes))
        unit = left[:, column] / sizes[column]
        left = left - np.outer(unit, unit @ left)
        columns.append(column)
    return columns


def _energy_row(shot: ShotHamiltonian, at: Int[np.ndarray, " K"], size: int) -> Row:
    values, covariance = np.zeros(size), np.zeros((size, size))
    values[at], covariance[np.ix_(at, at)] = shot.coefficients, shot.covariance
    return Row(values, covariance, None)


def _with_energy(rows: Sequence[Row], energy: Row, units: Float[np.ndarray, " M"]) -> list[Row]:
    """H in the place of the last of those that it is made of."""
    basis = np.array([row.values for row in rows]) * units
    size, whole = np.linalg.norm(basis, axis=1), energy.values * units
    parts = np.abs(np.linalg.lstsq((basis / size[:, None]).T, whole / np.linalg.norm(whole), rcond=None)[0])
    out = int(np.flatnonzero(parts > LEARNED * parts.max())[-1])
    return [*rows[:out], *rows[out + 1 :], energy]


class _Data(NamedTuple):
    """The terms that are `needed` of all, as a library with the `units` of their gradients; their motion; and
    H at the rows of the data.
    """

    library: Library
    needed: Int[np.ndarray, " kept"]
    units: Float[np.ndarray, " kept"]
    motion: Motion
    drift: Drift
    energies: OnStates

    def quantity(self, row: Row) -> FoundQuantity:
        """As a formula with simple numbers where errors allow them, and what the data say of it."""
        library, data = self.library, self.motion.trajectories
        values, errors, simple, measured = self._settled(row)
        formula = QuantityFormula.of(values, errors, simple, data.names, data.units, measured, library.terms)
        if row.pivot is None:
            made = formula.row()
            weight = float(values @ made / max(float(made @ made), np.finfo(float).tiny))
            largest = int(np.argmax(np.abs(values) * self.units))
            share = max(EXACT, float(errors[largest] / abs(values[largest])))
            formula = formula.times(simple_number(weight, EXACT * abs(weight)) or weight, share)
        coefficients = formula.row()
        return FoundQuantity(
            formula=formula,
            dictionary=library,
            row=coefficients,
            change=self.drift.change(self.motion.rows(coefficients[None])[0]),
            mean=float(library.values(data.points()).mean(axis=0) @ coefficients),
            note=ENERGY if row.pivot is None else "",
            bracket=bracket_sizes(self.motion, coefficients[None], self.energies)[0],
        )

    def _settled(
        self, row: Row
    ) -> tuple[np.ndarray, np.ndarray, dict[int, SimpleNumber], dict[int, Measured]]:
        """Values and errors, and simple numbers by column with what they were measured as."""
        values, covariance = row.values[self.needed], row.covariance[np.ix_(self.needed, self.needed)]
        sizes, simple = np.abs(values) * self.units, {}
        if row.pivot is None:
            free, unit = np.flatnonzero(values), float(sizes.max())
        else:
            at = int(np.flatnonzero(self.needed == row.pivot)[0])
            free, unit = np.delete(np.arange(len(values)), at), float(self.units[at])
            simple[at] = Fraction(1)
        own, before = covariance[np.ix_(free, free)], values[free]
        weight = np.zeros(own.shape)
        if row.pivot is None:
            # In units of the terms: those of the data may differ by tens of decades.
            scale = self.units[free]
            weight = np.linalg.pinv(own * scale * scale[:, None]) * scale * scale[:, None]
        worst = float(chi2.isf(CHANCE, max(1, len(free))))

        def allowed(trial: np.ndarray) -> bool:
            return bool((trial - before) @ weight @ (trial - before) <= worst)

        learned = LEARNED * unit / self.units[free]
        found, left, settled, seen = settled_numbers(before, own, own, learned, allowed)
        errors, result = np.zeros(len(values)), values.copy()
        result[free], errors[free] = found, left
        simple |= {int(free[j]): number for j, number in settled.items()}
        return result, errors, simple, {int(free[j]): seen[j] for j, number in settled.items() if number}
