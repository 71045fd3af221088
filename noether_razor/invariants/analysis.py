"""From measured trajectories, and quantities that were learned, to what is conserved."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Float

from ..lie import LieAlgebra, bracket, lie_algebra
from ..quadratic_forms import Quadratics
from ..scaling import FAR
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import Hamiltonian
from .conserved import HIDDEN, ConservedSpace, conserved_space
from .dictionary import Dictionary, dictionary_of
from .energy import Energy, energy_in, energy_quantity
from .formulas import QuantityFormula, reduced, shortened, sparse_basis
from .monomials import coefficients, quadratic_parts
from .motion import Change, Motion
from .pairs import pair_statistics
from .rounding import rounded
from .simple_numbers import SimpleNumber

_STRENGTH = 0.01
"""Share of the largest singular value below which a direction of the quantities was not learned."""
_INSIDE = 0.95
"""Cosine, by spreads over the data, from which a conserved direction is one of those that were learned."""
_COMMUTING = 0.1
"""R.m.s. of {C, H} over |grad C| |grad H| up to which C counts as learned: ten times the error of
learning."""
_NEW = 0.1
"""Size, against that of the factors, from which a bracket or product outside a space is a new one."""
_RESOLVED = 1e-6
"""Share of the largest spread of gradients below which a combination of monomials is not seen in the data."""
_DEPENDENT = 0.1
"""Singular value of unit gradients, against the largest, up to which they count as dependent."""
_NEEDED = 5.0
"""Standard errors from which the data need a small term."""
_SMALL = 0.05
"""Size of a term over the largest up to which it is left out where the data do without it."""
_TERMS, _SLOW = 6, 0.3
"""Terms and change over the spread up to which a slow drift is printed."""
_PRINTED, _LONGEST = 12, 110
"""Quantities that are printed, and letters of each."""
_POINTS = 500
"""States at which gradients and the Hamiltonian are evaluated."""
NOT_COMPUTED = "not computed for this family"
"""The name of an algebra of quantities that are not quadratic."""
CLOSED = 0.05
"""The closure error up to which a space closes under the Poisson bracket."""


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
        if not self.dictionary.quadratic:
            raise ValueError(f"{self.text} is of the family {self.dictionary.family}, it has no matrix")
        return quadratic_parts(self.row[None], self.dictionary.dim)

    def __repr__(self) -> str:
        return f"FoundQuantity({shortened(self.text, _LONGEST)}, change at most {self.change.hidden:.2g})"

    def to_json(self) -> dict[str, Any]:
        """An entry of "quantities", "drifting" or "same_everywhere" in symmetry.json."""
        formula, quadratic = self.formula, self.dictionary.quadratic
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


@dataclass(frozen=True)
class Analysis:
    """What is conserved: the found space by a sparse basis, and everything said about it.

    `quantities` has `rank` entries, `drifting` those that change slowly, `same` those that have one value in
    the whole file. `independent` is how many are functionally independent, `generating` the indices of as
    many of which the others are functions. `closes`: whether brackets of the quantities stay among them,
    within their errors; true where they are not computed, as there is no `algebra` but of quadratic
    quantities. `strengths` are the singular values of the quantities given, in scaled coordinates, and
    `learned` how many of the found directions these hold. `space` is the test of the data.
    """

    names: tuple[str, ...]
    quantities: tuple[FoundQuantity, ...]
    drifting: tuple[FoundQuantity, ...]
    same: tuple[FoundQuantity, ...]
    independent: int
    generating: tuple[int, ...]
    algebra: LieAlgebra
    closes: bool
    strengths: Float[np.ndarray, " given"]
    learned: int
    space: ConservedSpace
    restricted: bool = True
    energy: Energy | None = None

    def __repr__(self) -> str:
        decided = "decided" if self.decided else "not decided"
        name = shortened(self.algebra.name, _LONGEST)
        lines = [f"Analysis({self.rank} conserved, {self.independent} independent, {decided}, algebra {name}"]
        lines += [f"C{k} = {quantity.text}" for k, quantity in enumerate(self.quantities[:_PRINTED], 1)]
        if self.rank > _PRINTED:
            lines.append(f"and {self.rank - _PRINTED} more")
        for kind, found in (("drifting", self.drifting), ("the same everywhere", self.same)):
            if found:
                lines.append(f"{kind}: {'; '.join(quantity.text for quantity in found)}")
        return "\n  ".join(shortened(line, _LONGEST) for line in lines) + ")"

    @property
    def rank(self) -> int:
        """The dimension of the space of conserved quantities among the terms, constants excluded."""
        return len(self.quantities)

    @property
    def local(self) -> bool:
        """Whether trajectories are arcs that do not turn, and a formula has many decimals: along such arcs
        any flow keeps some combination of many terms nearly constant.
        """
        longest = max((len(quantity.formula.errors) for quantity in self.quantities), default=0)
        return longest > max(_TERMS, len(self.names)) and not self.space.turns

    @property
    def decided(self) -> bool:
        """Whether the file can tell how many quantities there are, and which."""
        return self.space.decided and self.closes and not self.local

    @property
    def dictionary(self) -> Dictionary:
        """The terms that quantities are combinations of."""
        return self.space.motion.dictionary

    def matrices(self) -> tuple[Float[np.ndarray, "rank dim dim"], Float[np.ndarray, "rank dim"]]:
        """A and b of the found quantities, stacked, in the units of the data; raises ValueError for those of
        another family than the quadratic one.
        """
        dim = len(self.names)
        matrices = np.array([quantity.matrix for quantity in self.quantities]).reshape(-1, dim, dim)
        return matrices, np.array([quantity.vector for quantity in self.quantities]).reshape(-1, dim)

    def expressions(self) -> list[sympy.Expr]:
        """The found quantities in sympy."""
        return [quantity.formula.expression() for quantity in self.quantities]

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetry.json."""
        space = self.space
        return {
            "rank": self.rank,
            "decided": self.decided,
            "evidence": None,
            "quantities": [quantity.to_json() for quantity in self.quantities],
            "drifting": [quantity.to_json() for quantity in self.drifting],
            "same_everywhere": [quantity.to_json() for quantity in self.same],
            "independent": self.independent,
            "generating": list(self.generating),
            "hamiltonian": None,
            "algebra": self.algebra.to_json(),
            "closes": self.closes,
            "family": self.dictionary.family,
            "names": list(self.names),
            "strengths": self.strengths.tolist(),
            "learned": self.learned,
            "restricted": self.restricted,
            "energy": None
            if self.energy is None
            else {"weights": self.energy.weights.tolist(), "residual": self.energy.residual},
            "velocities": bool(space.motion.trajectories.velocities),
            "time_unit": space.motion.trajectories.time_unit,
            "data": {
                "rows": len(space.motion.trajectories.points()),
                "terms": len(space.ratios),
                "rows_needed": space.rows_needed + space.motion.recordings,
                "recordings": space.motion.recordings,
                "most": space.most,
                "staying": space.staying,
                "shown": space.rank,
                "settled": space.settled,
                "enough": space.enough,
                "clear": space.clear,
                "hidden": space.hidden,
                "moves": space.moves,
                "local": self.local,
                "rows_alike": space.motion.alike,
                "noise_told": space.told,
                "left_out": space.left_out,
                "copies": space.copies,
                "needed": space.needed,
                "noise_variance": space.motion.noise.variance.tolist(),
                "ratios": [float(max(ratio, 0.0)) for ratio in space.ratios],
            },
        }


def analyse(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    trajectories: Trajectories,
    *,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    hamiltonian: Hamiltonian | None = None,
    restrict: bool = True,
    space: ConservedSpace | None = None,
    dictionary: Dictionary | str | None = None,
) -> Analysis:
    """What `trajectories` conserve among the terms of `dictionary` (or of the family of that name; None: all
    of degree <= 2), and what of that the K quantities x^T A_k x / 2 + b_k^T x hold.

    The trajectories alone decide what is conserved, see `conserved_space`; `space` is its result where that
    is known. With `restrict`, only what the given quantities hold counts: directions within a cosine of 0.95
    of their span, of what nearly commutes with `hamiltonian`, itself included (where a few symmetries
    determine H, learning has no reason to find the others), and of brackets of what was found and products of
    the linear ones. `hamiltonian`, learned or true, is also looked for among the quantities and bracketed
    with them.

    Of another family than the quadratic one, K is 0, nothing is restricted, and no algebra is computed.
    Raises ValueError for shapes and a dictionary that do not fit, and for numbers that are not finite.
    """
    known = space.motion.dictionary if space else dictionary_of(dictionary, trajectories)
    matrices, vectors = _checked_quantities(matrices, vectors, known)
    # Far from 0 a square is a linear term: brackets and formulas are made about where the data are. Other
    # terms mean something where they are alone.
    origin = _origin(trajectories) if known.quadratic else np.zeros(known.dim)
    vectors, hamiltonian = vectors + matrices @ origin, _about(hamiltonian, origin)
    trajectories = _counted_from(trajectories, origin)
    space = space or conserved_space(trajectories, noise_variance=noise_variance, dictionary=known)
    on_states = None if hamiltonian is None else _on_states(hamiltonian, trajectories.points())
    strengths, learned = _learned(matrices, vectors, space.motion, on_states)
    held = _held(space, learned)
    rows, same, slow = _listed(space, held if restrict and known.quadratic else None)
    make = _Maker(space)
    quantities, energy = make.quantities(rows, on_states)
    drifting, _ = make.quantities(_beside(slow, rows, slow[:0]), on_states)
    drifting = _readable(drifting, quantities, space.motion)
    independent, generating = _independence(space.motion, quantities, same * make.units)
    scales = space.motion.scales
    of_space = _basis(rows * make.units * space.motion.sizes)
    algebra, closes = _algebra(quantities, of_space, scales) if known.quadratic else _no_algebra(known.dim)
    return Analysis(
        names=trajectories.names,
        quantities=_moved(quantities, origin),
        drifting=_moved(drifting, origin),
        same=_moved(make.quantities(same, None)[0], origin),
        independent=independent,
        generating=generating,
        algebra=algebra,
        closes=closes,
        strengths=strengths,
        learned=len(held[0]),
        # Of the quantities as they are listed: combinations of them that hardly differ say nothing of noise.
        space=replace(space, hidden=sum(quantity.change.hidden > HIDDEN for quantity in quantities)),
        restricted=restrict and known.quadratic,
        energy=energy,
    )


def _checked_quantities(
    matrices: np.ndarray, vectors: np.ndarray, dictionary: Dictionary
) -> tuple[Float[np.ndarray, "K dim dim"], Float[np.ndarray, "K dim"]]:
    """The quantities given, in float64. Raises ValueError for those that do not fit or are not finite."""
    matrices, vectors = np.asarray(matrices, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    count, dim = len(matrices), dictionary.dim
    if matrices.shape != (count, dim, dim) or vectors.shape != (count, dim):
        raise ValueError(
            f"quantities must have shapes (K, {dim}, {dim}) and (K, {dim}) for these trajectories, "
            f"got {matrices.shape} and {vectors.shape}"
        )
    if not (np.isfinite(matrices).all() and np.isfinite(vectors).all()):
        raise ValueError("matrices and vectors must be finite")
    if not dictionary.quadratic and count:
        raise ValueError(
            f"got {count} quantities of degree <= 2 for the dictionary {dictionary.family}, expected none"
        )
    return matrices, vectors


def _learned(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    motion: Motion,
    on_states: "_OnStates | None",
) -> tuple[Float[np.ndarray, " given"], Float[np.ndarray, "L all"]]:
    """The singular values of the quantities given, in scaled coordinates, and what counts as learned: the
    strong directions, and with them what nearly commutes with the Hamiltonian.
    """
    scales = motion.scales
    given = coefficients(matrices * scales[:, None] * scales, vectors * scales)
    _, strengths, directions = np.linalg.svd(given, full_matrices=False)
    learned = directions[strengths > max(_STRENGTH * strengths.max(initial=0.0), 1e-300)]
    if on_states is not None and len(learned):
        learned = np.concatenate([learned, _commuting(motion, on_states)])
    return strengths, learned


def _listed(
    space: ConservedSpace, held: tuple[Float[np.ndarray, "K M"], Float[np.ndarray, "s M"]] | None
) -> tuple[Float[np.ndarray, "K all"], Float[np.ndarray, "z all"], Float[np.ndarray, "s all"]]:
    """Bases, of terms of unit spread, of what is listed as conserved, as the same everywhere and as drifting:
    of the whole space, or of what is `held` of it.
    """
    found, slow = held or (space.conserved, space.drifting)
    motion = space.motion
    rows, same, slow = (
        _basis(motion.quantities(part) * motion.own_sizes) for part in (found, space.same, slow)
    )
    if held is not None:
        return rows, same[:0], slow
    if len(rows) and len(same):
        # On one energy shell su(2) stays su(2): brackets first, where they are clear of what is the same
        # everywhere.
        both = _basis(np.concatenate([rows, same]))
        rows = _beside(rows, same, _derived(both, motion) if motion.dictionary.quadratic else both[:0])
    return rows, same if space.staying <= space.most else same[:0], slow


def _origin(trajectories: Trajectories) -> Float[np.ndarray, " dim"]:
    """Round values near the means of coordinates that are many spreads away from 0; 0 for the others."""
    points = trajectories.points()
    mean, spread = points.mean(axis=0), points.std(axis=0)
    far = (np.abs(mean) > FAR * spread) & (spread > 1e-12 * np.abs(mean))
    far[list(trajectories.angles())] = False
    step = 10.0 ** np.round(np.log10(np.where(far, spread, 1.0)))
    return np.where(far, np.round(mean / step) * step, 0.0)


def _counted_from(trajectories: Trajectories, origin: Float[np.ndarray, " dim"]) -> Trajectories:
    """The same with states that count from `origin`."""
    if not origin.any():
        return trajectories
    targets = None if trajectories.targets is None else trajectories.targets - origin
    return replace(trajectories, states=trajectories.states - origin, targets=targets)


def _about(hamiltonian: Hamiltonian | None, origin: Float[np.ndarray, " dim"]) -> Hamiltonian | None:
    """The same Hamiltonian of states that count from `origin`."""
    if hamiltonian is None or not origin.any():
        return hamiltonian
    return lambda state: hamiltonian(state + jnp.asarray(origin, state.dtype))


def _moved(
    quantities: Sequence[FoundQuantity], origin: Float[np.ndarray, " dim"]
) -> tuple[FoundQuantity, ...]:
    """Quantities of states that count from `origin`, as such of the states themselves, up to constants."""
    if not origin.any():
        return tuple(quantities)
    at = tuple(origin.tolist())
    return tuple(
        replace(
            entry,
            formula=replace(entry.formula, origin=at),
            row=coefficients(entry.matrix[None], (entry.vector - entry.matrix @ origin)[None])[0],
        )
        for entry in quantities
    )


def _readable(
    slow: Sequence[FoundQuantity], conserved: Sequence[FoundQuantity], motion: Motion
) -> list[FoundQuantity]:
    """The slow drifts that are worth a line: few terms, slow as the formula has it, and of their own."""
    return [
        replace(entry, note="")
        for entry in slow
        if len(entry.formula.coefficients) <= max(_TERMS, entry.dictionary.dim)
        and entry.change.change <= _SLOW
        and entry.change.noise <= 1
        and _of_its_own(entry, conserved, motion)
    ]


def _of_its_own(quantity: FoundQuantity, others: Sequence[FoundQuantity], motion: Motion) -> bool:
    """Whether a visible part of what a quantity is, as its formula has it, is none of the others."""
    rows = motion.rows(np.array([entry.row for entry in (quantity, *others)])) @ motion.root
    own, *known = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    spanned = np.linalg.svd(np.array(known), full_matrices=False)[2] if known else np.zeros((0, len(own)))
    return bool(np.linalg.norm(own - (spanned @ own) @ spanned) > _NEW)


def _scaled(space: ConservedSpace, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "K all"]:
    """Combinations of the terms of a space as coefficients of all terms, in scaled units: of monomials of x /
    scales, or of terms of unit spread.
    """
    return space.motion.quantities(rows) * space.motion.sizes


def _units(scales: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " monomials"]:
    """What monomials of x are times those of x / scales."""
    return coefficients(np.outer(scales, scales)[None] * (1 + np.eye(len(scales))), scales[None])[0]


def _basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "rank monomials"]:
    """An orthonormal basis of the span of `rows`, whatever their sizes."""
    if not len(rows):
        return rows
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    _, values, directions = np.linalg.svd(rows / size, full_matrices=False)
    return directions[values > 1e-3]


def _held(
    space: ConservedSpace, learned: Float[np.ndarray, "K monomials"]
) -> tuple[Float[np.ndarray, "rank M"], Float[np.ndarray, "s M"]]:
    """What of the conserved and of the drifting combinations the learned quantities hold."""
    motion, root = space.motion, space.motion.root

    def inside(rows: np.ndarray) -> np.ndarray:
        if not len(rows) or not len(learned):
            return rows[:0]
        own = np.linalg.qr((rows @ root).T)
        other = np.linalg.qr((motion.rows(learned / motion.sizes) @ root).T)[0]
        left, cosines, _ = np.linalg.svd(own[0].T @ other)
        kept = left[:, : len(cosines)][:, cosines >= _INSIDE]
        return kept.T @ np.linalg.inv(own[1]).T @ rows

    found = inside(space.conserved)
    while 0 < len(found) < len(space.conserved):
        learned = np.concatenate([learned, _implied(_basis(_scaled(space, found)), len(motion.scales))])
        more = inside(space.conserved)
        if len(more) <= len(found):
            break
        found = more
    return found, inside(space.drifting)


def _implied(rows: Float[np.ndarray, "rank monomials"], dim: int) -> Float[np.ndarray, "more monomials"]:
    """Brackets of quantities and products of the linear ones among them that are new; `rows` are
    orthonormal.
    """
    left, size, _ = np.linalg.svd(rows[:, dim:], full_matrices=True)
    size = np.pad(size, (0, len(rows) - len(size)))
    linear = left[:, size <= _NEW].T @ rows[:, :dim]
    one, other = np.triu_indices(len(linear))
    products = linear[one][:, :, None] * linear[other][:, None, :]
    implied = np.concatenate(
        [
            _brackets(rows, dim),
            coefficients(products + np.swapaxes(products, 1, 2), np.zeros((len(one), dim))),
        ]
    )
    _, size, new = np.linalg.svd(implied - (implied @ rows.T) @ rows, full_matrices=False)
    return new[size > _NEW]


def _brackets(rows: Float[np.ndarray, "rank monomials"], dim: int) -> Float[np.ndarray, "pairs monomials"]:
    """The Poisson brackets of all pairs, in scaled coordinates, constants left out."""
    space = Quadratics(*quadratic_parts(rows, dim), np.zeros(len(rows)))
    first, second = np.triu_indices(len(rows), k=1)
    brackets = bracket(*(Quadratics(*(part[index] for part in space)) for index in (first, second)))
    return coefficients(brackets.matrices, brackets.vectors)


def _beside(
    rows: Float[np.ndarray, "K monomials"],
    known: Float[np.ndarray, "L monomials"],
    first: Float[np.ndarray, "F monomials"],
) -> Float[np.ndarray, "K monomials"]:
    """Combinations that with `known` span what `rows` and `known` do: `first`, where all of these are new,
    then the sparsest; `rows` themselves where these are too few.

    What is known may be added to a quantity without a change in what it says.
    """
    whole = _basis(np.concatenate([rows, known]))
    spanned = np.linalg.qr(known.T)[0] if len(known) else np.zeros((rows.shape[1], 0))

    def grown(chosen: list[np.ndarray], more: np.ndarray) -> list[np.ndarray]:
        for row in more:
            trial = np.array([*chosen, row / np.linalg.norm(row)])
            beyond = trial - (trial @ spanned) @ spanned.T
            if len(trial) <= len(rows) and np.linalg.svd(beyond, compute_uv=False).min() > _NEW:
                chosen = [*chosen, trial[-1]]
        return chosen

    chosen = grown([], first)
    if len(chosen) < len(first):
        chosen = []
    chosen = grown(chosen, sparse_basis(whole))
    return np.array(chosen) if 0 < len(chosen) == len(rows) else rows


def _derived(rows: Float[np.ndarray, "K monomials"], motion: Motion) -> Float[np.ndarray, "some monomials"]:
    """A sparse basis of the brackets of a space, as far as they lie in it."""
    if len(rows) < 2:
        return rows[:0]
    units = motion.own_sizes / motion.sizes
    brackets = _brackets(_basis(rows / units), motion.dictionary.dim) * units
    _, sizes, directions = np.linalg.svd(brackets @ rows.T, full_matrices=False)
    return sparse_basis(directions[sizes > _NEW * sizes.max(initial=1e-9)] @ rows)


class _Maker:
    """Makes formulas of spaces, and says how these move."""

    def __init__(self, space: ConservedSpace):
        motion = space.motion
        self.space, self.motion, self.trajectories = space, motion, motion.trajectories
        self.units = 1 / motion.own_sizes
        self.statistics = pair_statistics(motion.dictionary, self.trajectories, motion.profile)

    def quantities(
        self, found: Float[np.ndarray, "K monomials"], on_states: "_OnStates | None"
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
            at_states = dictionary.values(on_states.states)
            energy = energy_in(at_states @ rows.T, on_states.values)
            if energy is not None:
                at, formula, note = energy_quantity(formulas, energy)
                formulas = [*formulas[:at], *formulas[at + 1 :], formula]
                notes[-1] = note
                rows = np.array([formula.row() for formula in formulas])
                energy = energy_in(at_states @ rows.T, on_states.values)
            sines = _sines(motion, rows, on_states)
        products = _products(rows, dictionary.dim) if dictionary.quadratic else notes
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
        return sorted(formulas, key=lambda formula: (formula.degree, len(formula.coefficients)))

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


class _OnStates(NamedTuple):
    """A Hamiltonian and its gradient on some states."""

    states: Float[np.ndarray, "points dim"]
    values: Float[np.ndarray, " points"]
    gradients: Float[np.ndarray, "points dim"]


def _some(states: Float[np.ndarray, "all dim"]) -> Float[np.ndarray, "points dim"]:
    """At most `_POINTS` states, at equal distances in the data."""
    return states[evenly(len(states), _POINTS)]


def _on_states(hamiltonian: Hamiltonian, states: Float[np.ndarray, "all dim"]) -> _OnStates:
    states = _some(states)
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(hamiltonian)))(jnp.asarray(states, jnp.float32))
    values, gradients = (np.asarray(part, dtype=np.float64) for part in (values, gradients))
    return _OnStates(states, values, gradients)


def _commuting(motion: Motion, on_states: _OnStates) -> Float[np.ndarray, "some all"]:
    """Quantities C whose bracket with the Hamiltonian nearly vanishes, as coefficients of scaled terms:
    directions in which the r.m.s. of {C, H} is at most `_COMMUTING` of that of |grad C| |grad H|.
    """
    states, slopes = on_states.states, on_states.gradients * motion.scales
    gradients = _gradients(motion, np.diag(1 / motion.sizes), states).transpose(1, 0, 2)
    brackets = np.einsum("tki,ti->tk", gradients, _field(slopes))
    sizes = (gradients * np.linalg.norm(slopes, axis=1)[:, None, None]).transpose(0, 2, 1)
    sizes = sizes.reshape(-1, sizes.shape[2])
    _, spreads, axes = np.linalg.svd(sizes / np.sqrt(len(states)), full_matrices=False)
    used = spreads > _RESOLVED * spreads.max()
    basis = axes[used].T / spreads[used]
    _, sines, directions = np.linalg.svd(brackets @ basis / np.sqrt(len(states)), full_matrices=False)
    return directions[sines <= _COMMUTING] @ basis.T


def _gradients(
    motion: Motion, rows: Float[np.ndarray, "K all"], states: Float[np.ndarray, "points dim"]
) -> Float[np.ndarray, "K points dim"]:
    """The gradients of quantities, coefficients of all terms, in scaled coordinates at states in the units of
    the data.
    """
    if not len(rows):
        return np.zeros((0, *states.shape))
    slopes = [motion.dictionary.slopes(states, i) @ rows.T for i in range(states.shape[1])]
    return np.stack(slopes, axis=2).transpose(1, 0, 2) * motion.scales


def _sines(motion: Motion, rows: Float[np.ndarray, "rank all"], on_states: _OnStates) -> list[float]:
    """R.m.s. of {C, H} over that of |grad C| |grad H|, in scaled coordinates."""
    own, other = _gradients(motion, rows, on_states.states), on_states.gradients * motion.scales
    brackets = np.einsum("kpi,pi->kp", own, _field(other))
    bound = np.linalg.norm(own, axis=2) * np.linalg.norm(other, axis=1)
    return [float(np.sqrt(np.mean(b**2) / np.mean(s**2))) for b, s in zip(brackets, bound, strict=True)]


def _field(gradients: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points dim"]:
    """J grad H at each state."""
    position, momentum = np.split(gradients, 2, axis=1)
    return np.concatenate([momentum, -position], axis=1)


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


def _independence(
    motion: Motion, quantities: Sequence[FoundQuantity], same: Float[np.ndarray, "z all"]
) -> tuple[int, tuple[int, ...]]:
    """How many quantities are functionally independent where the data are, and the first so many that are.

    Where combinations have the `same` value in the whole file, that is the surface on which they have it:
    what is a function of the others there may be none elsewhere.
    """
    states = _some(motion.trajectories.points())
    rows = np.array([quantity.row for quantity in quantities]).reshape(-1, len(motion.used))
    gradients = list(_gradients(motion, rows, states))
    if len(same):
        normals = _normals(_gradients(motion, same, states))
        gradients = [g - np.einsum("tij,tkj,tk->ti", normals, normals, g) for g in gradients]
    sizes = [np.sqrt(np.mean(gradient**2) * states.shape[1]) for gradient in gradients]
    gradients = [g / max(size, np.finfo(float).tiny) for g, size in zip(gradients, sizes, strict=True)]

    def rank(chosen: list[int]) -> int:
        size = np.linalg.svd(np.stack([gradients[k] for k in chosen], axis=1), compute_uv=False)
        # Dependent gradients are so everywhere, independent ones may be nearly parallel here and there.
        typical = np.quantile(size / np.maximum(size[:, :1], np.finfo(float).tiny), 0.9, axis=0)
        return int(np.sum(typical > _DEPENDENT))

    generating: list[int] = []
    for k in range(len(rows)):
        if rank([*generating, k]) > len(generating):
            generating.append(k)
    return len(generating), tuple(generating)


def _normals(
    gradients: Float[np.ndarray, "z points dim"],
) -> Float[np.ndarray, "points dim normals"]:
    """Orthonormal bases, filled up with zeros, of some gradients at each state."""
    normals = gradients.transpose(1, 2, 0)
    normals = normals / np.maximum(np.sqrt(np.sum(normals**2, axis=1).mean(axis=0)), 1e-300)
    directions, sizes, _ = np.linalg.svd(normals, full_matrices=False)
    return directions * (sizes > _DEPENDENT * sizes[:, :1])[:, None]


def _algebra(
    quantities: Sequence[FoundQuantity],
    found: Float[np.ndarray, "rank monomials"],
    scales: Float[np.ndarray, " dim"],
) -> tuple[LieAlgebra, bool]:
    """The algebra of the formulas, in the units of the data, and whether it closes within its errors.

    Where these have decimals whose errors blur its name, that of the space before simple numbers.
    """
    dim = len(scales)
    allowed = (
        CLOSED if not quantities else max(CLOSED, 4 * max(_relative_error(q, scales) for q in quantities))
    )
    algebra = lie_algebra(*quadratic_parts(found, dim), tolerance=allowed)
    if not quantities:
        return algebra, True
    matrices = np.array([quantity.matrix for quantity in quantities]) * scales[:, None] * scales
    vectors = np.array([quantity.vector for quantity in quantities]) * scales
    of_formulas = lie_algebra(matrices, vectors, tolerance=allowed)
    exact = not any(quantity.formula.errors for quantity in quantities)
    # Partly rounded, small entries no longer tell how large errors are.
    if not algebra.named or (exact and of_formulas.named):
        algebra = of_formulas
    # {f, g} in x is {f, g} in y over the constant s_q s_p.
    product = scales[0] * scales[dim // 2]
    basis = Quadratics(
        algebra.basis.matrices / (scales[:, None] * scales),
        algebra.basis.vectors / scales,
        algebra.basis.constants,
    )
    constants = algebra.structure_constants / product
    return replace(algebra, basis=basis, structure_constants=constants), algebra.closure_error <= allowed


def _no_algebra(dim: int) -> tuple[LieAlgebra, bool]:
    """What stands for the algebra of quantities whose brackets are not among their terms."""
    none = Quadratics(np.zeros((0, dim, dim)), np.zeros((0, dim)), np.zeros(0))
    return LieAlgebra(none, np.zeros((0, 0, 0)), 0.0, False, NOT_COMPUTED, named=False), True


def _relative_error(quantity: FoundQuantity, scales: Float[np.ndarray, " dim"]) -> float:
    """The error of the coefficients over their size, in scaled coordinates."""
    formula = quantity.formula
    errors = {**{m: error for m, (_, error) in formula.measured.items()}, **formula.errors}
    size = np.linalg.norm(formula.row() * _units(scales))
    off = [error * float(np.prod(scales[list(m)])) for m, error in errors.items() if isinstance(m, tuple)]
    return float(np.linalg.norm(off) / max(size, 1e-300))


def _number(value: float | bool) -> float | bool | None:
    """JSON knows no infinities."""
    if isinstance(value, bool):
        return value
    return float(value) if np.isfinite(value) else None
