"""What an embedding says of its points, as numbers for files and figures."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Float

from .doubts import doubts
from .estimator import ESTIMATED, VariationalManifoldEmbedding
from .linear import principal_components
from .symmetries import DensitySymmetries

MOST_SYMMETRIC = 6
"""Columns up to which isometries of the density are looked for."""
SHARE_OUTSIDE = 0.05
"""Share of the points beyond the edge of the surface, from which it is said."""
TURNS, ALONG = 0.2, 0.95
"""Turning over shifting, below which a field is called a translation; and the share of a direction or plane
that one column or pair of columns must have to be named alone.
"""


@dataclass(frozen=True, eq=False)
class EmbeddingAnswer:
    """A fitted embedding with the points that it was fitted to, the `names` of their columns, notes, and
    `labels`: other columns of the file, which say which row is which.
    """

    estimator: VariationalManifoldEmbedding
    points: Float[np.ndarray, "n D"]
    names: tuple[str, ...]
    seconds: float
    file_notes: tuple[str, ...] = field(default=())
    labels: Mapping[str, Sequence[str]] = field(default_factory=dict)

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
    def linear_r2(self) -> float:
        """R^2 of as many principal components."""
        variances = principal_components(self.points).variances
        return float(variances[: self.estimator.n_components].sum() / variances.sum())

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
        words = found.algebra.name
        if found.dimension == 1:
            words += f", {_in_words(found.matrices[0], found.vectors[0], self.points, self.names)}"
        if found.open_directions:
            words += f"; of {found.open_directions} more directions within the tolerance no group is formed"
        return words

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        facts = self.estimator.diagnostics_
        notes = [*self.file_notes, *doubts(facts, self.points, self.names)]
        if facts["selection"] is None and self.estimator.density == "data":
            notes.append("a degree was given: no settings were compared, and no rows were held out")
        if facts["reduced_to"] is not None:
            notes.append(
                f"{facts['columns']} columns were reduced to {facts['reduced_to']} principal components,"
                f" which hold {facts['variance_kept']:.1%} of the variance"
            )
        if facts["latent"] == "uniform":
            outside = float(np.mean(np.abs(self.latent).max(axis=1) > 1))
            if outside > SHARE_OUTSIDE:
                notes.append(
                    f"{outside:.0%} of the points lie beyond the edge of the surface that was fitted: their"
                    " coordinates come from its continuation, which the data support less"
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
            **{name: value for name, value in estimator.diagnostics_.items() if name != "doubts"},
            "score": float(estimator.score(self.points)),
            "r2": total,
            "r2_principal_components": self.linear_r2,
            "r2_columns": [None if np.isnan(value) else float(value) for value in each],
            "metric_scales": estimator.scales_.tolist(),
            "principal_angles_degrees": np.degrees(estimator.principal_angles_).tolist(),
            "symmetries": None if self.symmetries is None else self.symmetries.to_json(),
            "symmetry_tolerance": ESTIMATED,
            "seconds": self.seconds,
            "notes": self.notes,
        }

    def to_csv(self) -> str:
        """The contents of embedding.csv: the labels of each row, metric coordinates z, latent ones u, the log
        density of the point, and its distance from the image.
        """
        count = self.estimator.n_components
        density = self.estimator.score_samples(self.points)
        distance = np.linalg.norm(self.points - self.rebuilt, axis=1)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        coordinates = [f"{letter}{k + 1}" for letter in "zu" for k in range(count)]
        header = [*coordinates, "log_density", "distance"]
        labels = {f"{name}_of_file" if name in header else name: each for name, each in self.labels.items()}
        writer.writerow([*labels, *header])
        table = np.column_stack([self.coordinates, self.latent, density, distance])
        for index, row in enumerate(table.tolist()):
            own = [each[index] for each in labels.values()]
            writer.writerow([*own, *(f"{value:.10g}" for value in row)])
        return stream.getvalue()

    def __str__(self) -> str:
        facts = self.estimator.diagnostics_
        total, _ = self.explained
        lines = [
            f"{facts['rows']} points of {facts['columns']} columns on a {facts['latent']} latent "
            f"of dimension {self.estimator.n_components}: degree {facts['degree']}, {_chart(facts)}"
            f"noise {facts['noise']:.3g}",
            f"R2 of the reconstruction {total:.4f} (principal components: {self.linear_r2:.4f}), "
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


def _in_words(
    matrix: Float[np.ndarray, "D D"],
    vector: Float[np.ndarray, " D"],
    points: Float[np.ndarray, "n D"],
    names: Sequence[str],
) -> str:
    """What a field A x + b with antisymmetric A does."""
    middle = points.mean(axis=0)
    shift = matrix @ middle + vector
    turn = (points - middle) @ matrix.T
    if np.sqrt(np.mean(np.sum(turn**2, axis=1))) < TURNS * np.linalg.norm(shift):
        along = shift / np.linalg.norm(shift)
        most = int(np.abs(along).argmax())
        if abs(along[most]) > ALONG:
            return f"a translation along {names[most]}"
        terms = " ".join(f"{value:+.2f} {name}" for value, name in zip(along, names, strict=True))
        return f"a translation along {terms}"
    # Where the field vanishes, nearest to the mean of the data.
    centre = middle - np.linalg.lstsq(matrix, shift, rcond=1e-6)[0]
    first, second = np.unravel_index(np.abs(matrix).argmax(), matrix.shape)
    plane = "turns"
    if np.sqrt(2) * abs(matrix[first, second]) > ALONG * np.linalg.norm(matrix):
        plane = f"turns of {names[min(first, second)]} and {names[max(first, second)]}"
    return f"{plane} about ({', '.join(f'{value:.3g}' for value in centre)})"


def _chart(facts: dict[str, Any]) -> str:
    return f"{facts['chart']} chart, " if facts["chart"] else ""
