"""What a configuration file may say: frozen models, checked whole before anything runs."""

from dataclasses import dataclass, fields, replace
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from ...inference import LIKELIHOODS
from ...options import (
    STRICT,
    EstimateOptions,
    InferenceOptions,
    NetworkOptions,
    Options,
    SymmetryOptions,
    TrainingOptions,
)
from ...spelling import suggestion
from ...systems import SYSTEMS
from ...training import Rates

NonNegativeFloat = Annotated[float, Field(ge=0)]


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=False, allow_inf_nan=False)


class SystemTable(_Table):
    """The true system to simulate, and the distribution of its initial states."""

    kind: str = Field(default="oscillators", description="a key of systems.SYSTEMS, or custom")
    dof: PositiveInt | None = Field(
        default=None, description="degrees of freedom, if the parameters do not fix them"
    )
    parameters: dict[str, Any] = Field(default_factory=dict, description="fields of the system's class")
    initial_scale_q: NonNegativeFloat = Field(
        default=1.0, description="standard deviation of the initial positions"
    )
    initial_scale_p: NonNegativeFloat = Field(
        default=1.0, description="standard deviation of the initial momenta"
    )
    energy_below: float | None = Field(
        default=None, description="initial states with more energy are redrawn"
    )

    hamiltonian: str | None = Field(default=None, description="formula of a custom system in q1, p1, ...")

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        known = (*SYSTEMS, "custom")
        if kind not in known:
            raise ValueError(suggestion(kind, known))
        return kind

    @model_validator(mode="after")
    def _custom(self) -> "SystemTable":
        if self.kind == "custom" and (self.hamiltonian is None or self.dof is None):
            raise ValueError("a custom system needs dof and hamiltonian")
        if self.kind != "custom" and self.hamiltonian is not None:
            raise ValueError(f'hamiltonian requires kind = "custom", got kind = "{self.kind}"')
        return self

    @model_validator(mode="after")
    def _moving(self) -> "SystemTable":
        if self.initial_scale_q == 0 and self.initial_scale_p == 0:
            raise ValueError(
                "initial_scale_q and initial_scale_p are both 0: all trajectories would be identical"
            )
        return self


def _masses(masses: Any) -> Any:
    """One mass or several, as a tuple; with one message for all that are none."""
    if masses is None:
        return None
    try:
        listed = masses if isinstance(masses, list | tuple) else [masses]
        values = tuple(float(mass) for mass in listed if not isinstance(mass, bool))
    except (TypeError, ValueError):
        listed, values = [], ()
    if len(values) == len(listed) > 0 and all(0 < value < float("inf") for value in values):
        return values
    why = " (with mass 0, p = m v is 0)" if 0 in values else ""
    raise ValueError(f"expected positive numbers, one for all positions or one for each{why}")


class ColumnsTable(_Table):
    """The names of a data file's columns."""

    names: tuple[str, ...] | None = Field(
        default=None, description="names of all columns, for a file without a header"
    )
    trajectory: str | None = Field(default=None, description="column with trajectory labels")
    time: str | None = None
    positions: tuple[str, ...] | None = Field(default=None, description="position columns; None: q1..qn")
    momenta: tuple[str, ...] | None = Field(
        default=None, description="momentum columns in the order of positions; None: p1..pn"
    )
    velocities: tuple[str, ...] | None = Field(
        default=None, description="velocity columns instead of momenta"
    )
    states: tuple[str, ...] | None = Field(
        default=None, description="columns of states that are no pairs of positions and momenta"
    )
    ignore: tuple[str, ...] | None = None


class DataTable(_Table):
    """Training data: simulated, or read from a file."""

    file: str | None = Field(
        default=None, description="file (text or arrays) to read trajectories from instead of simulating them"
    )
    columns: ColumnsTable = ColumnsTable()
    step: PositiveFloat | None = Field(default=None, description="time step of a file without times")
    masses: Annotated[tuple[float, ...] | None, BeforeValidator(_masses)] = Field(
        default=None,
        description="masses for a file with velocities, one for all or one per position: p = m v; None: "
        "canonical momenta are found from the data",
    )
    bracket: Literal["auto", "canonical", "masses", "field", "natural", "constant", "form"] | None = Field(
        default=None,
        description="kind of Poisson matrix that is looked for where velocities have no masses; None: auto",
    )
    periodic: tuple[str, ...] | None = Field(
        default=None,
        description="positions of a file that are angles: they are unwrapped, and H is periodic in them; [] "
        "for none, where positions jump for other reasons",
    )
    period: PositiveFloat | None = Field(
        default=None, description="period of these angles; None: 2 pi, or 360 deg"
    )
    units: dict[str, str] | None = Field(default=None, description="units of a file's columns, by name")
    gap: PositiveFloat | None = Field(
        default=None, description="longest time between two rows of one trajectory of a file"
    )
    delimiter: str | None = Field(
        default=None, description="delimiter of a text file: a character, tab or space; None: detected"
    )
    scale: Literal["auto", "none"] = Field(
        default="auto",
        description="train on data of a file in scaled canonical coordinates (auto) or unscaled (none)",
    )
    spread: PositiveFloat = Field(
        default=1.0, description="standard deviation of scaled coordinates, about the shortest length in H"
    )
    held_out: Annotated[
        float,
        Field(ge=0, le=0.5, description="share of a file's trajectories held out for testing"),
    ] = 0.0
    bodies: Annotated[int, Field(ge=2)] | None = Field(
        default=None, description="number of equal bodies that positions are of, one after the other"
    )
    trajectories: PositiveInt = 7
    transitions: PositiveInt = 4
    dt: PositiveFloat = 0.2

    noise_variance: NonNegativeFloat = 1e-3
    noise_on: Literal["targets", "states"] = "targets"
    velocities: bool = Field(
        default=False,
        description="simulated data have velocities in the place of momenta, as files do: canonical momenta "
        "are found from the data",
    )

    @property
    def measured(self) -> bool:
        """Whether nothing but the data is used: they are of a file, or as of one."""
        return self.file is not None or self.velocities


class TestSet(_Table):
    """One test set: noise-free trajectories from initial states of other scales, or of the data's own."""

    scale_q: NonNegativeFloat | Literal["system"] = 1.0
    scale_p: NonNegativeFloat | Literal["system"] = 0.2
    shift_q: float = 0.0


class EvaluationTable(_Table):
    """Test sets, and the size of the final estimates."""

    trajectories: PositiveInt = 100
    transitions: PositiveInt = 20
    sets: dict[str, TestSet] = Field(
        default_factory=lambda: {
            "test": TestSet(),
            "wider": TestSet(scale_q=3.0),
            "moved": TestSet(shift_q=1.0),
        }
    )
    weight_samples: Annotated[int, Field(ge=2)] = 16
    group_samples: PositiveInt = 64
    nll_stderr: PositiveFloat = Field(
        default=0.02, description="standard error to which NLL / N is estimated, in nats per transition"
    )


class WarmStartTable(_Table):
    """A fit without symmetry, on data of another dt, whose weights and scales the next one starts from."""

    steps: PositiveInt = 1500
    dt: PositiveFloat = Field(default=0.1, description="its time step; it has as many states as the run")
    batch: PositiveInt | None = Field(
        default=None, description="transitions per step; None: all, at most 100"
    )
    rates: Rates | None = Field(default=None, description="None: those of the run")


@dataclass(frozen=True)
class TrainingTable(TrainingOptions):
    """The training loop, and fits that come before it, each starting from the last.

    checkpoint_seconds: at least so many between checkpoints.
    """

    checkpoint_seconds: NonNegativeFloat = 15.0
    warm_start: tuple[WarmStartTable, ...] = ()

    __pydantic_config__ = STRICT


Seed = Annotated[int, Field(ge=0, lt=2**32)]


class Config(_Table):
    """A whole configuration: one table a room."""

    seed: Seed = 0
    system: SystemTable = SystemTable()
    data: DataTable = DataTable()
    network: NetworkOptions = NetworkOptions()
    symmetry: SymmetryOptions = SymmetryOptions()
    inference: InferenceOptions = InferenceOptions()
    training: TrainingTable = TrainingTable()
    evaluation: EvaluationTable = EvaluationTable()

    def options(self) -> Options:
        """What the library needs to know of this configuration."""
        training = {f.name: getattr(self.training, f.name) for f in fields(TrainingOptions)}
        inference = self.inference
        if self.data.measured and inference.noise_variance == "data" and self.data.noise_variance:
            inference = replace(inference, noise_variance=self.data.noise_variance)
        return Options(
            network=self.network,
            symmetry=self.symmetry,
            inference=inference,
            training=TrainingOptions(**training),
            estimates=EstimateOptions(
                weight_samples=self.evaluation.weight_samples,
                group_samples=self.evaluation.group_samples,
                nll_stderr=self.evaluation.nll_stderr,
            ),
            scale=self.data.scale,
            spread=self.data.spread,
            held_out=self.data.held_out,
            bodies=self.data.bodies,
        )

    @model_validator(mode="before")
    @classmethod
    def _unknown_noise(cls, tables: Any) -> Any:
        """The noise of a file is learned unless a variance is named; that of velocities is another than that
        of momenta.
        """
        learned = False
        match tables:
            case {"data": {"file": str(), **data}}:
                learned = "noise_variance" not in data
            case {"data": {"velocities": True}}:
                learned = True
        inference = tables.get("inference", {}) if learned else None
        if isinstance(inference, dict) and "noise_variance" not in inference:
            return {**tables, "inference": {**inference, "noise_variance": "learned"}}
        return tables

    @model_validator(mode="after")
    def _columns_of_a_file(self) -> "Config":
        about_files = ("columns", "step", "masses", "periodic", "period", "units", "gap", "delimiter")
        for key in about_files:
            if self.data.file is None and getattr(self.data, key) not in (None, ColumnsTable()):
                raise ValueError(f"data.{key} describes a file, but data.file is not given")
        if self.data.held_out and not self.data.measured:
            raise ValueError("data.held_out describes a file, but data.file is not given")
        if self.data.velocities and (self.data.file is not None or self.data.noise_on == "targets"):
            raise ValueError(
                'data.velocities is for simulated data with noise_on = "states": columns of a file are named '
                "by data.columns.velocities"
            )
        return self

    @model_validator(mode="after")
    def _likelihood_of_noisy_states(self) -> "Config":
        asked = LIKELIHOODS.get(self.inference.likelihood)
        simulated = self.data.file is None
        if simulated and asked is not None and asked.noisy_inputs and self.data.noise_on == "targets":
            raise ValueError(
                f"inference.likelihood: {asked.kind} is for noise on all states, but data.noise_on is targets"
            )
        return self

    @model_validator(mode="after")
    def _simulated_warm_start(self) -> "Config":
        if self.training.warm_start and self.data.measured:
            raise ValueError(
                "training.warm_start simulates its own data and cannot be combined with data.file or "
                "data.velocities"
            )
        return self
