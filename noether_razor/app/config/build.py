"""From a checked configuration to the objects of the library."""

import dataclasses
import difflib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from pydantic import TypeAdapter, ValidationError

from ...modelling import Problem, Truth, make_problem, with_canonical_momenta
from ...options import OptionError
from ...quantities import QuadraticQuantities
from ...random import stream
from ...systems import SYSTEMS, CustomSystem, HamiltonianSystem, InitialStates
from ...trajectories import (
    UNPAIRED,
    DataFile,
    DataFileError,
    EscapeError,
    GaussianNoise,
    Layout,
    Trajectories,
    read_data_file,
    simulate,
    with_velocities,
)
from ...typing import PRNGKey
from .load import ConfigError
from .schema import Config, SystemTable


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
    """The training data of a configuration, with its noise; with velocities where it asks for them."""
    data, table = config.data, config.system
    noise = GaussianNoise(data.noise_variance, stream(config.seed, "noise"), data.noise_on)
    simulated = _simulated(
        system,
        stream(config.seed, "data"),
        trajectories=data.trajectories,
        transitions=data.transitions,
        dt=data.dt,
        initial=InitialStates(table.initial_scale_q, table.initial_scale_p, energy_below=table.energy_below),
        noise=None if data.velocities else noise,
    )
    if not data.velocities:
        return simulated
    seen = with_velocities(simulated, system.hamiltonian, data.bracket or "auto")
    return dataclasses.replace(seen, states=noise.added(seen.states))


def simulate_test_sets(config: Config, system: HamiltonianSystem) -> dict[str, Trajectories]:
    """The noise-free test sets of a configuration, by name."""
    own = config.system
    return {
        name: _simulated(
            system,
            stream(config.seed, f"test set {name}"),
            trajectories=config.evaluation.trajectories,
            transitions=config.evaluation.transitions,
            dt=config.data.dt,
            initial=InitialStates(
                own.initial_scale_q if table.scale_q == "system" else table.scale_q,
                own.initial_scale_p if table.scale_p == "system" else table.scale_p,
                table.shift_q,
                own.energy_below,
            ),
        )
        for name, table in config.evaluation.sets.items()
    }


def _simulated(system: HamiltonianSystem, key: PRNGKey, **options: Any) -> Trajectories:
    try:
        return simulate(system, key, **options)
    except EscapeError as error:
        raise ConfigError(f"system.initial_scale_q, system.initial_scale_p: {error}") from None


def file_layout(config: Config) -> Layout:
    """What the columns of the configuration's data file mean: its data table, and the file beside the data.

    Raises `ConfigError` for keys of the table, `DataFileError` for those of that file.
    """
    table = config.data
    assert table.file is not None
    keys = ("step", "masses", "bracket", "periodic", "period", "units", "gap", "delimiter")
    options: dict[str, Any] = {key: getattr(table, key) for key in keys if getattr(table, key) is not None}
    options["columns"] = table.columns.model_dump(exclude_none=True)
    try:
        return Layout.beside(table.file, options)
    except DataFileError:
        raise
    except ValueError as error:
        raise ConfigError(f"data.{error}") from None


def read_data(
    config: Config,
    on_reading: Callable[[int, int], None] | None = None,
    doing: Callable[[str], None] | None = None,
) -> DataFile:
    """The data of the configuration's file, in their own units and canonical coordinates; `doing` is told how
    these are found. Raises as `file_layout`, and `DataFileError` for the data.
    """
    assert config.data.file is not None
    found = read_data_file(config.data.file, file_layout(config), progress=on_reading)
    if found.trajectories.bracket == UNPAIRED:
        raise ConfigError("data.columns.states: columns that are no pairs are for discover alone")
    made = with_canonical_momenta(found.trajectories, doing)
    if doing is not None:
        doing("compiling")
    return found._replace(trajectories=made)


def _data(config: Config) -> Trajectories:
    """The data that a model is learned from, in canonical coordinates."""
    if config.data.file is not None:
        return read_data(config).trajectories
    return with_canonical_momenta(simulate_data(config, build_system(config.system)))


def build_problem(
    config: Config,
    data: Trajectories | None = None,
    *,
    quantities: QuadraticQuantities | None = None,
) -> Problem:
    """Everything that a configuration describes; `data` given (a run's own copy, in its own units) takes the
    place of its data table. `quantities` given, in the coordinates of training, take the place of the
    system's known ones where `symmetry.mode` is fixed.

    Raises `ConfigError` where tables contradict each other or the system, and `DataFileError` for a data file
    that cannot be used.
    """
    truth = None
    if not config.data.measured:
        exact = config.data.noise_on == "targets"
        truth = Truth(build_system(config.system), config.data.noise_variance, exact)
    if data is None:
        data = _data(config)
    try:
        return make_problem(data, config.options(), seed=config.seed, truth=truth, quantities=quantities)
    except OptionError as error:
        raise ConfigError(str(error)) from None
