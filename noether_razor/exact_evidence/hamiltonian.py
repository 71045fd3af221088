"""The Hamiltonian as a formula: the terms that the data need, with errors, and where it leads."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.integrate import solve_ivp

from ..invariants.simple_numbers import with_error
from ..scaling import PhaseScale
from ..trajectories import CanonicalMap, Trajectories
from ..typing import Hamiltonian, Scalar, State
from .built_in import Comparison
from .features import Features
from .prior import Prior, covariance_root
from .shooting import Begin, Fit, FitError, LinearModel, fit, responses
from .space import NEEDED, pruned
from .terms import Terms

MOST_PRINTED = 10
"""Terms of a printed formula."""
MOST_STORED = 60
"""Terms of which the covariance is written to files."""
ACCURACY = 1e-9
"""Of rollouts, relative and in units of the spread of the data."""


class HamiltonianTerm(NamedTuple):
    """A monomial as it is written, q1^2*q2, its coefficient in the units of the data, and the posterior
    standard deviation of that.
    """

    text: str
    coefficient: float
    error: float


class Rollouts(NamedTuple):
    """Trajectories from initial states at times (time,), in the units of the data: `states` by the mean
    coefficients, `samples` by draws of their posterior.
    """

    times: Float[np.ndarray, " time"]
    states: Float[np.ndarray, "batch time dim"]
    samples: Float[np.ndarray, "samples batch time dim"]

    def band(self, share: float = 0.9) -> Float[np.ndarray, "two batch time dim"]:
        """The edges of the middle `share` of the samples, the lower first. Raises ValueError without any."""
        if not len(self.samples):
            raise ValueError("a band needs samples, ask predict for some: samples=100")
        return np.quantile(self.samples, [(1 - share) / 2, (1 + share) / 2], axis=0)


@dataclass(frozen=True, eq=False, repr=False)
class ReadableHamiltonian:
    """H(x) = sum_k c_k phi_k(x - origin), in the units of the data (action over time), up to a constant, and
    friction p' = .. - friction p.

    functions: the K phi_k, of weight 1. coefficients (K,); covariance (K, K) of their posterior, or (K + 1,
    K + 1) with the friction as the last where the data show one; None where it was not kept. contributions
    (K,): r.m.s. of each term's force over the data, over that of H. origin, scales (2n,): of the coordinates
    of the fit. dictionary: terms that there were to choose from. gain: log evidence of these terms alone less
    that of all, in nats; 0 where all of the needed groups are kept.
    """

    names: tuple[str, ...]
    functions: Terms
    coefficients: Float[np.ndarray, " K"]
    covariance: Float[np.ndarray, "K1 K1"] | None
    errors: Float[np.ndarray, " K"]
    contributions: Float[np.ndarray, " K"]
    friction: float
    origin: Float[np.ndarray, " dim"]
    scales: Float[np.ndarray, " dim"]
    dictionary: int
    gain: float

    @property
    def terms(self) -> tuple[HamiltonianTerm, ...]:
        """The terms with their errors: those of momenta alone first, then by degree."""
        written = (self._written(k) for k in range(len(self.coefficients)))
        parts = zip(written, self.coefficients.tolist(), self.errors.tolist(), strict=True)
        return tuple(HamiltonianTerm(*part) for part in parts)

    def text(self, most: int = MOST_PRINTED) -> str:
        """As 0.501(2) p1^2 + 0.499(3) q1^2: the digits in brackets are the error of the last ones. Of more
        than `most` terms those that move the data most.
        """
        every = self.terms
        largest = set(np.argsort(-self.contributions, kind="stable")[:most].tolist())
        shown = [term for k, term in enumerate(every) if k in largest]
        written = ""
        for term in shown:
            sign = "-" if term.coefficient < 0 else "+"
            size = f"{with_error(abs(term.coefficient), term.error)} {term.text}"
            written += f" {sign} {size}" if written else ("-" if sign == "-" else "") + size
        left = len(every) - len(shown)
        return (written or "0") + (f" + {left} smaller {'term' if left == 1 else 'terms'}" if left else "")

    def values(self, states: Float[np.ndarray, "*batch dim"]) -> Float[np.ndarray, "*batch"]:
        """H at states in the units of the data."""
        return self.functions.values(np.asarray(states) - self.origin) @ self.coefficients

    def function(self) -> Hamiltonian:
        """H as a differentiable function of a state in the units of the data."""
        exponents, frequencies, phases, weights = self.functions

        def hamiltonian(state: State) -> Scalar:
            y = state - jnp.asarray(self.origin, state.dtype)
            # Whole powers by products: they are right below 0, and so are their derivatives at 0.
            factors = [jnp.stack([y[i] ** int(e) for e in row.tolist()]) for i, row in enumerate(exponents.T)]
            waves = jnp.cos(jnp.asarray(frequencies, state.dtype) @ y - jnp.asarray(phases, state.dtype))
            terms = jnp.prod(jnp.stack(factors), axis=0) * waves
            return jnp.asarray(self.coefficients * weights, state.dtype) @ terms

        return hamiltonian

    def predict(
        self,
        states: Float[np.ndarray, "batch dim"],
        times: Sequence[float] | Float[np.ndarray, " time"] | range,
        *,
        samples: int = 0,
        seed: int = 0,
    ) -> Rollouts:
        """Trajectories from `states` (batch, 2n) through increasing `times`, of which the first is that of
        these states, all in the units of the data; and as many `samples` of the posterior of coefficients.

        By the method of Dormand and Prince of order 8, its errors below 1e-9 of the spread of the data.
        Raises ValueError for shapes that do not fit, FloatingPointError where H sends a trajectory to
        infinity.
        """
        first, clock = np.asarray(states, np.float64), np.asarray(times, np.float64)
        dim = len(self.names)
        if first.ndim != 2 or first.shape[1] != dim or not np.isfinite(first).all():
            raise ValueError(f"states must be finite and of shape (batch, {dim}), got {first.shape}")
        if clock.ndim != 1 or not len(clock) or not (np.diff(clock) > 0).all():
            raise ValueError(f"times must be (time,), at least one and increasing, got {clock.tolist()}")
        middle = np.append(self.coefficients, self.friction)
        paths = self._followed(middle[None], first, clock)[0]
        draws = self._draws(samples, seed)
        return Rollouts(clock, paths, self._followed(draws, first, clock))

    def _draws(self, samples: int, seed: int) -> Float[np.ndarray, "samples K1"]:
        """Coefficients and friction."""
        middle = np.append(self.coefficients, self.friction)
        found = np.tile(middle, (samples, 1))
        if not samples:
            return found
        if self.covariance is None:
            raise ValueError("the covariance of so many terms is not kept in files, fit the data again")
        size = len(self.covariance)
        unit = np.sqrt(np.maximum(np.diag(self.covariance), np.finfo(float).tiny))
        root = unit[:, None] * covariance_root(self.covariance / unit / unit[:, None])
        found[:, :size] += np.random.default_rng(seed).normal(size=(samples, size)) @ root.T
        return found

    def _followed(
        self,
        parameters: Float[np.ndarray, "draws K1"],
        states: Float[np.ndarray, "batch dim"],
        times: Float[np.ndarray, " time"],
    ) -> Float[np.ndarray, "draws batch time dim"]:
        """In coordinates z = (x - origin) / scales, where z' = J grad H / action - friction (0, p / s_p)."""
        dof, dim = states.shape[1] // 2, states.shape[1]
        shape = (len(parameters), len(states), dim)
        if not parameters.size or not states.size or len(times) == 1:
            return np.broadcast_to(states[:, None], (*shape[:2], len(times), dim)).copy()
        functions = self.functions.in_units(1 / self.scales)
        by_action = parameters[:, :-1] / (self.scales[0] * self.scales[dof])
        rest = self.origin[dof:] / self.scales[dof:]

        def field(_: float, flat: np.ndarray) -> np.ndarray:
            z = flat.reshape(shape)
            gradient = np.einsum("sbik,sk->sbi", functions.slopes(z), by_action, optimize=True)
            change = np.concatenate([gradient[:, :, dof:], -gradient[:, :, :dof]], axis=2)
            change[:, :, dof:] -= parameters[:, -1, None, None] * (z[:, :, dof:] + rest)
            return change.reshape(-1)

        begin = np.broadcast_to((states - self.origin) / self.scales, shape).reshape(-1)
        span = (float(times[0]), float(times[-1]))
        with np.errstate(over="ignore", invalid="ignore"):
            found = solve_ivp(field, span, begin, "DOP853", t_eval=times, rtol=ACCURACY, atol=ACCURACY)
        if not found.success or not np.isfinite(found.y).all():
            raise FloatingPointError(
                f"a trajectory of this Hamiltonian goes to infinity after the time {found.t[-1]:.6g}"
            )
        paths = found.y.reshape(*shape, len(times)).transpose(0, 1, 3, 2)
        return paths * self.scales + self.origin

    def _written(self, number: int) -> str:
        variables = [
            f"({name} {'-' if at > 0 else '+'} {abs(at):.6g})" if at else name
            for name, at in zip(self.names, self.origin.tolist(), strict=True)
        ]
        return self.functions.written(number, variables)

    def __repr__(self) -> str:
        return f"ReadableHamiltonian({self.text(6)})"

    def to_json(self) -> dict[str, Any]:
        """The "hamiltonian" of the exact evidence in symmetry.json."""
        stored = self.covariance is not None and len(self.coefficients) <= MOST_STORED
        functions = zip(*(part.tolist() for part in self.functions[:3]), strict=True)
        terms = [
            {**term._asdict(), "contribution": share, **dict(zip(Terms._fields, function, strict=False))}
            for term, share, function in zip(self.terms, self.contributions.tolist(), functions, strict=True)
        ]
        return {
            "text": self.text(),
            "names": list(self.names),
            "terms": terms,
            "covariance": self.covariance.tolist() if stored and self.covariance is not None else None,
            "friction": self.friction,
            "origin": self.origin.tolist(),
            "scales": self.scales.tolist(),
            "dictionary": self.dictionary,
            "gain": self.gain,
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> "ReadableHamiltonian":
        """From what `to_json` gives."""
        terms, shape = entry["terms"], (len(entry["terms"]), len(entry["names"]))
        covariance = entry["covariance"]
        functions = Terms(
            np.array([term["exponents"] for term in terms], int).reshape(shape),
            np.array([term["frequencies"] for term in terms], float).reshape(shape),
            np.array([term["phases"] for term in terms], float),
            np.ones(len(terms)),
        )
        return cls(
            names=tuple(entry["names"]),
            functions=functions,
            coefficients=np.array([term["coefficient"] for term in terms], float),
            covariance=None if covariance is None else np.array(covariance, float),
            errors=np.array([term["error"] for term in terms], float),
            contributions=np.array([term["contribution"] for term in terms], float),
            friction=entry["friction"],
            origin=np.array(entry["origin"], float),
            scales=np.array(entry["scales"], float),
            dictionary=entry["dictionary"],
            gain=entry["gain"],
        )


def readable_hamiltonian(
    comparison: Comparison,
    scale: PhaseScale,
    data: Trajectories,
    *,
    friction: bool,
    made: CanonicalMap | None = None,
) -> ReadableHamiltonian | None:
    """The Hamiltonian of scaled trajectories `data` with the terms that they need, in the units of `scale`;
    None where the dictionary has no formulas. `made` says how the coordinates were made of columns: the
    errors count how uncertain that is.

    Terms are left out one by one, as long as the least needed is more probably zero (`needed_terms`); then
    those that stay are fitted again alone. Where that is less probable than all terms, all of the needed
    groups are kept. `friction`: whether the data show one; otherwise it is zero.
    """
    features, none = comparison.features, comparison.none
    functions = features.terms()
    if functions is None:
        return None
    mean, covariance, prior = pruned(features, none)
    prior = np.where(prior > NEEDED * prior.max(), prior, 0.0)
    kept = needed_terms(mean, covariance, prior)
    found, gain = fit_alone(comparison, kept, friction)
    if found is None or gain < 0:
        kept, gain = prior > 0, 0.0
        found = fit_alone(comparison, kept, friction)[0] or none
    parameters, covariance = found.parameters, found.covariance + covariance_by_map(found, scale, made)
    chosen = _reading_order(functions, np.flatnonzero(kept))
    every = np.append(chosen, features.size) if friction else chosen
    of_data = functions.in_units(scale.scales)
    factors = np.append(scale.energy * of_data.weights, 1 / scale.time)
    values = parameters * factors
    covariance = (covariance * factors * factors[:, None])[np.ix_(every, every)]
    return ReadableHamiltonian(
        names=data.names,
        functions=of_data._replace(weights=np.ones(features.size)).chosen(chosen),
        coefficients=values[chosen],
        covariance=covariance,
        errors=np.sqrt(np.diag(covariance))[: len(chosen)],
        contributions=_contributions(features, data, parameters[:-1])[chosen],
        friction=float(values[-1]) if friction else 0.0,
        origin=np.array(scale.shifts),
        scales=scale.scales,
        dictionary=features.size,
        gain=float(gain),
    )


def needed_terms(
    mean: Float[np.ndarray, " P"],
    covariance: Float[np.ndarray, "P P"],
    prior: Float[np.ndarray, " P"],
    choices: int | None = None,
) -> Bool[np.ndarray, " P"]:
    """Which coefficients with a normal posterior and prior variances (0: not wanted) are more probably not
    zero: the least needed is set to zero, and the others are conditioned on that, until none is left.

    The odds of zero are the ratio of posterior and prior density at zero (Savage and Dickey), times the
    number of terms that there were to choose from, `choices`, P where None: before, one of them is expected.
    """
    mean, covariance, kept = mean.copy(), covariance.copy(), prior > 0
    before = float(np.log(choices or len(mean)))
    while kept.any():
        own = np.flatnonzero(kept)
        variance = np.maximum(np.diag(covariance)[own], np.finfo(float).tiny)
        odds = before + (np.log(prior[own] / variance) - mean[own] ** 2 / variance) / 2
        worst = int(np.argmax(odds))
        if odds[worst] <= 0:
            break
        out = own[worst]
        kept[out] = False
        column = covariance[:, out] / variance[worst]
        mean = mean - column * mean[out]
        covariance = covariance - np.outer(column, covariance[out])
    return kept


def fit_alone(
    comparison: Comparison, kept: Bool[np.ndarray, " P"], friction: bool
) -> tuple[Fit | None, float]:
    """The fit of these terms alone, and its log evidence less that of all; None where there is no fit."""
    problem, none = comparison.problem, comparison.none
    basis = np.eye(problem.size)[:, np.append(kept, friction)]
    if not basis.shape[1]:
        return None, -np.inf
    prior = Prior.of(basis, comparison.groups)
    known = dict(zip(none.model.prior.labels, none.point.variances, strict=True))
    variances = np.array([known[label] for label in prior.labels])
    begin = Begin(basis.T @ none.parameters, none.states, variances, none.point.noise)
    try:
        found = fit(problem, LinearModel.of(basis, prior), begin, lengths=[problem.times.shape[1]])
    except FitError:
        return None, -np.inf
    return found, found.log_evidence - none.log_evidence


def covariance_by_map(found: Fit, scale: PhaseScale, made: CanonicalMap | None) -> Float[np.ndarray, "P P"]:
    """What the covariance of the parameters lacks where a map from columns with errors made the coordinates:
    masses that were found from the same data.
    """
    if made is None or not made.changes:
        return np.zeros((found.problem.size, found.problem.size))
    rows = made.rows(scale.states_back(found.problem.measured))
    by_axis = responses(found, [scale.states(moved.states(rows)) for moved in made.moved()])
    return by_axis.T @ by_axis


def _contributions(
    features: Features, data: Trajectories, coefficients: Float[np.ndarray, " P"]
) -> Float[np.ndarray, " P"]:
    """R.m.s. gradient of each term over scaled states, over that of H."""
    slopes = features.gradients(data.points()) * coefficients
    whole = np.sqrt(np.mean(np.sum(slopes.sum(axis=2) ** 2, axis=1)))
    return np.sqrt(np.mean(np.sum(slopes**2, axis=1), axis=0)) / max(whole, np.finfo(float).tiny)


def _reading_order(functions: Terms, chosen: Int[np.ndarray, " K"]) -> Int[np.ndarray, " K"]:
    """Terms of momenta alone, then by degree."""
    exponents, frequencies, _, _ = functions.chosen(chosen)
    dof = exponents.shape[1] // 2
    of_positions = exponents[:, :dof].any(axis=1) | frequencies.any(axis=1)
    return chosen[np.lexsort((chosen, exponents.sum(axis=1), of_positions))]
