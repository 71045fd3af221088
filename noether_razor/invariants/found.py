"""The quantities that are listed: formulas, how they move, and notes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy
from jaxtyping import Float

from .conserved import ConservedSpace
from .dictionary import Dictionary
from .energy import Energy, energy_quantity
from .formulas import QuantityFormula, reduced, shortened, sparse_basis
from .monomials import coefficients, quadratic_parts
from .motion import Change, Motion
from .on_states import OnStates, bracket_sizes
from .pairs import pair_statistics
from .products import with_products
from .rounding import rounded
from .simple_numbers import SimpleNumber
from .spans import NEW

_NEEDED = 5.0
"""Standard errors from which the data need a small term."""
_SMALL = 0.05
"""Size of a term over the largest up to which it is left out where the data do without it."""
FEW_TERMS, _SLOW = 6, 0.3
"""Terms and change over the spread up to which a slow drift is printed."""
PRINTED, LONGEST = 12, 110
"""Quantities that are printed, and letters of each."""


@dataclass(frozen=True)
class FoundQuantity:
    """One quantity in the units of the data: coefficients `row` (M,) of the terms of a `dictionary`.

    `formula` is the same to read. `change` says how it moves along trajectories, `mean` is its mean over all
    rows. `note` says what else it is ("twice the energy H", "C1*C2"). `bracket` is the r.m.s. of {C,
    H} / (|grad C| |grad H|) for the Hamiltonian given, in scaled coordinates, None without one.
    """

    formula: QuantityFormula
    dictionary: Dictionary
    row: Float[np.ndarray, " terms"]
    change: Change
    mean: float
    note: str = ""
    bracket: float | None = None

    @property
    def text(self) -> str:
        """The formula as q1*p2 - q2*p1."""
        return self.formula.text()

    @property
    def expression(self) -> sympy.Expr:
        """The formula in sympy, over symbols named as the variables."""
        return self.formula.expression()

    @property
    def matrix(self) -> Float[np.ndarray, "dim dim"]:
        """The symmetric A of x^T A x / 2 + b^T x; raises ValueError for a quantity of another family."""
        return self._parts()[0][0]

    @property
    def vector(self) -> Float[np.ndarray, " dim"]:
        """The b of x^T A x / 2 + b^T x; raises ValueError for a quantity of another family."""
        return self._parts()[1][0]

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, " rows"]:
        """Its values at states in the units of the data, up to a constant that all of them share."""
        return self.dictionary.values(states) @ self.row

    def _parts(self) -> tuple[np.ndarray, np.ndarray]:
        if not self.dictionary.second_degree:
            raise ValueError(f"{self.text} is of the family {self.dictionary.family}, it has no matrix")
        return quadratic_parts(self.dictionary.expanded(self.row[None]), self.dictionary.dim)

    def __repr__(self) -> str:
        return f"FoundQuantity({shortened(self.text, LONGEST)}, change at most {self.change.hidden:.2g})"

    def to_json(self) -> dict[str, Any]:
        """An entry of "quantities", "drifting" or "same_everywhere" in symmetry.json."""
        formula, quadratic = self.formula, self.dictionary.second_degree
        return {
            "formula": formula.text(),
            "latex": formula.latex(),
            "A": self.matrix.tolist() if quadratic else None,
            "b": self.vector.tolist() if quadratic else None,
            "coefficients": {
                formula.keyed(part): float(value) for part, value in formula.coefficients.items()
            },
            "drift": self.change.change,
            "errors": {formula.keyed(part): error for part, error in formula.errors.items()},
            "measured": {
                formula.keyed(part): measurement._asdict()
                for part, measurement in formula.measurements().items()
            },
            "unit": formula.unit(),
            "note": self.note,
            "mean": self.mean,
            "bracket_with_hamiltonian": self.bracket,
            **{key: _number(value) for key, value in self.change._asdict().items() if key != "change"},
        }


class QuantityMaker:
    """Makes formulas of spaces, and says how these move."""

    def __init__(self, space: ConservedSpace):
        motion = space.motion
        self.space, self.motion, self.trajectories = space, motion, motion.trajectories
        self.units = 1 / motion.own_sizes
        self.statistics = pair_statistics(motion.dictionary, self.trajectories, motion.profile)

    def quantities(
        self, found: Float[np.ndarray, "K monomials"], on_states: OnStates | None
    ) -> tuple[list[FoundQuantity], Energy | None]:
        """The quantities of a space (of terms of unit spread), how they change, and notes; the energy takes
        the place of the last one that it holds.
        """
        formulas, motion, dictionary = self.formulas(found), self.motion, self.motion.dictionary
        if not formulas:
            return [], None
        rows = np.array([formula.row() for formula in formulas])
        notes = [""] * len(formulas)
        energy, sines = None, [None] * len(formulas)
        if on_states is not None:
            energy = on_states.energy(motion, rows)
            if energy is not None:
                at, formula, note = energy_quantity(formulas, energy)
                formulas = [*formulas[:at], *formulas[at + 1 :], formula]
                notes[-1] = note
                rows = np.array([formula.row() for formula in formulas])
                energy = on_states.energy(motion, rows)
            sines = bracket_sizes(motion, rows, on_states)
        second = dictionary.second_degree
        products = _products(dictionary.expanded(rows), dictionary.dim) if second else notes
        means = rows @ dictionary.values(self.trajectories.points()).mean(axis=0)
        quantities = [
            FoundQuantity(
                formula=formula,
                dictionary=dictionary,
                row=row,
                change=self.space.drift.change(combination),
                mean=float(mean),
                note=note or product,
                bracket=sine,
            )
            for formula, row, combination, mean, note, product, sine in zip(
                formulas, rows, motion.rows(rows), means, notes, products, sines, strict=True
            )
        ]
        return quantities, energy

    def formulas(self, found: Float[np.ndarray, "K monomials"]) -> list[QuantityFormula]:
        """A sparse basis of a space (of terms of unit spread) as formulas in the units of the data."""
        if not len(found):
            return []
        sparse, at = reduced(sparse_basis(found))
        made = rounded(sparse * self.units, at, self.statistics, self.units, self.motion.used)
        names, units, dictionary = self.trajectories.names, self.trajectories.units, self.motion.dictionary
        terms = () if dictionary.quadratic else dictionary.terms
        formulas = [
            QuantityFormula.of(self._trimmed(values, simple), errors, simple, names, units, measured, terms)
            for values, errors, simple, measured in zip(*made, strict=True)
        ]
        return sorted(
            with_products(formulas), key=lambda formula: (formula.degree, len(formula.coefficients))
        )

    def _trimmed(
        self, values: Float[np.ndarray, " monomials"], simple: Mapping[int, SimpleNumber]
    ) -> Float[np.ndarray, " monomials"]:
        """Coefficients without the small decimals whose absence adds no more to the change along trajectories
        than noise does, or than nothing.
        """
        motion = self.motion
        within = motion.deviations(motion.recording)
        values = values.copy()
        row = motion.rows(values[None])[0]
        size = np.zeros(len(values))
        size[motion.used] = np.abs(row)
        small = (size <= _SMALL * size.max()) & (values != 0)
        decimals = [j for j in np.flatnonzero(small).tolist() if j not in simple]
        spread = float(motion.variances(row[None])[0])
        noise = float(motion.noise_variances(row[None]).mean())

        def more(without: list[int]) -> float:
            """The change beyond that of all terms, over what may come of leaving these out."""
            trial = values.copy()
            trial[without] = 0.0
            added = np.sum((within @ motion.rows(trial[None])[0]) ** 2) - np.sum((within @ row) ** 2)
            chance = (len(without) + _NEEDED * np.sqrt(2 * len(without))) * noise
            return float(added / max(_NEEDED**2 * noise, chance, motion.floor**2 * spread * len(within)))

        # Together first, for errors of one term make up for those of others.
        while decimals and more(decimals) > 1:
            decimals.remove(max(decimals, key=lambda j: more([j])))
        values[decimals] = 0.0
        return values


def readable(
    slow: Sequence[FoundQuantity], conserved: Sequence[FoundQuantity], motion: Motion
) -> list[FoundQuantity]:
    """The slow drifts that are worth a line: few terms, slow as the formula has it, and of their own."""
    return [
        replace(entry, note="")
        for entry in slow
        if len(entry.formula.coefficients) <= max(FEW_TERMS, entry.dictionary.dim)
        and entry.change.change <= _SLOW
        and entry.change.noise <= 1
        and _of_its_own(entry, conserved, motion)
    ]


def _of_its_own(quantity: FoundQuantity, others: Sequence[FoundQuantity], motion: Motion) -> bool:
    """Whether a visible part of what a quantity is, as its formula has it, is none of the others."""
    rows = motion.rows(np.array([entry.row for entry in (quantity, *others)])) @ motion.root
    own, *known = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    spanned = np.linalg.svd(np.array(known), full_matrices=False)[2] if known else np.zeros((0, len(own)))
    return bool(np.linalg.norm(own - (spanned @ own) @ spanned) > NEW)


def _products(rows: Float[np.ndarray, "rank monomials"], dim: int) -> list[str]:
    """For every quantity that is a product of two linear ones, which."""
    vectors = rows[:, :dim]
    linear = [k for k in range(len(rows)) if not rows[k, dim:].any()]
    names = [""] * len(rows)
    for at, i in enumerate(linear):
        for j in linear[at:]:
            product = np.outer(vectors[i], vectors[j])
            row = coefficients((product + product.T)[None], np.zeros((1, dim)))[0]
            for k in range(len(rows)):
                aligned = abs(row @ rows[k]) / (np.linalg.norm(row) * np.linalg.norm(rows[k]))
                if aligned > 1 - 1e-3:
                    names[k] = f"C{i + 1}^2" if i == j else f"C{i + 1}*C{j + 1}"
    return names


def _number(value: float | bool) -> float | bool | None:
    """JSON knows no infinities."""
    if isinstance(value, bool):
        return value
    return float(value) if np.isfinite(value) else None
