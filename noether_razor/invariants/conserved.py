"""Which combinations of terms do not change along measured trajectories: the model-free test."""

from copy import copy
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
from jaxtyping import Bool, Float, Int

from ..trajectories import Trajectories
from .correlated import LEAST_LEVEL, LOUDEST, CorrelatedNoise, lifts, rows_alike
from .dictionary import Dictionary, dictionary_of
from .motion import ROUNDING, STANDARD_ERRORS, Drift, Motion, means
from .noise import within_variance
from .readings import doubtful_readings
from .resolution import FEWEST_PER_PERIOD, rows_per_period, too_far_apart

SLOW = 0.07
"""R.m.s. change within a turn of the motion, over the spread and over the change of the terms, up to which
what drifts does so slowly."""
ENOUGH_ROWS = 3
"""Rows needed for each term: of fewer, some combination fits any data."""
LARGEST_ROOT = 3.27
"""The 99.9 % quantile of the largest root of a Wishart matrix, centred and scaled (Johnstone 2001)."""
FAR = 4.0
"""Change on a trajectory left out, over what noise allows, by which it alone rules a combination out."""
CLEAR = 1.5
"""By how much what is rejected must exceed the threshold, for the count to be decided."""
VISIBLE = 0.3
"""Part of a slow combination that others do not hold, from which it is one of its own."""
BUMPED, MOST_BUMPED, QUIET = 4.0, 0.25, 2.0
"""R.m.s. of what no state drives in a recording over the median, from which it was disturbed; the share of
the recordings that may be; and the median over the noise, up to which it is that.
"""
FOREIGN, A_TERM = 0.125, 2
"""Share of the recordings that may be of another system, and recordings for each term from which they are
looked for: fewer choose what they agree on.
"""
FEWEST = 4
"""Recordings from which a slow combination is looked for: of fewer, some combination is slow by accident."""
STANDS_OUT = 8.0
"""Robust standard deviations from which a row stands out."""
JUMPS, TWICE = 60.0, 1.9
"""Robust deviations from the line between neighbours from which a row jumps, and by how much more than
theirs."""
ALONE = 5.0
"""By how much more it does so than the rows before and after: motion that is fast is so in several."""
LEAST_SPREAD = 0.2
"""Of the noise: rows that stand out make it seem larger than it is, but not by more than this."""
MOST_LEFT_OUT = 0.02
"""Share of the rows that may be left out because they stand out; more are no glitches."""
SOME = 32
"""Combinations whose thresholds are computed at first."""
MOST_FOLDS = 10
SMALLEST, CONCENTRATIONS = 1e-9, 8
"""The weight of recordings that are left out, and how often these and what the others keep constant are found
from each other.
"""
BACK = 0.7
"""Distance from the beginning over the largest before, from which a trajectory has turned."""
AT_REST = 1.5
"""Variance along trajectories over that of the noise, up to which nothing moves."""
MOST_LIFT, CONSISTENT = 50.0, 1.5
"""By how much noise that neighbours share may exceed what differences of rows show, and within what factor it
must explain the change of every combination that is constant.
"""
HEAVIEST, ROUNDS = 10.0, 3
"""The largest weight of a recording over their median, and how often weights and combinations are found from
each other."""
HIDDEN = 0.08
"""R.m.s. change over the spread: where noise would hide more, finding none says nothing."""


@dataclass(frozen=True, eq=False)
class ConservedSpace:
    """What stays constant along trajectories among the combinations of some terms.

    Rows are coefficients of the terms of `motion`. `conserved` (rank, M) do not change along trajectories and
    differ between them. `same` (z, M) do not change either, but have the same value in the whole file: a
    constraint, one orbit, noise alone, or too few trajectories. `drifting` (s, M) change slowly, beyond
    chance. `most` is how many conserved quantities the recordings can show: one fewer than there are.
    `ratios` (tested,) are the r.m.s. changes of the combinations that change least over those that noise
    makes, squared, least first.

    `settled` says that no trajectory alone decides the count: each left out, the others show the same.
    `enough`: there are three rows a term. `hidden` counts conserved directions for which noise would hide a
    change of 8 % of their spread. `margin` is by what factor what was rejected exceeds the thresholds, and
    `clear` says that it does so well. `told`: noise can be told from motion. `left_out` counts rows that
    stood out, `readings` are sentences about readings that are none. `disturbed` numbers recordings, from 1,
    in which what drifts does so and the state does not drive it, few of all.
    """

    motion: Motion
    drift: Drift
    conserved: Float[np.ndarray, "rank M"]
    same: Float[np.ndarray, "z M"]
    drifting: Float[np.ndarray, "s M"]
    ratios: Float[np.ndarray, " tested"]
    settled: bool
    enough: bool
    margin: float
    hidden: int
    left_out: int
    copies: int
    readings: tuple[str, ...]
    disturbed: tuple[int, ...]

    def __repr__(self) -> str:
        beside = ((len(self.same), "the same everywhere"), (len(self.drifting), "drifting slowly"))
        also = "".join(f", {count} {what}" for count, what in beside if count)
        decided = "decided" if self.decided else "not decided"
        return f"ConservedSpace(rank {self.rank} of at most {self.most}{also}, {decided}; {self.motion!r})"

    @property
    def clear(self) -> bool:
        """Whether what was rejected is well above the threshold."""
        return self.margin > CLEAR

    @property
    def rank(self) -> int:
        """How many conserved quantities the data show."""
        return len(self.conserved)

    @property
    def staying(self) -> int:
        """How many combinations do not change along trajectories, whether or not they differ between them."""
        return len(self.conserved) + len(self.same)

    @property
    def most(self) -> int:
        """How many conserved quantities the data can show at most: one has one value a trajectory."""
        return self.motion.recordings - 1

    @property
    def rows_needed(self) -> int:
        """Rows that are needed to test all terms, beside one a recording."""
        return ENOUGH_ROWS * len(self.ratios)

    @property
    def told(self) -> bool:
        """Whether noise can be told from the motion between rows."""
        return bool(self.motion.noise.told.all())

    @cached_property
    def moves(self) -> bool:
        """Whether any column moves along trajectories, beyond its noise."""
        trajectories = self.motion.trajectories
        within = within_variance(trajectories.segments())
        seen = within > 1e-12 * np.var(trajectories.points(), axis=0)
        return bool(np.any(seen & (within > AT_REST * self.motion.noise.variance)))

    @cached_property
    def per_period(self) -> float:
        """How many rows a period of the fastest motion has, as far as rows show it."""
        return rows_per_period(self.motion.trajectories)

    @property
    def resolved(self) -> bool:
        """Whether rows are so close that they show how the motion goes from one to the next."""
        return self.per_period >= FEWEST_PER_PERIOD

    @property
    def unresolved(self) -> str:
        """What is said of rows that are too far apart; empty where they are not."""
        return "" if self.resolved else too_far_apart(self.per_period)

    @property
    def shows_motion(self) -> bool:
        """Whether something moves, and rows show how."""
        return self.moves and self.resolved

    @cached_property
    def turns(self) -> bool:
        """Whether the states of a typical trajectory come back some of the way to where it began."""
        motion = self.motion
        paths = [(path - path[0]) / motion.scales for _, path in motion.trajectories.segments()]
        away = [np.linalg.norm(path, axis=1) for path in paths]
        back = [float(far[far.argmax() :].min() / max(far.max(), np.finfo(float).tiny)) for far in away]
        return bool(np.median(np.repeat(back, [len(path) for path in paths])) < BACK)

    @property
    def decided(self) -> bool:
        """Whether the file can tell how many there are."""
        return (
            self.shows_motion
            and self.enough
            and self.settled
            and self.clear
            and not len(self.same)
            and not self.hidden
            and self.sound
        )

    @property
    def sound(self) -> bool:
        """Whether all rows may be measurements."""
        return not self.readings

    @property
    def needed(self) -> int:
        """About how many trajectories would tell, where these cannot."""
        return max(self.staying + 2, 2 * self.motion.recordings, 4)


def conserved_space(
    trajectories: Trajectories,
    quantities: Float[np.ndarray, "K all"] | None = None,
    *,
    noise_variance: float | Float[np.ndarray, " dim"] | None = None,
    dictionary: Dictionary | str | None = None,
) -> ConservedSpace:
    """What all combinations of the terms of `dictionary`, or of `quantities` (coefficients of all its terms,
    in the units of the data), do along `trajectories`: no model, no learning.

    `dictionary` may be the name of a family in `DICTIONARIES`; None: all monomials of degree <= 2.

    1. The generalised eigenproblem of change along recordings against the covariance that noise gives it.
       What changes no more than noise does may be conserved: the largest root of a Wishart matrix of pure
       noise, and the error of the noise itself, say how much that is.
    2. Of these, what the state drives (`Drift`) beyond chance is not conserved: this sees slow drifts far
       below the noise, and does not depend on its size. Where a part decays, the rest is conserved only if
       its own rate rules that decay out.
    3. What is left is conserved where it differs between recordings, else the same everywhere.
    4. Each recording is left out in turn (or tenths of them): what the others alone would call conserved and
       this one rules out by far was decided by one trajectory.

    Every trajectory takes part in each step, with thresholds for having chosen the directions on the same
    data. Raises ValueError for a noise variance that is negative or not finite, and for a dictionary that
    does not fit the trajectories or has terms that are not finite.
    """
    dictionary = dictionary_of(dictionary, trajectories)
    trajectories, copies = _without_copies(trajectories)
    problem, left_out = _without_glitches(trajectories, quantities, noise_variance, dictionary)
    motion, rows, kept = problem.motion, problem.rows, problem.kept
    drift = Drift(motion, problem.weights)
    foreign = _foreign(problem, drift)
    readings = (*doubtful_readings(motion.trajectories), *([foreign] if foreign else []))
    quiet, driven, drift_margin = _undriven(drift, rows[:kept])
    quiet, shared = _without_shared_decay(drift, quiet, driven)
    driven = np.concatenate([driven, shared])
    conserved, same = _differing(problem, quiet, rows[kept:])
    drifting = np.concatenate([driven, problem.slow(quiet, driven)])
    return ConservedSpace(
        motion=motion,
        drift=drift,
        conserved=conserved,
        same=same,
        drifting=drifting,
        ratios=problem.ratios,
        settled=problem.settled(),
        enough=motion.degrees >= ENOUGH_ROWS * len(problem.ratios),
        margin=min(_margin(problem, drift), drift_margin),
        hidden=sum(drift.change(row).hidden > HIDDEN for row in conserved),
        left_out=left_out,
        copies=copies,
        readings=readings,
        disturbed=_disturbed(problem, drift, drifting),
    )


def _without_glitches(
    trajectories: Trajectories,
    quantities: Float[np.ndarray, "K all"] | None,
    noise_variance: float | Float[np.ndarray, " dim"] | None,
    dictionary: Dictionary,
) -> tuple["_Problem", int]:
    """The eigenproblem without the rows that are glitches of a measurement, and how many these are; rows that
    stand out stay where they are more than a few.
    """
    most = MOST_LEFT_OUT * len(trajectories.points())
    left_out, glitches = 0, _jumps(trajectories)
    while True:
        if glitches.any() and left_out + glitches.sum() <= most:
            left_out, trajectories = left_out + int(glitches.sum()), trajectories.without(glitches)
        motion = Motion.of(trajectories, noise_variance, dictionary)
        problem = _Problem(motion, _span(motion, quantities))
        # Spikes hide what is quiet: all that changes less than most is asked.
        asked = problem.rows[: max(problem.kept, len(problem.rows) // 2)]
        glitches = _spikes(motion, asked, problem.levels(asked))
        if not glitches.any() or left_out + glitches.sum() > most:
            break
    if noise_variance is None and (correlated := problem.correlated()) is not None:
        motion = Motion.of(trajectories, noise_variance, dictionary, correlated)
        problem = _Problem(motion, _span(motion, quantities))
    return problem, left_out


def _margin(problem: "_Problem", drift: Drift) -> float:
    """By what factor the first combination that is rejected exceeds the thresholds; infinite without one."""
    rejected = problem.rows[problem.kept : problem.kept + 1]
    if not len(rejected):
        return np.inf
    strength = drift.strength(rejected[0])
    noise = float(problem.ratios[problem.kept] / problem.limits[problem.kept])
    return max(noise, strength / largest_root(1, float(drift.degrees)))


def _span(motion: Motion, quantities: Float[np.ndarray, "K all"] | None) -> Float[np.ndarray, "k M"]:
    """An orthonormal basis of the combinations that are asked about."""
    if quantities is None:
        return np.eye(motion.values.shape[1])
    _, sizes, directions = np.linalg.svd(motion.rows(quantities), full_matrices=False)
    return directions[sizes > 1e-9 * max(sizes.max(initial=0.0), np.finfo(float).tiny)]


def _without_copies(trajectories: Trajectories) -> tuple[Trajectories, int]:
    """The trajectories without those whose states are another's, row by row, and how many these are: their
    noise is the same, so they say nothing more.
    """
    first: dict[bytes, int] = {}
    for k, (_, states) in enumerate(trajectories.segments()):
        first.setdefault(states.tobytes(), k)
    copies = len(trajectories) - len(first)
    return (trajectories[np.array(sorted(first.values()))], copies) if copies else (trajectories, 0)


def _jumps(trajectories: Trajectories) -> Bool[np.ndarray, "traj time"]:
    """Rows that miss the line between their neighbours by far, and by twice what these miss theirs by:
    jumps that would hide in the noise that they make.
    """
    out = np.zeros(trajectories.times.shape, bool)
    if trajectories.targets is not None:
        return out
    found = []
    for times, states in trajectories.segments():
        miss = np.zeros_like(states)
        if len(times) > 4:
            share = ((times[1:-1] - times[:-2]) / (times[2:] - times[:-2]))[:, None]
            miss[1:-1] = np.abs(states[1:-1] - states[:-2] - share * (states[2:] - states[:-2]))
        found.append(miss)
    together = np.concatenate(found)
    limit = JUMPS * 1.4826 * np.median(together, axis=0) + ROUNDING * together.max(axis=0)
    for k, miss in enumerate(found):
        beside = np.maximum(np.roll(miss, 1, axis=0), np.roll(miss, -1, axis=0))
        out[k, : len(miss)] = np.any((miss > limit) & (miss > TWICE * beside), axis=1)
    return out


def _spikes(
    motion: Motion, quiet: Float[np.ndarray, "K M"], levels: Float[np.ndarray, "rows K"]
) -> Bool[np.ndarray, "traj time"]:
    """Rows that alone stand out: glitches of a measurement. `levels` are the variances of the noise.

    What hardly changes along a recording stands out by eight robust standard deviations from its median in
    them, and far less in the rows before and after.
    """
    trajectories = motion.trajectories
    out = np.zeros(trajectories.times.shape, bool)
    if trajectories.targets is not None or len(motion.values) < len(trajectories.points()) or not len(quiet):
        return out
    values = motion.values @ quiet.T
    mine = [motion.recording == k for k in range(motion.recordings)]
    middle, usual = (
        np.stack([np.median(part[own], axis=0) for own in mine])[motion.recording]
        for part in (values, levels)
    )
    # In units of the noise at each row, which is larger where a quantity is steep; where one that moves is
    # flat, which it is at single rows, that noise is no measure of it.
    off = np.abs(values - middle) / np.sqrt(np.maximum(levels, usual))
    far = off > STANDS_OUT * np.maximum(1.4826 * np.median(off, axis=0), LEAST_SPREAD)
    beside = np.zeros_like(off)
    same = (motion.piece[1:] == motion.piece[:-1])[:, None]
    beside[1:] = np.maximum(beside[1:], off[:-1] * same)
    beside[:-1] = np.maximum(beside[:-1], off[1:] * same)
    chosen = np.any(far & (off > ALONE * beside), axis=1, keepdims=True)[:, 0]
    # Two points of every piece stay.
    chosen &= (trajectories.lengths - np.bincount(motion.piece, chosen))[motion.piece] >= 2
    out[motion.piece[chosen], motion.row[chosen]] = True
    return out


def _positive(matrix: Float[np.ndarray, "K K"]) -> Float[np.ndarray, "K K"]:
    """The nearest covariance: estimates of noise at noisy points may be negative."""
    values, directions = np.linalg.eigh((matrix + matrix.T) / 2)
    return (directions * np.maximum(values, 0.0)) @ directions.T


def largest_roots(
    dimensions: Int[np.ndarray, " K"], degrees: Float[np.ndarray, " K"]
) -> Float[np.ndarray, " K"]:
    """The 99.9 % quantile of the largest root of each Wishart matrix of unit covariance."""
    first, second = np.sqrt(np.maximum(degrees - 0.5, 0.5)), np.sqrt(dimensions - 0.5)
    return (first + second) ** 2 + LARGEST_ROOT * (first + second) * (1 / first + 1 / second) ** (1 / 3)


def largest_root(dimensions: int, degrees: float) -> float:
    """The same of one."""
    return float(largest_roots(np.array([dimensions]), np.array([degrees]))[0])


class _Problem:
    """The eigenproblem of change against noise on the span of `basis` (K, M), whole and without each fold.

    Rows have `weights`, the same in it and in the test of drifts: what the error of a combination mixes into
    it is small where the noise is, in a recording of small amplitude too. Of the whole, the first `kept` of
    `rows` change no more than noise does: their `ratios` are within `limits`.
    """

    def __init__(self, motion: Motion, basis: Float[np.ndarray, "K M"]):
        self.motion, self.basis = motion, basis
        folds = min(motion.recordings, MOST_FOLDS)
        self.fold: Int[np.ndarray, " rows"] = motion.recording % folds
        self.within = motion.deviations(motion.recording) @ basis.T
        self.floor = (
            basis @ (motion.floor**2 * motion.covariance + ROUNDING**2 * np.eye(basis.shape[1])) @ basis.T
        )
        self._weigh(np.ones(len(motion.values)))
        for _ in range(ROUNDS):
            self._weigh(self._weights())

    def _weigh(self, weights: Float[np.ndarray, " rows"]) -> None:
        """The sums over the rows of each fold with these weights, and what they say."""
        motion, basis = self.motion, self.basis
        self.weights = weights / weights.mean()
        shares = (1 - 1 / np.bincount(motion.recording))[motion.recording] * self.weights
        moved = self.within * np.sqrt(self.weights)[:, None]
        self.moved, self.noise, self.count = [], [], []
        for k in range(int(self.fold.max()) + 1):
            mine = self.fold == k
            self.moved.append(moved[mine].T @ moved[mine])
            self.count.append(float(np.sum(shares[mine])))
            noise = basis @ motion.noise_matrix(np.where(mine, shares, 0.0)) @ basis.T
            self.noise.append(_positive(noise) + self.count[-1] * self.floor)
        self.ratios, self.rows = self.solve()
        self.limits = self.thresholds(self.ratios, self.rows)
        self.kept = quiet(self.ratios, self.limits)

    def solve(self, without: int | None = None) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, "K M"]]:
        """Ratios of change to noise, least first, and combinations whose noise is one."""
        parts = [k for k in range(len(self.moved)) if k != without]
        moved, noise = (sum(part[k] for k in parts) for part in (self.moved, self.noise))
        ratios, directions = scipy.linalg.eigh(moved, noise)
        return ratios, directions.T * np.sqrt(sum(self.count[k] for k in parts)) @ self.basis

    def changes(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "recordings K"]:
        """The r.m.s. change of combinations along each recording, over that of their noise."""
        moved = self.motion.deviations(self.motion.recording, self.motion.values @ rows.T)
        parts = (means(part, self.motion.recording) for part in (moved**2, self.levels(rows)))
        return np.sqrt(np.divide(*parts))

    def levels(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "rows K"]:
        """The variance of noise and floor of each combination at each row of the data."""
        return self.motion.noise_variances(rows) + self.motion.floors(rows)

    def _weights(self) -> Float[np.ndarray, " rows"]:
        """The inverse of the noise of what is quiet, at each row of the data, at most `HEAVIEST` medians.

        One weight a recording: at single rows the noise that makes a row seem exact would choose it. Where no
        column moves there is nothing to weigh.
        """
        levels = self.levels(self.rows[: max(self.kept, 1)])
        level = levels.sum(axis=1, keepdims=True) / max(1, levels.shape[1])
        level = means(level, self.motion.recording)[self.motion.recording, 0]
        weights = 1 / np.maximum(level, np.finfo(float).tiny if len(self.rows) else 1.0)
        return np.minimum(weights, HEAVIEST * np.median(weights))

    def correlated(self) -> CorrelatedNoise | None:
        """The noise by what hardly changes, where that is more than differences of rows show and moves as
        noise does: each combination alone, least first.
        """
        motion, found = self.motion, []
        drift = Drift(motion, self.weights)
        for ratio, row in zip(self.ratios, self.rows, strict=True):
            values = motion.deviations(motion.recording, motion.values @ row[:, None])[:, 0]
            spread = float(motion.variances(row[None])[0])
            if ratio > MOST_LIFT or np.mean(values**2) > LOUDEST**2 * spread:
                break
            alike = rows_alike(values / np.sqrt(self.levels(row[None])[:, 0]), motion.piece)
            if alike is None or drift.strength(row) > alike * largest_root(1, float(drift.degrees)):
                break
            found.append(alike)
        for count in range(len(found), self.kept, -1):
            rows = self.rows[:count]
            squares = motion.deviations(motion.recording, motion.values @ rows.T) ** 2
            parts = np.zeros((*squares.shape, len(motion.noise.variance)))
            for i, slope in zip(np.flatnonzero(motion.profile.any(axis=0)), motion.slopes, strict=True):
                parts[:, :, i] = (slope @ rows.T) ** 2
            factors = lifts(squares, parts)
            seen = squares.mean(axis=0)
            noise = np.maximum((parts @ factors).mean(axis=0), LEAST_LEVEL * seen)
            left = seen / np.maximum(noise, np.finfo(float).tiny)
            # The noise of columns is that of all that is constant, or it is none.
            if np.all(np.abs(np.log(left)) < np.log(CONSISTENT)):
                return CorrelatedNoise(factors, float(np.mean(found[:count])))
        return None

    def thresholds(
        self, ratios: Float[np.ndarray, " K"], rows: Float[np.ndarray, "K M"]
    ) -> Float[np.ndarray, " some"]:
        """The largest ratios that noise makes of the first 1, 2, .. combinations, chosen to have the least:
        at least as far as the first that is beyond its own.
        """
        some = SOME
        while True:
            found = self._thresholds(rows[:some])
            if some >= len(rows) or np.any(ratios[:some] > found):
                return found
            some *= 2

    def _thresholds(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, " K"]:
        levels = np.cumsum(self.levels(rows) * self.weights[:, None], axis=1)
        degrees = (
            self.motion.degrees / self.motion.alike * levels.mean(axis=0) ** 2 / np.mean(levels**2, axis=0)
        )
        chance = largest_roots(np.arange(len(rows)) + 1, degrees) / degrees - 1
        errors = np.maximum.accumulate(self.motion.noise_errors(rows))
        return 1 + np.hypot(chance, STANDARD_ERRORS * errors)

    def settled(self) -> bool:
        """Whether the others show each fold's count: see `conserved_space`."""
        kept = self.kept
        if self.motion.recordings < 2:
            return kept == 0
        for k, (moved, noise) in enumerate(zip(self.moved, self.noise, strict=True)):
            ratios, rows = self.solve(without=k)
            thresholds = self.thresholds(ratios, rows)
            more = quiet(ratios, thresholds)
            if more <= kept:
                continue
            inside = np.linalg.lstsq(self.basis.T, rows[:more].T, rcond=None)[0]
            alone = scipy.linalg.eigh(inside.T @ moved @ inside, inside.T @ noise @ inside, eigvals_only=True)
            if alone[kept] > FAR * thresholds[more - 1]:
                return False
        return True

    def slow(
        self, quiet: Float[np.ndarray, "q M"], driven: Float[np.ndarray, "d M"]
    ) -> Float[np.ndarray, "s M"]:
        """Combinations beside these that change little within a turn of the motion."""
        motion, basis = self.motion, self.basis
        labels = _turns(motion)
        if labels is None or motion.recordings < FEWEST:
            return np.zeros((0, basis.shape[1]))
        window = motion.deviations(labels) @ basis.T
        shares = (1 - 1 / np.bincount(labels))[labels]
        noise = basis @ motion.noise_matrix(shares) @ basis.T
        change = window.T @ window - (noise + noise.T) / 2
        total = basis @ motion.covariance @ basis.T
        spread = len(labels) * (total + ROUNDING * np.trace(total) / len(total) * np.eye(len(total)))
        values, directions = scipy.linalg.eigh((change + change.T) / 2, spread)
        rows = directions[:, values <= SLOW**2].T @ basis
        known = np.concatenate([quiet, driven])
        rows = _beyond(rows @ motion.root, known @ motion.root) @ np.linalg.inv(motion.root)
        moved = motion.deviations(motion.recording)
        spread_of, noise_of = motion.variances(rows), motion.noise_variances(rows).mean(axis=0)
        inside = np.linalg.lstsq(basis.T, rows.T, rcond=None)[0]
        moves = np.mean((window @ inside) ** 2, axis=0)
        terms = rows**2 @ np.mean(moved**2, axis=0)
        whole = np.mean((moved @ rows.T) ** 2, axis=0)
        still = noise_of + motion.floors(rows)
        slowly = np.maximum(moves - noise_of, 0.0) <= SLOW**2 * np.minimum(spread_of, terms)
        seen = (spread_of > 2 * noise_of) & (spread_of > 1e-6 * np.sum(rows**2, axis=1))
        return rows[(whole > still) & slowly & seen]


def quiet(ratios: Float[np.ndarray, " K"], thresholds: Float[np.ndarray, " some"]) -> int:
    """How many combinations change no more than noise does."""
    loud = ratios[: len(thresholds)] > thresholds
    return int(np.argmax(loud)) if loud.any() else len(ratios)


def _beyond(rows: Float[np.ndarray, "K M"], known: Float[np.ndarray, "L M"]) -> Float[np.ndarray, "some M"]:
    """An orthonormal basis of what the rows span beside the known ones, where that is a visible part of
    them.
    """
    if not len(rows):
        return rows
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    if len(known):
        spanned = np.linalg.qr((known / np.linalg.norm(known, axis=1, keepdims=True)).T)[0]
        for _ in range(2):
            rows = rows - (rows @ spanned) @ spanned.T
    _, sizes, directions = np.linalg.svd(rows, full_matrices=False)
    return directions[sizes > VISIBLE]


def _undriven(
    drift: Drift, rows: Float[np.ndarray, "K M"]
) -> tuple[Float[np.ndarray, "k M"], Float[np.ndarray, "d M"], float]:
    """Combinations that the state does not drive, those that it does, and by what factor the nearest of these
    exceeds the threshold.
    """
    if not len(rows):
        return rows, rows, np.inf
    explained, residual = drift.split(rows)
    # Rows are in units of their noise.
    tiny = 1e-12 * (1 + np.trace(residual) / len(rows))
    values, directions = scipy.linalg.eigh(explained.T @ explained, residual + tiny * np.eye(len(rows)))
    mixed = directions.T @ rows
    motion = drift.motion
    count, p = len(motion.values), drift.degrees
    kept = len(rows)
    factor = np.inf
    while kept:
        threshold = largest_root(kept, float(p)) * (1 + p / drift.left)
        variance = float(np.sum((directions[:, kept - 1] @ explained.T) ** 2)) / count
        below = variance <= float(motion.floors(mixed[kept - 1 : kept])[0])
        if values[kept - 1] <= threshold or below:
            break
        factor = min(factor, float(values[kept - 1] / threshold))
        kept -= 1
    return mixed[:kept], mixed[kept:], factor


def _without_shared_decay(
    drift: Drift, quiet: Float[np.ndarray, "q M"], driven: Float[np.ndarray, "d M"]
) -> tuple[Float[np.ndarray, "k M"], Float[np.ndarray, "s M"]]:
    """The quiet combinations whose own rates rule out the decay of the driven ones, and the others."""
    rates = [drift.change(row) for row in driven]
    decaying = [change for change in rates if change.decays]
    if not decaying or not len(quiet):
        return quiet, quiet[:0]
    weights = np.array([1 / change.decay_error**2 for change in decaying])
    rate = float(np.sum(weights * [change.decay for change in decaying]) / weights.sum())
    changes = [drift.change(row) for row in quiet]
    # The quiet ones were chosen among all to drift least.
    far = STANDARD_ERRORS + np.sqrt(len(quiet) + len(driven))
    shared = np.array(
        [abs(change.decay - rate) <= far * change.decay_error for change in changes], dtype=bool
    )
    return quiet[~shared], quiet[shared]


def _disturbed(problem: _Problem, drift: Drift, rows: Float[np.ndarray, "K M"]) -> tuple[int, ...]:
    """The numbers, from 1, of a few recordings in which what drifts does so as no state drives it, and not in
    the others: they may have been bumped.
    """
    motion = problem.motion
    if not len(rows) or motion.recordings < FEWEST:
        return ()
    # In a recording of little noise, the errors of what the state drives, which the others make, are more.
    levels = problem.levels(rows)
    left = drift.unexplained(rows) / np.sqrt(np.maximum(levels, np.median(levels, axis=0)))
    size = np.sqrt(means(left**2, motion.recording))
    middle = np.median(size, axis=0)
    # In most of them nothing is left but noise.
    size, middle = size[:, middle < QUIET], middle[middle < QUIET]
    worst = np.max(size / np.maximum(middle, np.finfo(float).tiny), axis=1, initial=0.0)
    found = np.flatnonzero(worst > BUMPED) + 1
    if not 0 < len(found) <= MOST_BUMPED * motion.recordings:
        return ()
    return tuple(found.tolist())


def _foreign(problem: _Problem, drift: Drift) -> str:
    """A sentence on a few recordings without which more combinations are constant, where no state drives what
    these are in them: they may be of another system. Empty without.
    """
    motion, kept = problem.motion, problem.kept
    if motion.recordings < A_TERM * len(problem.rows) or kept == len(problem.rows):
        return ""
    trial, few = copy(problem), int(FOREIGN * motion.recordings)
    own = np.ones(motion.recordings, bool)
    for _ in range(CONCENTRATIONS):
        # Without those that change the next combination most; then without all that are far off.
        sizes = trial.changes(trial.rows[kept : max(trial.kept, kept + 1)]).max(axis=1)
        limit = BUMPED if trial.kept > kept else np.sort(sizes)[-few - 1]
        before, own = own, sizes <= limit
        if np.array_equal(own, before):
            break
        trial._weigh(np.where(own[motion.recording], problem.weights, SMALLEST * problem.weights))
    else:
        return ""
    numbers = (np.flatnonzero(~own) + 1).tolist()
    if trial.kept <= kept or len(numbers) > few:
        return ""
    if not _disturbed(problem, drift, trial.rows[kept : trial.kept]):
        return ""
    listed = ", ".join(map(str, numbers))
    which = f"trajectories {listed} change" if len(numbers) > 1 else f"trajectory {listed} changes"
    return (
        f"{which} what is constant along the {motion.recordings - len(numbers)} others: "
        f"{'are they' if len(numbers) > 1 else 'is it'} of the same system?"
    )


def _differing(
    problem: _Problem, rows: Float[np.ndarray, "K M"], others: Float[np.ndarray, "L M"]
) -> tuple[Float[np.ndarray, "v M"], Float[np.ndarray, "z M"]]:
    """Of constant combinations, those whose values differ between recordings, and those whose do not.

    The error of their coefficients mixes some of the `others`, which change, into them.
    """
    if not len(rows):
        return rows, rows
    motion = problem.motion
    # In units of their noise, what is bound exactly would hide all others in rounding errors.
    rows = np.linalg.qr((rows / np.linalg.norm(rows, axis=1, keepdims=True)).T)[0].T
    lengths = np.bincount(motion.recording)

    def differences(some: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "recordings K"]:
        values = means(motion.values @ some.T, motion.recording)
        return (values - np.average(values, axis=0, weights=lengths)) * np.sqrt(lengths)[:, None]

    values = differences(rows)
    moved = np.sum(motion.deviations(motion.recording, motion.values @ others.T) ** 2, axis=0)
    mixed_in = float(
        np.sum(np.sum(differences(others) ** 2, axis=0) / np.maximum(moved, np.finfo(float).tiny))
    )
    noise = (
        rows @ motion.noise_matrix(np.full(len(motion.values), motion.alike)) @ rows.T / len(motion.values)
    )
    total = rows @ motion.covariance @ rows.T
    noise = _positive(noise) + motion.floor**2 * 1e-4 * total + ROUNDING**2 * np.eye(len(rows))
    between, directions = scipy.linalg.eigh(values.T @ values, noise)
    mixed = directions.T @ rows
    kept = len(rows)
    degrees = max(1.0, motion.recordings - 1.0)
    while kept and between[kept - 1] > largest_root(kept, degrees) + largest_root(kept, 1.0) * mixed_in:
        # The eigenvectors with the largest roots differ; walk down while the next still does.
        kept -= 1
    most = motion.recordings - 1
    kept = max(kept, len(rows) - most)
    return mixed[kept:][::-1], mixed[:kept]


def _turns(motion: Motion) -> Int[np.ndarray, " rows"] | None:
    """Labels of stretches of about a turn of the motion each; None where pieces are shorter than a turn."""
    noise = float(np.sum(motion.noise.variance / motion.scales**2))
    states = [(path - motion.shift) / motion.scales for _, path in motion.trajectories.segments()]
    longest = max(len(path) for path in states)
    lag = 1
    while 4 * lag < longest:
        moved = np.concatenate([path[lag:] - path[:-lag] for path in states if len(path) > lag])
        if float(np.mean(np.sum(moved**2, axis=1))) > 20 * noise:
            break
        lag *= 2
    angles = []
    for path in states:
        moves = path[lag:] - path[:-lag]
        if len(moves) <= lag:
            continue
        before, after = moves[:-lag], moves[lag:]
        size = np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1)
        cosine = np.sum(before * after, axis=1)[size > 0] / size[size > 0]
        angles.append(np.arccos(np.clip(cosine, -1, 1)))
    together = np.concatenate(angles) if angles else np.zeros(0)
    angle = float(np.median(together)) if together.size else 0.0
    if angle <= 0 or lag * 2 * np.pi / angle > longest:
        return None
    rows = max(3, round(lag * 2 * np.pi / angle))
    stride = max(1, round(sum(len(path) for path in states) / len(motion.values)))
    rows = max(3, rows // stride)
    starts = np.flatnonzero(np.concatenate([[True], motion.piece[1:] != motion.piece[:-1]]))
    lengths = np.diff(np.append(starts, len(motion.piece)))
    within = np.arange(len(motion.piece)) - np.repeat(starts, lengths)
    parts = np.maximum(1, np.round(lengths / rows).astype(int))
    part = within * np.repeat(parts, lengths) // np.repeat(lengths, lengths)
    offset = np.cumsum(np.append(0, parts[:-1]))
    return np.repeat(offset, lengths) + part
