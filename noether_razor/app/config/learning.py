"""What a configuration of `charges` and `symmetries` may say: a network, its data and its optimiser."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from optax import GradientTransformation
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    field_validator,
    model_validator,
)

from ...learning import (
    ACTIVATIONS,
    Labelled,
    NetworkShape,
    OptimiserError,
    digits,
    make_optimizer,
    norms_of,
    read_labelled,
)
from ...spelling import suggestion
from .load import ConfigError, find_config, load_tables, parse_tables
from .schema import Seed

OPTIMISERS = ("sgd", "momentum", "nesterov", "sgdw", "adam", "adamw", "lion")
Norm = Literal["none", "batch", "layer"]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=False)


class ModelTable(_Table):
    """The network: layers are the widths of hidden layers (mlp) or channels of 3x3 convolutions (cnn)."""

    kind: Literal["mlp", "cnn"] = "mlp"
    layers: tuple[PositiveInt, ...] = Field(default=(64, 64, 32, 32), min_length=1)
    norm: tuple[Norm, ...] | Norm = ("batch", "batch", "none", "none")
    activation: str = "relu"
    norm_epsilon: float = Field(default=1e-5, ge=0)
    bias: bool = True

    @field_validator("activation")
    @classmethod
    def _known(cls, activation: str) -> str:
        if activation not in ACTIVATIONS:
            raise ValueError(suggestion(activation, tuple(ACTIVATIONS)))
        return activation

    @model_validator(mode="after")
    def _one_each(self) -> "ModelTable":
        norms_of(len(self.layers), self.norm)
        return self

    @property
    def shape(self) -> NetworkShape:
        norms = norms_of(len(self.layers), self.norm)
        return NetworkShape(self.kind, self.layers, norms, self.activation, self.norm_epsilon, self.bias)


class LabelledTable(_Table):
    """The data: digits of scikit-learn, or a file."""

    kind: Literal["digits", "csv", "npz"] = "digits"
    file: str | None = None
    label: str | None = None
    test_share: float = Field(default=0.2, gt=0, lt=1)

    @model_validator(mode="after")
    def _with_file(self) -> "LabelledTable":
        if (self.kind == "digits") != (self.file is None):
            raise ValueError("file is needed for kind csv and npz, and for them alone")
        if self.file is not None and (Path(self.file).suffix.lower() == ".npz") != (self.kind == "npz"):
            raise ValueError(f"kind {self.kind} does not suit {self.file}")
        if self.label is not None and self.kind != "csv":
            raise ValueError("label names a column of a csv file; npz files hold labels in y")
        return self

    def read(self) -> Labelled:
        """Raises `ConfigError` and `DataFileError`."""
        if self.file is not None:
            return read_labelled(Path(self.file), self.label, self.test_share)
        try:
            return digits(self.test_share)
        except ImportError as error:
            raise ConfigError(f"data: {error}") from None


class OptimiserTable(_Table):
    """The optimiser, as optax names its kinds; schedule cosine falls to a hundredth of the rate."""

    kind: str = "sgd"
    learning_rate: PositiveFloat = 0.1
    momentum: float = Field(default=0.0, ge=0, lt=1)
    decay: float = Field(default=0.0, ge=0)
    schedule: Literal["constant", "cosine"] = "constant"
    clip: PositiveFloat | None = None

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in OPTIMISERS:
            raise ValueError(suggestion(kind, OPTIMISERS))
        return kind

    @model_validator(mode="after")
    def _suits(self) -> "OptimiserTable":
        if self.kind in ("momentum", "nesterov") and not self.momentum:
            raise ValueError(f"kind {self.kind} needs a momentum above 0")
        if self.kind in ("adam", "adamw", "lion") and self.momentum:
            raise ValueError(f"kind {self.kind} takes no momentum: its averages are those of optax")
        return self


class LearningTraining(_Table):
    """Steps and rows of a batch."""

    steps: PositiveInt = 660
    batch: int = Field(default=128, ge=2)
    checkpoint_seconds: PositiveFloat = 60.0


class ChargesTable(_Table):
    """Which symmetries are followed (find: those that are found), and the order of the prediction shown."""

    symmetries: Literal["find"] = "find"
    order: Literal["exact", "2", "1"] = "exact"


class SearchTable(_Table):
    """How symmetries are looked for."""

    method: Literal["slices", "linear"] = "slices"
    rows: PositiveInt | None = None


class LearningConfig(_Table):
    """All of it."""

    seed: Seed = 0
    model: ModelTable = ModelTable()
    data: LabelledTable = LabelledTable()
    optimizer: OptimiserTable = OptimiserTable()
    training: LearningTraining = LearningTraining()
    charges: ChargesTable = ChargesTable()
    search: SearchTable = SearchTable()

    def make_optimizer(self) -> GradientTransformation:
        """The optimiser of optax. Raises `ConfigError`."""
        table = self.optimizer
        try:
            return make_optimizer(
                table.kind,
                table.learning_rate,
                momentum=table.momentum,
                decay=table.decay,
                cosine_steps=self.training.steps if table.schedule == "cosine" else 0,
                clip=table.clip,
            )
        except (OptimiserError, ValueError) as error:
            raise ConfigError(f"optimizer: {error}") from None


def parse_learning(tables: dict[str, Any], source: str) -> LearningConfig:
    """Check tables that are already in memory. Raises `ConfigError`."""
    return parse_tables(LearningConfig, tables, source)


def load_learning(path: str | Path, overrides: Iterable[str] = ()) -> LearningConfig:
    """Read a TOML file of `charges` or `symmetries`; see `load_config`. Raises `ConfigError`."""
    found = find_config(Path(path))
    config = load_tables(LearningConfig, found, {}, overrides)
    file = config.data.file
    if file is not None and not Path(file).is_absolute() and not Path(file).exists():
        beside = found.parent / file
        config = config.model_copy(update={"data": config.data.model_copy(update={"file": str(beside)})})
    return config
