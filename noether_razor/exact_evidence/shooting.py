"""Multiple shooting with unknown first states: the maximum of the posterior, and the evidence about it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float

from ..thinning import evenly
from ..trajectories import Trajectories
from .features import LinearFeatures
from .fields import PoissonStructure, VectorField, field_of
from .flow import Blocks, Compiled, Rows, normal_equations
from .prior import Prior, log_determinant

SHORTEST = 4
"""Rows of the shortest segments."""
LONGEST_STEP = 0.1
"""Scaled time that one step of RK4 may take."""
MOST_NUMBERS = 16_000_000
"""Sensitivities in memory at a time."""
FIRST_SPREAD = 4.0
"""Prior standard deviation of first states over the largest r.m.s. of a column."""
LEAST_NOISE = 1e-10
"""The least noise variance in scaled coordinates: simulated files are no more accurate, nor is RK4."""
SETTLED = 0.02
"""Nats by which the evidence may still move where a fit has converged."""
MOST_STEPS = 40
"""Steps with whole trajectories."""
WORTH = 0.1
"""Nats from which a group of coefficients that was given up is taken up again."""
ROUGHLY = 1.0
"""The same at segments that are only a start for longer ones."""
ROUGH_STEPS = 8
"""Steps at such segments."""
HOPELESS, SLOW = 100.0, 0.1
"""Nats below another fit, and the share of them gained in a step, from which a fit is given up as it is."""
FAR_ABOVE = 2.0
"""Residuals over the noise from which a fit is given up at short segments."""
MOST_DAMPING = 1e8
LARGEST = 1e60
"""Information on a coefficient that only trajectories which escape have."""


class FitError(FloatingPointError):
    """No finite trajectories were found, or none that come near those of another fit: `behind` nats."""

    def __init__(self, message: str, behind: float = np.inf):
        super().__init__(message)
        self.behind = behind


class Stage(NamedTuple):
    """Noise variances and log evidence with segments of one length."""

    noise: Float[np.ndarray, " dim"]
    log_evidence: float


@dataclass(frozen=True, eq=False)
class Problem:
    """Scaled trajectories, padded to one length, and how H(x) = phi(x)^T c is fitted to them.

    times (B, K), measured (B, K, dim); seen (B, K): 1 at measured rows, else 0. rest (dof,) is the scaled
    momentum of the origin, from the momentum that is zero in the units of the data. exact: the first state of
    each trajectory is known, and not among `seen`. structure: the Poisson matrix, None for that of canonical
    coordinates.
    """

    features: LinearFeatures
    times: Float[np.ndarray, "B K"]
    measured: Float[np.ndarray, "B K dim"]
    seen: Float[np.ndarray, "B K"]
    rest: Float[np.ndarray, " rubbed"]
    exact: bool
    panels: int
    structure: PoissonStructure | None = None

    @classmethod
    def of(
        cls, features: LinearFeatures, data: Trajectories, rest: Float[np.ndarray, " rubbed"]
    ) -> "Problem":
        """That of scaled trajectories; where they have targets, states are exact, and each transition is a
        trajectory of its own.
        """
        if data.targets is None:
            times, measured = data.times, data.states
            seen = data.present().astype(float)
        else:
            pairs = data.transitions()
            times = np.stack([np.zeros(pairs.size), np.asarray(pairs.dt)], axis=1)
            measured = np.stack([np.asarray(pairs.states), np.asarray(pairs.targets)], axis=1)
            seen = np.tile([0.0, 1.0], (pairs.size, 1))
        steps = np.diff(times, axis=1)
        panels = max(1, int(np.ceil(np.quantile(steps, 0.95) / (2 * LONGEST_STEP) - 1e-9)))
        return cls(features, times, measured, seen, rest, data.targets is not None, panels)

    @property
    def dim(self) -> int:
        """Coordinates of a state."""
        return self.measured.shape[2]

    @property
    def field(self) -> VectorField:
        """How states move."""
        return field_of(self.features, self.structure)

    @property
    def size(self) -> int:
        """Parameters: the coefficients of H, those of the Poisson matrix, and the friction."""
        return self.field.size

    @cached_property
    def count(self) -> int:
        """Measured numbers of one column."""
        return int(self.seen.sum())

    @cached_property
    def first_variance(self) -> float:
        """The prior variance of first states."""
        squares = np.einsum("bkd,bk->d", self.measured**2, self.seen) / self.count
        return FIRST_SPREAD**2 * float(squares.max())

    @cached_property
    def chunk(self) -> int:
        """Trajectories in memory at a time; `padding` makes their number a multiple of it."""
        one = self.measured.shape[1] * self.dim * (self.dim + self.size)
        most = max(1, MOST_NUMBERS // one)
        parts = -(-len(self.times) // most)
        return -(-len(self.times) // parts)

    @property
    def padding(self) -> int:
        """Empty trajectories that are added at the end."""
        return -len(self.times) % self.chunk

    @property
    def most_segments(self) -> int:
        """The number of shortest segments of a trajectory."""
        return -(-self.times.shape[1] // SHORTEST)

    @property
    def lengths(self) -> list[int]:
        """Rows of segments, stage by stage; the last are whole trajectories."""
        whole = self.times.shape[1]
        return [length for length in (SHORTEST, 8, 17) if length < whole] + [whole]

    def rows(self, length: int, seen: Float[np.ndarray, "B K"] | None = None) -> Rows:
        """Segments of `length` rows; `seen` in place of the problem's leaves some out."""
        number = np.arange(self.times.shape[1])
        steps = np.diff(self.times, axis=1, prepend=self.times[:, :1])
        own = Rows(
            steps=steps,
            begins=np.broadcast_to(number % length == 0, steps.shape),
            segment=np.broadcast_to(number // length, steps.shape),
            measured=self.measured,
            seen=self.seen if seen is None else seen,
        )
        return Rows(*(np.pad(x, [(0, self.padding)] + [(0, 0)] * (x.ndim - 1)) for x in own))

    def firsts(self, states: Float[np.ndarray, "B K dim"], length: int) -> Float[np.ndarray, "B M dim"]:
        """First states of segments from states at all rows; 0 for segments that there are not."""
        found = np.zeros((len(self.times), self.most_segments, self.dim))
        begin = states[:, ::length]
        found[:, : begin.shape[1]] = begin
        return found

    def some_states(self, most: int) -> Float[np.ndarray, "rows dim"]:
        """At most so many measured states, spread evenly over all."""
        seen = self.measured[:, 0] if self.exact else self.measured[self.seen > 0]
        return seen[evenly(len(seen), most)]

    def present(self, length: int) -> int:
        """Segments of a trajectory."""
        return -(-self.times.shape[1] // length)


class LinearModel(NamedTuple):
    """Parameters of the field = offset + basis z with a prior of z."""

    basis: Float[np.ndarray, "P Z"]
    prior: Prior
    offset: Float[np.ndarray, " P"]

    @classmethod
    def of(cls, basis: Float[np.ndarray, "P Z"], prior: Prior) -> "LinearModel":
        """Without an offset."""
        return cls(basis, prior, np.zeros(len(basis)))

    def parameters(self, z: Float[np.ndarray, " Z"]) -> Float[np.ndarray, " P"]:
        """c and friction."""
        return self.offset + self.basis @ z


class Point(NamedTuple):
    """Where a fit stands: z, first states of segments, prior variances and noise variances of columns."""

    z: Float[np.ndarray, " Z"]
    firsts: Float[np.ndarray, "B M dim"]
    variances: Float[np.ndarray, " groups"]
    noise: Float[np.ndarray, " dim"]


class Begin(NamedTuple):
    """Where a fit begins: z, states at all rows, prior variances and noise variances."""

    z: Float[np.ndarray, " Z"]
    states: Float[np.ndarray, "B K dim"]
    variances: Float[np.ndarray, " groups"]
    noise: Float[np.ndarray, " dim"]


class Fit(NamedTuple):
    """The maximum of a posterior, its log evidence by Laplace's approximation, and the information (Z, Z) of
    the data on z with first states integrated out; the states at all rows; the rows of a segment, and what
    shorter ones gave.
    """

    problem: Problem
    model: LinearModel
    point: Point
    log_evidence: float
    information: Float[np.ndarray, "Z Z"]
    states: Float[np.ndarray, "B K dim"]
    converged: bool
    iterations: int
    length: int
    stages: Mapping[int, Stage]

    @property
    def parameters(self) -> Float[np.ndarray, " P"]:
        """c and friction."""
        return self.model.parameters(self.point.z)

    @property
    def covariance(self) -> Float[np.ndarray, "P P"]:
        """Of the posterior of c and friction."""
        precision = self.information + self.model.prior.precision(self.point.variances)
        half = np.linalg.solve(np.linalg.cholesky(precision), self.model.basis.T)
        return half.T @ half


class _Reduced(NamedTuple):
    """The normal equations of z alone, and what gives the first states back."""

    information: Float[np.ndarray, "Z Z"]
    gradient: Float[np.ndarray, " Z"]
    response: Float[np.ndarray, "B M dim Z"]
    own: Float[np.ndarray, "B M dim"]
    log_determinant: float


def evaluate(
    problem: Problem, rows: Rows, parameters: Float[np.ndarray, " P"], point: Point, panels: int | None = None
) -> Blocks:
    """The normal equations at a point, as arrays of numpy."""
    firsts = np.pad(point.firsts, ((0, problem.padding), (0, 0), (0, 0)))
    with jax.enable_x64(True):
        found = normal_equations(
            Compiled(problem.features.frame, problem.chunk, problem.structure),
            problem.features.tables,
            parameters,
            firsts,
            rows,
            1 / point.noise,
            problem.rest,
            np.asarray(panels or problem.panels),
        )
        found = Blocks(*map(np.asarray, found))
    count = len(problem.times)
    return Blocks(*found[:3], *(part[:count] for part in found[3:]))


def _reduce(
    problem: Problem, blocks: Blocks, model: LinearModel, point: Point, segments: int, damping: float = 0.0
) -> _Reduced:
    """First states eliminated, block by block."""
    basis = model.basis
    information, gradient = basis.T @ blocks.hcc @ basis, basis.T @ blocks.gc
    if problem.exact:
        none = np.zeros((*point.firsts.shape, 0))
        return _Reduced(information, gradient, none, np.zeros_like(point.firsts), 0.0)
    hxx = blocks.hxx[:, :segments] + np.eye(problem.dim) / problem.first_variance
    # First states without a seen row stay: their prior would lead them to where H may be singular.
    known = np.any(blocks.hxx[:, :segments] != 0, axis=(2, 3))[..., None]
    gx = np.where(known, blocks.gx[:, :segments] - point.firsts[:, :segments] / problem.first_variance, 0.0)
    volume = log_determinant(hxx * problem.first_variance)
    if damping:
        hxx = hxx + damping * np.einsum("bmii->bmi", hxx)[..., None] * np.eye(problem.dim)
    mixed = blocks.hxc[:, :segments] @ basis
    solved = np.linalg.solve(hxx, np.concatenate([mixed, gx[..., None]], axis=3))
    response, own = solved[..., :-1], solved[..., -1]
    flat = mixed.reshape(own.size, basis.shape[1])
    return _Reduced(
        information=information - flat.T @ response.reshape(flat.shape),
        gradient=gradient - flat.T @ own.reshape(-1),
        response=response,
        own=own,
        log_determinant=volume,
    )


def _objective(problem: Problem, model: LinearModel, point: Point, squares: np.ndarray) -> float:
    """Twice the negative log of the joint density, up to what the noise alone decides."""
    firsts = 0.0 if problem.exact else float(np.sum(point.firsts**2)) / problem.first_variance
    prior = point.z @ model.prior.precision(point.variances) @ point.z
    return float(squares @ (1 / point.noise)) + float(prior) + firsts


def _log_evidence(
    problem: Problem, model: LinearModel, point: Point, blocks: Blocks, reduced: _Reduced, count: int
) -> float:
    prior = model.prior
    total = _objective(problem, model, point, blocks.squares)
    total += count * float(np.log(2 * np.pi * point.noise).sum()) + reduced.log_determinant
    total += log_determinant(reduced.information + prior.precision(point.variances))
    return (prior.log_determinant(point.variances) - total) / 2


def _noise(
    problem: Problem, model: LinearModel, point: Point, blocks: Blocks, reduced: _Reduced, count: int
) -> Float[np.ndarray, " dim"]:
    """The fixed point sum R^2 / (N - gamma), the effective parameters shared evenly by the columns."""
    precision = model.prior.precision(point.variances)
    used = float(np.trace(np.linalg.solve(reduced.information + precision, reduced.information)))
    if not problem.exact:
        used += float(np.any(blocks.hxx != 0, axis=(2, 3)).sum()) * problem.dim
    left = max(count - used / problem.dim, 0.1 * count)
    return np.maximum(blocks.squares / left, LEAST_NOISE)


class _Search:
    """Levenberg-Marquardt steps at one length of segments, with the hyper-parameters between them."""

    def __init__(
        self,
        problem: Problem,
        model: LinearModel,
        length: int,
        seen: Float[np.ndarray, "B K"] | None,
        fixed: bool,
    ):
        self.problem, self.model, self.fixed, self.length = problem, model, fixed, length
        self.rows = problem.rows(length, seen)
        self.segments = problem.present(length)
        self.count = int(self.rows.seen.sum())
        self.whole = length == problem.times.shape[1]
        self.iterations = 0

    def at(self, point: Point) -> Blocks:
        parameters = self.model.parameters(point.z)
        blocks = evaluate(self.problem, self.rows, parameters, point)
        largest = np.abs(np.diag(blocks.hcc)).max(initial=0.0)
        if not (np.isfinite(blocks.squares).all() and largest < LARGEST):
            raise FitError("trajectories do not stay finite")
        return blocks

    def run(self, point: Point, most: int, tolerance: float, rival: float) -> Fit:
        problem, model = self.problem, self.model
        blocks, damping, last, settled = self.at(point), 0.0, -np.inf, False
        revive = self.whole and not self.fixed
        while True:
            reduced = _reduce(problem, blocks, model, point, self.segments)
            value = _log_evidence(problem, model, point, blocks, reduced, self.count)
            moved, last = abs(value - last), value
            done = settled and moved < tolerance
            behind = rival - value
            hopeless = behind > HOPELESS and moved < SLOW * behind
            if done and revive and not hopeless:
                revive = False
                before, point = point, self.revived(point, reduced)
                done = bool((before.variances == point.variances).all())
            if done or hopeless or self.iterations >= most:
                if behind > HOPELESS:
                    # Its noise may still be that of the other fit.
                    point = self.tuned(point, blocks, reduced)
                    other = _log_evidence(problem, model, point, blocks, reduced, self.count)
                    value = max(value, other)
                information, states = reduced.information, blocks.states
                return Fit(
                    problem, model, point, value, information, states, done, self.iterations, self.length, {}
                )
            self.iterations += 1
            if not self.fixed:
                point = self.tuned(point, blocks, reduced)
            point, blocks, damping, settled = self.step(point, blocks, damping)

    def revived(self, point: Point, reduced: _Reduced) -> Point:
        pull = reduced.information @ point.z + reduced.gradient
        found = self.model.prior.revived(point.variances, reduced.information, pull, WORTH)
        return point._replace(variances=found)

    def tuned(self, point: Point, blocks: Blocks, reduced: _Reduced) -> Point:
        pull = reduced.information @ point.z + reduced.gradient
        variances = self.model.prior.variances(point.variances, reduced.information, pull)
        point = point._replace(variances=variances)
        noise = _noise(self.problem, self.model, point, blocks, reduced, self.count)
        return point._replace(noise=noise)

    def step(self, point: Point, blocks: Blocks, damping: float) -> tuple[Point, Blocks, float, bool]:
        """The next point; whether the step was so small that the maximum is reached."""
        problem, model = self.problem, self.model
        before = _objective(problem, model, point, blocks.squares)
        precision = model.prior.precision(point.variances)
        while damping <= MOST_DAMPING:
            reduced = _reduce(problem, blocks, model, point, self.segments, damping)
            matrix = reduced.information + precision
            matrix = matrix + damping * np.diag(np.diag(matrix))
            gradient = reduced.gradient - precision @ point.z
            change = np.linalg.solve(matrix, gradient)
            trial = point._replace(z=point.z + change, firsts=self.moved(point.firsts, reduced, change))
            try:
                found = self.at(trial)
            except FitError:
                damping = max(10 * damping, 1e-3)
                continue
            after = _objective(problem, model, trial, found.squares)
            if after <= before + 1e-6 * abs(before) + 1e-3:
                small = abs(before - after) < SETTLED and damping <= 1e-3
                return trial, found, (damping / 10 if damping > 1e-6 else 0.0), small
            damping = max(10 * damping, 1e-3)
        return point, self.at(point), 1e-3, True

    def moved(
        self, firsts: Float[np.ndarray, "B M dim"], reduced: _Reduced, change: Float[np.ndarray, " Z"]
    ) -> Float[np.ndarray, "B M dim"]:
        if self.problem.exact:
            return firsts
        found = firsts.copy()
        found[:, : self.segments] += reduced.own - reduced.response @ change
        return found


def responses(found: Fit, measured: Sequence[Float[np.ndarray, "B K dim"]]) -> Float[np.ndarray, "changes P"]:
    """By how much the parameters change, to first order, when each of these states takes the place of those
    that were fitted; the hyper-parameters stay.
    """
    model, point = found.model, found.point
    precision = model.prior.precision(point.variances)
    steps = []
    for states in (found.problem.measured, *measured):
        problem = replace(found.problem, measured=states)
        blocks = evaluate(problem, problem.rows(found.length), found.parameters, point)
        reduced = _reduce(problem, blocks, model, point, problem.present(found.length))
        gradient = reduced.gradient - precision @ point.z
        steps.append(np.linalg.solve(reduced.information + precision, gradient))
    return (np.array(steps[1:]).reshape(-1, len(point.z)) - steps[0]) @ model.basis.T


def _above(noise: Float[np.ndarray, " dim"], expected: Float[np.ndarray, " dim"]) -> float:
    """R.m.s. residuals over those of noise that is known of some columns, 0 for none."""
    told = expected > 0
    return float(np.sqrt(np.mean(noise[told] / expected[told]))) if told.any() else 0.0


def fit(
    problem: Problem,
    model: LinearModel,
    begin: Begin,
    *,
    lengths: Sequence[int] = (),
    rivals: Mapping[int, float] | None = None,
    seen: Float[np.ndarray, "B K"] | None = None,
    fixed: bool = False,
    expected: Float[np.ndarray, " dim"] | None = None,
) -> Fit:
    """The maximum with whole trajectories, by segments of `lengths` rows that become longer; by default all
    of the problem's.

    `rivals` are log evidences of another fit by length: what stays far below them is given up before it
    converges. `seen` in place of the problem's leaves rows out. `fixed` keeps the hyper-parameters. Raises
    `FitError` where trajectories are not finite, or far behind at short segments; and where residuals at
    these are far above noise of the `expected` variances.
    """
    z, states, variances, noise = begin
    found: Fit | None = None
    stages: dict[int, Stage] = {}
    for length in lengths or problem.lengths:
        whole = length == problem.times.shape[1]
        search = _Search(problem, model, length, seen, fixed)
        point = Point(z, problem.firsts(states, length), variances, noise)
        rival = (rivals or {}).get(length, -np.inf)
        try:
            found = search.run(
                point, MOST_STEPS if whole else ROUGH_STEPS, SETTLED if whole else ROUGHLY, rival
            )
        except (FitError, np.linalg.LinAlgError) as error:
            if found is None:
                raise FitError(str(error)) from None
            continue
        if not whole and rival - found.log_evidence > HOPELESS:
            raise FitError("far behind at short segments", rival - found.log_evidence)
        if not whole and expected is not None and (above := _above(found.point.noise, expected)) > FAR_ABOVE:
            raise FitError(f"residuals of {length} rows are {above:.1f} times the noise")
        z, variances, noise = found.point.z, found.point.variances, found.point.noise
        states, stages[length] = found.states, Stage(noise, found.log_evidence)
    if found is None:
        raise FitError("no segments are fitted")
    if found.length != problem.times.shape[1]:
        raise FitError("whole trajectories do not stay finite")
    return found._replace(stages=stages)
