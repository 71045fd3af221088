"""Spans of quantities, as rows of coefficients: bases, brackets, products and what lies in what."""

import numpy as np
from jaxtyping import Float, Int

from ..lie import bracket
from ..quadratic_forms import Quadratics
from ..trajectories import UNPAIRED
from .conserved import ConservedSpace
from .formulas import sparse_basis
from .monomials import coefficients, monomials, quadratic_parts
from .motion import Motion
from .on_states import OnStates, commuting
from .plainer import plainer

NEW = 0.1
"""Size, against that of the factors, from which a bracket or product outside a space is a new one."""
BOUND = 0.01
"""Part of a combination of unit spread in squares and products up to which it is one of coordinates."""
ALONE = 0.99
"""Part of a combination of coordinates in one of them from which it is that one."""
_INSIDE = 0.95
"""Cosine, by spreads over the data, from which a conserved direction is one of those that were learned."""


def span_basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "rank monomials"]:
    """An orthonormal basis of the span of `rows`, whatever their sizes."""
    if not len(rows):
        return rows
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    _, values, directions = np.linalg.svd(rows / size, full_matrices=False)
    return directions[values > 1e-3]


def _brackets(rows: Float[np.ndarray, "rank monomials"], dim: int) -> Float[np.ndarray, "pairs monomials"]:
    """The Poisson brackets of all pairs, in scaled coordinates, constants left out."""
    space = Quadratics(*quadratic_parts(rows, dim), np.zeros(len(rows)))
    first, second = np.triu_indices(len(rows), k=1)
    brackets = bracket(*(Quadratics(*(part[index] for part in space)) for index in (first, second)))
    return coefficients(brackets.matrices, brackets.vectors)


def _implied(rows: Float[np.ndarray, "rank all"], motion: Motion) -> Float[np.ndarray, "more all"]:
    """Brackets of quantities and products of the linear ones among them that are new; `rows` are of scaled
    terms.
    """
    dictionary, units = motion.dictionary, monomial_units(motion.scales)
    rows = span_basis(dictionary.expanded(rows / motion.sizes) * units)
    return dictionary.contracted(_new(rows, dictionary.dim) / units) * motion.sizes


def _new(rows: Float[np.ndarray, "rank monomials"], dim: int) -> Float[np.ndarray, "more monomials"]:
    """The same of orthonormal rows of all monomials."""
    left, size, _ = np.linalg.svd(rows[:, dim:], full_matrices=True)
    size = np.pad(size, (0, len(rows) - len(size)))
    linear = left[:, size <= NEW].T @ rows[:, :dim]
    one, other = np.triu_indices(len(linear))
    products = linear[one][:, :, None] * linear[other][:, None, :]
    implied = np.concatenate(
        [
            _brackets(rows, dim),
            coefficients(products + np.swapaxes(products, 1, 2), np.zeros((len(one), dim))),
        ]
    )
    _, size, new = np.linalg.svd(implied - (implied @ rows.T) @ rows, full_matrices=False)
    return new[size > NEW]


def _derived(rows: Float[np.ndarray, "K monomials"], motion: Motion) -> Float[np.ndarray, "some monomials"]:
    """A sparse basis of the brackets of a space, as far as they lie in it."""
    if len(rows) < 2:
        return rows[:0]
    units = motion.own_sizes / motion.sizes
    brackets = _brackets(span_basis(rows / units), motion.dictionary.dim) * units
    _, sizes, directions = np.linalg.svd(brackets @ rows.T, full_matrices=False)
    return sparse_basis(directions[sizes > NEW * sizes.max(initial=1e-9)] @ rows)


def beside(
    rows: Float[np.ndarray, "K monomials"],
    known: Float[np.ndarray, "L monomials"],
    first: Float[np.ndarray, "F monomials"],
) -> Float[np.ndarray, "K monomials"]:
    """Combinations that with `known` span what `rows` and `known` do: `first`, where all of these are new,
    then the sparsest; `rows` themselves where these are too few.

    What is known may be added to a quantity without a change in what it says.
    """
    whole = span_basis(np.concatenate([rows, known]))
    spanned = np.linalg.qr(known.T)[0] if len(known) else np.zeros((rows.shape[1], 0))

    def grown(chosen: list[np.ndarray], more: np.ndarray) -> list[np.ndarray]:
        for row in more:
            trial = np.array([*chosen, row / np.linalg.norm(row)])
            beyond = trial - (trial @ spanned) @ spanned.T
            if len(trial) <= len(rows) and np.linalg.svd(beyond, compute_uv=False).min() > NEW:
                chosen = [*chosen, trial[-1]]
        return chosen

    chosen = grown([], first)
    if len(chosen) < len(first):
        chosen = []
    chosen = grown(chosen, sparse_basis(whole))
    return np.array(chosen) if 0 < len(chosen) == len(rows) else rows


def scaled(space: ConservedSpace, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "K all"]:
    """Combinations of the terms of a space as coefficients of all terms, in scaled units: of monomials of x /
    scales, or of terms of unit spread.
    """
    return space.motion.quantities(rows) * space.motion.sizes


def monomial_units(scales: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " monomials"]:
    """What monomials of x are times those of x / scales."""
    return coefficients(np.outer(scales, scales)[None] * (1 + np.eye(len(scales))), scales[None])[0]


def held_by(
    space: ConservedSpace, learned: Float[np.ndarray, "K monomials"], on_states: OnStates | None
) -> tuple[Float[np.ndarray, "rank M"], Float[np.ndarray, "s M"]]:
    """What of the conserved and of the drifting combinations the learned quantities hold, with what brackets
    and products of that imply, where it commutes with the learned Hamiltonian.
    """
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
        implied = _implied(scaled(space, found), motion)
        if on_states is not None:
            implied = commuting(motion, on_states, implied)
        learned = np.concatenate([learned, implied])
        more = inside(space.conserved)
        if len(more) <= len(found):
            break
        found = more
    return found, inside(space.drifting)


def bound_columns(same: Float[np.ndarray, "z monomials"], dim: int) -> Int[np.ndarray, " bound"]:
    """Columns that others determine, by rows of monomials of unit spread with one value in the whole file:
    one for each combination of two coordinates or more among these.

    There are then many formulas for one quantity, which differ in their brackets.
    """
    if not len(same):
        return np.zeros(0, int)
    rows = np.linalg.qr(same.T)[0].T
    left, sizes, _ = np.linalg.svd(rows[:, dim:], full_matrices=True)
    free = np.pad(sizes, (0, len(rows) - len(sizes))) <= BOUND
    linear = left[:, free].T @ rows[:, :dim]
    # A column that never changes binds no other.
    linear = linear[:, np.linalg.norm(linear, axis=0) < ALONE]
    others = np.flatnonzero(np.linalg.norm(left[:, free].T @ rows[:, :dim], axis=0) < ALONE)
    if not linear.size:
        return np.zeros(0, int)
    found: list[int] = []
    while len(found) < len(linear):
        size = np.linalg.norm(linear, axis=0)
        k = int(size.argmax())
        if size[k] <= 1 - ALONE:
            break
        found.append(k)
        along = linear[:, k] / size[k]
        linear = linear - np.outer(along, along @ linear)
    return others[found]


def _without_bound(
    rows: Float[np.ndarray, "K monomials"],
    same: Float[np.ndarray, "z monomials"],
    bound: Int[np.ndarray, " bound"],
    dim: int,
) -> Float[np.ndarray, "K monomials"]:
    """The same quantities by the other columns, as far as what has one value allows."""
    has = np.array([bool(set(m) & set(bound.tolist())) for m in monomials(dim)])
    weights = np.linalg.lstsq(same[:, has].T, rows[:, has].T, rcond=None)[0].T
    return span_basis(rows - weights @ same)


def listed(
    space: ConservedSpace, held: tuple[Float[np.ndarray, "K M"], Float[np.ndarray, "s M"]] | None
) -> tuple[Float[np.ndarray, "K all"], Float[np.ndarray, "z all"], Float[np.ndarray, "s all"]]:
    """Bases, of terms of unit spread, of what is listed as conserved, as the same everywhere and as drifting:
    of the whole space, or of what is `held` of it.
    """
    found, slow = held or (space.conserved, space.drifting)
    motion = space.motion
    rows, same, slow, driven = (
        span_basis(motion.quantities(part) * motion.own_sizes)
        for part in (found, space.same, slow, space.drifting)
    )
    rows = plainer(space, rows, driven)
    if held is not None:
        return rows, same[:0], slow
    bound = bound_columns(same, motion.dictionary.dim) if motion.dictionary.quadratic else np.zeros(0, int)
    if len(rows) and len(bound):
        rows = _without_bound(rows, same, bound, motion.dictionary.dim)
    elif len(rows) and len(same):
        # On one energy shell su(2) stays su(2): brackets first, where they are clear of what is the same
        # everywhere.
        both = span_basis(np.concatenate([rows, same]))
        paired = motion.dictionary.quadratic and motion.trajectories.bracket != UNPAIRED
        rows = beside(rows, same, _derived(both, motion) if paired else both[:0])
    return rows, same if space.staying <= space.most else same[:0], slow
