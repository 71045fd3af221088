"""From quantities of degree <= 2, learned or given, to what is conserved: space, formulas, algebra."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Bool, Float

from ..data import Trajectories
from ..typing import Hamiltonian
from ._baseline import null_space_baseline
from ._drift import (
    ENOUGH_PAIRS,
    TOLERANCE,
    DriftTest,
    PairStatistics,
    Verdict,
    check_quantities,
    checked_noise,
    drift_test,
    judged,
    pair_statistics,
)
from ._formulas import QuantityFormula, reduced, sparse_basis
from ._lie_algebra import LieAlgebra, Quadratics, bracket, lie_algebra
from ._monomials import (
    Monomial,
    canonical_scales,
    coefficients,
    monomial_values,
    monomials,
    quadratic_parts,
    without_angles,
)
from ._rounding import rounded
from ._simple_numbers import SimpleNumber, Surd, added, multiplied, simple_number, simple_ratio

_STRENGTH = 0.01
"""Share of the largest singular value below which a direction of the quantities is not a candidate."""
_CORRECTION = 0.2
"""How far, in coefficients of monomials scaled to spread alike, measured drift may correct a direction: the
accuracy of learning. A false direction has nothing conserved so near."""
_NEW = 0.1
"""Size, against that of the factors, from which a bracket or product outside the candidates is a new one."""
_COMMUTING = 0.1
"""R.m.s. of {C, H} over |grad C| |grad H| up to which C is a candidate: ten times the error of learning."""
_RESOLVED = 1e-6
"""Share of the largest spread of gradients below which a combination of monomials is not seen in the data."""
_DEPENDENT = 0.1
"""Singular value of unit gradients, against the largest, up to which they count as dependent."""
_EXACT = 5e-4
"""Relative error of the weights of an energy that the quantities hold whole."""
_POINTS = 500
"""States at which gradients and the Hamiltonian are evaluated."""
_WIDEST_COLUMN = 60
"""Characters of a formula for which the others make room."""


@dataclass(frozen=True)
class FoundQuantity:
    """One conserved quantity C(x) = x^T A x / 2 + b^T x in the units of the data.

    `matrix` A (2n, 2n), `vector` b (2n,). `drift` is its r.m.s. change along held-out trajectories over its
    spread, noise subtracted, `excess` by how many standard errors it exceeds the noise. `note` says what else
    it is ("twice the energy H", "C1*C2"). `bracket` is the r.m.s. of {C, H} / (|grad C| |grad H|) for the
    Hamiltonian given, in scaled coordinates, None without one.
    """

    formula: QuantityFormula
    matrix: Float[np.ndarray, "dim dim"]
    vector: Float[np.ndarray, " dim"]
    drift: float
    excess: float
    verdict: Verdict
    note: str = ""
    bracket: float | None = None

    def to_json(self) -> dict[str, Any]:
        """An entry of "quantities" in symmetry.json."""
        names = self.formula.names
        return {
            "formula": self.formula.text(),
            "latex": self.formula.latex(),
            "A": self.matrix.tolist(),
            "b": self.vector.tolist(),
            "drift": self.drift,
            "excess": _number(self.excess),
            "errors": {"*".join(names[i] for i in m): error for m, error in self.formula.errors.items()},
            "unit": self.formula.unit(),
            "note": self.note,
            "bracket_with_hamiltonian": self.bracket,
        }


class Energy(NamedTuple):
    """The energy H as a combination of the found quantities: `weights` (rank,) up to a constant, and the
    r.m.s. of what they leave of H over its spread.
    """

    weights: Float[np.ndarray, " rank"]
    residual: float


@dataclass(frozen=True)
class Analysis:
    """What is conserved: the found space by a sparse basis, and everything said about it.

    `quantities` has `rank` entries. `independent` is how many of them are functionally independent,
    `generating` the indices of as many of which the others are functions. `strengths` are the singular values
    of the quantities given, in scaled coordinates; `candidates` the test of the completed candidate space,
    `baseline` that of all monomials, None where the data are too few for it, `tolerance` the relative drift
    up to which a quantity counts as conserved. `at_least`: as many were found
    as were given, so there may be more. `evidence` is as in symmetry.json, None where no refits were made.
    """

    names: tuple[str, ...]
    quantities: tuple[FoundQuantity, ...]
    independent: int
    generating: tuple[int, ...]
    algebra: LieAlgebra
    strengths: Float[np.ndarray, " given"]
    candidates: DriftTest
    baseline: DriftTest | None
    at_least: bool
    tolerance: float = TOLERANCE
    hamiltonian: bool = True
    energy: Energy | None = None
    evidence: Mapping[str, Any] | None = None

    @property
    def rank(self) -> int:
        """The dimension of the space of conserved quantities of degree <= 2, constants excluded."""
        return len(self.quantities)

    @property
    def approximate(self) -> int:
        """How many more candidate directions are approximately conserved in this region."""
        return self.candidates.approximate

    def matrices(self) -> tuple[Float[np.ndarray, "rank dim dim"], Float[np.ndarray, "rank dim"]]:
        """A and b of the found quantities, stacked, in the units of the data."""
        dim = len(self.names)
        matrices = np.array([quantity.matrix for quantity in self.quantities]).reshape(-1, dim, dim)
        return matrices, np.array([quantity.vector for quantity in self.quantities]).reshape(-1, dim)

    def expressions(self) -> list[sympy.Expr]:
        """The found quantities in sympy."""
        return [quantity.formula.expression() for quantity in self.quantities]

    def to_json(self) -> dict[str, Any]:
        """The contents of symmetry.json."""
        return {
            "rank": self.rank,
            "at_least": self.at_least,
            "evidence": None if self.evidence is None else dict(self.evidence),
            "quantities": [quantity.to_json() for quantity in self.quantities],
            "independent": self.independent,
            "generating": list(self.generating),
            "hamiltonian": self.hamiltonian,
            "algebra": self.algebra.to_json(),
            "names": list(self.names),
            "tolerance": self.tolerance,
            "approximately_conserved": self.approximate,
            "strengths": self.strengths.tolist(),
            "energy": None
            if self.energy is None
            else {"weights": self.energy.weights.tolist(), "residual": self.energy.residual},
            "candidates": _spectrum(self.candidates),
            "baseline": None if self.baseline is None else _spectrum(self.baseline),
        }

    def text(self) -> str:
        """What was found, for a person to read."""
        return symmetry_text(self.to_json())


def analyse(
    matrices: Float[np.ndarray, "K dim dim"],
    vectors: Float[np.ndarray, "K dim"],
    trajectories: Trajectories,
    *,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    coefficient_error: float = 0.0,
    tolerance: float = TOLERANCE,
    hamiltonian: Hamiltonian | None = None,
    evidence: Mapping[str, Any] | None = None,
    complete: bool = True,
    refine: bool = True,
    simplify: bool = True,
) -> Analysis:
    """Says what the quantities x^T A_k x / 2 + b_k^T x, K of them, hold that `trajectories` conserve.

    Candidates are the singular directions of the quantities (in scaled canonical coordinates), and what
    nearly commutes with `hamiltonian`, itself included: where a few symmetries determine H, learning has no
    reason to find the others. With `refine`,
    the measured drift corrects those that are conserved but for small errors of their coefficients, where
    there are three pairs of points a monomial or more. With `complete`, brackets of what passes the drift
    test, and products of the linear ones, are candidates too. What passes in the end is the found space. It
    gets a sparse basis, with `simplify` simple ratios where they do not add drift, and the name of its Lie
    algebra.

    `trajectories` should be held out; `noise_variance`, `coefficient_error` and `tolerance` are those of
    `drift_test`. `hamiltonian`, learned or true, is looked for among the found quantities too, and bracketed
    with them; `evidence` goes into the answer as it is.

    Raises ValueError as `drift_test` does.
    """
    matrices, vectors = np.asarray(matrices, dtype=np.float64), np.asarray(vectors, dtype=np.float64)
    dim = trajectories.states.shape[2]
    noise = checked_noise(noise_variance, trajectories)
    scales = canonical_scales(trajectories.points())
    scaled = replace(
        trajectories,
        states=trajectories.states / scales,
        targets=None if trajectories.targets is None else trajectories.targets / scales,
    )
    check_quantities(matrices, vectors, trajectories)
    given = coefficients(matrices * scales[:, None] * scales, vectors * scales)
    _, strengths, directions = np.linalg.svd(given, full_matrices=False)
    strongest = strengths.max(initial=0.0)
    candidates = directions[strengths > max(_STRENGTH * strongest, 1e-300)]
    allowed = without_angles(dim, trajectories.angles())
    on_states = None if hamiltonian is None else _on_states(hamiltonian, trajectories.points())
    if on_states is not None and len(candidates):
        candidates = _basis(np.concatenate([candidates, _commuting(on_states, scales, allowed)]))

    def test(rows: np.ndarray) -> DriftTest:
        return drift_test(
            *quadratic_parts(rows, dim),
            scaled,
            noise_variance=noise / scales**2,
            coefficient_error=coefficient_error,
            tolerance=tolerance,
        )

    every = pair_statistics(*quadratic_parts(np.eye(len(monomials(dim))), dim), scaled, noise / scales**2)
    refine = refine and every.differences.shape[0] >= ENOUGH_PAIRS * given.shape[1]

    def refined(tested: DriftTest) -> DriftTest:
        return test(_basis(allowed * _corrected(tested, every, tolerance))) if refine else tested

    tested = refined(test(candidates))
    while complete and tested.rank:
        passed = _basis(coefficients(*tested.conserved()))
        implied = _implied(passed, dim)
        # A candidate that failed may have been a poor copy of what the others imply.
        _, size, new = np.linalg.svd(implied - (implied @ passed.T) @ passed, full_matrices=False)
        tried = _basis(coefficients(tested.matrices, tested.vectors))
        completed = refined(test(_basis(np.concatenate([tried, new[size > _NEW]]))))
        if completed.rank <= tested.rank:
            break
        tested = completed

    found = coefficients(*tested.conserved())
    formulas = _formulas(found, scales, trajectories, noise, simplify)
    quantities, energy = _described(formulas, trajectories, noise, scales, on_states, tolerance)
    independent, generating = _independence(quantities, trajectories, scales)
    try:
        baseline = null_space_baseline(trajectories, noise_variance=noise, tolerance=tolerance)
    except ValueError:
        baseline = None
    if baseline is not None and "untested" in baseline.verdicts[:1]:
        baseline = None
    return Analysis(
        names=trajectories.names,
        quantities=tuple(quantities),
        independent=independent,
        generating=generating,
        algebra=_algebra(quantities, found, scales),
        strengths=strengths,
        candidates=tested,
        baseline=baseline,
        at_least=bool(len(quantities)) and len(matrices) <= len(quantities) < len(monomials(dim)),
        tolerance=tolerance,
        energy=energy,
        evidence=evidence,
    )


def _basis(rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "rank monomials"]:
    """An orthonormal basis of the span of `rows`, whatever their sizes."""
    size = np.linalg.norm(rows, axis=1, keepdims=True)
    _, values, directions = np.linalg.svd(rows / size, full_matrices=False)
    return directions[values > 1e-3]


def _corrected(
    tested: DriftTest, every: PairStatistics, tolerance: float
) -> Float[np.ndarray, "candidates monomials"]:
    """The tested combinations, with small corrections to those that drift less for them.

    With monomials scaled to variance one, the correction d of c minimises drift(c + d) + tolerance^2 |d|^2,
    drift relative to the spread as in the test. Larger corrections than `_CORRECTION` |c| are not made.
    """
    unit = np.sqrt(np.maximum(np.diag(every.raw_variance), np.finfo(float).tiny))
    drift = (every.drift - every.noise) / (2 * np.outer(unit, unit))
    values, directions = np.linalg.eigh((drift + drift.T) / 2)
    values = np.maximum(values, 0.0)
    rows = coefficients(tested.matrices, tested.vectors) * unit
    corrections = (rows @ directions * (values / (values + tolerance**2))) @ directions.T
    small = np.linalg.norm(corrections, axis=1) <= _CORRECTION * np.linalg.norm(rows, axis=1)
    rows = np.where(small[:, None], rows - corrections, rows) / unit
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _implied(rows: Float[np.ndarray, "rank monomials"], dim: int) -> Float[np.ndarray, "more monomials"]:
    """Brackets of quantities and products of the linear ones among them; `rows` are orthonormal."""
    left, size, _ = np.linalg.svd(rows[:, dim:], full_matrices=True)
    size = np.pad(size, (0, len(rows) - len(size)))
    linear = left[:, size <= _NEW].T @ rows[:, :dim]
    space = Quadratics(*quadratic_parts(rows, dim), np.zeros(len(rows)))
    first, second = np.triu_indices(len(rows), k=1)
    brackets = bracket(*(Quadratics(*(part[index] for part in space)) for index in (first, second)))
    one, other = np.triu_indices(len(linear))
    products = linear[one][:, :, None] * linear[other][:, None, :]
    parts = [
        coefficients(brackets.matrices, brackets.vectors),
        coefficients(products + np.swapaxes(products, 1, 2), np.zeros((len(one), dim))),
    ]
    return np.concatenate(parts)


def _formulas(
    found: Float[np.ndarray, "rank monomials"],
    scales: Float[np.ndarray, " dim"],
    trajectories: Trajectories,
    noise: Float[np.ndarray, " dim"],
    simplify: bool,
) -> list[QuantityFormula]:
    """A sparse basis of the found space (in scaled coordinates) as formulas in the units of the data."""
    dim = len(scales)
    if not len(found):
        return []
    sparse, at = reduced(sparse_basis(found))
    statistics = pair_statistics(*quadratic_parts(np.eye(len(monomials(dim))), dim), trajectories, noise)
    # A coefficient of y = x / s is s times smaller in x.
    units = coefficients(*(part[None] for part in _ones(1 / scales)))[0]
    allowed = without_angles(dim, trajectories.angles())
    found_coefficients = rounded(sparse * units, at, statistics, units, simplify, allowed)
    formulas = [
        QuantityFormula.of(*row, trajectories.names, trajectories.units)
        for row in zip(*found_coefficients, strict=True)
    ]
    return sorted(formulas, key=lambda formula: (formula.degree, len(formula.coefficients)))


def _ones(factors: Float[np.ndarray, " dim"]) -> tuple[np.ndarray, np.ndarray]:
    """A and b whose coefficients are the products of `factors` of each monomial."""
    return np.outer(factors, factors) * (1 + np.eye(len(factors))), factors


def _described(
    formulas: list[QuantityFormula],
    trajectories: Trajectories,
    noise: Float[np.ndarray, " dim"],
    scales: Float[np.ndarray, " dim"],
    on_states: "_OnStates | None",
    tolerance: float,
) -> tuple[list[FoundQuantity], Energy | None]:
    """The quantities with their drift and notes; the energy takes the place of the last one that it holds."""
    dim = len(scales)
    rows = np.array([formula.row() for formula in formulas]).reshape(len(formulas), len(monomials(dim)))
    notes = [""] * len(formulas)
    energy, sines = None, [None] * len(formulas)
    if on_states is not None and len(formulas):
        states, values, gradients = on_states
        energy = _energy(rows, states, values, tolerance)
        if energy is not None:
            at, formula, note = _energy_formula(formulas, energy)
            formulas = [*formulas[:at], *formulas[at + 1 :], formula]
            notes = [""] * (len(formulas) - 1) + [note]
            rows = np.array([formula.row() for formula in formulas])
            energy = _energy(rows, states, values, tolerance)
        sines = _sines(rows, states, gradients, scales)
    matrices, vectors = quadratic_parts(rows, dim)
    products = _products(vectors, rows, dim)
    notes = [note or product for note, product in zip(notes, products, strict=True)]
    if not formulas:
        return [], None
    drift = judged(pair_statistics(matrices, vectors, trajectories, noise), tolerance=tolerance)
    quantities = [
        FoundQuantity(
            formula=formula,
            matrix=matrices[k],
            vector=vectors[k],
            drift=float(drift["relative_drift"][k]),
            excess=float(drift["excess"][k]),
            verdict=drift["verdicts"][k],
            note=notes[k],
            bracket=sines[k],
        )
        for k, formula in enumerate(formulas)
    ]
    return quantities, energy


class _OnStates(NamedTuple):
    """A Hamiltonian and its gradient on some states."""

    states: Float[np.ndarray, "points dim"]
    values: Float[np.ndarray, " points"]
    gradients: Float[np.ndarray, "points dim"]


def _on_states(hamiltonian: Hamiltonian, states: Float[np.ndarray, "all dim"]) -> _OnStates:
    states = states[np.unique(np.linspace(0, len(states) - 1, _POINTS).round().astype(int))]
    values, gradients = jax.jit(jax.vmap(jax.value_and_grad(hamiltonian)))(jnp.asarray(states, jnp.float32))
    values, gradients = (np.asarray(part, dtype=np.float64) for part in (values, gradients))
    return _OnStates(states, values, gradients)


def _commuting(
    on_states: _OnStates, scales: Float[np.ndarray, " dim"], allowed: Bool[np.ndarray, " monomials"]
) -> Float[np.ndarray, "some monomials"]:
    """Quantities C of degree <= 2 whose bracket with the Hamiltonian nearly vanishes, in scaled coordinates:
    directions in which the r.m.s. of {C, H} is at most `_COMMUTING` of that of |grad C| |grad H|. Of the
    monomials that are `allowed`.
    """
    states, slopes = on_states.states / scales, on_states.gradients * scales
    dim = states.shape[1]
    units = np.eye(len(allowed))[allowed]
    matrices, vectors = quadratic_parts(units, dim)
    gradients = np.einsum("kij,tj->tki", matrices, states) + vectors
    flow = np.concatenate([slopes[:, dim // 2 :], -slopes[:, : dim // 2]], axis=1)
    brackets = np.einsum("tki,ti->tk", gradients, flow)
    sizes = (gradients * np.linalg.norm(slopes, axis=1)[:, None, None]).transpose(0, 2, 1)
    sizes = sizes.reshape(-1, sizes.shape[2])
    _, spreads, axes = np.linalg.svd(sizes / np.sqrt(len(states)), full_matrices=False)
    used = spreads > _RESOLVED * spreads.max()
    basis = axes[used].T / spreads[used]
    _, sines, directions = np.linalg.svd(brackets @ basis / np.sqrt(len(states)), full_matrices=False)
    return directions[sines <= _COMMUTING] @ basis.T @ units


def _energy(
    rows: Float[np.ndarray, "rank monomials"],
    states: Float[np.ndarray, "points dim"],
    values: Float[np.ndarray, " points"],
    tolerance: float,
) -> Energy | None:
    """H as a combination of the quantities, None where they leave more than `tolerance` of its spread."""
    found = monomial_values(states) @ rows.T
    found, values = found - found.mean(axis=0), values - values.mean()
    size, spread = np.std(found, axis=0), np.std(values)
    used = np.ones(len(rows), dtype=bool)
    weights = np.zeros(len(rows))
    for _ in range(3):
        weights = np.zeros(len(rows))
        weights[used] = np.linalg.lstsq(found[:, used] / size[used], values, rcond=1e-6)[0] / size[used]
        used = np.abs(weights) * size > tolerance * spread
        if not used.any():
            return None
    residual = float(np.std(values - found @ weights) / max(spread, np.finfo(float).tiny))
    return Energy(weights, residual) if residual <= tolerance else None


def _energy_formula(formulas: list[QuantityFormula], energy: Energy) -> tuple[int, QuantityFormula, str]:
    """Which quantity to replace, by a multiple of the energy, and which multiple that is."""
    used = np.flatnonzero(energy.weights)
    at = int(used[-1])
    error = max(energy.residual / 2, 1e-3)
    reference = float(energy.weights[used[0]])
    terms: dict[Monomial, SimpleNumber | float] = {}
    for k in used:
        weight = _weight(float(energy.weights[k] / reference), error, energy.residual)
        for monomial, value in formulas[k].coefficients.items():
            terms[monomial] = added(terms.get(monomial, Fraction(0)), multiplied(weight, value))
    largest = max(abs(float(value)) for value in terms.values())
    terms = {monomial: value for monomial, value in terms.items() if abs(float(value)) > 1e-9 * largest}
    errors = {monomial: error * abs(float(value)) for monomial, value in terms.items()}
    formula = QuantityFormula.of_terms(terms, errors, formulas[at].names, formulas[at].units)
    first = max(terms, key=lambda monomial: abs(float(terms[monomial])))
    factor = float(formula.coefficients[first]) / (float(terms[first]) * reference)
    return at, formula, _times(factor, error)


def _weight(ratio: float, error: float, residual: float) -> SimpleNumber | float:
    """A ratio of weights by its name, where it has one.

    What the quantities leave of H says how wrong H may be, not how wrong in them: a surd must stand four
    times that error.
    """
    if (simple := simple_ratio(ratio, error * abs(ratio))) is not None:
        return simple
    surd = simple_number(ratio, max(2 * residual, _EXACT) * abs(ratio))
    return surd if isinstance(surd, Surd) else ratio


def _times(factor: float, error: float) -> str:
    ratio = simple_ratio(factor, max(error * abs(factor), 1e-6))
    words = {
        1.0: "the energy H",
        2.0: "twice the energy H",
        0.5: "half the energy H",
        -1.0: "minus the energy H",
    }
    if ratio is not None and float(ratio) in words:
        return words[float(ratio)]
    return f"{factor:.3g} times the energy H" if ratio is None else f"{ratio} times the energy H"


def _sines(
    rows: Float[np.ndarray, "rank monomials"],
    states: Float[np.ndarray, "points dim"],
    gradients: Float[np.ndarray, "points dim"],
    scales: Float[np.ndarray, " dim"],
) -> list[float]:
    """R.m.s. of {C, H} over that of |grad C| |grad H|, in scaled coordinates."""
    matrices, vectors = quadratic_parts(rows, len(scales))
    own = (np.einsum("kij,pj->kpi", matrices, states) + vectors[:, None]) * scales
    other = gradients * scales
    position, momentum = np.split(other, 2, axis=1)
    field = np.concatenate([momentum, -position], axis=1)
    brackets = np.einsum("kpi,pi->kp", own, field)
    bound = np.linalg.norm(own, axis=2) * np.linalg.norm(other, axis=1)
    return [float(np.sqrt(np.mean(b**2) / np.mean(s**2))) for b, s in zip(brackets, bound, strict=True)]


def _products(vectors: np.ndarray, rows: np.ndarray, dim: int) -> list[str]:
    """For every quantity that is a product of two linear ones, which."""
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
    quantities: list[FoundQuantity], trajectories: Trajectories, scales: Float[np.ndarray, " dim"]
) -> tuple[int, tuple[int, ...]]:
    """How many quantities are functionally independent, and the first so many that are."""
    states = trajectories.points()
    states = states[np.unique(np.linspace(0, len(states) - 1, _POINTS).round().astype(int))]
    gradients = [(states @ quantity.matrix + quantity.vector) * scales for quantity in quantities]
    gradients = [gradient / np.sqrt(np.mean(gradient**2) * len(scales)) for gradient in gradients]

    def rank(chosen: list[int]) -> int:
        size = np.linalg.svd(np.stack([gradients[k] for k in chosen], axis=1), compute_uv=False)
        # Dependent gradients are so everywhere, independent ones may be nearly parallel here and there.
        typical = np.quantile(size / np.maximum(size[:, :1], np.finfo(float).tiny), 0.9, axis=0)
        return int(np.sum(typical > _DEPENDENT))

    generating: list[int] = []
    for k in range(len(quantities)):
        if rank([*generating, k]) > len(generating):
            generating.append(k)
    return len(generating), tuple(generating)


def _algebra(
    quantities: list[FoundQuantity],
    found: Float[np.ndarray, "rank monomials"],
    scales: Float[np.ndarray, " dim"],
) -> LieAlgebra:
    """The algebra of the formulas, with the closure error of the space before rounding.

    Its basis and structure constants are in the units of the data.
    """
    dim = len(scales)
    raw = lie_algebra(*quadratic_parts(found, dim))
    if not quantities:
        return raw
    matrices = np.array([quantity.matrix for quantity in quantities]) * scales[:, None] * scales
    vectors = np.array([quantity.vector for quantity in quantities]) * scales
    algebra = lie_algebra(matrices, vectors)
    exact = not any(quantity.formula.errors for quantity in quantities)
    # Partly rounded, small entries no longer tell how large errors are.
    if raw.named and not (exact and algebra.named):
        algebra = raw
    # {f, g} in x is {f, g} in y over the constant s_q s_p.
    product = scales[0] * scales[dim // 2]
    basis = Quadratics(
        algebra.basis.matrices / (scales[:, None] * scales),
        algebra.basis.vectors / scales,
        algebra.basis.constants,
    )
    return replace(
        algebra,
        basis=basis,
        structure_constants=algebra.structure_constants / product,
        closure_error=raw.closure_error,
    )


def _spectrum(test: DriftTest) -> dict[str, Any]:
    return {
        "rank": test.rank,
        "relative_drift": [_number(value) for value in test.relative_drift],
        "verdicts": list(test.verdicts),
    }


def _number(value: float) -> float | None:
    """JSON knows no infinities."""
    return float(value) if np.isfinite(value) else None


def symmetry_text(symmetry: Mapping[str, Any]) -> str:
    """The contents of symmetry.json for a person to read."""
    rank = symmetry["rank"]
    evidence = _evidence_text(symmetry["evidence"])
    plural = "quantity" if rank == 1 else "quantities"
    if rank == 0:
        lines = [f"no conserved quantities of degree <= 2{evidence}"]
    else:
        least = "at least " if symmetry["at_least"] else ""
        lines = [f"{least}{rank} conserved {plural} of degree <= 2{evidence}"]
    lengths = [len(quantity["formula"]) for quantity in symmetry["quantities"]]
    width = max((length for length in lengths if length <= _WIDEST_COLUMN), default=0)
    for k, quantity in enumerate(symmetry["quantities"]):
        unit = f"  [{quantity['unit']}]" if quantity["unit"] else ""
        data = "held-out data" if symmetry.get("held_out", True) else "the data of the run"
        drift = f"drift on {data} {quantity['drift']:.1%}"
        beside = quantity["bracket_with_hamiltonian"]
        parts = [drift, "" if beside is None else f"{{C, H}} {beside:.1%}", quantity["note"]]
        name = f"C{k + 1}".ljust(len(f"C{rank}"))
        formula = f"{name} = {quantity['formula']:<{width}}{unit}"
        lines.append(f"  {formula}  {', '.join(part for part in parts if part)}")
    if symmetry["at_least"]:
        lines.append("  as many as were learned: raise symmetry.quantities, there may be more")
    if rank:
        algebra = symmetry["algebra"]
        aliases = f" = {algebra['aliases'][0]}" if algebra["aliases"] else ""
        central = ", with a constant that brackets produce" if algebra["central_extension"] else ""
        lines.append(
            f"  functionally independent: {symmetry['independent']} "
            f"({', '.join(f'C{k + 1}' for k in symmetry['generating'])} generate the rest)"
            if symmetry["independent"] < rank
            else f"  functionally independent: {symmetry['independent']}"
        )
        lines.append(
            f"  algebra: {algebra['name']}{aliases}{central}, closure error {algebra['closure_error']:.1%}"
        )
    rounding = symmetry.get("rounding")
    if rounding and not rounding["kept"]:
        lines.append(
            "  coefficients as measured: simple numbers lower the bound by "
            f"{-rounding['nats']:.0f} +- {rounding['stderr']:.0f} nats"
        )
    if more := symmetry["approximately_conserved"]:
        lines.append(f"  {more} more approximately conserved in this region, not counted")
    baseline = symmetry["baseline"]
    if baseline is None:
        lines.append("  too few data for the null-space baseline")
    elif baseline["rank"] == rank:
        lines.append(f"  the null-space baseline agrees: {baseline['rank']}")
    else:
        lines.append(f"  the null-space baseline disagrees: it counts {baseline['rank']}")
    return "\n".join(lines) + "\n"


def _evidence_text(evidence: Mapping[str, Any] | None) -> str:
    if not evidence or "none" not in evidence or "found" not in evidence:
        return ""
    none, found = evidence["none"], evidence["found"]
    if not (none.get("converged", True) and found.get("converged", True)):
        return " (no evidence: the refits have not converged)"
    gain = none["negative_elbo_total"] - found["negative_elbo_total"]
    error = float(np.hypot(none["stderr"], found["stderr"]))
    return f" (evidence against no symmetry: {gain:+.0f} +- {error:.0f} nats)"
