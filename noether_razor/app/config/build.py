"""From a checked configuration to the objects of the library."""

import dataclasses
import difflib
import zlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Float
from pydantic import TypeAdapter, ValidationError

from ...inference import Estimator, InitialStates, Observations, Posterior, paper_estimator, windows_of
from ...networks import HamiltonianNetwork
from ...prediction import substep_error
from ...quantities import ConservedQuantities, QuadraticQuantities, angular_momentum, linear_momentum
from ...scaling import PhaseScale, whole_turns
from ...symmetry import (
    Averaging,
    Ball,
    Box,
    FlowAveraging,
    Gaussian,
    GroupMeasure,
    HaarAveraging,
    HaarUnitary,
    NoAveraging,
    sized,
)
from ...systems import SYSTEMS, CustomSystem, HamiltonianSystem, NBody, Oscillators
from ...training import Rates, Training
from ...trajectories import (
    DataFile,
    DataFileError,
    EscapeError,
    Layout,
    Trajectories,
    fit_scale,
    hold_out,
    read_data_file,
    scaled_trajectories,
    simulate,
)
from ...typing import PRNGKey
from .data_start import conserved_start
from .likelihood import Likelihood, choose_likelihood, noise_of_states
from .load import ConfigError
from .schema import Config, SystemTable

MEASURES: dict[str, GroupMeasure] = {"ball": Ball(), "box": Box(), "gaussian": Gaussian()}
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
without noise is not more accurate, and sigma^2 could fall until rounding alone decides the bound.
"""


class Problem(NamedTuple):
    """What a configuration describes, ready to fit and to evaluate.

    `recorded` are all trajectories in their own units, `held_out` those of them that are kept aside (None:
    no data of a file, or none kept), `measured` those to learn from. `data` are the same in the coordinates
    of `scale`, in which the posterior works; for simulated systems these are the same. `notes` are what the
    reader of a data file has to say. `observations` are the rows of `data` that `likelihood` is of.
    """

    system: HamiltonianSystem | None
    recorded: Trajectories
    held_out: Trajectories | None
    measured: Trajectories
    data: Trajectories
    scale: PhaseScale
    notes: tuple[str, ...]
    likelihood: Likelihood
    observations: Observations
    posterior: Posterior
    averaging: Averaging
    estimator: Estimator
    evaluator: Estimator
    training: Training


def stream(seed: int, purpose: str) -> PRNGKey:
    """The random stream of one purpose: the seed changes all of them, nothing else any."""
    return jax.random.fold_in(jax.random.key(seed), zlib.crc32(purpose.encode()))


def derived_seed(seed: int, purpose: str) -> int:
    """A seed of its own for one purpose, which the run's seed determines."""
    return int(jax.random.bits(stream(seed, purpose)))


def build_system(table: SystemTable) -> HamiltonianSystem:
    """The system of a table. Raises `ConfigError` for parameters that it does not have or cannot take."""
    if table.kind == "custom":
        assert table.dof is not None and table.hamiltonian is not None
        return _of_equals(_custom_system(table.dof, table.hamiltonian, table.parameters))
    cls: Any = SYSTEMS[table.kind]
    parameters = dict(table.parameters)
    names = [field.name for field in dataclasses.fields(cls)]
    for name in parameters:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"{table.kind} has {', '.join(names)}"
            raise ConfigError(f"system.parameters.{name}: unknown key, {hint}")
    if table.dof is not None and hasattr(cls, "of_dof"):
        try:
            parameters = cls.of_dof(table.dof, parameters)
        except ValueError as error:
            raise ConfigError(f"system.dof: {error}") from None
    try:
        system = TypeAdapter(cls).validate_python(parameters)
    except ValidationError as error:
        item = error.errors()[0]
        where = ".".join(str(part) for part in ("system.parameters", *item["loc"]))
        raise ConfigError(f"{where}: {item['msg'].removeprefix('Value error, ')}") from None
    if table.dof not in (None, system.dof):
        raise ConfigError(
            f"system.dof: got {table.dof}, but {table.kind} with these parameters has {system.dof}"
        )
    return _of_equals(system)


@lru_cache
def _of_equals(system: HamiltonianSystem) -> HamiltonianSystem:
    """The first of all systems equal to this one: methods of the same object alone share compiled code."""
    return system


def _custom_system(dof: int, formula: str, parameters: dict[str, Any]) -> CustomSystem:
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise ConfigError(f"system.parameters.{name}: expected a number, got {value!r}")
    try:
        return CustomSystem(dof, formula, parameters)
    except ValueError as error:
        raise ConfigError(f"system.hamiltonian: {error}") from None


def simulate_data(config: Config, system: HamiltonianSystem) -> Trajectories:
    """The training data of a configuration, with its noise."""
    data = config.data
    return _simulated(
        system,
        stream(config.seed, "data"),
        trajectories=data.trajectories,
        transitions=data.transitions,
        dt=data.dt,
        scale_q=config.system.initial_scale_q,
        scale_p=config.system.initial_scale_p,
        energy_below=config.system.energy_below,
        noise_variance=data.noise_variance,
        noise_on=data.noise_on,
        noise_key=stream(config.seed, "noise"),
    )


def simulate_test_sets(config: Config, system: HamiltonianSystem) -> dict[str, Trajectories]:
    """The noise-free test sets of a configuration, by name."""
    return {
        name: _simulated(
            system,
            stream(config.seed, f"test set {name}"),
            trajectories=config.evaluation.trajectories,
            transitions=config.evaluation.transitions,
            dt=config.data.dt,
            scale_q=config.system.initial_scale_q if table.scale_q == "system" else table.scale_q,
            scale_p=config.system.initial_scale_p if table.scale_p == "system" else table.scale_p,
            shift_q=table.shift_q,
            energy_below=config.system.energy_below,
        )
        for name, table in config.evaluation.sets.items()
    }


def _simulated(system: HamiltonianSystem, key: PRNGKey, **options: Any) -> Trajectories:
    try:
        return simulate(system, key, **options)
    except EscapeError as error:
        raise ConfigError(f"system.initial_scale_q, system.initial_scale_p: {error}") from None


def build_symmetry(
    config: Config,
    system: HamiltonianSystem | None,
    data: Trajectories,
    given: QuadraticQuantities | None = None,
) -> tuple[ConservedQuantities | None, Averaging]:
    """The quantities and the averaging of a configuration, as its `symmetry.mode` says; `given` ones take the
    place of known ones.
    """
    table = config.symmetry
    if table.mode == "none":
        return None, NoAveraging()
    if table.measure == "haar":
        equal = isinstance(system, Oscillators) and len(set(system.frequencies)) == 1
        if table.mode != "fixed" or not equal:
            raise ConfigError(
                "symmetry.measure: haar needs symmetry.mode = fixed and a system of known compact group "
                f"(equal oscillators), got mode {table.mode} and system {config.system.kind}"
            )
    if table.mode == "fixed":
        known = given if given is not None else _known_quantities(config, system)
        if known is None:
            raise ConfigError(
                "symmetry.mode: fixed needs a system with known quantities of degree at most two"
            )
        _without_angles(known, data)
        known = QuadraticQuantities(known.symmetric_matrices(), known.vectors[...], angles=data.angles())
        quantities = sized(known, _sample(data), data.spreads())
    else:
        key = stream(config.seed, "quantities")
        count = table.quantities or default_quantities(data.dof)
        quantities = QuadraticQuantities.random(
            key, count, data.dof, table.initial_scale, spreads=_spreads(data), angles=data.angles()
        )
        if table.initialise == "data" and (start := conserved_start(data, count)) is not None:
            quantities = _first(sized(start, _sample(data), data.spreads()), quantities)
    if table.measure == "haar":
        return quantities, HaarAveraging(HaarUnitary(data.dof))
    return quantities, FlowAveraging(MEASURES[table.measure])


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
    rows = np.unique(np.linspace(0, len(points) - 1, SIZED_BY).round().astype(int))
    return points[rows] - whole_turns(points[rows], data.periods)


def _without_angles(quantities: QuadraticQuantities, data: Trajectories) -> None:
    """Raise `ConfigError` where one of `quantities` contains an angle of `data`."""
    for k in data.angles():
        matrices, vectors = np.asarray(quantities.symmetric_matrices()), np.asarray(quantities.vectors[...])
        entries = np.concatenate([matrices[:, k], vectors[:, k : k + 1]], axis=1)
        if np.abs(entries).max() > NEGLIGIBLE * max(np.abs(matrices).max(), np.abs(vectors).max()):
            raise ConfigError(
                f"symmetry.mode: a fixed quantity contains {data.names[k]}, which is an angle "
                "(data.periodic): no polynomial in an angle is a function on its circle"
            )


def default_quantities(dof: int) -> int:
    """K where none is asked for: (n + 1)^2, as many as u(n + 1) has, at most all of degree <= 2."""
    return min((dof + 1) ** 2, dof * (2 * dof + 3))


def _known_quantities(config: Config, system: HamiltonianSystem | None) -> QuadraticQuantities | None:
    if config.symmetry.fixed == "all":
        return system.known_quantities() if system else None
    if not isinstance(system, NBody):
        raise ConfigError(f"symmetry.fixed: euclidean needs system.kind = n_body, got {config.system.kind}")
    bodies, dimension = len(system.masses), system.dimension
    parts = (linear_momentum(bodies, dimension), angular_momentum(bodies, dimension))
    return QuadraticQuantities(
        jnp.concatenate([part.matrices[...] for part in parts]),
        jnp.concatenate([part.vectors[...] for part in parts]),
    )


def file_layout(config: Config) -> Layout:
    """What the columns of the configuration's data file mean: its data table, and the file beside the data.

    Raises `ConfigError` for keys of the table, `DataFileError` for those of that file.
    """
    table = config.data
    assert table.file is not None
    keys = ("step", "masses", "periodic", "period", "units", "gap", "delimiter")
    options: dict[str, Any] = {key: getattr(table, key) for key in keys if getattr(table, key) is not None}
    options["columns"] = table.columns.model_dump(exclude_none=True)
    try:
        return Layout.beside(table.file, options)
    except DataFileError:
        raise
    except ValueError as error:
        raise ConfigError(f"data.{error}") from None


def read_data(config: Config, on_reading: Callable[[int, int], None] | None = None) -> DataFile:
    """The data of the configuration's file, in their own units. Raises as `file_layout`, and `DataFileError`
    for the data.
    """
    assert config.data.file is not None
    return read_data_file(config.data.file, file_layout(config), progress=on_reading)


def build_problem(
    config: Config,
    data: Trajectories | None = None,
    notes: tuple[str, ...] = (),
    *,
    quantities: QuadraticQuantities | None = None,
    on_reading: Callable[[int, int], None] | None = None,
) -> Problem:
    """Everything that a configuration describes; `data` given (a run's own copy, in its own units, with its
    `notes`) takes the place of its data table. `quantities` given, in the coordinates of training, take the
    place of the system's known ones where `symmetry.mode` is fixed. `on_reading` is told the bytes of a data
    file read, and its size.

    Raises `ConfigError` where tables contradict each other or the system, and `DataFileError` for a data file
    that cannot be used.
    """
    system = None
    if config.data.file is None:
        system = build_system(config.system)
    if data is None:
        if system is None:
            data, notes = read_data(config, on_reading)
        else:
            data = simulate_data(config, system)
    recorded, (measured, aside) = data, hold_out(data, config.data.held_out)
    data, scale = measured, PhaseScale.identity(measured.dof)
    if system is None and config.data.scale == "auto":
        scale = fit_scale(measured, spread=config.data.spread)
        data = scaled_trajectories(measured, scale)
    noise_variance = _noise_variance(config, scale)
    on_states = _noise_on_states(config, data, noise_variance)
    likelihood = choose_likelihood(config.inference, data, on_states)
    observations: Observations = data.transitions()
    initial_states = None
    if likelihood.window_steps is not None:
        observations = windows_of(data, likelihood.window_steps)
        initial_states = InitialStates(observations.size, 2 * data.dof)
        # Learned noise begins where the rows say that it is: initial states are measured in it.
        noise_variance = on_states or noise_variance
    estimator = _estimator(config, system, data, noise_variance, observations.size)
    conserved, averaging = build_symmetry(config, system, data, quantities)
    network = HamiltonianNetwork(
        2 * data.dof,
        layers=config.network.layers,
        width=config.network.width,
        alpha=config.network.elu_alpha,
        periods=data.periods,
        rngs=nnx.Rngs(stream(config.seed, "initialisation")),
    )
    posterior = Posterior(
        network,
        conserved,
        noise_variance=noise_variance,
        relative_scale=config.inference.relative_scale,
        correlated=config.inference.correlated,
        initial_states=initial_states,
    )
    evaluator = dataclasses.replace(
        estimator,
        group_samples=config.evaluation.group_samples,
        weight_samples=config.evaluation.weight_samples,
    )
    return Problem(
        system=system,
        recorded=recorded,
        held_out=aside,
        measured=measured,
        data=data,
        scale=scale,
        notes=notes,
        likelihood=likelihood,
        observations=observations,
        posterior=posterior,
        averaging=averaging,
        estimator=estimator,
        evaluator=evaluator,
        training=_training(config, data),
    )


def _training(config: Config, data: Trajectories) -> Training:
    table = config.training
    learn_noise = config.inference.noise_variance == "learned"
    scaled = config.data.file is not None and config.data.scale == "auto"
    variance = config.data.spread**2 if scaled else float(np.mean(data.spreads() ** 2))
    return Training(
        steps=table.steps,
        batch=table.batch or min(data.transitions().size, 100),
        rates=Rates(**table.rates.model_dump()),
        second_moment=table.second_moment,
        clip=table.clip,
        prior_precision=config.inference.prior_precision,
        learn_quantities=config.symmetry.mode == "learned",
        learn_noise_variance=learn_noise,
        noise_floor=NOISE_FLOOR * variance if learn_noise else 0.0,
        kl_warmup=table.kl_warmup,
        orbit_growth=table.orbit_growth if config.symmetry.mode == "fixed" else 0,
        spreads=_spreads(data),
        log_every=table.log_every,
    )


def _spreads(data: Trajectories) -> tuple[float, ...]:
    """One spread for all positions and one for all momenta: standard deviations, pooled. Those of angles
    are on their circle.
    """
    deviations = np.split(data.spreads(), 2)
    return tuple(float(np.sqrt(np.mean(part**2))) for part in deviations for _ in range(data.dof))


def _noise_variance(config: Config, scale: PhaseScale) -> float:
    """sigma^2 in the coordinates of training; the configuration names it in the units of the data."""
    wanted = config.inference.noise_variance
    if isinstance(wanted, float):
        return scale.variance(wanted)
    if wanted == "learned" and config.data.file is not None:
        return UNKNOWN_NOISE
    if config.data.noise_variance > 0:
        return scale.variance(config.data.noise_variance)
    if wanted == "learned":
        return UNKNOWN_NOISE
    raise ConfigError(
        "inference.noise_variance: the data have no noise to take it from (data.noise_variance = 0), "
        "give a number or learned"
    )


def _noise_on_states(config: Config, data: Trajectories, noise_variance: float) -> float | None:
    """The variance of the noise on all states, in the coordinates of training: `noise_variance` where it is
    not learned, else an estimate; 0 where states are exact.
    """
    if data.targets is not None or (config.data.file is None and config.data.noise_on == "targets"):
        return 0.0
    return noise_of_states(data) if config.inference.noise_variance == "learned" else noise_variance


def _estimator(
    config: Config, system: HamiltonianSystem | None, data: Trajectories, noise_variance: float, rows: int
) -> Estimator:
    table = config.inference
    if table.estimator == "paper":
        paper = paper_estimator(
            substeps=20 if table.substeps == "auto" else table.substeps,
            group_samples=table.group_samples or 200,
            weight_samples=table.weight_samples or 20,
        )
        return dataclasses.replace(paper, chunk=table.chunk)
    estimator = Estimator(
        chunk=table.chunk,
        substeps=1 if table.substeps == "auto" else table.substeps,
        group_samples=table.group_samples or 16,
        weight_samples=min(table.weight_samples or 4, rows),
    )
    if table.substeps != "auto":
        return estimator
    if system is None:
        # The true system is not known: as many as keep steps well below the time in which states move by
        # their spread. The learned Hamiltonian is checked at the end.
        needed = substeps_for(np.asarray(data.transitions().dt))
        return dataclasses.replace(estimator, substeps=needed)
    # Fine enough for the true system: the learned Hamiltonian is checked against the same rule at the end.
    limit = np.sqrt(noise_variance) / 10
    while estimator.substeps < MAX_SUBSTEPS and not (
        substep_error(system.hamiltonian, data.transitions(), estimator=estimator) <= limit
    ):
        estimator = dataclasses.replace(estimator, substeps=estimator.substeps + 1)
    return estimator


def substeps_for(dt: Float[np.ndarray, " transitions"]) -> int:
    """Integrator steps a transition for data of a file: as many as keep all but the longest half per cent of
    them within `LONGEST_STEP`, and those, across rows left out, within twice that; `MAX_SUBSTEPS` at most.
    """
    needed = max(np.quantile(dt, 0.995) / LONGEST_STEP, np.max(dt) / (2 * LONGEST_STEP))
    return int(np.clip(np.ceil(needed), 1, MAX_SUBSTEPS))
