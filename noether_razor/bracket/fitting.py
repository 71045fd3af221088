"""Fits of a Hamiltonian together with a Poisson matrix of one kind."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from ..exact_evidence.built_in import FRICTION, Comparison, first_guess
from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.fields import VectorField
from ..exact_evidence.prior import Prior, covariance_root
from ..exact_evidence.shooting import Begin, Fit, LinearModel, Problem
from ..exact_evidence.shooting import fit as fit_problem
from ..exact_evidence.start import Ridge, Windows, ridge
from ..trajectories import Trajectories
from .forms import ConstantForm, Form, carried
from .free_field import MOST_POINTS, FreeField, nearest_form
from .lagrangian import LagrangianForm, lagrangian_start
from .sources import recentred

UNKNOWN = 10.0
"""The prior variance of the entries of a form in scaled coordinates, where 1 is that of canonical ones."""
MASSES = (0.05, 0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 5.0, 10.0, 20.0)
"""Masses over that of the first position that fits are begun with."""
OF_ONE_MASS = ("canonical", "field")
"""Kinds with the same mass for all velocities, in the units of the columns."""
FURTHER = 1e-2
"""The prior variance of terms of higher degree than those of a fit that another begins at, to begin with."""
FEW_WINDOWS = 500
"""Windows that choose where a fit begins."""


class Kind(NamedTuple):
    """A family of forms: its name, and which combinations of the parameters of `form` are free (K, Z)."""

    name: str
    form: Form
    basis: Float[np.ndarray, "K Z"]

    @property
    def size(self) -> int:
        """Free numbers."""
        return self.basis.shape[1]

    @property
    def masses(self) -> list[int]:
        """Those that are a mass and nothing else."""
        alone = np.abs(self.basis).sum(axis=0) == 1
        places = self.form.of_masses
        return [k for k in range(self.size) if alone[k] and np.argmax(np.abs(self.basis[:, k])) in places]


def constant_kinds(dof: int) -> dict[str, Kind]:
    """Constant forms from the simplest to all, in coordinates (q, v): "canonical"; "masses", one a velocity;
    "field", {v, v} is free; "natural", both with a symmetric mass matrix, {q, q} = 0; "constant", all.
    """
    form = ConstantForm(dof)
    place = {pair: k for k, pair in enumerate(form.pairs)}

    def columns(*groups: list[tuple[int, int]]) -> np.ndarray:
        found = np.zeros((form.size, len(groups)))
        for column, group in enumerate(groups):
            found[[place[pair] for pair in group], column] = 1.0
        return found

    masses = [[(i, dof + i)] for i in range(1, dof)]
    field = [[(i, j)] for i in range(dof) for j in range(i + 1, dof)]
    coupled = [[(i, dof + j), (j, dof + i)] for i in range(dof) for j in range(i + 1, dof)]
    bases = {
        "canonical": columns(),
        "masses": columns(*masses),
        "field": columns(*field),
        "natural": columns(*masses, *field, *coupled),
        "constant": np.eye(form.size),
    }
    return {name: Kind(name, form, basis) for name, basis in bases.items()}


class Fitted(NamedTuple):
    """A fit of one kind: the problem with its form, the maximum, and the scaled trajectories."""

    kind: Kind
    problem: Problem
    fit: Fit

    @property
    def theta(self) -> Float[np.ndarray, " K"]:
        """The parameters of the form."""
        return self.fit.parameters[self._own]

    @property
    def covariance(self) -> Float[np.ndarray, "K K"]:
        """Of their posterior."""
        return self.fit.covariance[self._own, self._own]

    @property
    def _own(self) -> slice:
        return slice(self.problem.features.size, -1)

    def jacobians(
        self, states: Float[np.ndarray, "points dim"], draws: int, seed: int = 0
    ) -> Float[np.ndarray, "draws points dim dim"]:
        """Those of the motion without friction at some states, by the mean and by draws of the posterior."""
        mean, root = self.fit.parameters, covariance_root(self.fit.covariance)
        every = mean + np.random.default_rng(seed).normal(size=(draws, len(mean))) @ root.T
        every = np.concatenate([mean[None], every])
        every[:, -1] = 0.0
        with jax.enable_x64(True):
            return np.asarray(
                _jacobians(self.problem.field, *map(jnp.asarray, (every, states, self.problem.rest)))
            )

    @property
    def friction(self) -> tuple[float, float]:
        """The scaled friction, and the standard deviation of its posterior."""
        return float(self.fit.parameters[-1]), float(np.sqrt(self.fit.covariance[-1, -1]))


@dataclass(frozen=True, eq=False)
class Setup:
    """Scaled trajectories with what all fits to them begin with; `paths` are their states without noise,
    where another fit gave them. `expected` are variances of their noise: what is far above at short segments
    is given up.
    """

    data: Trajectories
    problem: Problem
    paths: tuple[Float[np.ndarray, "_ dim"], ...] = ()
    expected: Float[np.ndarray, " dim"] | None = None

    @property
    def features(self) -> LinearFeatures:
        """The dictionary of H."""
        return self.problem.features

    @cached_property
    def windows(self) -> Windows:
        """Of smoothed trajectories."""
        segments = self.data.segments()
        if not self.paths:
            return Windows.of(segments, exact=self.problem.exact)
        return Windows.of([(t, x) for (t, _), x in zip(segments, self.paths, strict=True)], exact=True)

    def along(self, fitted: "Fitted") -> "Setup":
        """The same with the states of a fit, which have less noise than smoothed ones, its steps, and points
        that forces are towards where it says.
        """
        states = zip(fitted.fit.states, self.data.lengths.tolist(), strict=True)
        features = recentred(self.features, fitted.fit.parameters[: self.features.size])
        problem = replace(self.problem, features=features, panels=fitted.problem.panels)
        return Setup(self.data, problem, tuple(path[:length] for path, length in states))

    @cached_property
    def field(self) -> FreeField:
        """The motion without any form."""
        smoothed = np.concatenate(self.windows.smoothed)
        stride = max(1, len(smoothed) // MOST_POINTS)
        return FreeField.of(self.features, self.windows, smoothed[::stride])

    def fitted(self, kind: Kind, rival: Fit | None = None, near: "Fitted | None" = None) -> Fitted:
        """The maximum for this kind, begun at the best of several forms, that of a fit `near` among them;
        given up early where it falls far behind a `rival`. Raises `FitError`.
        """
        z, start = self._start(kind, near)
        problem, model = self._model(kind)
        count = len(start.variances)
        first = [start.variances[group] if group < count else UNKNOWN for group, _ in model.prior.labels[:-1]]
        states, noise = first_guess(self.problem, self.windows.smoothed)
        rivals = None if rival is None else {n: stage.log_evidence for n, stage in rival.stages.items()}
        begin = Begin(np.concatenate([start.mean, z, [0.0]]), states, np.array([*first, FRICTION]), noise)
        found = fit_problem(problem, model, begin, rivals=rivals, expected=self.expected)
        return self._finest(kind, found)

    def refitted(self, kind: Kind, near: "Fitted") -> Fitted:
        """The same, begun at a fit with more freedom, whose forms contain those of this kind. Raises
        `FitError`.
        """
        problem, model = self._model(kind)
        point, before = near.fit.point, near.fit.model.prior
        known = dict(zip(before.labels, point.variances.tolist(), strict=True))
        variances = np.array([known.get(label, UNKNOWN) for label in model.prior.labels])
        z = np.linalg.lstsq(model.basis, near.fit.parameters, rcond=None)[0]
        begin = Begin(z, near.fit.states, variances, point.noise)
        # Short segments know less of H, and their variances end at other maxima.
        whole = problem.times.shape[1]
        rivals = {whole: near.fit.log_evidence}
        return self._finest(kind, fit_problem(problem, model, begin, lengths=[whole], rivals=rivals))

    def extended(self, kind: Kind, near: "Fitted") -> Fitted:
        """The same, begun at a fit with fewer terms of a `MomentumForm`, and of a potential of lower degree,
        whose terms come first. Raises `FitError`.
        """
        problem, model = self._model(kind)
        before, known = near.fit, near.problem.features.size
        theta = carried(kind.form, near.kind.form, near.theta)
        assert theta is not None
        parameters = np.zeros(problem.size)
        parameters[:known] = before.parameters[:known]
        parameters[self.features.size : -1] = theta
        parameters[-1] = before.parameters[-1]
        own = dict(zip(before.model.prior.labels, before.point.variances.tolist(), strict=True))
        fewer, last = near.problem.features.groups.max(), self.features.groups.max()
        variances = np.array(
            [own.get(label, FURTHER) if label[0] <= fewer else FURTHER for label in model.prior.labels]
        )
        variances[[label[0] == last + 1 for label in model.prior.labels]] = UNKNOWN
        variances[-1] = before.point.variances[-1]
        z = np.linalg.lstsq(model.basis, parameters, rcond=None)[0]
        begin = Begin(z, before.states, variances, before.point.noise)
        return self._finest(kind, fit_problem(problem, model, begin, lengths=[problem.times.shape[1]]))

    def _finest(self, kind: Kind, found: Fit) -> Fitted:
        finest = Comparison(replace(self.problem, structure=kind.form), found).accurate()
        return Fitted(kind, finest.problem, finest.none)

    def _model(self, kind: Kind) -> tuple[Problem, LinearModel]:
        """All coefficients, the free numbers of the form and the friction."""
        problem = replace(self.problem, structure=kind.form)
        basis = np.zeros((problem.size, self.features.size + kind.size + 1))
        basis[: self.features.size, : self.features.size] = np.eye(self.features.size)
        basis[self.features.size : -1, self.features.size : -1] = kind.basis
        basis[-1, -1] = 1.0
        groups = self._groups(kind.form)
        own = tuple(np.unique(groups[self.features.size : -1]).tolist())
        return problem, LinearModel.of(basis, Prior.of(basis, groups, held=own))

    def _start(self, kind: Kind, near: "Fitted | None") -> tuple[Float[np.ndarray, " Z"], Ridge]:
        """Where the form begins, and H with it: of several forms that with which a weak form leaves least.

        What hardly couples tells its masses so weakly that errors of the field hide them: masses on a grid
        are tried as well.
        """
        if isinstance(kind.form, LagrangianForm):
            return lagrangian_start(kind.form, kind.basis, self.features, self.windows)
        some = self.windows.some(FEW_WINDOWS)
        nearest = nearest_form(kind.form, self.field, kind.basis)
        tried = [np.zeros(kind.form.size), nearest]
        tried += [near.theta] if near is not None and near.kind.form == kind.form else []
        best, least = np.zeros(kind.size), np.inf
        for theta in tried:
            z = np.linalg.lstsq(kind.basis, theta, rcond=None)[0]
            if (left := self._hamiltonian(kind, z, some).noise) < least:
                best, least = z, left
        for column in kind.masses:
            for mass in MASSES:
                z = best.copy()
                z[column] = kind.form.sign_of_mass * (mass - 1)
                if (left := self._hamiltonian(kind, z, some).noise) < least:
                    best, least = z, left
        return best, self._hamiltonian(kind, best, self.windows)

    def _hamiltonian(self, kind: Kind, z: Float[np.ndarray, " Z"], windows: Windows) -> Ridge:
        """H for a given form."""
        matrices = matrices_at(kind.form, kind.basis @ z, windows.points)
        if not np.isfinite(matrices).all():
            return Ridge(np.zeros(0), np.zeros((0, 0)), np.zeros(0), np.inf)
        design = windows.regression(self.features, matrices)
        prior = Prior.of(np.eye(self.features.size), self.features.groups)
        return ridge(design.design, design.changes, prior)

    def _groups(self, form: Form) -> Int[np.ndarray, " P"]:
        after = int(self.features.groups.max()) + 1
        own = form.groups + after
        return np.concatenate([self.features.groups, own, [after + len(np.unique(own))]])


def matrices_at(
    form: Form, theta: Float[np.ndarray, " K"], states: Float[np.ndarray, "rows dim"]
) -> Float[np.ndarray, "rows dim dim"]:
    """The Poisson matrices B at many states."""
    with jax.enable_x64(True):
        return np.asarray(_matrices(form, jnp.asarray(theta), jnp.asarray(states)))


@jax.jit(static_argnums=0)
def _matrices(
    form: Form, theta: Float[jax.Array, " K"], states: Float[jax.Array, "rows dim"]
) -> Float[jax.Array, "rows dim dim"]:
    prepared = form.prepared(theta)
    return jax.vmap(lambda x: form.matrix(x, prepared))(states)


@jax.jit(static_argnums=0)
def _jacobians(
    field: VectorField,
    parameters: Float[jax.Array, "draws P"],
    states: Float[jax.Array, "points dim"],
    rest: Float[jax.Array, " rubbed"],
) -> Float[jax.Array, "draws points dim dim"]:
    def one(own: jax.Array) -> jax.Array:
        prepared = field.prepared(own, rest)
        return jax.vmap(lambda x: field.at(x, prepared)[1])(states)

    return jax.lax.map(one, parameters)
