"""The estimator: a smooth map both ways between data and a latent space, by scikit-learn's conventions."""

from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, fields, replace
from typing import Any, cast

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..spelling import suggestion
from .chart import CHARTS, Chart
from .checks import MOST_COLUMNS, SMALLEST, checked_points, column_names
from .coordinates import ArcLengths
from .doubts import doubts
from .fitting import FitOptions, Fitted, Objective, fit_further, fit_map, fresh_negative_kl
from .functional import Currents, LogDensity, currents, euler_lagrange_residual
from .latent import KINDS, Kind, Latent, LatentMap
from .linear import PrincipalComponents, principal_angles, principal_components
from .projection import project
from .selection import FEWEST_ROWS, Chosen, Setting, choose, first_settings, start_of
from .symmetries import EXACT, DensitySymmetries, density_symmetries
from .tube import Tube

COORDINATES = ("metric", "latent")
OBJECTIVES = ("forward", "reverse", "both")
ESTIMATED = 0.1
"""Singular value of a symmetry of a density that is itself estimated, over the largest."""
RESOLVED = 0.5
"""Of the noise of a tube, the spread of points from which it tells the density along a direction."""

Progress = Callable[[str, int, float], None]
"""Told which setting is being fitted, the iteration, and the objective (nan where it was not computed)."""


class NotFittedError(ValueError, AttributeError):
    """An estimator that is asked before `fit`."""


@dataclass(eq=False)
class VariationalManifoldEmbedding:
    """An embedding of points X (n, D) as a smooth map phi from a latent space of `n_components` dimensions.

    The data are taken to lie in a tube of Gaussian noise around phi; phi and the noise are those under which
    points are likeliest ("forward"), or nearest to a known density ("reverse", maximising -KL(tube || p)).
    For a Gaussian density that is principal components, and found as such. After Vastola, Gershman and Rajan
    (2025); docs/embedding.md says what is different.

    Options:
        n_components: d, the dimension of the latent space; at most D.
        latent: "uniform" on a cube, "normal", "circle" (an angle each component: a ring, for two a torus),
            "sphere" (longitude and latitude, two components), or "auto", with `select`.
        degree: total degree of the polynomials of phi, or highest frequency on circles.
        density: "data"; "gaussian", the exact linear way; or a known log density, a function of one point
            that JAX can differentiate.
        objective: "forward", "reverse" or "both"; the last two need a known density.
        stiffness: weight of the bending of phi, in units of the noise against the metric at the start.
        noise: standard deviation of the noise in the units of the data, or "learn".
        chart: coordinates to start from: "isomap", "pca", for one component "angle" (that of a ring that may
            be open), an array (n, d), or "auto", the likeliest one.
        neighbours: of each point in the graph of "isomap"; all others where there are fewer.
        select: choose chart, degree and stiffness (and the latent space where that is "auto") by the
            likelihood of a fifth of the rows that is held out for it; `degree` then does not count.
        iterations: of L-BFGS at most.
        seed: of the rows held out, and of samples.

    Constant columns and repeated rows are kept. More than 50 columns are reduced to 50 principal components
    first, as `diagnostics_` says. After `fit`: `map_` in the units of the data (of the reduced columns where
    there are too many), `noise_`, `scales_` (mean length of a unit of each latent coordinate),
    `principal_angles_` with the leading principal components in radians, `diagnostics_`, whose "doubts" are
    sentences on what should not be believed at once.
    """

    n_components: int = 2
    _: KW_ONLY
    latent: str = "uniform"
    degree: int = 10
    density: Any = "data"
    objective: str = "forward"
    stiffness: float = 1.0
    noise: Any = "learn"
    chart: Any = "auto"
    neighbours: int = 10
    select: bool = False
    iterations: int = 150
    seed: int = 0

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The options by name."""
        del deep
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def set_params(self, **params: Any) -> "VariationalManifoldEmbedding":
        """Change options. Raises ValueError for a name that is none."""
        for name, value in params.items():
            known = [field.name for field in fields(self)]
            if name not in known:
                raise ValueError(f"Invalid parameter {name!r} for estimator: {suggestion(name, known)}")
            setattr(self, name, value)
        return self

    def fit(
        self, X: Any, y: Any = None, *, progress: Progress | None = None
    ) -> "VariationalManifoldEmbedding":
        """Learn the map from points X (n, D); `y` is not looked at. Raises ValueError for options and data
        that cannot be used.
        """
        del y
        points = checked_points(X, least=2)
        names = column_names(X)
        self._check_options(points)
        self.n_features_in_ = points.shape[1]
        if names is not None:
            self.feature_names_in_ = names
        elif hasattr(self, "feature_names_in_"):
            del self.feature_names_in_
        self._frame = _Frame.of(points)
        inner = self._frame.inward(points)
        self._components = principal_components(inner)
        chosen = None
        if isinstance(self.density, str) and self.density == "gaussian":
            self._fitted = _principal(self._components, self.n_components, self._inner_noise())
            self._tube = _exact_tube(self._fitted)
        else:
            self._fitted, chosen = self._learn(inner, progress)
            self._tube = self._fitted.tube
        self._describe(points, inner, chosen)
        return self

    def _check_options(self, points: Float[np.ndarray, "n D"]) -> None:
        rows, columns = points.shape
        if not 1 <= self.n_components <= columns:
            expected = "1" if columns == 1 else f"1 to {columns}"
            raise ValueError(
                f"n_components: got {self.n_components}, expected {expected}: X has n_features={columns}"
            )
        if self.n_components >= rows:
            raise ValueError(
                f"got n_samples = {rows}, expected more than n_components = {self.n_components}"
                f" ({'1 sample' if rows == 1 else 'too few'})"
            )
        if (spread := float(np.ptp(points, axis=0).max())) == 0:
            raise ValueError("all rows of X are equal, expected points that differ")
        if spread < SMALLEST:
            raise ValueError(f"X spreads over {spread:.3g}, expected at least {SMALLEST:g}: take other units")
        if self.select and rows < FEWEST_ROWS:
            raise ValueError(
                f"select: got {rows} rows, expected at least {FEWEST_ROWS} to hold some of them out: give a"
                " degree instead"
            )
        _one_of("latent", self.latent, (*KINDS, "auto"))
        _one_of("objective", self.objective, OBJECTIVES)
        if isinstance(self.density, str):
            _one_of("density", self.density, ("data", "gaussian"))
        if isinstance(self.chart, str):
            _one_of("chart", self.chart, (*CHARTS, "auto"))
            if self.chart == "angle" and self.n_components != 1:
                raise ValueError(f"chart: 'angle' needs one component, got {self.n_components}")
        elif np.shape(self.chart) != (rows, self.n_components):
            raise ValueError(f"chart: got shape {np.shape(self.chart)}, expected {(rows, self.n_components)}")
        if self.latent == "sphere" and self.n_components != 2:
            raise ValueError(f"latent: a sphere has 2 components, got {self.n_components}")
        if self.latent == "auto" and not self.select:
            raise ValueError("latent: 'auto' needs select=True, which compares latent spaces")
        if self.objective != "forward" and not callable(self.density):
            raise ValueError(f"objective: {self.objective!r} needs a known density, a callable")
        if self.select and self.objective == "reverse":
            raise ValueError("select: needs the objective 'forward' or 'both'")
        if callable(self.density) and columns > MOST_COLUMNS:
            raise ValueError(f"density: a known one needs at most {MOST_COLUMNS} columns, got {columns}")
        for name, low in (("degree", 1), ("neighbours", 1), ("iterations", 1), ("stiffness", 0)):
            if not getattr(self, name) >= low:
                raise ValueError(f"{name}: got {getattr(self, name)}, expected at least {low}")
        if isinstance(self.noise, str):
            _one_of("noise", self.noise, ("learn",))
        elif not (np.isfinite(self.noise) and self.noise > 0):
            raise ValueError(f"noise: got {self.noise}, expected a positive number or 'learn'")

    def _inner_noise(self) -> float | None:
        return None if isinstance(self.noise, str) else float(self.noise) / self._frame.scale

    def _learn(
        self, points: Float[np.ndarray, "n D"], progress: Progress | None
    ) -> tuple[Fitted, Chosen | None]:
        options = FitOptions(self.stiffness, self._inner_noise(), self.iterations)
        own = None if isinstance(self.chart, str) else np.asarray(self.chart, dtype=np.float64)
        charts: tuple[Chart | None, ...] = (None,)
        if own is None:
            # The angle of a line is what closed curves are compared with.
            every = CHARTS if self.n_components == 1 and self.latent != "circle" else CHARTS[:2]
            charts = every if self.chart == "auto" else (cast(Chart, self.chart),)
        latents: tuple[Kind, ...] = (cast(Kind, self.latent),)
        if self.latent == "auto":
            latents = tuple(kind for kind in KINDS if kind != "sphere" or self.n_components == 2)
        setting = Setting(
            latents[0], self.n_components, self.degree, self.stiffness, charts[0], self.neighbours
        )
        chosen = None
        if self.select:
            first = first_settings(setting, latents, charts, len(points))
            chosen = choose(points, first, options, coordinates=own, seed=self.seed, told=progress)
            setting = chosen.setting
            options = FitOptions(setting.stiffness, options.noise, options.iterations)
            charts = (setting.chart,)
        starts = [start_of(replace(setting, chart=chart), points, own) for chart in charts]
        likeliest = max(
            range(len(starts)), key=lambda k: _start_likelihood(starts[k].phi, starts[k].variance, points)
        )
        self._chart = "given" if own is not None else charts[likeliest]
        objective = Objective(
            None if self.objective == "reverse" else points,
            None if self.objective == "forward" else self._inner_density(),
        )
        told = None if progress is None else lambda step, value: progress(str(setting), step, value)
        fitted = fit_map(objective, starts[likeliest], options, told)
        if chosen is not None and self.objective == "forward":
            fitted = _no_worse(fitted, chosen, objective, options, told)
        return fitted, chosen

    def _inner_density(self) -> LogDensity:
        """The log density of scaled points: the known one, or that of the tube."""
        if isinstance(self.density, str):
            return self._tube.log_density_at
        known = self.density
        frame = self._frame
        gain = float(len(frame.axes) * np.log(frame.scale))
        return lambda y: known(jnp.asarray(frame.mean + frame.scale * (y @ frame.axes))) + gain

    def _data_density(self) -> LogDensity:
        """The log density of points in the units of the data."""
        if not isinstance(self.density, str):
            return self.density
        frame, held = self._frame, self._tube
        gain = float(len(frame.axes) * np.log(frame.scale))
        return lambda x: held.log_density_at(((x - frame.mean) @ frame.axes.T) / frame.scale) - gain

    def _describe(
        self, data: Float[np.ndarray, "n D"], points: Float[np.ndarray, "n r"], chosen: Chosen | None
    ) -> None:
        fitted, frame = self._fitted, self._frame
        self.map_ = frame.outward_map(fitted.phi)
        self._lengths = ArcLengths.of(self.map_)
        self.noise_ = float(np.sqrt(fitted.variance)) * frame.scale
        nodes, latent = fitted.phi.latent.nodes, fitted.phi.latent
        shift = -float(points.shape[1] * np.log(frame.scale))
        weights = np.exp(nodes.log_weights)
        metric = self.map_.metric(nodes.points)
        self.scales_ = np.sqrt(np.einsum("m,maa->a", weights, metric))
        image = fitted.phi(nodes.points)
        spread = principal_components(np.sqrt(weights * len(weights))[:, None] * (image - weights @ image))
        self.principal_angles_ = principal_angles(
            spread.axes[: self.n_components].T, self._components.axes[: self.n_components].T
        )
        self.diagnostics_: dict[str, Any] = {
            "components": self.n_components,
            "rows": len(points),
            "columns": self.n_features_in_,
            "reduced_to": len(frame.axes) if frame.kept < 1 else None,
            "variance_kept": frame.kept,
            "latent": latent.kind,
            "degree": latent.degree,
            "stiffness": self.stiffness if chosen is None else chosen.setting.stiffness,
            "chart": getattr(self, "_chart", None),
            "neighbours": self.neighbours if chosen is None else chosen.setting.neighbours,
            "noise": self.noise_,
            "iterations": fitted.iterations,
            "converged": fitted.converged,
            "last_gain": fitted.gain,
            "log_likelihood": float(self._log_density(points).mean()),
            "bending": fitted.bending_weight / 2 * fitted.phi.bending(),
            "chosen": None if chosen is None else chosen.best.in_units(shift).to_json(),
            "selection": None if chosen is None else [one.in_units(shift).to_json() for one in chosen.tried],
            "kernel_density": None if chosen is None else chosen.kernel._asdict(),
        }
        labels = getattr(self, "feature_names_in_", [f"x{k + 1}" for k in range(self.n_features_in_)])
        self.diagnostics_["doubts"] = doubts(self.diagnostics_, data, list(labels))
        if callable(self.density):
            value, error = fresh_negative_kl(self._tube, self._inner_density(), self.seed)
            self.diagnostics_ |= {"negative_kl": value, "negative_kl_stderr": error}

    def fit_transform(self, X: Any, y: Any = None) -> Float[np.ndarray, "n d"]:
        """`fit`, then `transform` of the same points."""
        return self.fit(X, y).transform(X)

    def transform(self, X: Any, coordinates: str = "metric") -> Float[np.ndarray, "n d"]:
        """The coordinates of the nearest point of the image for each point.

        "latent": z itself. "metric": the length along each axis, in the mean over the others, so that a unit
        is one of the data; neighbourhoods of a latent cube alone are distorted. Linear in the number of
        points.
        """
        self._fitted_or_raise()
        _one_of("coordinates", coordinates, COORDINATES)
        z = project(self._fitted.phi, self._tube, self._frame.inward(self._checked(X)))
        return z if coordinates == "latent" else self._lengths.forward(z)

    def metric_coordinates(self, Z: Any) -> Float[np.ndarray, "n d"]:
        """The metric coordinates of latent ones."""
        return self._lengths.forward(self._latent_points(Z, "latent"))

    def inverse_transform(self, Z: Any, coordinates: str = "metric") -> Float[np.ndarray, "n D"]:
        """phi of coordinates as `transform` gives them: points of the data space."""
        return self._frame.outward(self._fitted_or_raise().phi(self._latent_points(Z, coordinates)))

    def score_samples(self, X: Any) -> Float[np.ndarray, " n"]:
        """The log density of each point, in nats and the units of the data (of the leading 50 components,
        where there are more columns).
        """
        self._fitted_or_raise()
        return self._log_density(self._frame.inward(self._checked(X)))

    def score(self, X: Any, y: Any = None) -> float:
        """The mean of `score_samples`: the higher, the better the tube describes the points."""
        del y
        return float(self.score_samples(X).mean())

    def metric(self, Z: Any, coordinates: str = "metric") -> Float[np.ndarray, "n d d"]:
        """The metric J^T J at coordinates, in these coordinates: lengths in the data space."""
        self._fitted_or_raise()
        z = self._latent_points(Z, coordinates)
        found = self.map_.metric(z)
        if coordinates == "latent":
            return found
        slopes = self._lengths.slopes(z)
        return found / (slopes[:, :, None] * slopes[:, None, :])

    def currents(self, Z: Any, coordinates: str = "metric") -> Currents:
        """The Noether currents at coordinates, in the units of the data and of the latent space; of the known
        density, or of the tube where only data are known.
        """
        self._fitted_or_raise()
        phi, log_density, prior = self.map_, self._data_density(), self.map_.latent.log_density
        return Currents(*self._at(lambda z: tuple(currents(phi, log_density, prior, z)), Z, coordinates))

    def euler_lagrange_residual(self, Z: Any, coordinates: str = "metric") -> Float[np.ndarray, "n D"]:
        """The residual of the Euler-Lagrange equation at coordinates, for the density of `currents`."""
        self._fitted_or_raise()
        phi, log_density, prior = self.map_, self._data_density(), self.map_.latent.log_density
        (found,) = self._at(lambda z: (euler_lagrange_residual(phi, log_density, prior, z),), Z, coordinates)
        return found

    def symmetries(
        self, X: Any, *, isometries: bool = True, tolerance: float | None = None
    ) -> DensitySymmetries:
        """The rotations and translations (all affine fields without `isometries`) that leave the density
        unchanged at points X, with the name of their Lie algebra; see `density_symmetries`. The tolerance is
        1e-9 for a known density and 10 % for that of the tube, unless it is given. Directions in which the
        points spread less than half the noise of a tube take no part.
        """
        self._fitted_or_raise()
        known = callable(self.density)
        return density_symmetries(
            self._data_density(),
            self._checked(X),
            isometries=isometries,
            tolerance=tolerance if tolerance is not None else EXACT if known else ESTIMATED,
            resolution=0.0 if known else RESOLVED * self.noise_,
            image=None if known else self.map_(self.map_.latent.nodes.points),
        )

    def get_feature_names_out(self, input_features: Any = None) -> np.ndarray:
        """Names of the coordinates."""
        del input_features
        self._fitted_or_raise()
        prefix = type(self).__name__.lower()
        return np.asarray([f"{prefix}{k}" for k in range(self.n_components)], dtype=object)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "_fitted")

    def __sklearn_tags__(self) -> Any:
        """What scikit-learn asks of an estimator; it is imported by whoever asks."""
        from sklearn.utils import Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags(preserves_dtype=[]),
        )

    def _fitted_or_raise(self) -> Fitted:
        if not hasattr(self, "_fitted"):
            raise _not_fitted()(
                f"this {type(self).__name__} is not fitted yet, call fit with data before using it"
            )
        return self._fitted

    def _checked(self, X: Any) -> Float[np.ndarray, "n D"]:
        points = checked_points(X)
        if points.shape[1] != self.n_features_in_:
            raise ValueError(
                f"X has {points.shape[1]} features, but {type(self).__name__} is expecting"
                f" {self.n_features_in_} features as input"
            )
        return points

    def _log_density(self, inner: Float[np.ndarray, "n D"]) -> Float[np.ndarray, " n"]:
        return self._tube.log_density(inner) - inner.shape[1] * np.log(self._frame.scale)

    def _latent_points(self, Z: Any, coordinates: str) -> Float[np.ndarray, "n d"]:
        self._fitted_or_raise()
        _one_of("coordinates", coordinates, COORDINATES)
        z = checked_points(Z)
        if z.shape[1] != self.n_components:
            raise ValueError(f"Z has {z.shape[1]} columns, expected {self.n_components}, one a component")
        return z if coordinates == "latent" else self._lengths.backward(z)

    def _at(
        self, function: Callable[[Array], tuple[Any, ...]], Z: Any, coordinates: str
    ) -> tuple[np.ndarray, ...]:
        z = self._latent_points(Z, coordinates)
        with jax.enable_x64(True):
            return tuple(np.asarray(part) for part in jax.jit(jax.vmap(function))(jnp.asarray(z)))


@dataclass(frozen=True, eq=False)
class _Frame:
    """Data are moved to mean 0, turned where columns are too many, and scaled by one factor for all columns,
    so that noise that is alike in all of them stays so. `kept` is the share of the variance that is left.
    """

    mean: Float[np.ndarray, " D"]
    axes: Float[np.ndarray, "r D"]
    scale: float
    kept: float

    @staticmethod
    def of(points: Float[np.ndarray, "n D"]) -> "_Frame":
        mean, columns = points.mean(axis=0), points.shape[1]
        scale = float(np.sqrt(np.mean((points - mean) ** 2)))
        if columns <= MOST_COLUMNS:
            return _Frame(mean, np.eye(columns), scale, 1.0)
        found = principal_components(points)
        axes = found.axes[:MOST_COLUMNS]
        kept = float(found.variances[:MOST_COLUMNS].sum() / found.variances.sum())
        return _Frame(mean, axes, float(np.sqrt(found.variances[: len(axes)].mean())), kept)

    def inward(self, points: Float[np.ndarray, "n D"]) -> Float[np.ndarray, "n r"]:
        return (points - self.mean) @ self.axes.T / self.scale

    def outward(self, points: Float[np.ndarray, "n r"]) -> Float[np.ndarray, "n D"]:
        return self.mean + self.scale * points @ self.axes

    def outward_map(self, phi: LatentMap) -> LatentMap:
        """The same map in the units of the data: the constant function is the first."""
        coefficients = self.scale * phi.coefficients @ self.axes
        coefficients[0] += self.mean
        return LatentMap(phi.latent, coefficients)


def _no_worse(
    fitted: Fitted,
    chosen: Chosen,
    objective: Objective,
    options: FitOptions,
    told: Callable[[int, float], None] | None,
) -> Fitted:
    """The fit to all rows, or where that is worse than what held-out rows promised, the map that was judged
    by them, fitted further to all rows. The chart of all rows may fold where that of some did not.
    """
    points = objective.points
    assert points is not None
    likelihood = float(fitted.tube.log_density(points).mean())
    if likelihood >= chosen.best.validation:
        return fitted
    other = fit_further(objective, chosen.fitted, options, told)
    return other if float(other.tube.log_density(points).mean()) > likelihood else fitted


def _principal(components: PrincipalComponents, dim: int, noise: float | None) -> Fitted:
    """Principal components as the exact linear map of a standard normal latent; noise is the mean variance of
    the axes that were left out.
    """
    latent = Latent("normal", dim, 1)
    width = len(components.mean)
    variances = np.maximum(components.variances[:dim], 0.0)
    coefficients = np.zeros((latent.size, width))
    coefficients[0] = components.mean
    for row, index in enumerate(latent.indices):
        if index.any():
            axis = int(np.argmax(index))
            coefficients[row] = np.sqrt(variances[axis]) * components.axes[axis]
    left = components.variances[dim:].sum() / max(1, width - dim)
    variance = noise**2 if noise is not None else max(float(left), 1e-6)
    return Fitted(LatentMap(latent, coefficients), variance, 0.0, np.nan, 0, 0.0)


def _exact_tube(fitted: Fitted) -> Tube:
    """The normal density of a linear map with noise: a tube with a single node."""
    slopes = fitted.phi.latent.gradients(np.zeros((1, fitted.phi.latent.dim))) @ fitted.phi.coefficients
    return Tube(fitted.phi.coefficients[:1], np.swapaxes(slopes, 1, 2), np.zeros(1), fitted.variance)


def _start_likelihood(phi: LatentMap, variance: float, points: Float[np.ndarray, "n D"]) -> float:
    some = points[:: max(1, len(points) // 1000)]
    return float(Tube.around(phi, variance).log_density(some).mean())


def _one_of(name: str, value: Any, known: tuple[str, ...]) -> None:
    if value not in known:
        text = value if isinstance(value, str) else repr(value)
        raise ValueError(f"{name}: got {value!r}, {suggestion(text, known)}")


def _not_fitted() -> type[Exception]:
    """scikit-learn's error where that is in use, so that its tools know it."""
    import sys

    known = sys.modules.get("sklearn.exceptions")
    return NotFittedError if known is None else known.NotFittedError
