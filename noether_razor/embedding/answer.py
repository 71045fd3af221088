"""What an embedding says of its points, as numbers for files and figures."""

import csv
import io
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from .estimator import ESTIMATED, VariationalManifoldEmbedding
from .symmetries import DensitySymmetries

MOST_SYMMETRIC = 6
"""Columns up to which isometries of the density are looked for."""
SHARE_OUTSIDE = 0.05
"""Share of the points beyond the latent cube, from which it is said."""


@dataclass(frozen=True, eq=False)
class EmbeddingAnswer:
    """A fitted embedding with the points that it was fitted to, the `names` of their columns, and notes."""

    estimator: VariationalManifoldEmbedding
    points: Float[np.ndarray, "n D"]
    names: tuple[str, ...]
    seconds: float
    file_notes: tuple[str, ...] = field(default=())

    @cached_property
    def latent(self) -> Float[np.ndarray, "n d"]:
        """Latent coordinates of the points."""
        return self.estimator.transform(self.points, "latent")

    @cached_property
    def coordinates(self) -> Float[np.ndarray, "n d"]:
        """Metric coordinates of the points."""
        return self.estimator.metric_coordinates(self.latent)

    @cached_property
    def rebuilt(self) -> Float[np.ndarray, "n D"]:
        """The points that the coordinates stand for."""
        return self.estimator.inverse_transform(self.latent, "latent")

    @cached_property
    def explained(self) -> tuple[float, Float[np.ndarray, " D"]]:
        """R^2 of all columns together and of each (nan where a column is constant)."""
        left = np.sum((self.points - self.rebuilt) ** 2, axis=0)
        spread = np.sum((self.points - self.points.mean(axis=0)) ** 2, axis=0)
        seen = spread > 1e-20 * spread.max()
        return float(1 - left.sum() / spread.sum()), np.where(
            seen, 1 - left / np.where(seen, spread, 1), np.nan
        )

    @cached_property
    def symmetries(self) -> DensitySymmetries | None:
        """Rotations and translations of the density of the tube; None where there are too many columns."""
        columns = self.points.shape[1]
        if columns > MOST_SYMMETRIC:
            return None
        some = self.points[:: max(1, len(self.points) // 400)]
        return self.estimator.symmetries(some) if len(some) >= columns * (columns + 1) // 2 else None

    @property
    def isometries(self) -> str | None:
        """The Lie algebra of the rotations and translations in words; None where none were looked for."""
        found = self.symmetries
        if found is None:
            return None
        if not found.dimension:
            return "none"
        if found.algebra.centre is not None:
            return found.algebra.name
        return f"{found.dimension} directions that form no group, a sign of too few points"

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        estimator, notes = self.estimator, list(self.file_notes)
        facts = estimator.diagnostics_
        if facts["reduced_to"] is not None:
            notes.append(
                f"{facts['columns']} columns were reduced to {facts['reduced_to']} principal components,"
                f" which hold {facts['variance_kept']:.1%} of the variance"
            )
        if facts["latent"] == "uniform":
            outside = float(np.mean(np.abs(self.latent).max(axis=1) > 1))
            if outside > SHARE_OUTSIDE:
                notes.append(
                    f"{outside:.0%} of the points lie beyond the edge of the latent cube, where the map is"
                    " extrapolated"
                )
        if best := facts["chosen"]:
            gap = best["train"] - best["validation"]
            if gap > 0.5 * self.points.shape[1]:
                notes.append(
                    f"the map fits the rows it was fitted to better than others, by {gap:.2f} nats a point:"
                    " more rows or a lower degree would help"
                )
        return notes

    def to_json(self) -> dict[str, Any]:
        """The contents of embedding.json."""
        estimator = self.estimator
        total, each = self.explained
        options = {k: v for k, v in estimator.get_params().items() if isinstance(v, str | int | float)}
        return {
            "components": estimator.n_components,
            "names": list(self.names),
            "options": options,
            **estimator.diagnostics_,
            "score": float(estimator.score(self.points)),
            "r2": total,
            "r2_columns": [None if np.isnan(value) else float(value) for value in each],
            "metric_scales": estimator.scales_.tolist(),
            "principal_angles_degrees": np.degrees(estimator.principal_angles_).tolist(),
            "symmetries": None if self.symmetries is None else self.symmetries.to_json(),
            "symmetry_tolerance": ESTIMATED,
            "seconds": self.seconds,
            "notes": self.notes,
        }

    def to_csv(self) -> str:
        """The contents of embedding.csv: metric coordinates z, latent ones u, the log density of each point,
        and its distance from the image.
        """
        count = self.estimator.n_components
        density = self.estimator.score_samples(self.points)
        distance = np.linalg.norm(self.points - self.rebuilt, axis=1)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        coordinates = [f"{letter}{k + 1}" for letter in "zu" for k in range(count)]
        writer.writerow([*coordinates, "log_density", "distance"])
        table = np.column_stack([self.coordinates, self.latent, density, distance])
        writer.writerows([[f"{value:.10g}" for value in row] for row in table.tolist()])
        return stream.getvalue()

    def __str__(self) -> str:
        facts = self.estimator.diagnostics_
        total, _ = self.explained
        lines = [
            f"{facts['rows']} points of {facts['columns']} columns on a {facts['latent']} latent "
            f"of dimension {self.estimator.n_components}: degree {facts['degree']}, {_chart(facts)}"
            f"noise {facts['noise']:.3g}",
            f"R2 of the reconstruction {total:.4f}, "
            f"mean log-likelihood of these points {facts['log_likelihood']:.3f}",
        ]
        if best := facts["chosen"]:
            lines.append(
                f"chosen among {len(facts['selection'])} settings by held-out likelihood:"
                f" {best['validation']:.3f} ± {best['stderr']:.3f} a point"
            )
        if self.isometries not in (None, "none"):
            lines.append(f"isometries of the density, to {ESTIMATED:.0%}: {self.isometries}")
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def _chart(facts: dict[str, Any]) -> str:
    return f"{facts['chart']} chart, " if facts["chart"] else ""
