"""Canonical momenta of velocities, where no formula of the forces is known: masses and a field as
hyper-parameters of the bound.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..bracket import Bracket, poisson_matrix
from ..bracket.coordinates import Entries, canonical_map, mass_ratios, poisson_entries
from ..bracket.finding import SURFACE
from ..bracket.fitting import OF_ONE_MASS
from ..bracket.forms import MomentumForm, momentum_form
from ..bracket.free_field import MOST_POINTS, Spectrum, spectrum
from ..bracket.mechanical import MechanicalNetwork
from ..inference import ELBO, Posterior, Rows, likelihood_of
from ..integrators import transition
from ..invariants import noise_estimate
from ..options import InferenceOptions, NetworkOptions, Options, SymmetryOptions, TrainingOptions
from ..random import stream
from ..scaling import VelocityScale
from ..thinning import evenly
from ..training import NotLearnedError, fit
from ..trajectories import UNPAIRED, Trajectories, scaled_trajectories, velocity_scale
from .problem import Problem, make_problem

GROUPS = 5
"""Fits, each without one of as many parts of the rows."""
SURE = 5.0
"""Standard errors, of so few fits, from which an entry is not that of a simpler kind."""
FRICTION = 5.0
"""The same for friction."""
FEWEST_ROWS = 300
"""From row to row, below which nothing is learned."""
MISFIT = 1.5
"""Squared residuals over what the noise makes of them, up to which a kind fits."""
HOPELESS = 2.0
"""So many times that, from which the other fits are not made."""
UNKNOWN = 0.01
"""Noise over the spread of a column, where rows cannot show it."""
LEAST_NOISE = 1e-3
"""Noise over the spread of a column, at least: a network is not more accurate."""
NOISE = 0.01
"""That of all columns in the units of the fit."""
SPREAD = 4.0
"""Of the positions as the network sees them."""
RECIPE = Options(
    network=NetworkOptions(layers=3, width=64),
    symmetry=SymmetryOptions(mode="none"),
    inference=InferenceOptions(weight_samples=5, noise_variance="learned"),
    training=TrainingOptions(steps=5000, batch=100),
    scale="none",
)
KINDS = ("auto", "masses", "field", "natural")
"""Kinds of brackets that a network can learn."""


def with_canonical_momenta(data: Trajectories, progress: Callable[[str], None] | None = None) -> Trajectories:
    """Trajectories in canonical coordinates: those of `poisson_matrix` where the data ask for it (velocities
    without masses), else as they are. Where no formula follows the forces, those of `learned_bracket`.
    """
    if not data.bracket:
        return data
    if data.bracket == UNPAIRED:
        data.require_canonical()
    found = poisson_matrix(data, data.bracket, progress=progress)
    if found.kind == "unknown" and found.why != SURFACE and data.bracket in KINDS and data.dof > 1:
        try:
            found = learned_bracket(data, data.bracket, progress=progress)
        except FloatingPointError as error:
            found = replace(found, why=f"{found.why}; with a network: {error}")
    return found.canonical(data)


def learned_bracket(
    data: Trajectories, kind: str = "auto", *, seed: int = 0, progress: Callable[[str], None] | None = None
) -> Bracket:
    """Masses and a uniform field of positions and velocities v = q', learned together with the potential by
    the variational bound: constant entries of the Poisson matrix are hyper-parameters, the potential is a
    network. See `MechanicalNetwork`.

    The likelihood is that of the columns, in units of the noise of each. Errors are those of a jackknife: as
    many fits as `GROUPS`, each without another part of the rows, and from another start. Of "masses", "field"
    and "natural", "auto" takes the simplest that leaves out only entries that are 0 within errors. Raises
    `NotLearnedError` where the data do not follow, or tell of several matrices, and as `fit` does.
    """
    tell = progress or (lambda _: None)
    frame = _Frame.of(data)
    form = momentum_form(data.dof, 0)
    name = "natural" if kind == "auto" else kind
    learned = natural = frame.learned(form, name, seed, tell)
    if kind == "auto" and (name := _simplest(natural, frame.scale.alike)) != "natural":
        learned = frame.learned(form, name, seed, tell) if name != "canonical" else natural.without_entries()
    values, sd = poisson_entries(data.dof, learned.entries, frame.scale)
    rate, error = (value / frame.scale.time for value in learned.friction)
    return Bracket(
        kind=name,
        columns=data.names,
        matrix=values,
        sd=sd,
        at=np.zeros(2 * data.dof),
        map=canonical_map(data.names, learned.entries, frame.scale),
        spectrum=tuple(learned.spectrum.values.tolist()),
        forms=learned.spectrum.preserved,
        gains={},
        bounded=(),
        chi2={name: learned.chi2},
        mass_ratios=mass_ratios(natural.entries if name == "canonical" else learned.entries, frame.scale),
        friction=(rate, error) if abs(rate) > FRICTION * error else None,
        sources=(),
        adequate=True,
        converged=True,
        why="",
        network=True,
    )


def kind_basis(form: MomentumForm, kind: str) -> Float[np.ndarray, "K Z"]:
    """The constant entries of a form that a kind leaves free."""
    of = {
        "masses": [k in form.of_masses for k in range(form.size)],
        "field": [term.field for term in form.terms],
        "natural": [True] * form.size,
    }
    return np.eye(form.size)[:, of[kind]]


class _Learned(NamedTuple):
    """Entries with their errors, friction with its error, squared residuals over what the noise makes of
    them, and the forms that the motion preserves.
    """

    entries: Entries
    friction: tuple[float, float]
    chi2: float
    spectrum: Spectrum

    def without_entries(self) -> "_Learned":
        """The same with all entries 0."""
        form, theta, covariance = self.entries
        return self._replace(entries=Entries(form, 0 * theta, 0 * covariance))


def _simplest(found: _Learned, alike: bool) -> str:
    """The simplest kind that leaves out only entries that are 0 within their errors; `alike`: masses may all
    be one.
    """
    form, theta, covariance = found.entries
    assert isinstance(form, MomentumForm)
    told = np.abs(theta) > SURE * np.sqrt(np.diag(covariance))
    field = np.array([term.field for term in form.terms])
    masses = np.isin(np.arange(form.size), form.of_masses)
    kinds = {"canonical": np.zeros(form.size, bool), "masses": masses, "field": field}
    kinds = {name: free for name, free in kinds.items() if alike or name not in OF_ONE_MASS}
    return next((name for name, free in kinds.items() if not (told & ~free).any()), "natural")


class _Frame(NamedTuple):
    """Data in the coordinates of a fit: columns over `units`, in which the noise of all is `NOISE`, of the
    coordinates of `scale`, in which v is q'.
    """

    data: Trajectories
    scale: VelocityScale
    units: Float[np.ndarray, " dim"]

    @classmethod
    def of(cls, data: Trajectories) -> "_Frame":
        own = velocity_scale(data)
        time = own.positions[0] / own.momenta[0]
        positions = tuple(length / SPREAD for length in own.positions)
        scale = VelocityScale(positions, positions[0] ** 2 / time, time, (0.0,) * (2 * data.dof))
        scaled = scaled_trajectories(data, scale)
        noise, spreads = noise_estimate(scaled), scaled.spreads()
        sizes = np.where(noise.told & (noise.variance > 0), np.sqrt(noise.variance), UNKNOWN * spreads)
        units = np.maximum(sizes, LEAST_NOISE * spreads) / NOISE
        periods = zip(scaled.periods, units.tolist(), strict=True)
        own = tuple(None if period is None else period / unit for period, unit in periods)
        return cls(replace(scaled, states=scaled.states / units, periods=own, bracket=""), scale, units)

    def learned(self, form: MomentumForm, kind: str, seed: int, tell: Callable[[str], None]) -> _Learned:
        """The jackknife of one kind."""
        problem = make_problem(self.data, RECIPE, seed=seed)
        steps = len(likelihood_of(problem.observations).moves(problem.observations))
        if steps < FEWEST_ROWS:
            raise NotLearnedError(f"{steps} steps from row to row are too few")
        networks, misfits = [], []
        for group in range(GROUPS):
            tell(f"masses and a field with a network: {kind}, {group + 1} of {GROUPS}")
            networks.append(self.network(problem, form, kind, group))
            misfits.append(self.chi2(problem, networks[-1]))
            if not misfits[-1] < HOPELESS * MISFIT:
                break
        chi2 = float(np.mean(misfits))
        if not chi2 < MISFIT:
            raise NotLearnedError(f"residuals are {np.sqrt(chi2):.2g} times the noise")
        thetas, frictions = (
            np.array([np.asarray(part(one), float) for one in networks])
            for part in (lambda n: n.parameters(), lambda n: n.entries[-1])
        )
        states = self.data.points()
        states = states[evenly(len(states), MOST_POINTS)] * self.units
        spread = _spectrum(networks, states)
        if spread.preserved > 1:
            raise NotLearnedError(f"the motion preserves {spread.preserved} matrices as far as it can tell")
        off = thetas - thetas.mean(axis=0)
        covariance = (GROUPS - 1) / GROUPS * off.T @ off
        error = float(np.sqrt((GROUPS - 1) * np.var(frictions)))
        entries = Entries(form, thetas.mean(axis=0), covariance)
        return _Learned(entries, (float(np.mean(frictions)), error), chi2, spread)

    def network(self, problem: Problem, form: MomentumForm, kind: str, group: int) -> MechanicalNetwork:
        """The fit without one part of the rows."""
        rows = without_part(problem.observations, group)
        options, name = problem.options.network, f"bracket {group}"
        periods = zip(self.data.periods[: form.dof], self.units.tolist(), strict=False)
        network = MechanicalNetwork(
            form,
            kind_basis(form, kind),
            self.units,
            layers=options.layers,
            width=options.width,
            periods=tuple(None if period is None else period * unit for period, unit in periods),
            rngs=nnx.Rngs(stream(problem.seed, f"{name} initialisation")),
        )
        posterior = Posterior(
            network,
            noise_variance=float(problem.posterior.noise_variance()),
            latents=likelihood_of(rows).latents(rows),
        )
        objective = ELBO.of(rows, problem.estimator)
        found = fit(posterior, rows, objective, problem.training, key=stream(problem.seed, name)).posterior
        return found.network  # type: ignore[return-value]

    def chi2(self, problem: Problem, network: MechanicalNetwork) -> float:
        """Squared residuals from row to row over their variance, for noise at both ends."""
        rows = self.data.transitions()
        graph, params = nnx.split(network)
        arrays = (jnp.asarray(part, jnp.float32) for part in rows)
        squares = np.asarray(_squares(graph, params, *arrays, problem.estimator.substeps))
        return float(np.mean(squares)) / NOISE**2


def without_part(rows: Rows, group: int) -> Rows:
    """`rows` but one of `GROUPS` blocks of neighbours, all of one size."""
    size = rows.size // GROUPS
    kept = np.delete(np.arange(rows.size), slice(group * size, (group + 1) * size))
    fewer = jax.tree.map(lambda x: np.asarray(x)[kept], rows)
    # Latent variables are numbered.
    return fewer._replace(number=np.arange(len(kept))) if hasattr(fewer, "number") else fewer


@partial(jax.jit, static_argnames=("graph", "substeps"))
def _squares(
    graph: nnx.GraphDef[MechanicalNetwork],
    params: nnx.State,
    states: Float[Array, "rows dim"],
    targets: Float[Array, "rows dim"],
    dt: Float[Array, " rows"],
    substeps: int,
) -> Float[Array, "rows dim"]:
    """Squared residuals over 1 + the diagonal of F F^T, for the derivative F of a step."""
    advance = partial(transition, nnx.merge(graph, params), substeps=substeps)

    def one(state: Array, target: Array, step: Array) -> Array:
        slopes = jax.jacfwd(advance)(state, step)
        return (target - advance(state, step)) ** 2 / (1 + jnp.sum(slopes**2, axis=1))

    return jax.vmap(one)(states, targets, dt)


def _spectrum(networks: list[MechanicalNetwork], states: Float[np.ndarray, "points dim"]) -> Spectrum:
    """That of the mean motion, where fits differ as jackknife errors do."""
    points = jnp.asarray(states, jnp.float32)
    each = np.array([np.asarray(jax.vmap(jax.jacfwd(one.undamped))(points), float) for one in networks])
    mean = each.mean(axis=0)
    return spectrum(mean, mean + np.sqrt(GROUPS - 1) * (each - mean))
