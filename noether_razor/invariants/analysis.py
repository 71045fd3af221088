"""From measured trajectories, and quantities that were learned, to what is conserved."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import sympy
from jaxtyping import Float

from ..lie import LieAlgebra
from ..trajectories import UNPAIRED, Trajectories
from ..typing import Hamiltonian
from .algebra import CONSTRAINED, UNPAIRED_STATES, algebra_of, no_algebra
from .bodies import BodyTerms
from .conserved import AT_REST, HIDDEN, ConservedSpace, conserved_space
from .dictionary import Dictionary, dictionary_of
from .energy import Energy
from .formulas import shortened
from .found import FEW_TERMS, LONGEST, PRINTED, FoundQuantity, QuantityMaker, readable
from .noise import within_variance
from .on_states import OnStates, independence, learned_directions
from .origin import about, counted_from, moved, near_zero, origin_of
from .spans import beside, bound_columns, held_by, listed, scaled

SCATTERED = 0.02
"""Motion along a trajectory over the distance between trajectories, below which terms of a column hardly
change."""


@dataclass(frozen=True)
class Analysis:
    """What is conserved: the found space by a sparse basis, and everything said about it.

    `quantities` has `rank` entries, `drifting` those that change slowly, `same` those that have one value in
    the whole file. `independent` is how many are functionally independent, `generating` the indices of as
    many of which the others are functions. `closes`: whether brackets of the quantities stay among them,
    within their errors; true where they are not computed, as there is no `algebra` but of quadratic
    quantities. `with_same`: they do so, and `algebra` is meant, together with what has one value in the whole
    file. `strengths` are the singular values of the quantities given, in scaled coordinates, and
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
    with_same: bool
    strengths: Float[np.ndarray, " given"]
    learned: int
    space: ConservedSpace
    restricted: bool = True
    energy: Energy | None = None

    def __repr__(self) -> str:
        decided = "decided" if self.decided else "not decided"
        name = shortened(self.algebra.name, LONGEST)
        lines = [f"Analysis({self.rank} conserved, {self.independent} independent, {decided}, algebra {name}"]
        lines += [f"C{k} = {quantity.text}" for k, quantity in enumerate(self.quantities[:PRINTED], 1)]
        if self.rank > PRINTED:
            lines.append(f"and {self.rank - PRINTED} more")
        for kind, found in (("drifting", self.drifting), ("the same everywhere", self.same)):
            if found:
                lines.append(f"{kind}: {'; '.join(quantity.text for quantity in found)}")
        return "\n  ".join(shortened(line, LONGEST) for line in lines) + ")"

    @property
    def rank(self) -> int:
        """The dimension of the space of conserved quantities among the terms, constants excluded."""
        return len(self.quantities)

    @property
    def terms(self) -> int:
        """How many terms the formulas of the conserved quantities have in all."""
        return sum(len(quantity.formula.coefficients) for quantity in self.quantities)

    @property
    def local(self) -> bool:
        """Whether trajectories are arcs that do not turn, and a formula has many decimals: along such arcs
        any flow keeps some combination of many terms nearly constant.
        """
        longest = max((len(quantity.formula.errors) for quantity in self.quantities), default=0)
        return longest > max(FEW_TERMS, len(self.names)) and not self.space.turns

    @property
    def decided(self) -> bool:
        """Whether the file can tell how many quantities there are, and which."""
        doubtful = self.local or self.disturbed or self.scattered
        return self.space.decided and self.closes and not doubtful

    @property
    def scattered(self) -> str:
        """A sentence on a column that hardly moves beside how far trajectories are apart in it, where
        formulas have measured coefficients of it; empty without.
        """
        motion = self.space.motion
        trajectories, names = motion.trajectories, self.names
        within = within_variance(trajectories.segments())
        between = np.var(trajectories.points(), axis=0)
        few = (within < SCATTERED**2 * between) & (within > AT_REST * motion.noise.variance)
        parts = {part for quantity in self.quantities for part in quantity.formula.errors}
        named = [
            (name, np.sqrt(between[i] / within[i]))
            for i, name in enumerate(names)
            if few[i] and any(isinstance(part, tuple) and i in part for part in parts)
        ]
        if not named:
            return ""
        name, ratio = max(named, key=lambda pair: pair[1])
        return (
            f"trajectories are {ratio:.0f} times further apart in {name} than it moves in one: the file "
            f"cannot tell its terms from constants"
        )

    @property
    def disturbed(self) -> str:
        """A sentence on trajectories that alone make drift what is listed so; empty without."""
        numbers = [str(number) for number in self.space.disturbed]
        if not self.drifting or not numbers:
            return ""
        listed = ", ".join(numbers)
        which = f"trajectories {listed} change" if len(numbers) > 1 else f"trajectory {listed} changes"
        return f"{which} as the others do not: were they disturbed?"

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
            "with_same": self.with_same,
            "family": self.dictionary.family,
            "bodies": self.dictionary.bodies if isinstance(self.dictionary, BodyTerms) else None,
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
                "unresolved": space.unresolved,
                "rows_per_period": space.per_period if np.isfinite(space.per_period) else None,
                "local": self.local,
                "rows_alike": space.motion.alike,
                "noise_told": space.told,
                "noise_shared": space.motion.shared,
                "still": list(space.motion.still),
                "left_out": space.left_out,
                "readings": [*space.readings, *filter(None, (self.disturbed, self.scattered))],
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
    determine H, learning has no reason to find the others), and of such brackets of what was found and
    products of the linear ones as do so too. `hamiltonian`, learned or true, is also looked for among the
    quantities and bracketed with them.

    Of terms that are not of degree <= 2, K is 0, nothing is restricted, and no algebra is computed.
    Raises ValueError for shapes and a dictionary that do not fit, and for numbers that are not finite.
    """
    known = space.motion.dictionary if space else dictionary_of(dictionary, trajectories)
    matrices, vectors = _checked_quantities(matrices, vectors, known)
    # Far from 0 a square is a linear term: brackets and formulas are made about where the data are. Other
    # terms mean something where they are alone.
    origin = origin_of(trajectories) if known.quadratic else np.zeros(known.dim)
    about_it = counted_from(trajectories, origin)
    space = space or conserved_space(about_it, noise_variance=noise_variance, dictionary=known)
    found = _analysed(matrices, vectors, hamiltonian, space, origin, restrict)
    for coordinate in np.flatnonzero(near_zero(trajectories, origin)):
        # p^2 beside p needs no other origin, and L = q1 p2 - q2 p1 only this one.
        other = np.where(np.arange(known.dim) == coordinate, 0.0, origin)
        noise = space.motion.noise.variance
        at_zero = conserved_space(counted_from(trajectories, other), noise_variance=noise, dictionary=known)
        again = _analysed(matrices, vectors, hamiltonian, at_zero, other, restrict)
        if again.rank == found.rank and again.terms <= found.terms:
            # About 0 a square may hardly differ from a linear term: brackets are those about the data.
            of_data = {name: getattr(found, name) for name in ("algebra", "closes", "with_same")}
            found, origin = replace(again, **of_data), other
    return found


def _analysed(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    hamiltonian: Hamiltonian | None,
    space: ConservedSpace,
    origin: Float[np.ndarray, " dim"],
    restrict: bool,
) -> Analysis:
    """The analysis by quantities that count from `origin`, as those of `space` do."""
    known, trajectories = space.motion.dictionary, space.motion.trajectories
    vectors, hamiltonian = vectors + matrices @ origin, about(hamiltonian, origin)
    on_states = None if hamiltonian is None else OnStates.of(hamiltonian, trajectories.points())
    tested = scaled(space, np.concatenate([space.conserved, space.drifting]))
    strengths, learned = learned_directions(matrices, vectors, space.motion, on_states, tested)
    held = held_by(space, learned, on_states)
    rows, same, slow = listed(space, held if restrict and known.second_degree else None)
    make = QuantityMaker(space)
    quantities, energy = make.quantities(rows, on_states)
    drifting, _ = make.quantities(beside(slow, rows, slow[:0]), on_states)
    drifting = readable(drifting, quantities, space.motion)
    found = [quantity.row for quantity in quantities]
    independent, generating = independence(space.motion, found, same * make.units)
    if trajectories.bracket == UNPAIRED:
        algebra, closes = no_algebra(known.dim, UNPAIRED_STATES)
    elif known.quadratic and len(bound_columns(same, known.dim)):
        algebra, closes = no_algebra(known.dim, CONSTRAINED)
    else:
        algebra, closes = algebra_of(known, quantities, rows * make.units, space.motion.scales)
    with_same = False
    if not closes and len(same):
        # Released from rest, oscillators have the angular momentum 0 in every recording.
        both = np.concatenate([rows, same]) * make.units
        larger, with_same = algebra_of(known, (), both, space.motion.scales)
        algebra, closes = (larger, True) if with_same else (algebra, False)
    return Analysis(
        names=trajectories.names,
        quantities=moved(quantities, origin),
        drifting=moved(drifting, origin),
        same=moved(make.quantities(same, None)[0], origin),
        independent=independent,
        generating=generating,
        algebra=algebra,
        closes=closes,
        with_same=with_same,
        strengths=strengths,
        learned=len(held[0]),
        # Of the quantities as they are listed: combinations of them that hardly differ say nothing of noise.
        space=replace(space, hidden=sum(quantity.change.hidden > HIDDEN for quantity in quantities)),
        restricted=restrict and known.second_degree,
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
    if not dictionary.second_degree and count:
        raise ValueError(
            f"got {count} quantities of degree <= 2 for the dictionary {dictionary.family}, expected none"
        )
    return matrices, vectors
