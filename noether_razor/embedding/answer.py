"""What an embedding says of its points, as numbers for files and figures."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.linalg import expm

from .doubts import doubts, no_surface, noise_at_bound
from .estimator import ESTIMATED, VariationalManifoldEmbedding
from .linear import principal_components
from .map_doubts import empty_stretch, outside, sharp_turn, torn, uneven_scatter, worse_than_linear
from .symmetries import DensitySymmetries

STEPS = 400
"""Points along a curve whose turns are looked at."""
MOST_SYMMETRIC = 6
"""Columns up to which isometries of the density are looked for."""
MOVED, INNER, ALIKE = 0.5, 0.7, 0.35
"""Of their spread, how far rows are moved to see whether a symmetry is one; the share of them that change
least; and the nats by which these may change in the mean."""
GAP = 2.0
"""Ratio of singular values between what is an isometry and what is none, below which none is told."""
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
        """Rotations and translations of the density of the tube that stand out; None where there are too many
        columns or too few rows, and where the density is not to be believed.
        """
        columns, facts = self.points.shape[1], self.estimator.diagnostics_
        if columns > MOST_SYMMETRIC or no_surface(facts) or noise_at_bound(facts, self.points):
            return None
        some = self.points[:: max(1, len(self.points) // 400)]
        if len(some) < columns * (columns + 1) // 2:
            return None
        found = self.estimator.symmetries(some)
        sound = found.gap >= GAP and not self._of_map() and self._stays(found, some)
        return found if sound else self.estimator.symmetries(some, tolerance=0.0)

    def _stays(self, found: DensitySymmetries, rows: Float[np.ndarray, "n D"]) -> bool:
        """Whether rows are as likely when they are moved along each symmetry by half their spread; those at
        the ends of the surface, which leave it, do not count.
        """
        before, size = self.estimator.score_samples(rows), float(np.sqrt(np.var(rows, axis=0).sum()))
        for matrix, vector in zip(found.matrices, found.vectors, strict=True):
            speed = np.sqrt(np.mean(np.sum((rows @ matrix.T + vector) ** 2, axis=1)))
            flow = expm(
                MOVED * size / speed * np.block([[matrix, vector[:, None]], [np.zeros(len(vector) + 1)]])
            )
            moved = rows @ flow[:-1, :-1].T + flow[:-1, -1]
            change = np.abs(self.estimator.score_samples(moved) - before)
            if np.sort(change)[: round(INNER * len(change))].mean() > ALIKE:
                return False
        return True

    @property
    def isometries(self) -> str | None:
        """The Lie algebra of the rotations and translations in words; None where none were looked for."""
        found = self.symmetries
        if found is None:
            return None
        if not found.dimension:
            return "none"
        name = found.algebra.name
        if found.dimension == 1:
            return f"{_in_words(found.matrices[0], found.vectors[0], self.points, self.names)} ({name})"
        return f"a group of {found.dimension} dimensions ({name})"

    @property
    def notes(self) -> list[str]:
        """What a reader should know."""
        facts = self.estimator.diagnostics_
        notes = [*self.file_notes, *doubts(facts, self.points, self.names), *self._of_map()]
        if facts["selection"] is None and self.estimator.density == "data":
            notes.append("a degree was given: no settings were compared, and no rows were held out")
        return notes

    def _of_map(self) -> list[str]:
        """What the places of the points on the map say against it."""
        estimator, count = self.estimator, self.estimator.n_components
        noise, kind = estimator.noise_, estimator.diagnostics_["latent"]
        left = self.points - self.rebuilt
        found = worse_than_linear(self.explained[0], self.linear_r2, count)
        if kind == "uniform":
            found += outside(float(np.mean(self.beyond_edge)))
        if kind != "sphere":
            found += torn(self.points, self.coordinates, noise, self.turns)
        if count == 1:
            found += empty_stretch(self.coordinates[:, 0], noise)
            along = np.linspace(self.coordinates.min(), self.coordinates.max(), STEPS)
            found += sharp_turn(along, self.estimator.inverse_transform(along[:, None]), noise)
        return found + uneven_scatter(left, count, noise, self.names)

    @cached_property
    def turns(self) -> Float[np.ndarray, " d"]:
        """The length after which each coordinate comes back to where it was; 0 for those that do not."""
        count = self.estimator.n_components
        if self.estimator.diagnostics_["latent"] != "circle":
            return np.zeros(count)
        ends = self.estimator.metric_coordinates(np.array([[-np.pi] * count, [np.pi] * count]))
        return ends[1] - ends[0]

    @cached_property
    def beyond_edge(self) -> Bool[np.ndarray, " n"]:
        """The points whose latent coordinates are beyond the cube of a uniform latent."""
        cube = self.estimator.diagnostics_["latent"] == "uniform"
        return np.abs(self.latent).max(axis=1) > 1 if cube else np.zeros(len(self.latent), bool)

    @property
    def shape(self) -> str:
        """What the points lie near, in words: "a closed curve of length 6.3"."""
        kind, count = self.estimator.diagnostics_["latent"], self.estimator.n_components
        ranges = np.where(self.turns > 0, self.turns, np.ptp(self.coordinates, axis=0))
        if count == 1:
            return f"a {'closed ' if kind == 'circle' else ''}curve of length {ranges[0]:.3g}"
        extent = " by ".join(f"{value:.3g}" for value in ranges)
        names = {"circle": {2: "a torus"}, "sphere": {2: "a sphere"}}
        name = names.get(kind, {2: "a surface"}).get(count, f"a manifold of {count} dimensions")
        return name if kind == "sphere" else f"{name} of {extent}"

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
        density of the point, its distance from the image, and whether it lies beyond the edge.
        """
        count = self.estimator.n_components
        density = self.estimator.score_samples(self.points)
        distance = np.linalg.norm(self.points - self.rebuilt, axis=1)
        stream = io.StringIO()
        writer = csv.writer(stream, lineterminator="\n")
        coordinates = [f"{letter}{k + 1}" for letter in "zu" for k in range(count)]
        header = [*coordinates, "log_density", "distance", "beyond_edge"]
        labels = {f"{name}_of_file" if name in header else name: each for name, each in self.labels.items()}
        writer.writerow([*labels, *header])
        table = np.column_stack([self.coordinates, self.latent, density, distance])
        for index, row in enumerate(table.tolist()):
            own = [each[index] for each in labels.values()]
            writer.writerow([*own, *(f"{value:.10g}" for value in row), int(self.beyond_edge[index])])
        return stream.getvalue()

    def __str__(self) -> str:
        facts, count = self.estimator.diagnostics_, self.estimator.n_components
        linear = "one principal component" if count == 1 else f"{count} principal components"
        lines = [
            f"{facts['rows']} points of {facts['columns']} columns near {self.shape}: noise"
            f" {facts['noise']:.3g}, {self.explained[0]:.2%} of the variance explained ({linear}:"
            f" {self.linear_r2:.2%})",
            *(f"note: {note}" for note in self.notes),
        ]
        if best := facts["chosen"]:
            lines.append(
                f"chosen among {len(facts['selection'])} maps by rows held out, whose mean log-likelihood is"
                f" {best['validation']:.3f} ± {best['stderr']:.3f} nats: {_setting(facts)}"
            )
        else:
            lines.append(f"{_setting(facts)}, mean log-likelihood {facts['log_likelihood']:.3f} nats a point")
        if self.isometries not in (None, "none"):
            lines.append(f"the density stays the same, to {ESTIMATED:.0%}, under {self.isometries}")
        return "\n".join(lines)


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
    first, second = divmod(int(np.abs(matrix).argmax()), len(matrix))
    alone = np.sqrt(2) * abs(matrix[first, second]) > ALONG * np.linalg.norm(matrix)
    own = f"{names[min(first, second)]} and {names[max(first, second)]}"
    plane = f"turns {'' if alone else 'mostly '}of {own}"
    return f"{plane} about ({', '.join(f'{value:.3g}' for value in centre)})"


def _setting(facts: Mapping[str, Any]) -> str:
    chart = f", started from {facts['chart']}" if facts["chart"] else ""
    return f"{facts['latent']} latent space, degree {facts['degree']}{chart}"
