"""Choosing latent space, chart, degree and stiffness by the likelihood of rows held out of the fit."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from math import comb
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial.distance import cdist
from scipy.special import logsumexp

from .chart import LANDMARKS, Chart, chart_coordinates, latent_coordinates
from .fitting import FitOptions, Fitted, Objective, Start, fit_map, smooth_start
from .latent import Kind, Latent

VALIDATION = 0.2
"""Share of the rows that are held out while choosing."""
DEGREES = (1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 24)
HARMONICS = (1, 2, 3, 5, 8, 12, 18)
FIRST = {"uniform": 8, "normal": 6, "circle": 3, "sphere": 3}
"""The degree with which latent spaces and charts are compared."""
STIFFNESSES = (0.1, 10.0)
"""Factors on the stiffness that are tried last."""
ITERATIONS = 80
"""Of the fits that are only compared."""
ONE_ERROR, UNDECIDED = 1.0, 2.0
"""Standard errors of a difference up to which a lower degree is taken, and up to which two latent spaces or
degrees are equally likely."""
FEWER = (1.0, 0.7, 0.5)
"""Factors on the neighbours of Isomap: where sheets are near to each other, the graph of many neighbours has
short circuits, and that of few has detours."""
ROWS_A_TERM = 3
"""Rows that each term of the map must have at least."""
FEWEST_ROWS = 10
"""With which anything can be chosen."""
KERNEL_ROWS = 2000
"""Of a kernel density at most."""
MOST_ROWS, MOST_TERMS = 4000, 300
"""Rows that take part in choosing, and terms of the largest map that is tried."""

Told = Callable[[str, int, float], None]


@dataclass(frozen=True)
class Setting:
    """What can be chosen: `chart` is None where coordinates are given."""

    latent: Kind
    dim: int
    degree: int
    stiffness: float
    chart: Chart | None
    neighbours: int

    def __str__(self) -> str:
        chart = "" if self.chart is None else f", {self.chart} chart"
        return f"{self.latent} latent, degree {self.degree}, stiffness {self.stiffness:g}{chart}"


@dataclass(frozen=True)
class Tried:
    """A setting and the mean log-likelihood of held-out rows, with its standard error."""

    setting: Setting
    validation: float
    stderr: float
    train: float

    def in_units(self, shift: float) -> "Tried":
        """The same for points in other units, whose log density is larger by `shift`."""
        return replace(self, validation=self.validation + shift, train=self.train + shift)

    def to_json(self) -> dict[str, Any]:
        """As plain numbers."""
        return {**asdict(self.setting), **{k: v for k, v in asdict(self).items() if k != "setting"}}


def fit_setting(
    setting: Setting,
    points: Float[np.ndarray, "n D"],
    options: FitOptions,
    *,
    coordinates: Float[np.ndarray, "n d"] | None = None,
    told: Told | None = None,
) -> Fitted:
    """The map of a setting that is likeliest for points (forward); `coordinates` are a chart of one's own."""
    start = start_of(setting, points, coordinates)

    def progress(step: int, value: float) -> None:
        if told is not None:
            told(str(setting), step, value)

    return fit_map(Objective(points, None), start, replace(options, stiffness=setting.stiffness), progress)


def start_of(
    setting: Setting, points: Float[np.ndarray, "n D"], coordinates: Float[np.ndarray, "n d"] | None
) -> Start:
    """The smooth fit from which a setting is optimised: to all rows where coordinates are given, else to
    evenly spaced landmarks.
    """
    latent = Latent(setting.latent, setting.dim, setting.degree)
    if coordinates is not None:
        return smooth_start(latent, latent_coordinates(coordinates, setting.latent), points)
    assert setting.chart is not None
    landmarks = points[:: max(1, len(points) // LANDMARKS)]
    found = chart_coordinates(landmarks, setting.latent, setting.dim, setting.chart, setting.neighbours)
    return smooth_start(latent, found, landmarks)


class Compared(NamedTuple):
    """How much likelier held-out rows are under a kernel density of the others than under the map that was
    taken: the mean, and its standard error, in nats a point. That density knows of no manifold.
    """

    gain: float
    stderr: float


class Chosen(NamedTuple):
    """The setting that was taken with its map, fitted to the rows that were not held out; all settings that
    were tried, in order; and the comparison with a density that knows of no manifold.
    """

    setting: Setting
    fitted: Fitted
    tried: tuple[Tried, ...]
    kernel: Compared

    @property
    def best(self) -> Tried:
        """The trial of the setting that was taken."""
        return next(one for one in self.tried if one.setting == self.setting)


def choose(
    points: Float[np.ndarray, "n D"],
    first: Sequence[Setting],
    options: FitOptions,
    *,
    coordinates: Float[np.ndarray, "n d"] | None = None,
    seed: int = 0,
    told: Told | None = None,
) -> Chosen:
    """Compare for each latent space the charts of the settings `first`, then degrees with the best of them;
    then latent spaces; then stiffness. Each setting is fitted to four fifths of the rows and judged by the
    mean log density of the others.

    From the degree of `first`, lower and higher ones are tried until one is worse than the best by more than
    two standard errors of the difference. The lowest degree is taken that is worse than the best by less than
    one. Where settings of several latent spaces are worse than the best by less than two standard errors, the
    latent space of that with the fewest terms is taken: a line nearly closes a ring, but needs more terms.
    """
    out, kept = _split(points, seed)
    own = None if coordinates is None else coordinates[kept]
    short = replace(options, iterations=min(ITERATIONS, options.iterations))
    values: dict[Setting, Float[np.ndarray, " out"]] = {}
    fits: dict[Setting, Fitted] = {}
    tried: list[Tried] = []

    def best_of(settings: Sequence[Setting]) -> Setting:
        for setting in settings:
            if setting not in values:
                fitted = fit_setting(setting, points[kept], short, coordinates=own, told=told)
                fits[setting], values[setting] = fitted, fitted.tube.log_density(points[out])
                train = float(fitted.tube.log_density(points[kept]).mean())
                tried.append(Tried(setting, *_mean(values[setting]), train))
        return max(settings, key=lambda one: float(values[one].mean()))

    def by_degree(middle: Setting) -> list[Setting]:
        """The best degree, then all that were tried."""
        seen, best, known = [middle], middle, degrees(middle, len(kept))
        lower = [degree for degree in reversed(known) if degree < middle.degree]
        for way in (lower, [degree for degree in known if degree > middle.degree]):
            for degree in way:
                seen.append(replace(middle, degree=degree))
                best = best_of([best, seen[-1]])
                worse, error = _mean(values[best] - values[seen[-1]])
                if worse > UNDECIDED * error:
                    break
        return [best, *seen]

    finalists = []
    for latent in dict.fromkeys(one.latent for one in first):
        best = best_of([one for one in first if one.latent == latent])
        finalists.append(_fewest(by_degree(best), values, ONE_ERROR))
    latent = _fewest([best_of(list(values)), *values], values, UNDECIDED).latent
    best = best_of([one for one in finalists if one.latent == latent])
    best = best_of([best, *(replace(best, stiffness=factor * best.stiffness) for factor in STIFFNESSES)])
    kernel = Compared(*_mean(kernel_log_density(points[kept], points[out]) - values[best]))
    return Chosen(best, fits[best], tuple(tried), kernel)


def _split(
    points: Float[np.ndarray, "n D"], seed: int
) -> tuple[Int[np.ndarray, " o"], Int[np.ndarray, " k"]]:
    """The rows that are held out and the others; equal rows stay together, or one would tell the other."""
    order = np.random.default_rng(seed).permutation(len(points))[:MOST_ROWS]
    _, group, sizes = np.unique(points[order], axis=0, return_inverse=True, return_counts=True)
    group, wanted = group.reshape(-1), round(VALIDATION * len(order))
    held, rows = [], 0
    for one in dict.fromkeys(group.tolist()):
        if rows + sizes[one] <= wanted:
            held.append(one)
            rows += sizes[one]
    out = np.isin(group, held or [int(sizes.argmin())])
    return np.sort(order[out]), np.sort(order[~out])


def kernel_log_density(
    points: Float[np.ndarray, "n D"], others: Float[np.ndarray, "m D"]
) -> Float[np.ndarray, " m"]:
    """The log density at `others` of a Gaussian at each point, with the width under which each point is
    likeliest by all but itself (Silverman 1986, section 3.4.4). Equal points count as one.
    """
    distinct = np.unique(points, axis=0)
    some = distinct[:: max(1, len(distinct) // KERNEL_ROWS)]
    squares = cdist(some, some, "sqeuclidean")
    np.fill_diagonal(squares, np.inf)
    nearest = float(np.sqrt(np.median(squares.min(axis=1))))
    widths = max(nearest, np.finfo(float).tiny) * np.geomspace(0.3, 10, 24)
    scores = [float(np.mean(_smoothed(squares, width, points.shape[1]))) for width in widths]
    width = float(widths[int(np.argmax(scores))])
    return _smoothed(cdist(others, some, "sqeuclidean"), width, points.shape[1])


def _smoothed(squares: Float[np.ndarray, "m n"], width: float, dim: int) -> Float[np.ndarray, " m"]:
    """The log of the mean Gaussian of a width at these squared distances."""
    sums = logsumexp(-squares / (2 * width**2), axis=1)
    return np.asarray(sums) - np.log(squares.shape[1]) - dim * np.log(np.sqrt(2 * np.pi) * width)


def _mean(values: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The mean and its standard error."""
    error = float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0
    return float(values.mean()), error


def _fewest(
    settings: Sequence[Setting], values: Mapping[Setting, Float[np.ndarray, " out"]], errors: float
) -> Setting:
    """The setting with the fewest terms that is worse than the first of them by less than so many standard
    errors of the difference.
    """
    enough = []
    for setting in settings:
        worse, error = _mean(values[settings[0]] - values[setting])
        if worse <= errors * error:
            enough.append(setting)
    return min(enough, key=lambda one: (_terms(one), -float(values[one].mean())))


def _terms(setting: Setting) -> int:
    return Latent(setting.latent, setting.dim, setting.degree).size


def degrees(setting: Setting, rows: int) -> list[int]:
    """Degrees that are worth a try: with so many rows for each term of the map."""
    latent, dim = setting.latent, setting.dim
    found = []
    for degree in HARMONICS if latent in ("circle", "sphere") else DEGREES:
        terms = comb(degree + dim, dim) * (4 if latent == "circle" else 1)
        if latent == "sphere":
            terms = (degree + 1) ** 2
        elif latent == "circle" and dim == 1:
            terms = 2 * degree + 1
        if ROWS_A_TERM * terms <= rows and terms <= MOST_TERMS:
            found.append(degree)
    return found


def first_settings(
    setting: Setting, latents: Sequence[Kind], charts: Sequence[Chart | None], rows: int
) -> list[Setting]:
    """Latent spaces and charts at a degree that suits each, Isomap's also with fewer neighbours."""
    found = []
    for latent in latents:
        known = degrees(replace(setting, latent=latent), rows) or [1]
        degree = min(known, key=lambda one: abs(one - FIRST[latent]))
        for chart in charts:
            factors = FEWER if chart == "isomap" else FEWER[:1]
            counts = [max(3, round(factor * setting.neighbours)) for factor in factors]
            counts[0] = setting.neighbours
            own = replace(setting, latent=latent, chart=chart, degree=degree)
            found += [replace(own, neighbours=count) for count in dict.fromkeys(counts)]
    return found
