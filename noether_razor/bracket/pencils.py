"""Which Casimir and which energy are told of x' = grad C x grad H: both are known up to combinations."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

import numpy as np
from jaxtyping import Bool, Float

from ..invariants.simple_numbers import with_error
from ..lie import AbstractAlgebra, abstract_algebra
from .bilinear import BilinearFit
from .casimirs import LINEAR, QUADRATICS, SQUARES

SURE = 4.0
"""Standard deviations from which a number is not zero."""
DRAWS = 400
"""Of the posterior."""
ANGLES = np.linspace(0.0, 2 * np.pi, 721)
"""Combinations cos a C + sin a H that are tried for the Casimir."""
NEAR, CHANCE = 0.1, 500.0
"""How far a Casimir of entries 1, -1 and 0 may be from that of the data, and their squared distance over its
variance, for it to be tried: the evidence of a fit with it decides.
"""
ROUNDING = 1e-9
"""Share of the largest below which a number is rounding."""
DOUBLE, ALIKE = 5.0, 0.05
"""Standard deviations of their difference, and their difference over the largest, up to which two eigenvalues
are one.
"""


@dataclass(frozen=True, eq=False)
class Quadratic:
    """A function x^T A x / 2 + b^T x of three columns: the first of `matrices` (draws, 3, 3) and `vectors`
    (draws, 3) is the answer, the others are draws of its posterior.
    """

    matrices: Float[np.ndarray, "draws 3 3"]
    vectors: Float[np.ndarray, "draws 3"]

    @classmethod
    def of(
        cls, coefficients: Float[np.ndarray, "draws nine"], scales: Float[np.ndarray, " three"]
    ) -> "Quadratic":
        """Of coefficients of `QUADRATICS` in scaled columns."""
        plain = coefficients * QUADRATICS.weights / np.prod(scales**QUADRATICS.exponents, axis=1)
        matrices = np.zeros((len(plain), 3, 3))
        for place in SQUARES.tolist():
            i, j = np.repeat(np.arange(3), QUADRATICS.exponents[place])
            matrices[:, i, j] += plain[:, place]
            matrices[:, j, i] += plain[:, place]
        vectors = plain[:, LINEAR] @ QUADRATICS.exponents[LINEAR]
        return cls(matrices, vectors)

    def plus(self, own: np.ndarray | float, other: "Quadratic", factor: np.ndarray | float) -> "Quadratic":
        """own * self + factor * other, the factors one a draw."""
        first, second = (np.broadcast_to(np.asarray(x, float), len(self.vectors)) for x in (own, factor))
        return Quadratic(
            first[:, None, None] * self.matrices + second[:, None, None] * other.matrices,
            first[:, None] * self.vectors + second[:, None] * other.vectors,
        )

    @property
    def entries(self) -> Float[np.ndarray, "draws nine"]:
        """The entries of A on and above the diagonal, and b."""
        return np.concatenate([self.matrices[:, *np.triu_indices(3)], self.vectors], axis=1)

    @property
    def errors(self) -> Float[np.ndarray, " nine"]:
        """Standard deviations of `entries`."""
        return self.entries[1:].std(axis=0)

    @property
    def sure(self) -> Bool[np.ndarray, " nine"]:
        """Which entries are not zero."""
        values = np.abs(self.entries[0])
        return (values > SURE * self.errors) & (values > ROUNDING * values.max(initial=0.0))

    def values(self, states: Float[np.ndarray, "rows 3"]) -> Float[np.ndarray, " rows"]:
        """The answer at states."""
        return np.einsum("ri,ij,rj->r", states, self.matrices[0], states) / 2 + states @ self.vectors[0]

    def text(self, names: tuple[str, ...]) -> str:
        """As 0.250(1)*L1^2 + 0.1*L2*L3: the terms that are surely there, with their errors."""
        first, second = np.triu_indices(3)
        parts = [
            (0.5, f"{names[i]}^2") if i == j else (1.0, f"{names[i]}*{names[j]}")
            for i, j in zip(first, second, strict=True)
        ]
        parts += [(1.0, name) for name in names]
        text = ""
        for value, error, sure, (factor, term) in zip(
            self.entries[0], self.errors, self.sure, parts, strict=True
        ):
            if sure:
                exact = error < ROUNDING * abs(value)
                size = with_error(factor * abs(float(value)), 0.0 if exact else factor * float(error))
                sign = "-" if value < 0 else "+"
                shown = term if size == "1" else f"{size}*{term}"
                text += f" {sign} {shown}" if text else ("-" if sign == "-" else "") + shown
        return text or "0"


@dataclass(frozen=True, eq=False)
class Reading:
    """The Casimir C and the energy that are told: `algebra` is that of the columns with the bracket of C;
    `choice` says whether C is one of many combinations with the energy, `others` are algebras of other ones;
    `linear` is a combination of the columns that is conserved, None for none. `simple` is the matrix of a
    Casimir of entries 1, -1 and 0 where C may be that one, None else.
    """

    casimir: Quadratic
    energy: Quadratic
    algebra: AbstractAlgebra
    choice: bool
    others: tuple[str, ...]
    linear: Quadratic | None
    simple: Float[np.ndarray, "3 3"] | None


def reading(fitted: BilinearFit, scales: Float[np.ndarray, " three"], time: float) -> Reading:
    """What a fit to scaled columns says, in the units of the data."""
    own, energies = fitted.draws(DRAWS)
    casimirs = np.zeros_like(energies)
    casimirs[:, fitted.parts.own] = own
    # Of functions of x / s, (grad C x grad H)_i is s_i / (s_1 s_2 s_3) times that by the scaled columns.
    casimir = Quadratic.of(casimirs, scales)
    energy = Quadratic.of(energies * np.prod(scales) / time, scales)
    partner, alike = None, fitted.parts.name in ("pencil", "affine")
    if alike:
        partner = energy
    elif fitted.parts.name == "field":
        # H = b . x is conserved, and so is (b . x)^2, which may be added to C.
        b = energy.vectors
        partner = Quadratic(b[:, :, None] * b[:, None, :], np.zeros_like(b))
    target, simple = _target(casimir, partner)
    own, other = _weights(casimir, partner, target).T
    found = casimir.plus(own, casimir if partner is None else partner, other)
    if alike:
        size = own**2 + other**2
        energy = casimir.plus(-other / size, energy, own / size)
    else:
        energy = energy.plus(1 / own, energy, 0.0)
    algebra = _algebra(found)
    others = () if partner is None else _names_of_others(casimir, partner)
    return Reading(
        casimir=found,
        energy=_least(found, energy),
        algebra=algebra,
        choice=partner is not None,
        others=tuple(name for name in others if name != algebra.name),
        linear=_linear(found, energy, partner is not None),
        simple=target if simple else None,
    )


def _weights(
    casimir: Quadratic, partner: Quadratic | None, target: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "draws 2"]:
    """a and b of the combination a C + b (its partner) that is nearest to a matrix, one pair a draw."""
    parts = [casimir.matrices] if partner is None else [casimir.matrices, partner.matrices]
    columns = np.stack([part.reshape(-1, 9) for part in parts], axis=2)
    found = np.linalg.pinv(columns) @ target.reshape(9)
    return found if partner is not None else np.concatenate([found, np.zeros_like(found)], axis=1)


def _target(casimir: Quadratic, partner: Quadratic | None) -> tuple[Float[np.ndarray, "3 3"], bool]:
    """The Casimir that is told, and whether it is a simple one: x . x where that is one, a positive definite
    one nearest to it, one of entries 1, -1, 0, or that of the fit, in this order.
    """

    def fits(matrix: np.ndarray) -> bool:
        own, other = _weights(casimir, partner, matrix).T
        return _is(casimir.plus(own, casimir if partner is None else partner, other), matrix)

    if fits(np.eye(3)):
        return np.eye(3), True
    if partner is not None:
        roundest = _roundest(casimir.matrices[0], partner.matrices[0])
        own, other = _weights(casimir, partner, roundest).T
        ratios = _ratio(casimir.plus(own, partner, other).matrices)
        if ratios[0] > SURE * ratios[1:].std():
            return roundest, False
    simple = next((matrix for matrix in _simple() if fits(matrix)), None)
    return (_normed(casimir.matrices[0]), False) if simple is None else (simple, True)


def _simple() -> Iterator[Float[np.ndarray, "3 3"]]:
    """Diagonal matrices of 1, -1 and 0, those with fewest zeros first."""
    every = [d for d in product((1.0, 0.0, -1.0), repeat=3) if sum(d) > 0 or (0.0 in d and any(d))]
    yield from map(np.diag, sorted(every, key=lambda d: (d.count(0.0), d.count(-1.0))))


def _is(found: Quadratic, matrix: Float[np.ndarray, "3 3"]) -> bool:
    """Whether a homogeneous quadratic may be this one as far as its draws tell, and they tell it."""
    off = (found.matrices - matrix)[:, *np.triu_indices(3)]
    spread = off[1:].std(axis=0)
    if np.abs(off[0]).max() > NEAR or spread.max() > NEAR or found.sure[6:].any():
        return False
    covariance = np.atleast_2d(np.cov(off[1:].T)) + 1e-18 * np.eye(6)
    return bool(off[0] @ np.linalg.pinv(covariance, rcond=1e-6, hermitian=True) @ off[0] < CHANCE)


def _ratio(matrices: Float[np.ndarray, "*batch 3 3"]) -> Float[np.ndarray, "*batch"]:
    """The least eigenvalue over the largest size of one: positive for positive definite matrices."""
    values = np.linalg.eigvalsh(matrices)
    return values[..., 0] / np.maximum(np.abs(values).max(axis=-1), 1e-300)


def _combinations(
    first: Float[np.ndarray, "3 3"], second: Float[np.ndarray, "3 3"]
) -> Float[np.ndarray, "angles 3 3"]:
    first, second = (x / max(float(np.linalg.norm(x)), 1e-300) for x in (first, second))
    return np.cos(ANGLES)[:, None, None] * first + np.sin(ANGLES)[:, None, None] * second


def _roundest(first: Float[np.ndarray, "3 3"], second: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """The combination whose least eigenvalue is largest beside the others."""
    every = _combinations(first, second)
    return _normed(every[int(np.argmax(_ratio(every)))])


def _normed(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3"]:
    """With 1 as its largest entry, and more positive than negative eigenvalues."""
    matrix = matrix / np.abs(matrix).max()
    return matrix if np.linalg.eigvalsh(matrix).sum() >= 0 else -matrix


def _names_of_others(casimir: Quadratic, partner: Quadratic) -> tuple[str, ...]:
    """Algebras of Casimirs that are combinations."""
    values = np.linalg.eigvalsh(_combinations(casimir.matrices[0], partner.matrices[0]))
    size = np.abs(values)
    full = values[size.min(axis=1) > ALIKE * size.max(axis=1)]
    definite = np.abs(np.sign(full).sum(axis=1)) == 3
    return (("so(3)",) if definite.any() else ()) + (("sl(2,R)",) if not definite.all() else ())


def _least(casimir: Quadratic, energy: Quadratic) -> Quadratic:
    """The energy less the multiple of the Casimir that leaves no negative square where it can, and one term
    less.
    """
    diagonal, own = (np.diagonal(x.matrices, axis1=1, axis2=2) for x in (casimir, energy))
    usable = np.abs(diagonal[0]) > 0.3 * np.abs(diagonal[0]).max()
    if not usable.any():
        return energy
    ratios = np.where(usable, own[0] / np.where(usable, diagonal[0], 1.0), np.inf)
    k = int(np.argmin(ratios))
    return energy.plus(1.0, casimir, -own[:, k] / diagonal[:, k])


def _algebra(casimir: Quadratic) -> AbstractAlgebra:
    """That of {x_i, x_j} = -sum_kl eps_ijk A_kl x_l, eigenvalues of A that may be 0 taken for 0."""
    values = np.linalg.eigvalsh(casimir.matrices)
    mean, vectors = np.linalg.eigh(casimir.matrices[0])
    small = np.abs(mean) <= np.maximum(SURE * values[1:].std(axis=0), 1e-6 * np.abs(mean).max())
    matrix = (vectors * np.where(small, 0.0, mean)) @ vectors.T
    return abstract_algebra(structure_constants(matrix))


def structure_constants(matrix: Float[np.ndarray, "3 3"]) -> Float[np.ndarray, "3 3 3"]:
    """f of {x_i, x_j} = sum_l f_ijl x_l for C = x^T A x / 2."""
    levi_civita = np.zeros((3, 3, 3))
    for i, j, k in ((0, 1, 2), (1, 2, 0), (2, 0, 1)):
        levi_civita[i, j, k], levi_civita[j, i, k] = 1.0, -1.0
    return -np.einsum("ijk,kl->ijl", levi_civita, matrix)


def _linear(casimir: Quadratic, energy: Quadratic, choice: bool) -> Quadratic | None:
    """A combination n . x of the columns of which the square is a combination of C and H: where
    A_H n = lambda A_C n has a double lambda.
    """
    if not choice or not energy.sure[:6].any() or energy.sure[6:].any() or casimir.sure[6:].any():
        return None
    if np.abs(np.linalg.eigvalsh(casimir.matrices[0])).min() < ALIKE:
        return None
    ratios = np.linalg.eigvals(np.linalg.solve(casimir.matrices, energy.matrices))
    ratios = np.sort(np.real(ratios), axis=1)
    gaps = np.diff(ratios, axis=1)
    k = int(np.argmin(gaps[0]))
    if gaps[0, k] > min(DOUBLE * gaps[1:, k].std(), ALIKE * np.ptp(ratios[0])):
        return None
    rest = energy.plus(1.0, casimir, -ratios[:, k : k + 2].mean(axis=1))
    values, vectors = np.linalg.eigh(rest.matrices)
    largest = np.argmax(np.abs(values), axis=1)
    rows = vectors[np.arange(len(values)), :, largest]
    return Quadratic(np.zeros_like(rest.matrices), rows / rows[:, [int(np.argmax(np.abs(rows[0])))]])


def in_scaled_columns(
    matrix: Float[np.ndarray, "3 3"], scales: Float[np.ndarray, " three"]
) -> Float[np.ndarray, " nine"]:
    """Coefficients of `QUADRATICS` in columns over `scales` of x^T A x / 2, of size 1 altogether."""
    own = matrix * np.outer(scales, scales)
    found = np.zeros(QUADRATICS.size)
    for place in SQUARES.tolist():
        i, j = np.repeat(np.arange(3), QUADRATICS.exponents[place])
        found[place] = own[i, j] * (0.5 if i == j else 1.0) / QUADRATICS.weights[place]
    return found / np.linalg.norm(found)
