"""From trajectories to what they conserve, and to what they cannot tell: the library's verb."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np

from ..beyond import LibraryOptions
from ..invariants.dictionary import DICTIONARIES, dictionary_of
from ..modelling import Problem, body_terms, make_problem, with_canonical_momenta
from ..options import (
    EstimateOptions,
    InferenceOptions,
    NetworkOptions,
    OptionError,
    Options,
    SymmetryOptions,
    TrainingOptions,
)
from ..quantities import Hypothesis, parse_hypothesis
from ..random import stream
from ..training import NotLearnedError, Rates, Report, early_check, fit
from ..trajectories import Trajectories
from .beyond import LIBRARY, beyond_answer, check_library, with_suggestions
from .checks import calibrated_bands, check_model, unstructured_field
from .exact import exact_answer
from .examination import Evidence, analysis_of, data_answer, weigh
from .fitted import Fitted, kept_aside_sets, named_noise
from .hypotheses import HypothesisAnswer, judged_by_data, judged_by_exact
from .keeping import Keep, Tell, in_memory, say_nothing
from .learned import learned_answer
from .parts import Parts
from .result import Discovery
from .summary import reached, summarise

HELD_OUT = 0.25
"""Share of the trajectories that is kept aside to test the model's predictions on."""
WORDS, MODEL, ESTIMATES = "exact evidence and library", "model", "ELBO and errors"
"""Parts that are computed side by side, by what they are called."""
WINDS = 3
"""Turns that a position covers in the data, from which it may be an angle."""

RECIPE = Options(
    network=NetworkOptions(layers=3, width=64),
    symmetry=SymmetryOptions(initial_scale=0.03),
    inference=InferenceOptions(group_samples=16, weight_samples=5, noise_variance="learned"),
    training=TrainingOptions(steps=3000, batch=20, rates=Rates(quantities=3e-3)),
    estimates=EstimateOptions(),
    held_out=HELD_OUT,
)
"""What `discover` does unless told otherwise: `configs/systems/measured.toml`."""


@dataclass(frozen=True)
class Budget:
    """How long to learn.

    steps: gradient steps of each fit. repeats: fits of each kind for the Delta-ELBO; of a single one it has
    no error, and is no evidence; 0: none. always: whether they are made also where a Hamiltonian that is a
    formula explains the motion, so that the exact evidence judges. field: whether a field without structure
    is fitted too, to compare the Hamiltonian with. nll_stderr: see `EstimateOptions`.
    """

    steps: int
    repeats: int
    always: bool = False
    field: bool = True
    nll_stderr: float = 0.02

    def fits(self, found: Discovery) -> int:
        """The fits of each kind that are made after what was `found` without a model."""
        return 0 if found.has_formula and not self.always else self.repeats


BUDGETS: dict[str, Budget] = {
    "quick": Budget(steps=1000, repeats=0, field=False, nll_stderr=0.1),
    "standard": Budget(steps=3000, repeats=1, nll_stderr=0.1),
    "thorough": Budget(steps=6000, repeats=3, always=True),
}
BudgetName = Literal["quick", "standard", "thorough"]


def discover(
    data: Trajectories,
    *,
    quantities: Sequence[str] = (),
    seed: int = 0,
    family: str = LIBRARY,
    budget: BudgetName = "standard",
    progress: Callable[[str, Report | Discovery], None] | None = None,
    options: Options | None = None,
    library: LibraryOptions | None = None,
) -> Discovery:
    """Say what trajectories conserve, learn their Hamiltonian, and check what was learned; in memory.

    All trajectories say what is conserved, before anything is learned (see `data_answer`), and so does the
    exact evidence where a polynomial Hamiltonian serves (see `exact_answer`); of velocities without masses in
    the coordinates of `poisson_matrix`. Parts that fail are named in `failed`: the model adds to the answer.

    `family` names the terms that quantities are combinations of: "quadratic", of degree <= 2, or another of
    `invariants.DICTIONARIES`. After the quadratic ones "library", the default, searches the terms of
    `library` too: see `conserved_library`. `quantities` are formulas whose conservation is to be judged:
    "q1*p2 - q2*p1", or several as "p1, p2". `progress` is
    told the name of a fit with each step that is logged, and the name of a part that is done with what is
    known by then: "the data alone" after seconds, "exact evidence" and "library" while the model is trained,
    in another thread; it may raise to stop. `options` take the place of
    `RECIPE`; the steps of the budget then do not count. Raises `OptionError` for options that do not fit the
    data, `HypothesisError` for formulas, and `LibraryError` for terms.
    """
    if budget not in BUDGETS:
        raise OptionError(f"budget: got {budget!r}, expected one of {', '.join(BUDGETS)}")
    spent = BUDGETS[budget]
    parts, library = Parts(), library or LibraryOptions()
    with parts.timed("reading the columns"):
        data = with_canonical_momenta(data)
    if options is None:
        training = replace(RECIPE.training, steps=spent.steps)
        estimates = replace(RECIPE.estimates, nll_stderr=spent.nll_stderr)
        options = replace(RECIPE, training=training, estimates=estimates)
    hypotheses = [
        parse_hypothesis(text, data.names, data.other_names(), data.angles()) for text in quantities
    ]
    check_library(data, library)
    with parts.timed("the data alone"):
        found = first_words(data, options, hypotheses, family=family)
    tell = parts.told(progress or say_nothing)
    tell("the data alone", found)
    problem, untrained = make_problem(data, options, seed=seed), too_few_rows(found)
    further = library if family == LIBRARY else None
    found, trained = parts.side_by_side(
        {
            WORDS: lambda: _without_training(found, options, further, parts, tell),
            MODEL: lambda: untrained or _trained(problem, seed, tell),
        }
    )
    if isinstance(trained, FloatingPointError):
        return without_model(found, trained)
    return with_model(found, trained, spent, parts=parts, tell=tell)


def _without_training(
    found: Discovery,
    options: Options,
    library: LibraryOptions | None,
    parts: Parts,
    tell: Callable[[str, Any], None],
) -> Discovery:
    """The first words with the exact evidence, and with what the library conserves, where there is one."""
    with parts.timed("exact evidence"):
        exact = with_exact(found)
    tell("exact evidence", exact)
    if library is None:
        return exact
    with parts.timed("library"):
        beyond = with_beyond(exact, options, library)
    tell("library", beyond)
    return beyond


class Trained(NamedTuple):
    """A trained model, how its summary is made, and its metrics, one entry a logged step."""

    fitted: Fitted
    summary: Callable[[], Mapping[str, Any]]
    metrics: Sequence[Mapping[str, Any]]


def _trained(problem: Problem, seed: int, tell: Tell) -> Trained | FloatingPointError:
    """The model; why there is none."""
    metrics: list[dict[str, Any]] = []

    def told(report: Report) -> None:
        metrics.append(step_metrics(report, report.seconds))
        tell("model", report)

    try:
        result = fit(
            problem.posterior,
            problem.observations,
            problem.objective,
            problem.training,
            key=stream(seed, "training"),
            callback=told,
            should_stop=early_check(problem.posterior, problem.observations, problem.training),
        )
        if result.stopped:
            return NotLearnedError(result.stopped)
    except FloatingPointError as error:
        return error
    last, fitted = result.history[-1], Fitted(problem, result.posterior)
    seconds = {"wall_seconds": last.seconds, "compile_seconds": last.compile_seconds}
    steps = problem.options.training.steps
    summary = partial(summarise, fitted, kept_aside_sets(problem), steps=steps, seconds=seconds)
    return Trained(fitted, summary, metrics)


def first_words(
    data: Trajectories,
    options: Options,
    hypotheses: Sequence[Hypothesis] = (),
    *,
    family: str = LIBRARY,
) -> Discovery:
    """What the data alone say, of conserved quantities among the terms of `family` (for "library" those of
    degree <= 2, which come first, or of these the ones of equal bodies where the options name that family)
    and of each hypothesis. Raises `OptionError` for a family that there is not, or that does not fit the
    data, and where the options do not ask for quantities to be learned.
    """
    if family not in (LIBRARY, *DICTIONARIES):
        known = ", ".join([LIBRARY, *sorted(DICTIONARIES)])
        raise OptionError(f"family: got dictionary {family!r}, expected one of {known}")
    bodies = body_terms(options, data) if family == LIBRARY else None
    try:
        dictionary = bodies or dictionary_of("quadratic" if family == LIBRARY else family, data)
    except ValueError as error:
        raise OptionError(f"family: {error}") from None
    if options.symmetry.mode != "learned":
        raise OptionError(f'symmetry.mode: got "{options.symmetry.mode}", but discover expects "learned"')
    given = options.inference.noise_variance
    return Discovery(
        trajectories=data,
        analysis=data_answer(data, None if isinstance(given, str) else float(given), dictionary=dictionary),
        hypotheses=tuple(judged_by_data(hypothesis, data) for hypothesis in hypotheses),
    )


def with_exact(found: Discovery) -> Discovery:
    """The first words with the exact evidence of what they say and of what was asked about, and whether the
    two agree.
    """
    failed = dict(found.failed)
    exact, compared = exact_answer(found.trajectories, found.analysis, found.hypotheses, failed)
    answers = judged_by_exact(found.hypotheses, exact)
    return replace(found, exact=exact, agreement=compared, hypotheses=answers, failed=failed)


def with_beyond(found: Discovery, options: Options, library: LibraryOptions) -> Discovery:
    """The first words with what the library conserves beyond degree two."""
    failed = dict(found.failed)
    given = options.inference.noise_variance
    noise = None if isinstance(given, str) else float(given)
    beyond = beyond_answer(found.trajectories, found.analysis, found.exact, library, failed, noise)
    return replace(found, beyond=beyond, failed=failed)


def too_few_rows(found: Discovery) -> NotLearnedError | None:
    """Why nothing is trained where there are fewer steps from row to row than terms of quantities: any model
    fits them.
    """
    steps, terms = found.analysis.space.motion.degrees, len(found.analysis.space.ratios)
    if steps >= terms:
        return None
    many = "1 step" if steps == 1 else f"{steps} steps"
    return NotLearnedError(f"not trained: {many} from row to row, and at least {terms} are needed")


def without_model(found: Discovery, error: Exception) -> Discovery:
    """What the data alone say, with the reason why there is no model."""
    why = f"{error}; the answer from the data alone stands{_winding(found.trajectories)}"
    return replace(found, failed={**found.failed, "model": why})


def with_model(
    found: Discovery,
    trained: Trained,
    budget: Budget,
    *,
    parts: Parts,
    keep: Keep = in_memory,
    tell: Tell = say_nothing,
) -> Discovery:
    """What the data say and a trained model adds: the Delta-ELBO over as many fits of each kind as the
    `budget` has, also of the hypotheses, and checks. A part that fails is named in `failed`.
    """
    started = time.perf_counter()
    failed = dict(found.failed)
    fitted = trained.fitted
    data, noise = found.trajectories, named_noise(fitted.problem)
    tell, repeats = parts.told(tell), budget.fits(found)
    beside: dict[str, Callable[[], Any]] = {
        "field": lambda: unstructured_field(fitted, failed, keep, tell) if budget.field else None,
        "{C, H} of the model": lambda: analysis_of(fitted, data, noise, space=found.analysis.space),
        "bands of rollouts": lambda: calibrated_bands(fitted, failed),
    }
    evidence, answers = None, found.hypotheses
    if repeats:
        with parts.timed(ESTIMATES):
            summary = trained.summary()

        def fits() -> tuple[Evidence | None, Sequence[HypothesisAnswer]]:
            given = fitted, found.analysis, reached(summary), found.hypotheses, failed
            return weigh(*given, repeats=repeats, keep=keep, tell=tell)

        results = parts.side_by_side({"fits for the Delta-ELBO": fits, **beside})
        evidence, answers = results[0]
    else:
        results = parts.side_by_side({ESTIMATES: trained.summary, **beside})
        summary = results[0]
    field, analysis, calibration = results[1:]
    with parts.timed("checks"):
        plain = None if evidence is None else evidence.plain
        checks = check_model(fitted, plain, field, calibration, failed)
    # A symmetry that is built in makes H better.
    symmetric = None if evidence is None else evidence.symmetric
    best = fitted if symmetric is None else Fitted(fitted.problem, symmetric)
    with parts.timed("learned quantities"):
        learned = learned_answer(fitted, data, failed, noise)
        beyond = with_suggestions(found.beyond, analysis, best, data, failed)
    return replace(
        found,
        analysis=analysis,
        learned=learned,
        beyond=beyond,
        model=fitted,
        evidence=evidence,
        hypotheses=tuple(answers),
        checks=checks,
        failed=failed,
        seconds=time.perf_counter() - started,
        summary={**summary, "part_seconds": dict(parts.seconds)},
        metrics=tuple(trained.metrics),
    )


def step_metrics(report: Report, wall_seconds: float) -> dict[str, Any]:
    """A logged step as a line of metrics.jsonl."""
    return {
        "step": report.step,
        "negative_elbo": report.negative_elbo,
        "nll": report.nll,
        "kl": report.kl,
        "gradient_norm": report.gradient_norm,
        "noise_variance": report.noise_variance,
        "wall_seconds": wall_seconds,
    }


def _winding(trajectories: Trajectories) -> str:
    """A hint where a position winds and was not said to be an angle."""
    points, angles = trajectories.points(), trajectories.angles()
    for k in range(trajectories.dof):
        turns = float(np.ptp(points[:, k])) / (2 * np.pi)
        if k not in angles and not trajectories.units[k] and turns > WINDS:
            name = trajectories.names[k]
            return f"; {name} spans {turns:.0f} times 2 pi: if it is an angle, add --periodic {name}"
    return ""
