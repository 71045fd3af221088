"""From a space of quantities of degree <= 2 to their Lie algebra under the Poisson bracket."""

from dataclasses import dataclass, replace
from math import isqrt
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..quadratic_forms import Quadratics
from .names import recognise
from .structure import Structure, UndecidedError

_EXACT = 1e-13
"""Errors of exact input: rounding in double precision."""

_MOST = 300
"""Letters of a name that are printed."""

_UNSEEN_ERROR, _UNSEEN_NOISE = 0.004, 1e-10
"""Errors that a single quantity may hide: in its frequencies, and in whether it has any at all.

That much noise makes no rotation hyperbolic, but would make a weak one look like a translation.
"""


@dataclass(frozen=True)
class LieAlgebra:
    """The Lie algebra of quantities of degree <= 2 under the Poisson bracket {f, g} = grad f . J grad g.

    `basis` holds `dimension` quantities C_i; `structure_constants` f of shape (d, d, d) give {C_i, C_j} =
    sum_k f_ijk C_k. Where brackets produce a constant that no choice of the quantities' own constants absorbs
    ({q, p} = 1), that constant is the last basis element, `central_extension` is true and `dimension` counts
    it. `closure_error` is the size of what leaves the span against the size of the brackets (against the
    product of the quantities' own sizes where all brackets vanish).

    `name` is the canonical name (listed in `_lie_names.py`) with `aliases`, when `named`; else it says "not
    named: ..." with the reason and the invariants, or "does not close ...". A space that does not close has
    no invariants: they are None. `centre` is a dimension; the two series list dimensions up to and with the
    first that repeats; `killing_signature` counts positive, negative and zero eigenvalues; the algebra is its
    radical (of `radical_dimension`) and a semisimple part (of `semisimple_dimension`) with `simple_ideals` by
    name.
    """

    basis: Quadratics
    structure_constants: Float[np.ndarray, "d d d"]
    closure_error: float
    central_extension: bool
    name: str
    named: bool
    aliases: tuple[str, ...] = ()
    centre: int | None = None
    derived_series: tuple[int, ...] | None = None
    lower_central_series: tuple[int, ...] | None = None
    killing_signature: tuple[int, int, int] | None = None
    radical_dimension: int | None = None
    semisimple_dimension: int | None = None
    simple_ideals: tuple[str, ...] = ()

    @property
    def dimension(self) -> int:
        return len(self.basis.constants)

    def __repr__(self) -> str:
        name = self.name if len(self.name) <= _MOST else f"{self.name[: _MOST - 3]}..."
        facts = [name, f"dimension {self.dimension}"]
        if self.central_extension:
            facts[1] += " with a central constant"
        if self.killing_signature is not None:
            facts += [
                f"centre {self.centre}",
                f"derived series {self.derived_series}",
                f"Killing signature {self.killing_signature}",
            ]
        return f"LieAlgebra({', '.join(facts)}, closure error {self.closure_error:.2g})"

    def to_json(self) -> dict[str, Any]:
        """The entry "algebra" of symmetry.json, with "aliases" besides."""
        return {
            "name": self.name,
            "aliases": list(self.aliases),
            "dimension": self.dimension,
            "central_extension": self.central_extension,
            "closure_error": self.closure_error,
            "centre": self.centre,
            "derived_series": None if self.derived_series is None else list(self.derived_series),
            "killing_signature": None if self.killing_signature is None else list(self.killing_signature),
        }


def bracket(first: Quadratics, second: Quadratics) -> Quadratics:
    """The Poisson bracket of quantities of degree <= 2, again of degree <= 2; leading axes broadcast.

    A = A1 J A2 - A2 J A1, b = A1 J b2 - A2 J b1, c = b1 . J b2.
    """
    half = first.matrices @ _symplectic(second.matrices)
    first_field, second_field = (_symplectic(quantity.vectors[..., None]) for quantity in (first, second))
    vectors = (first.matrices @ second_field - second.matrices @ first_field)[..., 0]
    return Quadratics(half + half.mT, vectors, np.sum(first.vectors * second_field[..., 0], axis=-1))


def lie_algebra(
    matrices: Float[np.ndarray, "K dim dim"], vectors: Float[np.ndarray, "K dim"], *, tolerance: float = 0.05
) -> LieAlgebra:
    """The Lie algebra of the quantities C_k(x) = x^T A_k x / 2 + b_k^T x on R^2n, x = (q, p), with its name.

    `matrices` are the A_k (their symmetric part counts), `vectors` the b_k; any basis will do, linearly
    dependent exact quantities too. Symplectic changes of coordinates and units do not change the answer.
    Errors in the entries should be comparable across coordinates, as after learning in scaled ones: they are
    estimated from the closure error, and ranks are decided against them (three times the error; where that is
    small, ten times its square root up to 3 %, because an error in the span enters the structure constants
    once, the closure error twice). Names that change with the threshold halved or doubled are not given. A
    single quantity says nothing about its own errors, unless most of its entries are tiny.

    A closure error above `tolerance` means that the space is no algebra. Brackets all below `tolerance` that
    mostly leave the space count as errors of commuting quantities. Raises ValueError for other shapes,
    entries that are not finite, and quantities that are zero.
    """
    matrices, vectors = _checked(matrices, vectors)
    if not len(matrices):
        return _trivial(matrices, vectors)
    frame, floor = _best_frame(matrices, vectors)
    constants, produced, closure_error = frame.constants, frame.produced, frame.closure_error
    scale = _spectral(np.concatenate([frame.brackets, produced[..., None]], axis=-1))
    error = max(_spectral(frame.residual), _EXACT)
    typical = max(frame.typical_residual, _EXACT) if len(constants) > 1 else max(floor, _UNSEEN_ERROR)
    if scale <= 1e-9 or (scale <= tolerance and closure_error > 0.2):
        # Nothing but errors: the quantities commute.
        constants, produced = np.zeros_like(constants), np.zeros_like(produced)
        scale, closure_error = 1.0, frame.typical_residual
    resolution = max(3 * error / scale, min(0.03, 10 * np.sqrt(error / scale)))

    own, produced = _absorbed(constants, produced, resolution * scale)
    space = frame.space._replace(constants=own)
    extended = bool(_spectral(produced) > resolution * scale)
    if extended:
        constants = np.pad(
            np.concatenate([constants, produced[..., None]], axis=-1), ((0, 1), (0, 1), (0, 0))
        )
        space = _with_constant(space)
    found = LieAlgebra(
        basis=_in_units(space, frame.units),
        structure_constants=constants,
        closure_error=closure_error,
        central_extension=extended,
        name=f"does not close (closure error {closure_error:.2g})",
        named=False,
    )
    if closure_error > tolerance:
        return found
    noise = typical if len(constants) > 1 else max(floor, _UNSEEN_NOISE)
    structure = Structure(constants / scale, typical / scale, resolution)
    return _described(found, structure, _generators(space) / scale, noise / scale)


def _described(found: LieAlgebra, structure: Structure, generators: np.ndarray, noise: float) -> LieAlgebra:
    """`found` with its invariants, and with its name where that does not depend on the threshold."""
    invariants: dict[str, Any] = {
        "centre": len(structure.centre),
        "derived_series": structure.derived_series,
        "lower_central_series": structure.lower_central_series,
        "killing_signature": structure.killing_signature,
        "radical_dimension": len(structure.radical),
        "semisimple_dimension": structure.dimension - len(structure.radical),
    }
    try:
        thresholds = structure.resolution * np.array([0.5, 1.0, 2.0])
        names = [recognise(replace(structure, resolution=value), generators, noise) for value in thresholds]
        if len({recognition.name for recognition in names}) > 1:
            raise UndecidedError("its name depends on the threshold for ranks")
    except UndecidedError as reason:
        series = ", ".join(f"{key.replace('_', ' ')} {value}" for key, value in invariants.items())
        return replace(
            found, name=f"not named: {reason}; dimension {found.dimension}, {series}", **invariants
        )
    recognition = names[1]
    return replace(
        found,
        name=recognition.name,
        named=True,
        aliases=recognition.aliases,
        simple_ideals=recognition.simple_ideals,
        **invariants,
    )


def _checked(matrices: np.ndarray, vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    matrices, vectors = np.asarray(matrices, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    if (
        matrices.ndim != 3
        or matrices.shape[1] != matrices.shape[2]
        or matrices.shape[1] % 2
        or not matrices.shape[1]
    ):
        raise ValueError(f"matrices must have shape (K, 2n, 2n), got {matrices.shape}")
    if vectors.shape != matrices.shape[:2]:
        raise ValueError(f"vectors must have shape {matrices.shape[:2]}, got {vectors.shape}")
    if not (np.isfinite(matrices).all() and np.isfinite(vectors).all()):
        raise ValueError("matrices and vectors must be finite")
    matrices = (matrices + matrices.mT) / 2
    zero = np.flatnonzero(~(matrices.any(axis=(1, 2)) | vectors.any(axis=1)))
    if len(zero):
        raise ValueError(f"quantity {zero[0]} is zero, leave it out")
    return matrices, vectors


def _trivial(matrices: np.ndarray, vectors: np.ndarray) -> LieAlgebra:
    return LieAlgebra(
        basis=Quadratics(matrices, vectors, np.zeros(0)),
        structure_constants=np.zeros((0, 0, 0)),
        closure_error=0.0,
        central_extension=False,
        name="trivial",
        named=True,
        centre=0,
        derived_series=(0, 0),
        lower_central_series=(0, 0),
        killing_signature=(0, 0, 0),
        radical_dimension=0,
        semisimple_dimension=0,
    )


@dataclass(frozen=True)
class _Frame:
    """An orthonormal basis of the space in coordinates y_i = x_i / d_i, and its brackets.

    Within the space they are `constants`, beside it a constant each (`produced`) and the `residual`.
    """

    units: Float[np.ndarray, " dim"]
    space: Quadratics
    brackets: Float[np.ndarray, "K K entries"]
    constants: Float[np.ndarray, "K K K"]
    produced: Float[np.ndarray, "K K"]
    residual: Float[np.ndarray, "K K entries"]

    @property
    def closure_error(self) -> float:
        brackets = np.linalg.norm(np.concatenate([self.brackets, self.produced[..., None]], axis=-1))
        return float(np.linalg.norm(self.residual) / max(brackets, 1e-300))

    @property
    def error(self) -> float:
        """How badly the space closes; for one quantity, less what rotates in it the better."""
        if len(self.constants) == 1:
            return -float(np.abs(np.linalg.eigvals(_symplectic(self.space.matrices[0]))).max())
        # Brackets of commuting quantities are all error; their sizes are then the measure.
        return min(self.closure_error, 5 * self.typical_residual)

    @property
    def typical_residual(self) -> float:
        """Root mean square of the residual over pairs of different quantities, whose sizes are one."""
        count = len(self.constants)
        return float(np.linalg.norm(self.residual) / np.sqrt(max(1, count * (count - 1))))


def _frame(matrices: np.ndarray, vectors: np.ndarray, units: np.ndarray) -> _Frame:
    space = _orthonormal(matrices * units[:, None] * units, vectors * units)
    found = bracket(*(_expanded(space, axis) for axis in (1, 0)))
    flat, basis = _flat(found), _flat(space)
    constants = flat @ basis.T
    return _Frame(units, space, flat, constants, found.constants, flat - constants @ basis)


def _best_frame(matrices: np.ndarray, vectors: np.ndarray) -> tuple[_Frame, float]:
    """The frame to decide ranks in, and the relative size of the noise in the quantities where it shows.

    Units that explain most of the spread of the entries are taken if the space closes in them. Otherwise
    small entries are small for another reason, noise or rounding, which such units blow up.
    """
    dim = matrices.shape[1]
    row, column = np.triu_indices(dim)
    entries = np.abs(np.concatenate([matrices[:, row, column], vectors], axis=1))
    entries /= entries.max(axis=1, keepdims=True)
    noisy = _noisy(entries)
    weights = np.concatenate([np.where(row == column, 1.0, 2.0), np.ones(dim)])
    floor = float(np.sqrt(np.sum(weights * (entries * noisy) ** 2) / np.sum(weights * entries**2)))

    rounded = (entries > 1e-20) & (entries < 1e-14)
    frames = [_frame(matrices, vectors, np.ones(dim))]
    for unused in (noisy, noisy | rounded):
        units, explained = _units(entries, unused)
        frames.append(_frame(matrices, vectors, units))
        if explained and len(matrices) > 1 and frames[-1].error <= 0.05:
            return frames[-1], floor
    return min(frames, key=lambda frame: frame.error), floor


def _noisy(entries: Float[np.ndarray, "K entries"]) -> Bool[np.ndarray, "K entries"]:
    """Which entries are noise: at least half of them, close together, a factor of 20 below the others."""
    ordered = np.sort(np.log(entries[entries > 0]))
    for at in np.flatnonzero(np.diff(ordered) > np.log(20)) + 1:
        # The logarithm of a normal variable has standard deviation 1.1; units spread over several levels.
        if 2 * at >= entries.size and ordered[:at].std() < 1.6:
            return entries < np.exp((ordered[at - 1] + ordered[at]) / 2)
    return np.zeros(entries.shape, dtype=bool)


def _units(
    entries: Float[np.ndarray, "K entries"], unused: Bool[np.ndarray, "K entries"]
) -> tuple[Float[np.ndarray, " dim"], bool]:
    """Units d that make the entries of each quantity alike, and whether they do.

    x_i = d_i y_i with d_q d_p = 1. Least squares on the logarithms of the upper triangles of A and of the b,
    with a free factor for each part of each quantity. They do if they halve the spread.
    """
    # K rows of dim (dim + 1) / 2 + dim entries.
    dim = isqrt(2 * entries.shape[1] + 2) - 1
    row, column = np.triu_indices(dim)
    # An entry is c / (d_i d_j), or c / d_i where it is linear, with d = (e^u, e^-u).
    single = np.concatenate([np.eye(dim // 2), -np.eye(dim // 2)])
    double = single[row] + single[column]
    design, logs = [np.zeros((0, dim // 2))], [np.zeros(0)]
    for quantity, left_out in zip(entries, unused | (entries == 0), strict=True):
        for part, degree in ((slice(0, len(row)), double), (slice(len(row), None), single)):
            used = ~left_out[part]
            if used.any():
                design.append(degree[used] - degree[used].mean(axis=0))
                logs.append(np.log(quantity[part][used]) - np.log(quantity[part][used]).mean())
    design, logs = np.concatenate(design), np.concatenate(logs)
    exponents = np.linalg.lstsq(design, -logs, rcond=1e-9)[0]
    explained = np.linalg.norm(logs + design @ exponents) <= np.linalg.norm(logs) / 2
    return np.exp(single @ exponents), bool(explained)


def _flat(quantities: Quadratics) -> Float[np.ndarray, "*batch entries"]:
    """A and b as one vector each, whose Euclidean norm is the size of a quantity."""
    matrices = quantities.matrices
    return np.concatenate([matrices.reshape(*matrices.shape[:-2], -1), quantities.vectors], axis=-1)


def _orthonormal(matrices: np.ndarray, vectors: np.ndarray) -> Quadratics:
    """An orthonormal basis of the span, constants zero."""
    flat = _flat(Quadratics(matrices, vectors, np.zeros(0)))
    _, size, basis = np.linalg.svd(flat / np.linalg.norm(flat, axis=1, keepdims=True), full_matrices=False)
    basis = basis[size > 1e-11 * size[0]]
    dim = vectors.shape[1]
    return Quadratics(
        basis[:, : dim * dim].reshape(-1, dim, dim), basis[:, dim * dim :], np.zeros(len(basis))
    )


def _expanded(space: Quadratics, axis: int) -> Quadratics:
    return Quadratics(*(np.expand_dims(part, axis) for part in space))


def _spectral(array: np.ndarray) -> float:
    """The largest singular value of an array (K, ...) as a map on its first axis."""
    return float(np.linalg.norm(array.reshape(len(array), -1), 2))


def _absorbed(constants: np.ndarray, produced: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Own constants a_k of the quantities that explain z = sum_k f_ijk a_k best, and what they leave of z."""
    flat = constants.reshape(-1, constants.shape[-1])
    left, size, right = np.linalg.svd(flat, full_matrices=False)
    kept = size > threshold
    own = right[kept].T @ ((left.T @ produced.ravel())[kept] / size[kept])
    return own, produced - constants @ own


def _with_constant(space: Quadratics) -> Quadratics:
    one = Quadratics(np.zeros_like(space.matrices[:1]), np.zeros_like(space.vectors[:1]), np.ones(1))
    return Quadratics(*(np.concatenate(parts) for parts in zip(space, one, strict=True)))


def _in_units(space: Quadratics, units: np.ndarray) -> Quadratics:
    return Quadratics(space.matrices / (units[:, None] * units), space.vectors / units, space.constants)


def _generators(space: Quadratics) -> Float[np.ndarray, "d size size"]:
    """[[J A, J b], [0, 0]] of every basis element, zero for the constant."""
    top = np.concatenate([_symplectic(space.matrices), _symplectic(space.vectors[..., None])], axis=-1)
    return np.pad(top, ((0, 0), (0, 1), (0, 0)))


def _symplectic(array: Float[np.ndarray, "*batch dim m"]) -> Float[np.ndarray, "*batch dim m"]:
    """J M, without forming J."""
    by_position, by_momentum = np.split(array, 2, axis=-2)
    return np.concatenate([by_momentum, -by_position], axis=-2)
