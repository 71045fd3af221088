"""Fits with no symmetry, with one built in exactly, and with one that may be broken."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int

from .features import Features, LinearFeatures, Richer
from .prior import FLOOR, Prior
from .questions import Question
from .quotients import Averaged
from .shooting import Begin, Fit, FitError, LinearModel, Problem, evaluate, fit
from .start import weak_start
from .sums import Sum

FRICTION = 1e-4
"""Where the prior variance of the friction begins."""
NEW = 1e-6
"""The same for groups of features that a richer dictionary adds."""
SHORT = 8
"""Rows of segments at which a model begins that falls short with whole trajectories."""
ACCURATE, FINEST = 0.01, 16
"""R.m.s. error of the integrator over the noise that does not matter, and how often steps are halved."""
MOST_POINTS = 1000
"""States at which brackets are taken."""
VANISHES = 1e-6
"""Singular values of gradients below this share of the largest belong to combinations that are constant."""
NEITHER = "its flow is neither a shift nor periodic, so it cannot be built in exactly on these features"


@dataclass(frozen=True, eq=False)
class Comparison:
    """A problem with its fit without symmetry, which all others begin at."""

    problem: Problem
    none: Fit

    @property
    def features(self) -> Features:
        """The dictionary of H. Raises TypeError where its brackets are not known."""
        if not isinstance(features := self.problem.features, Features):
            raise TypeError(f"brackets of {features.name} are not known")
        return features

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        """The groups of the features, and of the friction."""
        return with_friction(self.problem.features.groups)

    @classmethod
    def of(
        cls,
        problem: Problem,
        segments: Sequence[tuple[np.ndarray, np.ndarray]],
        expected: Float[np.ndarray, " dim"] | None = None,
    ) -> "Comparison":
        """From the times and states of the trajectories, with which the fit begins. Raises `FitError`; early
        where residuals are far above noise of the `expected` variances, 0 for what is not known.
        """
        start = weak_start(problem.features, segments, exact=problem.exact)
        states, noise = first_guess(problem, start.smoothed)
        model = no_symmetry(problem)
        z, variances = np.append(start.coefficients, 0.0), np.append(start.variances, FRICTION)
        none = fit(problem, model, Begin(z, states, variances, noise), expected=expected)
        return cls(problem, none).accurate()

    def accurate(self) -> "Comparison":
        """The same with steps so small that their error is nothing beside the noise; a fit that did not
        converge gets none, for nothing is made of it. Raises `FitError`.
        """
        problem, none = self.problem, self.none
        if not none.converged:
            return self
        rows, panels = problem.rows(problem.times.shape[1]), problem.panels
        at = none.states
        while panels < FINEST * problem.panels:
            finer = evaluate(problem, rows, none.parameters, none.point, 2 * panels).states
            off = np.sqrt(np.mean((finer - at) ** 2 / none.point.noise))
            if not np.isfinite(off) or off < ACCURATE:
                break
            panels, at = 2 * panels, finer
        if panels == problem.panels:
            return self
        problem = replace(problem, panels=panels)
        begin = Begin(none.point.z, none.states, none.point.variances, none.point.noise)
        again = fit(problem, none.model, begin, lengths=[problem.times.shape[1]])
        return Comparison(problem, again._replace(stages=none.stages))

    def parts(self, question: Question) -> tuple[Float[np.ndarray, "P Z"], ...]:
        """What a symmetry leaves of the coefficients, and what it forbids: see `Question.parts`."""
        return question.parts(self.problem.features, self.problem.some_states(MOST_POINTS))

    def exact(self, question: Question) -> Fit:
        """With {C_k, H} = 0 for all of the quantities. Raises `FitError`."""
        if (features := self._averaged(question)) is not None:
            problem = replace(self.problem, features=features)
            return self._search(problem, self.none.model, self.none.point.z, self.none.point.variances)
        basis = _with_friction(self.parts(question)[0])
        model = LinearModel.of(basis, Prior.of(basis, self.groups))
        z = basis.T @ self.none.parameters
        return self._search(self.problem, model, z, self._variances(model.prior))

    def removed(self, question: Question) -> int:
        """Coefficients that the symmetry removes."""
        states, features = self.problem.some_states(MOST_POINTS), self._averaged(question)
        if features is None:
            return self.problem.features.size - self.parts(question)[0].shape[1]
        ranks = [
            np.linalg.matrix_rank(one.gradients(states).reshape(-1, one.size), VANISHES)
            for one in (self.problem.features, features)
        ]
        return int(ranks[0] - ranks[1])

    def approximate(self, question: Question) -> Fit:
        """With prior variances of their own for what the quantities forbid. Raises `FitError`."""
        if (features := self._averaged(question)) is not None:
            return self._nearly(features)
        kept, *broken = self.parts(question)
        bases = [_with_friction(kept), *(np.pad(basis, ((0, 1), (0, 0))) for basis in broken)]
        basis = np.concatenate(bases, axis=1)
        parts = [k for k, one in enumerate(bases) for _ in range(one.shape[1])]
        model = LinearModel.of(basis, Prior.of(basis, self.groups, parts))
        z = np.linalg.solve(basis, self.none.parameters)
        variances = self._variances(model.prior)
        for k, (_, part) in enumerate(model.prior.labels):
            if part:
                square = model.prior.squares[k]
                variances[k] = max(float(z @ square @ z) / np.trace(square), FLOOR)
        return self._search(self.problem, model, z, variances, staged=False)

    def _averaged(self, question: Question) -> LinearFeatures | None:
        """The features with the symmetry built in, where that is no condition on their coefficients. Raises
        `FitError` where it cannot be.
        """
        if not self.problem.features.averaged:
            return None
        if (maps := question.maps()) is None:
            raise FitError(NEITHER)
        return Averaged.of(self.problem.features, maps)

    def builds_in(self, question: Question) -> bool:
        """Whether there are Hamiltonians of these features with {C_k, H} = 0, and it is known which."""
        return not self.problem.features.averaged or question.maps() is not None

    def _nearly(self, averaged: LinearFeatures) -> Fit:
        """H = c . averages + d . (features - averages), with prior variances of c and of d."""
        features = self.problem.features
        count, one = features.size, np.eye(features.size)
        basis = np.zeros((2 * count + 1, 2 * count + 1))
        basis[:-1, :-1] = np.block([[one, -one], [np.zeros_like(one), one]])
        basis[-1, -1] = 1.0
        groups = np.concatenate([features.groups, features.groups, self.groups[-1:]])
        parts = [0] * count + [1] * count + [0]
        prior = Prior.of(np.eye(len(groups)), groups, parts)
        c = self.none.parameters[:-1]
        z = np.concatenate([c, c, self.none.parameters[-1:]])
        problem = replace(self.problem, features=Sum.of(averaged, features))
        return self._search(problem, LinearModel.of(basis, prior), z, self._variances(prior), staged=False)

    def without_friction(self) -> Fit:
        """No symmetry, and friction 0. Raises `FitError`."""
        basis = np.eye(self.problem.size)[:, :-1]
        model = LinearModel.of(basis, Prior.of(basis, self.groups))
        variances = self._variances(model.prior)
        return self._search(self.problem, model, self.none.parameters[:-1], variances)

    def again(self, found: Fit, seed: int, apart: float) -> Fit:
        """The same as `found`, searched for from so many posterior standard deviations away. Raises
        `FitError`.
        """
        draws = np.random.default_rng(seed)
        model, point = found.model, found.point
        precision = found.information + model.prior.precision(point.variances)
        off = np.linalg.solve(np.linalg.cholesky(precision).T, draws.normal(size=len(point.z)))
        variances = np.maximum(point.variances * np.exp(2 * draws.normal(size=len(point.variances))), 1e-9)
        z, noise = point.z + apart * off, 2 * point.noise
        whole = [self.problem.times.shape[1]]
        return fit(found.problem, model, Begin(z, found.states, variances, noise), lengths=whole)

    def _variances(self, prior: Prior) -> Float[np.ndarray, " groups"]:
        known = {group: k for k, (group, _) in enumerate(self.none.model.prior.labels)}
        return np.array([self.none.point.variances[known[group]] for group, _ in prior.labels])

    def _search(
        self,
        problem: Problem,
        model: LinearModel,
        z: np.ndarray,
        variances: np.ndarray,
        *,
        staged: bool = True,
    ) -> Fit:
        """From the trajectories without symmetry; where that falls short of them, by way of short segments.

        What is far behind at those too is wrong, and its best trajectories are not looked for.
        """
        none, whole = self.none, problem.times.shape[1]
        begin = Begin(z, none.states, variances, none.point.noise)
        rivals = {length: stage.log_evidence for length, stage in none.stages.items()}
        found = None
        try:
            found = fit(problem, model, begin, lengths=[whole], rivals=rivals)
        except FitError:
            if not staged:
                raise
        if not staged or (found is not None and found.log_evidence > none.log_evidence):
            assert found is not None
            return found
        short = [length for length in problem.lengths if length >= SHORT] or [whole]
        try:
            longer = fit(problem, model, begin, lengths=short, rivals=rivals)
        except FitError:
            if found is None:
                raise
            return found
        return longer if found is None or longer.log_evidence > found.log_evidence else found


def widened(comparison: Comparison, richer: Richer) -> Comparison:
    """The same with a richer dictionary, of the same trajectories. Raises `FitError`."""
    none, old = comparison.none, comparison.problem.features
    problem = replace(comparison.problem, features=richer.features)
    model = no_symmetry(problem)
    z = np.zeros(problem.size)
    z[np.append(richer.places, problem.size - 1)] = none.parameters
    known = none.point.variances
    variances = np.full(model.prior.count, NEW)
    variances[richer.features.groups[richer.places]] = known[old.groups]
    variances[-1] = known[-1]
    lengths = [problem.times.shape[1]]
    begin = Begin(z, none.states, variances, none.point.noise)
    return Comparison(problem, fit(problem, model, begin, lengths=lengths))


def staged(comparison: Comparison) -> Comparison:
    """The same by way of short segments, whose trajectories leave those of a poorer dictionary behind, and
    whose evidence others are compared with.
    """
    problem, none = comparison.problem, comparison.none
    begin = Begin(none.point.z, none.states, none.point.variances, none.point.noise)
    lengths = [length for length in problem.lengths if length >= SHORT] or problem.lengths[-1:]
    try:
        found = fit(problem, none.model, begin, lengths=lengths)
    except FitError:
        return comparison
    best = found if found.log_evidence > none.log_evidence else none
    return Comparison(problem, best._replace(stages=found.stages))


def no_symmetry(problem: Problem) -> LinearModel:
    """All coefficients and the friction free."""
    every = np.eye(problem.size)
    return LinearModel.of(every, Prior.of(every, with_friction(problem.features.groups)))


def with_friction(groups: Int[np.ndarray, " P"]) -> Int[np.ndarray, " P1"]:
    """Groups of parameters, of which the friction is the last."""
    return np.append(groups, groups.max() + 1)


def _with_friction(basis: Float[np.ndarray, "P Z"]) -> Float[np.ndarray, "P1 Z1"]:
    """A basis of coefficients, with the friction as one more."""
    found = np.pad(basis, ((0, 1), (0, 1)))
    found[-1, -1] = 1.0
    return found


def first_guess(
    problem: Problem, smoothed: Sequence[Float[np.ndarray, "_ dim"]]
) -> tuple[Float[np.ndarray, "B K dim"], Float[np.ndarray, " dim"]]:
    """States at all rows, and the noise, before the first fit."""
    if problem.exact:
        square = np.mean((problem.measured[:, 1] - problem.measured[:, 0]) ** 2, axis=0)
        return problem.measured, np.maximum(0.01 * square, 1e-12)
    states = problem.measured.copy()
    for row, smooth in enumerate(smoothed):
        states[row, : len(smooth)] = smooth
    left = np.einsum("bkd,bk->d", (states - problem.measured) ** 2, problem.seen) / problem.count
    spread = np.einsum("bkd,bk->d", problem.measured**2, problem.seen) / problem.count
    return states, np.maximum(2 * left, 1e-8 * spread.max())
