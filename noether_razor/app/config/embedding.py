"""What a configuration of an embedding may say."""

from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    NonNegativeFloat,
    PositiveFloat,
    PositiveInt,
)

from .schema import Seed


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class PointsTable(_Table):
    """The file of points, and which of its columns are taken."""

    file: str = Field(description="text or array of points, relative to where the program runs")
    columns: tuple[str, ...] | None = Field(default=None, description="columns to take; all of numbers")
    ignore: tuple[str, ...] = Field(default=(), description="columns to leave out")
    standardise: bool = Field(
        default=False, description="divide each column by its standard deviation, for columns of unlike units"
    )


class EmbeddingTable(_Table):
    """Options of `VariationalManifoldEmbedding`, chosen by held-out likelihood unless a degree is given."""

    components: PositiveInt = Field(default=2, description="dimension of the latent space")
    latent: Literal["auto", "uniform", "normal", "circle", "sphere"] | None = Field(
        default=None, description="auto for one component, uniform for more, if not given"
    )
    degree: PositiveInt | None = Field(
        default=None,
        description="of the map; if not given, it is chosen together with chart, stiffness and latent space",
    )
    stiffness: NonNegativeFloat = Field(default=1.0, description="weight of bending")
    chart: Literal["auto", "isomap", "pca", "angle"] = Field(
        default="auto", description="coordinates to start from"
    )
    neighbours: PositiveInt = Field(default=10, description="of each point in the graph of isomap")
    noise: PositiveFloat | Literal["learn"] = Field(default="learn", description="standard deviation")
    density: Literal["data", "gaussian"] = Field(default="data", description="gaussian: the linear way")
    iterations: PositiveInt = Field(default=150, description="of L-BFGS at most")

    def options(self) -> dict[str, Any]:
        """Keywords of the estimator."""
        chosen = self.degree is None and self.density == "data"
        latent = self.latent or ("auto" if self.components == 1 and chosen else "uniform")
        return {
            "n_components": self.components,
            "latent": latent,
            "degree": self.degree or 10,
            "select": chosen,
            **self.model_dump(include={"stiffness", "chart", "neighbours", "noise", "density", "iterations"}),
        }


class EmbeddingConfig(_Table):
    """The configuration of `noether-razor embed`."""

    seed: Seed = 0
    data: PointsTable
    embedding: EmbeddingTable = EmbeddingTable()
