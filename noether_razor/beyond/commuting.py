"""What a Hamiltonian conserves among the terms of a library: the null space of {theta, H}."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from ..invariants.on_states import OnStates
from ..scaling import PhaseScale
from ..thinning import evenly
from .library import Library
from .shooting import ShotHamiltonian

MOST_POINTS = 1500
"""States at which brackets are taken."""
DEPENDENT = 1e-6
"""Singular values of gradients below this share of the largest belong to combinations that are constant."""
INDEPENDENT = 1e-10
"""Added to the squares of unit gradients: combinations of less are constant."""
DRAWS = 12
"""Hamiltonians drawn from the posterior."""
ROUNDING = 1e-7
"""R.m.s. bracket over |grad C| |grad H| that is rounding."""
BY_ERRORS = 4.0
"""R.m.s. bracket over what errors of H make of it, up to which it may be zero."""
GAP = 3.0
"""By how much the next bracket must be larger for the count to be clear."""


class Commuting(NamedTuple):
    """Combinations of terms by the size of their bracket with H, r.m.s. over |grad C| |grad H|, least first.

    rows (K, M) are coefficients of the terms in units of their gradients, `units` (M,), `sizes` (K,) of their
    brackets, and `errors` (K,) by how much these differ between draws of H. The first `rank` commute with H;
    `turns` (coefficients of H, rank, M) are their derivatives by the coefficients of H. `drawn` (draws, rank,
    M) are bases of the same of each draw, whose coefficients are `of_draws` (draws, coefficients) off.
    """

    rows: Float[np.ndarray, "K M"]
    units: Float[np.ndarray, " M"]
    sizes: Float[np.ndarray, " K"]
    errors: Float[np.ndarray, " K"]
    rank: int
    turns: Float[np.ndarray, "of_H rank M"]
    drawn: Float[np.ndarray, "draws rank M"]
    of_draws: Float[np.ndarray, "draws of_H"]

    @property
    def clear(self) -> bool:
        """Whether the count does not depend on the errors of H: the next bracket is well above what those
        that are zero are, and may be.
        """
        if self.rank == len(self.sizes):
            # All terms: not by errors that are as large as H.
            return bool(np.all(self.sizes <= ROUNDING))
        zero = float(np.max(self.sizes[: self.rank], initial=0.0))
        return bool(self.sizes[self.rank] > GAP * max(zero, BY_ERRORS * self.errors[self.rank] + ROUNDING))


def commuting(
    library: Library, shot: ShotHamiltonian, states: Float[np.ndarray, "rows dim"], scale: PhaseScale
) -> Commuting:
    """The combinations of terms of `library` that commute with H.

    A generalised singular value problem: {theta, H} at `states`, where the terms are finite, against the
    gradients of the terms, in scaled coordinates. H is taken as it was measured; a bracket may be zero where
    it is as different in draws of H as it is large.
    """
    some = states[evenly(len(states), MOST_POINTS)]
    with np.errstate(all="ignore"):
        slopes = _slopes(library, some, scale)
        energy = _slopes(shot.library, some, scale)
    good = np.isfinite(slopes).all(axis=(1, 2)) & np.isfinite(energy).all(axis=(1, 2))
    slopes, energy = slopes[good], energy[good]
    force = np.sqrt(np.mean(np.sum((energy @ shot.coefficients) ** 2, axis=1)))
    units, used, basis, unit = _orthonormal(slopes)
    position, momentum = np.split(energy / force, 2, axis=1)
    fields = np.concatenate([momentum, -position], axis=1)
    # {theta, .} of each term of H: brackets are linear in its coefficients.
    maps = np.einsum("rik,rim->krm", fields, unit, optimize=True) @ basis

    left, sizes, axes = np.linalg.svd(np.tensordot(shot.coefficients, maps, 1), full_matrices=False)
    left, sizes, axes = left[:, ::-1], sizes[::-1], axes[::-1]
    draws = shot.draws(DRAWS)
    drawn = [_by_squares(np.tensordot(coefficients, maps, 1)) for coefficients in draws]
    # What is there by the errors of H alone differs from draw to draw by about as much as it is, and in each
    # of the directions that these errors have.
    differ = np.mean([(own - sizes) ** 2 for own, _ in drawn], axis=0)
    changes = [np.tensordot(off, maps, 1) @ axes.T for off in draws - shot.coefficients]
    made = np.mean([_beside(left, change) for change in changes], axis=0)
    errors = np.sqrt(np.maximum(differ, made))
    zero = sizes <= BY_ERRORS * errors + ROUNDING
    rank = int(np.argmin(zero)) if not zero.all() else len(zero)
    # First order: what a change of H makes of the brackets, the other combinations make good.
    of_others = np.einsum("rs,krm,jm->kjs", left[:, rank:], maps, axes[:rank], optimize=True)
    turned = -(of_others / sizes[rank:]) @ axes[rank:]

    def in_terms(some: Float[np.ndarray, "*all kept"]) -> Float[np.ndarray, "*all M"]:
        every = np.zeros((*some.shape[:-1], len(units)))
        every[..., used] = some @ basis.T
        return every

    return Commuting(
        rows=in_terms(axes),
        units=np.where(units > 0, units, 1.0),
        sizes=sizes,
        errors=errors,
        rank=rank,
        turns=in_terms(turned),
        drawn=in_terms(np.stack([own[:rank] for _, own in drawn])),
        of_draws=draws - shot.coefficients,
    )


def hidden_bracket(
    library: Library,
    rows: Float[np.ndarray, "K M"],
    shot: ShotHamiltonian,
    states: Float[np.ndarray, "states dim"],
    scale: PhaseScale,
) -> float:
    """The 95 % limit of {C, H} over |grad C| |grad H| that errors of H hide, of the worst of some formulas,
    each with the coefficients of its terms that fit a draw of H best.
    """
    some, squares = states[evenly(len(states), MOST_POINTS)], []
    for coefficients in shot.draws(DRAWS):
        with np.errstate(all="ignore"):
            gradients = OnStates.of_terms(shot.library, coefficients, some).gradients
        good = np.isfinite(gradients).all(axis=1)
        forms = BracketForms.of(library, some[good], gradients[good], scale.scales)
        squares.append([forms.least(np.flatnonzero(row))[0][0] ** 2 for row in rows])
    # The r.m.s. of draws holds their mean and their scatter.
    return 2 * float(np.sqrt(np.max(np.mean(squares, axis=0), initial=0.0)))


def _by_squares(
    matrix: Float[np.ndarray, "rows M"],
) -> tuple[Float[np.ndarray, " sizes"], Float[np.ndarray, "sizes M"]]:
    """Singular values, least first, and their right vectors, by the eigenvalues of the square: ten times as
    fast as a decomposition of many rows, and as accurate as `ROUNDING` asks.
    """
    squares, axes = eigh(matrix.T @ matrix)
    some = min(matrix.shape)
    return np.sqrt(np.maximum(squares[-some:], 0.0)), axes.T[-some:]


def _beside(
    left: Float[np.ndarray, "rows sizes"], change: Float[np.ndarray, "rows sizes"]
) -> Float[np.ndarray, " sizes"]:
    """The squares of changes of brackets, one column a combination, without what other combinations of larger
    brackets make good: their left vectors are to the right.
    """
    inside = np.tril(left.T @ change, -1)
    return np.maximum(np.sum(change**2, axis=0) - np.sum(inside**2, axis=0), 0.0)


class BracketForms(NamedTuple):
    """Of unit gradients of M terms: their products (M, M) over states, those of their brackets with a
    function, over its squared r.m.s. gradient, and the sizes (M,) that were 1.
    """

    gradients: Float[np.ndarray, "M M"]
    brackets: Float[np.ndarray, "M M"]
    units: Float[np.ndarray, " M"]

    @classmethod
    def of(
        cls,
        library: Library,
        states: Float[np.ndarray, "rows dim"],
        gradients: Float[np.ndarray, "rows dim"],
        scales: Float[np.ndarray, " dim"],
    ) -> "BracketForms":
        """With a function of these `gradients` at states, in coordinates of these `scales`."""
        with np.errstate(all="ignore"):
            slopes = np.stack([library.slopes(states, i) * size for i, size in enumerate(scales)], axis=1)
        good = np.isfinite(slopes).all(axis=(1, 2))
        slopes, scaled = slopes[good], gradients[good] * scales
        units = np.sqrt(np.sum(slopes**2, axis=(0, 1)))
        units = np.where(units > 0, units, 1.0)
        unit = slopes / units
        position, momentum = np.split(scaled / np.sqrt(np.mean(np.sum(scaled**2, axis=1))), 2, axis=1)
        brackets = np.einsum("ri,rim->rm", np.concatenate([momentum, -position], axis=1), unit)
        flat = unit.reshape(-1, len(units))
        return cls(flat.T @ flat, brackets.T @ brackets, units)

    def least(self, terms: Int[np.ndarray, " some"]) -> tuple[np.ndarray, np.ndarray]:
        """Sizes (some,) of brackets of combinations of terms, r.m.s. over |grad C| |grad H|, least first;
        and their coefficients (some, M) in units of gradients.
        """
        at = np.ix_(terms, terms)
        squares, vectors = eigh(self.brackets[at], self.gradients[at] + INDEPENDENT * np.eye(len(terms)))
        rows = np.zeros((len(terms), len(self.units)))
        rows[:, terms] = vectors.T
        return np.sqrt(np.maximum(squares, 0.0)), rows

    def simplest(self, error: float) -> Float[np.ndarray, "rank M"]:
        """The combinations whose bracket is at most `error`, in the fewest terms that leave as many of them:
        the term that they have least of goes first.
        """
        terms = np.flatnonzero(np.diag(self.gradients) > 0)
        sizes, rows = self.least(terms)
        rank = int(np.sum(sizes <= error))
        needed: set[int] = set()
        while rank and len(needed) < len(terms):
            free = [k for k in terms.tolist() if k not in needed]
            out = min(free, key=lambda k: float(np.sum(rows[:rank, k] ** 2)))
            trial = terms[terms != out]
            less, fewer = self.least(trial) if len(trial) else (np.zeros(0), rows)
            if np.sum(less <= error) >= rank:
                terms, rows = trial, fewer
            else:
                needed.add(out)
        return rows[:rank]


def _orthonormal(
    slopes: Float[np.ndarray, "rows dim M"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The sizes of gradients of terms, those that are not 0, combinations of them with orthonormal gradients,
    and the unit gradients.
    """
    units = np.sqrt(np.sum(slopes**2, axis=(0, 1)))
    used = np.flatnonzero(units > 0)
    unit = slopes[:, :, used] / units[used]
    _, values, right = np.linalg.svd(unit.reshape(-1, len(used)), full_matrices=False)
    kept = values > DEPENDENT * values.max(initial=0.0)
    return units, used, right[kept].T / values[kept], unit


def _slopes(
    library: Library, states: Float[np.ndarray, "rows dim"], scale: PhaseScale
) -> Float[np.ndarray, "rows dim M"]:
    return np.stack(
        [library.slopes(states, i) * size for i, size in enumerate(scale.scales.tolist())], axis=1
    )
