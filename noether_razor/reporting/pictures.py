"""The pictures of a report: each is registered once, in `PICTURES`, and appears in every form of it."""

import io
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from PIL import Image

from ..inference import LIKELIHOODS
from ..prediction import learned_hamiltonian
from ..scaling import PhaseScale
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import Hamiltonian
from .answer import elbo_fits, headline, of_degree_two
from .beyond_figures import ceiling_figure, formula_figure, formula_of
from .bracket_figures import forms_figure
from .data import ReportData
from .figures import (
    along_figure,
    bound_figure,
    contour_figure,
    drift_figure,
    evidence_figure,
    flow_figure,
    rollout_figure,
    spectrum_figure,
    with_unit,
)
from .overview import Predicted, overview_figure

GRID = 41
MOST_POINTS = 2000
"""States of the data on the plane of a formula."""
SETS = {
    "held out": "held-out trajectories",
    "training data": "training trajectories (none were held out)",
}
"""What the sets of rollouts are called; others are test sets."""
ONE_OF = {
    "held out": "a held-out trajectory",
    "training data": "a training trajectory (none were held out)",
}
"""What one of a set is called."""
DOTS = 130
"""An inch of a PNG file."""
COLOURS, FAITHFUL = 128, 48
"""Of a PNG file: enough for most that is drawn, and a third of the size; how far one may be off, of 255."""
INK, PAPER = "#1b1c1e", "#fefefd"
"""Colours that a page replaces by its own, so that pictures follow light and dark mode."""
STYLE: dict[Any, Any] = {
    "figure.facecolor": PAPER,
    "axes.facecolor": PAPER,
    "legend.facecolor": PAPER,
    "legend.edgecolor": "#a0a0a0",
    "grid.color": "#909090",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color"),
        INK,
    ),
    "svg.fonttype": "path",
    "svg.hashsalt": "noether-razor",
}


class Picture(NamedTuple):
    """A picture of a report: the name of its file, its caption, and what draws it, or None where there is
    nothing to show.
    """

    name: str
    caption: str
    draw: Callable[[ReportData], Figure | None]


class AnswerPicture(NamedTuple):
    """A picture that needs symmetry.json alone."""

    name: str
    caption: str
    draw: Callable[[Mapping[str, Any]], Figure | None]

    def of_run(self) -> Picture:
        """The same in the report of a run, for those that have been analysed."""
        return Picture(
            self.name,
            self.caption,
            lambda data: None if data.symmetry is None else self.draw(data.symmetry),
        )


class Drawn(NamedTuple):
    """A picture as a PNG file and as SVG to stand in a page."""

    name: str
    caption: str
    png: bytes
    svg: str


def draw_pictures(data: ReportData) -> tuple[list[Drawn], dict[str, str]]:
    """All pictures of a run, and why others were left out: what one fails of costs that picture alone."""
    return drawn_pictures(PICTURES, data)


def draw_answer(symmetry: Mapping[str, Any]) -> tuple[list[Drawn], dict[str, str]]:
    """The pictures that need symmetry.json alone, and why others were left out."""
    return drawn_pictures(ANSWER_PICTURES, symmetry)


def drawn_pictures(pictures: Any, data: Any) -> tuple[list[Drawn], dict[str, str]]:
    """Registered pictures of `data`, and why others were left out."""
    found, failed = [], {}
    for name, caption, draw in pictures:
        try:
            with rc_context(STYLE):
                figure = draw(data)
                if figure is not None:
                    png = png_of(figure)
                    # Its parts have their places now: finding them again is half of drawing.
                    figure.set_layout_engine("none")
                    found.append(Drawn(name, caption, png, svg_of(figure, name)))
        except Exception as error:
            failed[name] = f"{type(error).__name__}: {error}"
    return found, failed


def png_of(figure: Figure) -> bytes:
    """A figure as a small PNG file."""
    file, small = io.BytesIO(), io.BytesIO()
    # Not by `savefig`, which draws everything a second time to find the places of its parts.
    before = figure.dpi
    figure.set_dpi(DOTS)
    FigureCanvasAgg(figure).print_png(file)
    figure.set_dpi(before)
    drawn = Image.open(file).convert("RGB")
    few = drawn.quantize(COLOURS, dither=Image.Dither.NONE)
    # Of a map of many colours those of small areas, such as the ends of a colour bar, would be lost.
    off = np.abs(np.asarray(few.convert("RGB"), int) - np.asarray(drawn, int))
    (few if off.max() <= FAITHFUL else drawn).save(small, format="png", optimize=True)
    return small.getvalue()


def svg_of(figure: Figure, name: str) -> str:
    """A figure as an SVG element for a page: the page's own colours, and ids that no other figure has."""
    file = io.StringIO()
    metadata = dict.fromkeys(("Creator", "Date", "Format", "Type"))
    FigureCanvasSVG(figure).print_svg(file, metadata=metadata)
    text = file.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r' xmlns(:xlink)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", text)
    return text.replace(INK, "currentColor").replace(PAPER, "var(--paper)")


def _generate(symmetry: Mapping[str, Any]) -> bool:
    """Whether the quantities generate symmetries that can be drawn. Where the coordinates are not canonical,
    what is conserved generates none in them.
    """
    return symmetry["hamiltonian"] is not False and of_degree_two(symmetry)


def _flows(data: ReportData) -> Figure | None:
    symmetry = data.symmetry
    if symmetry is None or not _generate(symmetry):
        return None
    return flow_figure(symmetry["quantities"], data.data.points(), data.data.names, data.data.units)


def _along(symmetry: Mapping[str, Any]) -> Figure | None:
    along = symmetry.get("along")
    if not along:
        return None
    return along_figure(along, symmetry["quantities"], symmetry.get("time_unit") or "")


def _evidence(symmetry: Mapping[str, Any]) -> Figure | None:
    # Where nothing was found, nothing was built in.
    fits = {k: v for k, v in elbo_fits(symmetry["evidence"]).items() if k != "found" or symmetry["rank"]}
    return evidence_figure(fits) if len(fits) > 1 else None


def _bound(data: ReportData) -> Figure:
    return bound_figure(data.metrics, _noise_floor(data))


def _spectrum(data: ReportData) -> Figure | None:
    symmetry = data.summary["symmetry"]
    if len(symmetry["singular_values"]) < 2:
        return None
    return spectrum_figure(symmetry["singular_values"], symmetry.get("parallelness"))


def _noise_floor(data: ReportData) -> float:
    """NLL / N of the true Hamiltonian."""
    chosen = data.summary.get("likelihood", {})
    likelihood = LIKELIHOODS.get(chosen.get("kind", ""), LIKELIHOODS["transitions"])
    dim, variance = data.data.states.shape[2], float(data.posterior.noise_variance())
    return likelihood.noise_floor(dim, variance, chosen.get("window_steps") or 1)


def _contours(data: ReportData) -> Figure:
    key, _ = jax.random.split(data.key)
    states, dof = data.data.states, data.data.dof
    reach = [1.3 * max(np.abs(states[:, :, k]).max(), 1e-12) for k in (0, dof)]
    position, momentum = (np.linspace(-r, r, GRID) for r in reach)
    grid = np.zeros((GRID, GRID, 2 * dof))
    grid[:, :, 0], grid[:, :, dof] = np.meshgrid(position, momentum)
    learned = learned_hamiltonian(data.posterior, key, estimator=data.predictor)
    scale = data.scale or PhaseScale.identity(dof)

    def energy(hamiltonian: Hamiltonian, points: np.ndarray) -> np.ndarray:
        flat = jnp.asarray(points.reshape(-1, 2 * dof), jnp.float32)
        return np.asarray(jax.jit(jax.vmap(hamiltonian))(flat)).reshape(GRID, GRID)

    panels = {"learned H": scale.energy * energy(learned, scale.states(grid))}
    if data.system is not None:
        panels["true H"] = energy(data.system.hamiltonian, grid)
    labels = _labels(data.data)
    return contour_figure(position, momentum, panels, states, (labels[0], labels[dof]))


def _formula(data: ReportData) -> Figure | None:
    """The learned H beside the formula, where the other coordinates are those of the first row."""
    beyond = None if data.symmetry is None else data.symmetry.get("beyond")
    formula = None if beyond is None else formula_of(beyond, data.data.names)
    if formula is None:
        return None
    points, dof = data.data.points(), data.data.dof
    scale = data.scale or PhaseScale.identity(dof)
    reach = [np.quantile(points[:, k], (0.005, 0.995)).tolist() for k in (0, dof)]
    sides = [np.linspace(low, high, GRID) for low, high in reach]
    grid = np.tile(points[0], (GRID, GRID, 1))
    grid[:, :, 0], grid[:, :, dof] = np.meshgrid(*sides)
    key, _ = jax.random.split(data.key)
    learned = jax.jit(jax.vmap(learned_hamiltonian(data.posterior, key, estimator=data.predictor)))
    exact = jax.jit(jax.vmap(formula))

    def both(states: np.ndarray) -> list[np.ndarray]:
        energies = scale.energy * learned(jnp.asarray(scale.states(states), jnp.float32))
        found = [np.asarray(part, np.float64) for part in (energies, exact(jnp.asarray(states, jnp.float32)))]
        return [np.where(np.isfinite(part), part, np.nan) for part in found]

    some = points[evenly(len(points), MOST_POINTS)]
    network, written = both(some)
    offset, spread = float(np.nanmean(network - written)), float(np.nanstd(written))
    off = float(np.nanstd(network - written)) / max(spread, 1e-300)
    network, written = (part.reshape(GRID, GRID) for part in both(grid.reshape(-1, 2 * dof)))
    network -= offset
    labels = _labels(data.data)
    difference = (network - written) / max(spread, 1e-300)
    said = f"{100 * off:.2g} % r.m.s. over the data"
    names = (labels[0], labels[dof])
    plane = some[:, [0, dof]]
    return formula_figure((sides[0], sides[1]), network, written, difference, plane, names, said)


def _rollouts(data: ReportData) -> Figure | None:
    rolled = data.rolled
    if rolled is None:
        return None
    shown = rolled.shown
    called = SETS.get(rolled.name, f"test trajectories ({rolled.name}), not trained on")
    title = f"{len(shown)} of {rolled.every} {called}"
    time_label = with_unit("time", shown.time_unit)
    return rollout_figure(shown.times, shown.states, rolled.samples, _labels(shown), title, time_label)


def _overview(data: ReportData) -> Figure | None:
    symmetry = data.symmetry
    if symmetry is None or not _generate(symmetry) or not symmetry["quantities"]:
        return None
    rolled = data.rolled or data.rolled_out(1)
    if rolled is None:
        return None
    shown = rolled.shown
    called = ONE_OF.get(rolled.name, f"a test trajectory ({rolled.name})")
    return overview_figure(
        headline(symmetry),
        symmetry["quantities"],
        data.data.points(),
        Predicted(
            shown.times[0],
            shown.states[0],
            rolled.samples[:, 0],
            f"Prediction of {called} from its first state",
            with_unit("time", shown.time_unit),
        ),
        shown.names,
        shown.units,
    )


def _labels(data: Trajectories) -> list[str]:
    """The coordinates with their units."""
    return [with_unit(name, unit) for name, unit in zip(data.names, data.units, strict=True)]


ANSWER_PICTURES = (
    AnswerPicture(
        "drifts",
        "Drift of combinations of terms along trajectories, compared with noise. Those that stay "
        "constant are conserved, or have one value in the whole file.",
        drift_figure,
    ),
    AnswerPicture(
        "along",
        "The found quantities along trajectories of the data, as a share of their spread. The band is the "
        "upper limit on a steady drift; the scatter around it is noise.",
        _along,
    ),
    AnswerPicture(
        "evidence",
        "Delta-ELBO against a model without symmetry: with the found quantities built in, and with "
        "quantities learned together with the Hamiltonian. It is a difference of lower bounds; a hollow bar "
        "is no evidence.",
        _evidence,
    ),
    AnswerPicture(
        "forms",
        "How much the motion changes constant forms, the inverses of Poisson matrices, over the size of its "
        "derivatives. Those near zero are preserved; more than one means that the data do not tell which "
        "is meant.",
        forms_figure,
    ),
    AnswerPicture(
        "ceiling",
        "How fast neighbouring motions of H separate, and how many conserved quantities that leaves room "
        "for. A dot is a pair of directions of one motion from a state of the data.",
        ceiling_figure,
    ),
)
"""Those that need symmetry.json alone."""
PICTURES = (
    Picture(
        "overview",
        "The answer at a glance. Above: each conserved quantity and the symmetry that it generates, as "
        "orbits through measured states (dots). Below: a prediction with its 50 % and 90 % bands, and the "
        "data as dots.",
        _overview,
    ),
    Picture(
        "flows",
        "The symmetry that each quantity generates: its orbits through measured states (dots), in the planes "
        "where it acts.",
        _flows,
    ),
    *(picture.of_run() for picture in ANSWER_PICTURES),
    Picture(
        "rollouts",
        "Predictions from the first state of each trajectory, with 50 % and 90 % bands; dots are the data.",
        _rollouts,
    ),
    Picture(
        "hamiltonian",
        "The learned Hamiltonian in the plane of the first position and its momentum; the other coordinates "
        "are 0.",
        _contours,
    ),
    Picture(
        "formula",
        "The learned Hamiltonian beside the formula, in the plane of the first position and its momentum, "
        "and their difference; the other coordinates are those of the first row. Dots are the data.",
        _formula,
    ),
    Picture(
        "bound",
        "The ELBO and its parts during training. KL is the cost of the weights.",
        _bound,
    ),
    Picture("spectrum", "Singular values of the stacked generators.", _spectrum),
)
"""In the order of the report."""
