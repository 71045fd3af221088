"""From trajectories and options to a model, its data and its estimator: everything that a fit needs."""

from dataclasses import replace
from typing import Literal, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..inference import ELBO, LIKELIHOODS, Estimator, Posterior, Rows, likelihood_of, paper_estimator
from ..options import OptionError, Options, SymmetryOptions
from ..prediction import substep_error
from ..quantities import ConservedQuantities, QuadraticQuantities, angular_momentum, linear_momentum
from ..scaling import PhaseScale, whole_turns
from ..symmetry import (
    MEASURES,
    Averaging,
    BuiltInAveraging,
    FlowAveraging,
    HaarAveraging,
    HaarUnitary,
    NoAveraging,
    built_in,
    sized,
)
from ..systems import HamiltonianSystem, NBody, Oscillators
from ..thinning import evenly
from ..training import Training
from ..trajectories import Trajectories, fit_scale, hold_out, scaled_trajectories
from .families import Described, random_quantities
from .likelihood import LikelihoodChoice, choose_likelihood, noise_of_states
from .networks import random_network
from .start import conserved_start

MAX_SUBSTEPS = 16
LONGEST_STEP = 0.5
"""Of the integrator on data of a file, in scaled time; twice that for the few longest transitions."""
SIZED_BY = 1000
"""States, at most, by which the orbits of built-in quantities are sized."""
NEGLIGIBLE = 1e-9
"""Coefficients of quantities over the largest that are rounding."""
UNKNOWN_NOISE = 1e-3
"""Where learning sigma^2 begins."""
NOISE_FLOOR = 1e-6
"""Of a learned sigma^2, over the square of the spread of the data: a thousandth of that. A fit to data
without noise is not more accurate, and sigma^2 could fall until rounding alone decides the ELBO.
"""

OF_DEGREE_TWO = ("quadratic", "bodies")
"""Families whose flows are exact."""
HEAD_START = 0.4
"""Share of the steps in which the network learns alone before quantities do whose flows are integrated; their
orbits then grow from nothing. Finite ones only smooth, and an untrained network bends to any of them.
"""


class Truth(NamedTuple):
    """What is known of simulated data: their system, the variance of their noise, and whether it is on stored
    targets only, beside exact states.
    """

    system: HamiltonianSystem
    noise_variance: float
    exact_states: bool


class Problem(NamedTuple):
    """A model, its data and its estimator, ready to fit and to evaluate.

    `recorded` are all trajectories in their own units, `held_out` those of them that are kept aside (None:
    none are), `measured` those to learn from. `data` are the same in the coordinates of `scale`, in which the
    posterior works; for simulated systems these are the same. `truth` is what is known of simulated data,
    None of measured ones. `observations` are the rows of `data` that `likelihood` is of.
    """

    options: Options
    seed: int
    truth: Truth | None
    recorded: Trajectories
    held_out: Trajectories | None
    measured: Trajectories
    data: Trajectories
    scale: PhaseScale
    likelihood: LikelihoodChoice
    observations: Rows
    posterior: Posterior
    estimator: Estimator
    evaluator: Estimator
    training: Training

    @property
    def system(self) -> HamiltonianSystem | None:
        """The true system of simulated data."""
        return None if self.truth is None else self.truth.system

    @property
    def objective(self) -> ELBO:
        """What training minimises."""
        return ELBO.of(self.observations, self.estimator)

    @property
    def predictor(self) -> Estimator:
        """The estimator of means over weight samples: these need no more group samples each than training."""
        return replace(self.evaluator, group_samples=self.estimator.group_samples)

    def again(
        self,
        mode: Literal["none", "fixed", "learned"],
        seed: int,
        quantities: QuadraticQuantities | None = None,
        *,
        steps: int | None = None,
    ) -> "Problem":
        """The same data and estimator with another model: another symmetry mode and seed, and so many `steps`
        of training (None: as many as here).

        `quantities`, in the coordinates of training, are built in where the mode is fixed. Raises as
        `make_problem`.
        """
        options = replace(
            self.options,
            symmetry=replace(self.options.symmetry, mode=mode),
            training=replace(self.options.training, steps=steps or self.options.training.steps),
        )
        posterior = _model(
            options,
            Described(self.measured, self.data, self.scale, _spreads(self.data), seed, self.options.bodies),
            self.truth,
            self.observations,
            noise_variance=float(self.posterior.noise_variance()),
            quantities=quantities,
        )
        training = _training(options, self.data, measured=self.truth is None)
        return self._replace(options=options, seed=seed, posterior=posterior, training=training)


def make_problem(
    recorded: Trajectories,
    options: Options,
    *,
    seed: int = 0,
    truth: Truth | None = None,
    quantities: QuadraticQuantities | None = None,
) -> Problem:
    """What it takes to learn from `recorded` as `options` say.

    Of measured trajectories (no `truth`) the units are scaled and the noise is estimated or learned.
    `quantities` given, in the coordinates of training, take the place of the system's known ones where
    `options.symmetry.mode` is fixed. Raises `OptionError` where options contradict each other or the data,
    `CannotBuildInError` for given quantities that cannot be built in, and ValueError for velocities without
    masses.
    """
    recorded.require_canonical()
    measured, aside = hold_out(recorded, options.held_out)
    data, scale = measured, PhaseScale.identity(measured.dof)
    if truth is None and options.scale == "auto":
        scale = fit_scale(measured, spread=options.spread)
        data = scaled_trajectories(measured, scale)
    noise_variance = _noise_variance(options, scale, truth)
    on_states = _noise_on_states(options, data, noise_variance, truth)
    choice = choose_likelihood(options.inference, data, on_states)
    likelihood = LIKELIHOODS[choice.kind]
    observations: Rows = likelihood.cut(data, options.inference.window_steps)
    if likelihood.noisy_inputs:
        # Learned noise begins where the rows say that it is: initial states are measured in it.
        noise_variance = on_states or noise_variance
    estimator = _estimator(options, truth, data, noise_variance, observations.size)
    described = Described(measured, data, scale, _spreads(data), seed, options.bodies)
    posterior = _model(
        options, described, truth, observations, noise_variance=noise_variance, quantities=quantities
    )
    return Problem(
        options=options,
        seed=seed,
        truth=truth,
        recorded=recorded,
        held_out=aside,
        measured=measured,
        data=data,
        scale=scale,
        likelihood=choice,
        observations=observations,
        posterior=posterior,
        estimator=estimator,
        evaluator=replace(
            estimator,
            group_samples=options.estimates.group_samples,
            weight_samples=options.estimates.weight_samples,
        ),
        training=_training(options, data, measured=truth is None),
    )


def _model(
    options: Options,
    described: Described,
    truth: Truth | None,
    observations: Rows,
    *,
    noise_variance: float,
    quantities: QuadraticQuantities | None,
) -> Posterior:
    """The untrained model."""
    conserved, averaging = _symmetry(options, described, truth, quantities)
    return Posterior(
        random_network(options.network, described),
        conserved,
        averaging,
        noise_variance=noise_variance,
        correlated=options.inference.correlated,
        latents=likelihood_of(observations).latents(observations),
    )


def _symmetry(
    options: Options,
    described: Described,
    truth: Truth | None,
    given: QuadraticQuantities | None,
) -> tuple[ConservedQuantities | None, Averaging]:
    """The quantities and the averaging that `options.symmetry` asks for; `given` ones take the place of known
    ones, and are built in as `symmetry.built_in` says.
    """
    table, system = options.symmetry, None if truth is None else truth.system
    data = described.data
    if table.mode == "none":
        return None, NoAveraging()
    if table.measure == "haar":
        equal = isinstance(system, Oscillators) and len(set(system.frequencies)) == 1
        if table.mode != "fixed" or not equal:
            raise OptionError(
                "symmetry.measure: haar needs symmetry.mode = fixed and a system of known compact group "
                f"(equal oscillators), got mode {table.mode} and {_kind(system)}"
            )
    if table.mode == "fixed" and given is not None:
        chosen = built_in(_without_angles(given, data), _sample(data), data.spreads())
        return chosen, BuiltInAveraging(_flows(table.measure))
    if table.mode == "fixed":
        known = _known_quantities(options, system)
        if known is None:
            raise OptionError(
                "symmetry.mode: fixed needs a system with known quantities of degree at most two"
            )
        quantities = sized(_without_angles(known, data), _sample(data), data.spreads())
    else:
        quantities = _learned(table, described)
        if not _quadratic(options):
            flows = _flows(table.measure)
            length, steps = table.flow_length, table.flow_steps
            return quantities, replace(flows, flow_steps=steps, spreads=described.spreads, length=length)
    if table.measure == "haar":
        return quantities, HaarAveraging(HaarUnitary(data.dof))
    return quantities, _flows(table.measure)


def _learned(table: SymmetryOptions, described: Described) -> ConservedQuantities:
    """Quantities to start learning from."""
    data = described.data
    # Of other families no more than can be independent.
    default = 2 * data.dof - 1
    if table.family in OF_DEGREE_TWO:
        default = default_quantities(data.dof, described.bodies if table.family == "bodies" else None)
    count = table.quantities or default
    quantities = random_quantities(table, described, count)
    if table.initialise == "random":
        return quantities
    if not isinstance(quantities, QuadraticQuantities):
        raise OptionError(f'symmetry.initialise: data is for the family quadratic, got "{table.family}"')
    start = conserved_start(data, count)
    return quantities if start is None else _first(sized(start, _sample(data), data.spreads()), quantities)


def _flows(measure: str) -> FlowAveraging:
    """The averaging over flows by the measure of this name. Raises `OptionError` where there is none."""
    if measure not in MEASURES:
        raise OptionError(
            f"symmetry.measure: got {measure!r}, expected one of {', '.join([*MEASURES, 'haar'])}"
        )
    return FlowAveraging(MEASURES[measure])


def _first(start: QuadraticQuantities, rest: QuadraticQuantities) -> QuadraticQuantities:
    """`rest` with `start` in the place of its first."""
    return QuadraticQuantities(
        jnp.concatenate([start.matrices[...], rest.matrices[start.count :]]),
        jnp.concatenate([start.vectors[...], rest.vectors[start.count :]]),
        angles=rest.angles,
    )


def _sample(data: Trajectories) -> Float[np.ndarray, "points dim"]:
    """States to size orbits by: spread over all trajectories, angles within half a turn of 0."""
    points = data.points()
    rows = evenly(len(points), SIZED_BY)
    return points[rows] - whole_turns(points[rows], data.periods)


def _without_angles(quantities: QuadraticQuantities, data: Trajectories) -> QuadraticQuantities:
    """`quantities`, to be held without the angles of `data`. Raises `OptionError` where one contains an
    angle.
    """
    for k in data.angles():
        matrices, vectors = np.asarray(quantities.symmetric_matrices()), np.asarray(quantities.vectors[...])
        entries = np.concatenate([matrices[:, k], vectors[:, k : k + 1]], axis=1)
        if np.abs(entries).max() > NEGLIGIBLE * max(np.abs(matrices).max(), np.abs(vectors).max()):
            raise OptionError(
                f"symmetry.mode: a fixed quantity contains {data.names[k]}, which is an angle "
                "(data.periodic): no polynomial in an angle is a function on its circle"
            )
    return QuadraticQuantities(quantities.symmetric_matrices(), quantities.vectors[...], angles=data.angles())


def default_quantities(dof: int, bodies: int | None = None) -> int:
    """K where none is asked for: (n + 1)^2, as many as u(n + 1) has, at most all of degree <= 2; of equal
    bodies in d dimensions d (2d + 1), as many as those on springs conserve whose mean is free.
    """
    if bodies is not None:
        dimension = dof // bodies
        return dimension * (2 * dimension + 1)
    return min((dof + 1) ** 2, dof * (2 * dof + 3))


def _known_quantities(options: Options, system: HamiltonianSystem | None) -> QuadraticQuantities | None:
    if options.symmetry.fixed == "all":
        return system.known_quantities() if system else None
    if not isinstance(system, NBody):
        raise OptionError(f"symmetry.fixed: euclidean needs a system of bodies (n_body), got {_kind(system)}")
    bodies, dimension = len(system.masses), system.dimension
    parts = (linear_momentum(bodies, dimension), angular_momentum(bodies, dimension))
    return QuadraticQuantities(
        jnp.concatenate([part.matrices[...] for part in parts]),
        jnp.concatenate([part.vectors[...] for part in parts]),
    )


def _kind(system: HamiltonianSystem | None) -> str:
    return "measured data" if system is None else f"system {type(system).__name__}"


def _training(options: Options, data: Trajectories, *, measured: bool) -> Training:
    table = options.training
    learn_noise = options.inference.noise_variance == "learned"
    scaled = measured and options.scale == "auto"
    variance = options.spread**2 if scaled else float(np.mean(data.spreads() ** 2))
    quantities_after, group_warmup = _group_warmup(options)
    return Training(
        steps=table.steps,
        batch=table.batch or min(data.transitions().size, 100),
        rates=table.rates,
        second_moment=table.second_moment,
        learn_quantities=options.symmetry.mode == "learned",
        learn_noise_variance=learn_noise,
        noise_floor=NOISE_FLOOR * variance if learn_noise else 0.0,
        kl_warmup=table.kl_warmup,
        quantities_after=quantities_after,
        group_warmup=group_warmup,
        spreads=_spreads(data),
        log_every=table.log_every,
    )


def _group_warmup(options: Options) -> tuple[int, int]:
    """Steps before learned quantities begin to move, and steps from there over which orbits grow: none of
    quantities of degree two that are learned, whose flows go round.
    """
    if _quadratic(options):
        return 0, 0
    if options.symmetry.mode != "learned":
        return 0, options.training.orbit_growth
    after = round(HEAD_START * options.training.steps)
    return after, options.training.steps - after


def _quadratic(options: Options) -> bool:
    """Whether quantities of degree two are learned."""
    return options.symmetry.mode == "learned" and options.symmetry.family in OF_DEGREE_TWO


def _spreads(data: Trajectories) -> tuple[float, ...]:
    """One spread for all positions and one for all momenta: standard deviations, pooled. Those of angles
    are on their circle.
    """
    deviations = np.split(data.spreads(), 2)
    return tuple(float(np.sqrt(np.mean(part**2))) for part in deviations for _ in range(data.dof))


def _noise_variance(options: Options, scale: PhaseScale, truth: Truth | None) -> float:
    """sigma^2 in the coordinates of training; options name it in the units of the data."""
    wanted = options.inference.noise_variance
    if not isinstance(wanted, str):
        return scale.variance(float(wanted))
    if truth is not None and truth.noise_variance > 0:
        return scale.variance(truth.noise_variance)
    if wanted == "learned":
        return UNKNOWN_NOISE
    raise OptionError(
        "inference.noise_variance: the data have no noise (data.noise_variance = 0) to take it from, "
        "give a number or learned"
    )


def _noise_on_states(
    options: Options, data: Trajectories, noise_variance: float, truth: Truth | None
) -> float | None:
    """The variance of the noise on all states, in the coordinates of training: `noise_variance` where it is
    not learned, else an estimate; 0 where states are exact.
    """
    if data.targets is not None or (truth is not None and truth.exact_states):
        return 0.0
    return noise_of_states(data) if options.inference.noise_variance == "learned" else noise_variance


def _estimator(
    options: Options, truth: Truth | None, data: Trajectories, noise_variance: float, rows: int
) -> Estimator:
    table = options.inference
    if table.estimator == "paper":
        paper = paper_estimator(
            substeps=20 if table.substeps == "auto" else table.substeps,
            group_samples=table.group_samples or 200,
            weight_samples=table.weight_samples or 20,
        )
        return replace(paper, chunk=table.chunk)
    estimator = Estimator(
        chunk=table.chunk,
        substeps=1 if table.substeps == "auto" else table.substeps,
        group_samples=table.group_samples or 16,
        weight_samples=min(table.weight_samples or 4, rows),
    )
    if table.substeps != "auto":
        return estimator
    if truth is None:
        # The true system is not known: as many as keep steps well below the time in which states move by
        # their spread. The learned Hamiltonian is checked at the end.
        needed = substeps_for(np.asarray(data.transitions().dt))
        return replace(estimator, substeps=needed)
    # Fine enough for the true system: the learned Hamiltonian is checked against the same rule at the end.
    limit = np.sqrt(noise_variance) / 10
    while estimator.substeps < MAX_SUBSTEPS and not (
        substep_error(truth.system.hamiltonian, data.transitions(), estimator=estimator) <= limit
    ):
        estimator = replace(estimator, substeps=estimator.substeps + 1)
    return estimator


def substeps_for(dt: Float[np.ndarray, " transitions"]) -> int:
    """Integrator steps a transition for data of a file: as many as keep all but the longest half per cent of
    them within `LONGEST_STEP`, and those, across rows left out, within twice that; `MAX_SUBSTEPS` at most.
    """
    needed = max(np.quantile(dt, 0.995) / LONGEST_STEP, np.max(dt) / (2 * LONGEST_STEP))
    return int(np.clip(np.ceil(needed), 1, MAX_SUBSTEPS))
