"""What a model has learned of other families than the quadratic one, and how it stands with the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from flax import nnx
from jaxtyping import Array, Float

from ..invariants import Dictionary, FunctionDictionary, Term, conserved_space
from ..invariants.distilled import Distilled, distilled
from ..modelling import family_terms
from ..prediction import learned_gradients
from ..quantities import TermQuantities, quadratic_of
from ..random import stream
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import State
from .fitted import Fitted

POINTS = 500
"""Data points at which gradients are taken, at most."""
STRONG = 0.1
"""Strength of a direction over the largest, from which it is described."""
INDEPENDENT = 1e-3
"""Of the gradients of known quantities at a state, over the largest singular value: below it one follows."""
FLOWS = 0.02
"""Part of a formula that is left out, over its largest."""

Function = Callable[[State], Float[Array, " K"]]


@dataclass(frozen=True)
class LearnedDirection:
    """One combination of learned quantities, uncorrelated with the others: see `Learned`.

    strength: the r.m.s. of its gradient, in spreads of the data. bracket: of {C, H} with the learned H, over
    that of |grad C||grad H|. drift, hidden: its change along trajectories over its spread, noise taken away,
    and the 95 % upper limit; None where that failed. parallelness: the share of its gradient in the span of
    those of H and the known quantities; None of measured data.
    """

    strength: float
    bracket: float
    drift: float | None
    hidden: float | None
    parallelness: float | None


@dataclass(frozen=True)
class LearnedFormula:
    """A formula that was read off, up to a factor and a constant, its largest coefficient 1.

    off: the share of its gradient that what was learned does not have.
    """

    formula: str
    coefficients: Mapping[str, float]
    off: float


@dataclass(frozen=True)
class Learned:
    """What the bound has learned of another family than the quadratic one, strongest direction first.

    It decides no counts: `Analysis` and `Beyond` do. `formulas` are combinations of `terms` terms whose
    gradients are combinations of those learned; of a network, functions of it. `exact` is whether the
    quantities are combinations of the terms themselves.
    """

    family: str
    terms: int
    exact: bool
    directions: tuple[LearnedDirection, ...]
    formulas: tuple[LearnedFormula, ...]

    def to_json(self) -> dict[str, Any]:
        """The "learned_family" of symmetry.json."""
        return {
            "family": self.family,
            "terms": self.terms,
            "exact": self.exact,
            "directions": [vars(one) for one in self.directions],
            "formulas": [vars(one) | {"coefficients": dict(one.coefficients)} for one in self.formulas],
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "Learned":
        """From what `to_json` gives."""
        directions = tuple(LearnedDirection(**one) for one in entry["directions"])
        formulas = tuple(LearnedFormula(**one) for one in entry["formulas"])
        return cls(entry["family"], entry["terms"], entry["exact"], directions, formulas)


def learned_answer(
    fitted: Fitted,
    tested: Trajectories,
    failed: dict[str, str],
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
) -> Learned | None:
    """What a model has learned, tested on trajectories in the units of the data; None of the quadratic
    family, and without learned quantities. What fails is named in `failed`.
    """
    quantities = fitted.posterior.quantities
    options = fitted.problem.options.symmetry
    if options.mode != "learned" or quantities is None or quadratic_of(quantities) is not None:
        return None
    frame = Gradients.of(fitted)
    drifts = _drifts(frame, tested, failed, noise_variance)
    brackets, parallel = frame.brackets(fitted), parallelness(fitted)
    pairs = zip(frame.strengths.tolist(), brackets, drifts, parallel, strict=True)
    directions = tuple(
        LearnedDirection(strength, bracket, *drift, share) for strength, bracket, drift, share in pairs
    )
    exact = isinstance(quantities, TermQuantities)
    formulas, terms = _formulas(fitted, frame, exact, failed)
    return Learned(options.family, terms, exact, directions, formulas)


@dataclass(frozen=True, eq=False)
class Gradients:
    """Gradients of learned quantities at data points, as combinations that are uncorrelated over these.

    points: in the coordinates of training. sizes: the spreads of these, (2n,). function: state -> (K,) in the
    same, in float64. turn: rows are the combinations, strongest first, of `strengths` (K,). gradients:
    (points, K, 2n) in units of the spreads.
    """

    fitted: Fitted
    points: Float[np.ndarray, "points dim"]
    sizes: Float[np.ndarray, " dim"]
    function: Function
    turn: Float[np.ndarray, "K K"]
    strengths: Float[np.ndarray, " K"]
    gradients: Float[np.ndarray, "points K dim"]

    @classmethod
    def of(cls, fitted: Fitted) -> "Gradients":
        problem = fitted.problem
        every = problem.data.points()
        points = every[evenly(len(every), POINTS)]
        sizes = np.array(problem.training.spreads)
        graph, params = nnx.split(fitted.posterior.quantities)
        with jax.enable_x64(True):
            precise = jax.tree.map(lambda leaf: jnp.asarray(leaf, jnp.float64), params)
        function: Function = lambda state: nnx.merge(graph, precise)(state)  # type: ignore[operator]  # noqa: E731
        plain = _jacobians(function, points) * sizes
        values, vectors = np.linalg.eigh(np.einsum("pki,pli->kl", plain, plain) / len(points))
        turn, strengths = vectors[:, ::-1].T, np.sqrt(np.maximum(values[::-1], 0.0))
        return cls(fitted, points, sizes, function, turn, strengths, np.einsum("jk,pki->pji", turn, plain))

    @property
    def strong(self) -> int:
        """How many directions are to be described."""
        return int(np.sum(self.strengths >= STRONG * self.strengths[0]))

    def brackets(self, fitted: Fitted) -> list[float]:
        """{C, H} with the learned H, of each combination."""
        problem = fitted.problem
        key = stream(problem.seed, "invariance")
        slopes = learned_gradients(fitted.posterior, key, self.points, estimator=problem.predictor)
        position, momentum = np.split(slopes * self.sizes, 2, axis=1)
        turned = np.concatenate([momentum, -position], axis=1)
        found = np.einsum("pki,pi->pk", self.gradients, turned)
        whole = np.linalg.norm(self.gradients, axis=2) * np.linalg.norm(turned, axis=1)[:, None]
        size = np.maximum(np.mean(whole**2, axis=0), np.finfo(float).tiny)
        return np.sqrt(np.mean(found**2, axis=0) / size).tolist()


def parallelness(fitted: Fitted, frame: Gradients | None = None) -> list[float | None]:
    """The share of each combination's gradient (r.m.s.) in the span of those of the true H and of the known
    quantities; None of measured data.
    """
    frame = frame or Gradients.of(fitted)
    system = fitted.problem.system
    if system is None:
        return [None] * len(frame.strengths)
    known, hamiltonian = system.known_quantities(), system.hamiltonian

    def truth(state: State) -> Float[Array, " some"]:
        energy = jnp.asarray(hamiltonian(state))[None]
        return energy if known is None else jnp.concatenate([energy, known(state)])

    true = _jacobians(truth, frame.points) * frame.sizes
    _, values, basis = np.linalg.svd(true, full_matrices=False)
    basis = basis * (values > INDEPENDENT * values[:, :1])[:, :, None]
    inside = np.einsum("pki,pri->pkr", frame.gradients, basis)
    whole = np.maximum(np.sum(frame.gradients**2, axis=(0, 2)), np.finfo(float).tiny)
    return np.minimum(1.0, np.sqrt(np.sum(inside**2, axis=(0, 2)) / whole)).tolist()


def _jacobians(
    function: Function, points: Float[np.ndarray, "points dim"]
) -> Float[np.ndarray, "points K dim"]:
    with jax.enable_x64(True):
        return np.asarray(jax.jit(jax.vmap(jax.jacobian(function)))(jnp.asarray(points, jnp.float64)))


def _drifts(
    frame: Gradients,
    tested: Trajectories,
    failed: dict[str, str],
    noise_variance: float | Float[np.ndarray, " dim"] | None,
) -> list[tuple[float | None, float | None]]:
    """Change along trajectories, and its limit, of each combination."""
    scale, count = frame.fitted.problem.scale, len(frame.strengths)
    symbols = [sympy.Symbol(name) for name in tested.names]
    unit = np.where(frame.strengths > 0, frame.strengths, 1.0)

    def values(state: State) -> Float[Array, " K"]:
        own = (state - jnp.asarray(scale.shifts)) / jnp.asarray(scale.scales)
        return jnp.asarray(frame.turn / unit[:, None]) @ frame.function(own)

    made = FunctionDictionary(
        family="learned",
        variables=tested.names,
        terms=tuple(Term(f"C{k}", sympy.Function(f"C{k}")(*symbols)) for k in range(1, count + 1)),
        function=values,
    )
    try:
        space = conserved_space(tested, np.eye(count), noise_variance=noise_variance, dictionary=made)
        changes = [space.drift.change(row) for row in space.motion.rows(np.eye(count))]
        return [(change.change, change.hidden) for change in changes]
    except (ValueError, np.linalg.LinAlgError) as error:
        failed["drift of learned quantities"] = str(error)
        return [(None, None)] * count


def _formulas(
    fitted: Fitted, frame: Gradients, exact: bool, failed: dict[str, str]
) -> tuple[tuple[LearnedFormula, ...], int]:
    """Formulas for the strong directions, and among how many terms."""
    problem = fitted.problem
    try:
        dictionary = family_terms(problem.options.symmetry, problem.measured)
        points = problem.scale.states_back(frame.points)
        usable = dictionary.usable(points, np.ones(points.shape[1], bool), problem.measured.periods)
        kept = np.flatnonzero(usable)
        by_each = [dictionary.slopes(points, i)[:, kept] for i in range(points.shape[1])]
        slopes = np.stack(by_each, axis=2) * (frame.sizes * problem.scale.scales)
        grades = np.array(dictionary.grades)[kept]
        strong = frame.gradients[:, : frame.strong]
        found = distilled(slopes, strong, frame.strong, grades, linear=exact)
    except (ValueError, np.linalg.LinAlgError) as error:
        failed["formulas of learned quantities"] = str(error)
        return (), 0
    return tuple(_written(one, dictionary, kept, slopes) for one in found), len(kept)


def _written(
    found: Distilled, dictionary: Dictionary, kept: np.ndarray, slopes: Float[np.ndarray, "points M dim"]
) -> LearnedFormula:
    """The formula without parts that matter little."""
    sizes = np.abs(found.row) * np.sqrt(np.mean(np.sum(slopes**2, axis=2), axis=0))
    used = np.flatnonzero(sizes > FLOWS * sizes.max())
    first = found.row[used[int(np.argmax(np.abs(found.row[used])))]]
    parts = {dictionary.terms[kept[k]].name: float(found.row[k] / first) for k in used.tolist()}
    text = " ".join(f"{'-' if c < 0 else '+'} {_times(abs(c))}{name}" for name, c in parts.items())
    return LearnedFormula(text.removeprefix("+ "), parts, found.off)


def _times(coefficient: float) -> str:
    rounded = f"{coefficient:.3g}"
    return "" if rounded == "1" else f"{rounded}*"
