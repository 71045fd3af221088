"""What a model adds to what the data say: the Hamiltonian, the Delta-ELBO, hypotheses and checks."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float

from ..inference import Posterior
from ..invariants import Analysis, ConservedSpace, Dictionary, analyse
from ..modelling import body_terms
from ..quadratic_forms import Quadratics
from ..symmetry import CannotBuildInError
from ..thinning import evenly
from ..trajectories import Trajectories
from .comparison import Bound, Gain, Judgement, Refits, gain, judgement, settled_gain
from .fitted import Fitted
from .hypotheses import HypothesisAnswer, compare_hypotheses
from .keeping import Keep, Tell, in_memory, say_nothing

SHOWN_TRAJECTORIES, SHOWN_POINTS = 4, 100
"""Of the drift that the report draws."""


def data_answer(
    trajectories: Trajectories,
    noise_variance: float | None = None,
    *,
    dictionary: Dictionary | str | None = None,
) -> Analysis:
    """What trajectories say is conserved, without any model.

    `noise_variance`, of the states in their units, is estimated where None. Quantities are combinations of
    the terms of `dictionary`, or of the family of that name: "quadratic" where None.
    """
    dim = trajectories.states.shape[2]
    none = np.zeros((0, dim, dim)), np.zeros((0, dim))
    return analyse(*none, trajectories, noise_variance=noise_variance, restrict=False, dictionary=dictionary)


Variance = float | Float[np.ndarray, " dim"] | None
"""Of the noise on states in their units, of all coordinates or of each; None: to be estimated."""


def analysis_of(
    fitted: Fitted,
    tested: Trajectories,
    noise_variance: Variance = None,
    *,
    space: ConservedSpace | None = None,
) -> Analysis:
    """What `tested` trajectories conserve, with the model's Hamiltonian, and what the model has learned of
    it. Of simulated data only what the model has learned counts, where that is of degree <= 2. `space`, where
    it is known already, is what they conserve.
    """
    learned = fitted.quantities()
    count = len(learned.matrices)
    if space is not None and not space.motion.dictionary.second_degree:
        count = 0  # of degree <= 2 they say nothing of other terms
    return analyse(
        learned.matrices[:count],
        learned.vectors[:count],
        tested,
        noise_variance=noise_variance,
        hamiltonian=fitted.hamiltonian(),
        restrict=fitted.problem.truth is not None and len(learned.matrices) > 0,
        space=space,
        dictionary=body_terms(fitted.problem.options, tested),
    )


class Along(NamedTuple):
    """(C(t) - C(0)) over the spread of C, of each quantity on a few trajectories, and their times."""

    times: tuple[Float[np.ndarray, " time"], ...]
    values: tuple[tuple[Float[np.ndarray, " time"], ...], ...]

    def to_json(self) -> dict[str, Any]:
        """The "along" of symmetry.json."""
        return {
            "times": [times.tolist() for times in self.times],
            "values": [[curve.tolist() for curve in curves] for curves in self.values],
        }


def along(found: Analysis, trajectories: Trajectories) -> Along | None:
    """How the found quantities move along a few trajectories; None without any."""
    if not found.rank:
        return None

    def values(states: np.ndarray) -> np.ndarray:
        return np.array([quantity.values(states) for quantity in found.quantities])

    spread = np.std(values(trajectories.points()), axis=1)
    segments = trajectories.segments()[:SHOWN_TRAJECTORIES]
    kept = [evenly(len(t), SHOWN_POINTS) for t, _ in segments]
    curves = [values(states[rows]) for (_, states), rows in zip(segments, kept, strict=True)]
    return Along(
        tuple(times[rows] for (times, _), rows in zip(segments, kept, strict=True)),
        tuple(tuple((curve[k] - curve[k, 0]) / spread[k] for curve in curves) for k in range(found.rank)),
    )


class Evidence(NamedTuple):
    """Total bounds of fits without symmetry, with the found space built in, and of the model itself.

    found: None where its fits failed, or where it cannot be built in. plain: the first fit without symmetry.
    symmetric: the first one with the found space, where it is invariant.
    """

    none: Bound
    found: Bound | None
    learned: Bound
    plain: Posterior | None
    symmetric: Posterior | None = None

    @property
    def gain(self) -> Gain | None:
        """By how many nats the bound with the found space built in exceeds that without."""
        return None if self.found is None else gain(self.none, self.found)

    @property
    def judgement(self) -> Judgement | None:
        """What the bound says of the found space."""
        return None if self.found is None or self.gain is None else judgement(self.found, self.gain)

    def to_json(self) -> dict[str, Any]:
        """The "evidence" of symmetry.json."""
        said = {"none": self.none.to_json()}
        if self.found is not None and self.gain is not None and self.judgement is not None:
            said["found"] = self.found.to_json() | {"gain": self.gain._asdict(), **self.judgement._asdict()}
        learned = gain(self.none, self.learned)._asdict()
        return said | {"learned": self.learned.to_json() | {"gain": learned}}


def fit_found(
    fitted: Fitted,
    found: Analysis,
    none: Refits,
    failed: dict[str, str],
    *,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> tuple[Bound | None, Posterior | None]:
    """The bound with the found space built in, as many fits as `none` has and on the same schedule, and the
    first fit where its H is invariant; None of families beyond degree two. What fails, or cannot be built in,
    is named in `failed`.
    """
    if not found.rank or not found.dictionary.second_degree:
        return None, None
    space = fitted.problem.scale.quantities(Quadratics(*found.matrices(), np.zeros(found.rank)))
    try:
        refits = Refits(
            fitted.problem, "fixed", len(none.problems), space, name="found", keep=keep, tell=tell
        )
        settled_gain(none, refits)
        bound = refits.bound()
        return bound, refits.posterior if bound.invariant else None
    except (FloatingPointError, CannotBuildInError) as error:
        failed["found"] = str(error)
        return None, None


def weigh(
    fitted: Fitted,
    analysis: Analysis,
    learned: Bound,
    answers: Sequence[HypothesisAnswer],
    failed: dict[str, str],
    *,
    repeats: int = 1,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> tuple[Evidence | None, tuple[HypothesisAnswer, ...]]:
    """The evidence (`repeats` fits of each kind, 0: none), and what it adds to the `answers` of the data: see
    `fit_found` and `compare_hypotheses`. `learned` is the bound of the model itself. Where a fit without
    symmetry fails there is none, and `failed` says why.
    """
    if not repeats:
        return None, tuple(answers)
    try:
        none = Refits(fitted.problem, "none", repeats, keep=keep, tell=tell)
        none.train(none.least_rounds)
        bound, symmetric = fit_found(fitted, analysis, none, failed, keep=keep, tell=tell)
        answers = compare_hypotheses(fitted.problem, answers, none, learned, keep=keep, tell=tell)
        return Evidence(none.bound(), bound, learned, none.posterior, symmetric), tuple(answers)
    except FloatingPointError as error:
        failed["evidence"] = str(error)
        return None, tuple(answers)
