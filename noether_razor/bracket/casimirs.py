"""Brackets of three coordinates that are linear in them, x' = grad C x grad H, fitted to trajectories.

In three dimensions a matrix B(x) that is linear in x and keeps volumes, B g = grad C x g, obeys the Jacobi
identity for every quadratic C, which is its Casimir.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from ..exact_evidence.built_in import FRICTION, Comparison, first_guess
from ..exact_evidence.fields import PoissonStructure
from ..exact_evidence.polynomials import Polynomials
from ..exact_evidence.prior import Prior
from ..exact_evidence.shooting import Begin, Fit, LinearModel, Problem
from ..exact_evidence.shooting import fit as fit_problem
from ..exact_evidence.start import Windows
from ..trajectories import Trajectories
from ..typing import State

QUADRATICS = Polynomials(3, 2)
"""What C and H are combinations of."""
LINEAR = np.flatnonzero(QUADRATICS.groups == 0)
SQUARES = np.flatnonzero(QUADRATICS.groups == 1)
"""Which of these are of degree one, and two."""
ROUNDS, LAST_ROUNDS, FINALISTS = 15, 200, 3
"""Rounds of alternating regressions, of the best starts again, and how many these are."""
EXACTLY = 1e-9
"""Singular values over the largest of changes of C and H that leave the motion as it is."""
UNKNOWN = 1.0
"""The prior variance of coefficients of C and H, both of one size in scaled coordinates."""
FEW_WINDOWS = 1000
"""Windows that choose where a fit begins."""


@dataclass(frozen=True)
class CasimirMatrix(PoissonStructure):
    """B(x) g = grad C(x) x g for three coordinates, C = phi(x)^T theta of the quadratic monomials phi, and of
    the linear ones where the bracket is `affine`.
    """

    affine: bool

    @property
    def dim(self) -> int:
        return 3

    @cached_property
    def places(self) -> Int[np.ndarray, " K"]:
        """The monomials of C among those of H."""
        return np.arange(QUADRATICS.size) if self.affine else SQUARES

    @property
    def size(self) -> int:
        return len(self.places)

    def prepared(self, parameters: Float[Array, " K"]) -> Any:
        every = jnp.zeros(QUADRATICS.size, parameters.dtype).at[self.places].set(parameters)
        return QUADRATICS.prepared(every)

    def matrix(self, state: State, prepared: Any) -> Float[Array, "dim dim"]:
        return crossing(QUADRATICS.slopes(state, prepared).gradient)

    def of_parameters(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim K"]:
        return -crossing(gradient) @ QUADRATICS.slopes_of_all(state)[:, self.places]

    def of_state(
        self, state: State, gradient: Float[Array, " dim"], prepared: Any
    ) -> Float[Array, "dim dim"]:
        return -crossing(gradient) @ QUADRATICS.slopes(state, prepared).hessian


def crossing(vector: Float[Array, " three"]) -> Float[Array, "three three"]:
    """The matrix that takes w to v x w."""
    x, y, z = vector
    return jnp.array([[0 * x, -z, y], [z, 0 * x, -x], [-y, x, 0 * x]])


class Parts(NamedTuple):
    """A kind of bracket: which monomials C and H have."""

    name: str
    casimir: Int[np.ndarray, " K"]
    energy: Int[np.ndarray, " L"]

    @property
    def structure(self) -> CasimirMatrix:
        """That whose Casimir has these."""
        return CasimirMatrix(len(self.casimir) > len(SQUARES))


EVERY = np.arange(QUADRATICS.size)
PENCIL = Parts("pencil", SQUARES, SQUARES)
"""C and H alike: any two combinations of determinant one give the same motion."""
KINDS = (
    Parts("field", SQUARES, LINEAR),
    PENCIL,
    Parts("linear", SQUARES, EVERY),
    Parts("affine", EVERY, EVERY),
)
"""From the simplest: H of degree one, both homogeneous, C homogeneous, none."""


class LieFit(NamedTuple):
    """A fit of one kind: its problem and maximum. C and H are combinations of `QUADRATICS`."""

    parts: Parts
    problem: Problem
    fit: Fit

    @property
    def friction(self) -> tuple[float, float]:
        """The rate of x' = .. - rate x without its prior, which may have sent it to zero, and its standard
        deviation.
        """
        prior = self.fit.model.prior.precision(self.fit.point.variances)
        free = self.fit.information + prior
        pull = free @ self.fit.point.z
        free[-1] -= prior[-1]
        free[:-1, -1] -= prior[:-1, -1]
        covariance = np.linalg.inv(free)
        return float(covariance[-1] @ pull), float(np.sqrt(covariance[-1, -1]))

    def draws(
        self, count: int, seed: int = 0
    ) -> tuple[Float[np.ndarray, "draws nine"], Float[np.ndarray, "draws nine"]]:
        """Coefficients of C and of H: the mean, and `count` draws of the posterior."""
        values, vectors = np.linalg.eigh(self.fit.covariance)
        root = vectors * np.sqrt(np.maximum(values, 0.0))
        normal = np.random.default_rng(seed).normal(size=(count, len(values)))
        every = self.fit.parameters + np.concatenate([np.zeros((1, len(values))), normal @ root.T])
        size = QUADRATICS.size
        casimirs = np.zeros((len(every), size))
        casimirs[:, self.problem.structure.places] = every[:, size:-1]  # type: ignore[union-attr]
        return casimirs, every[:, :size]


@dataclass(frozen=True, eq=False)
class LieSetup:
    """Scaled trajectories of three coordinates, and what all fits to them begin with."""

    data: Trajectories

    @cached_property
    def windows(self) -> Windows:
        """Of smoothed trajectories."""
        return Windows.of(self.data.segments(), exact=False)

    @cached_property
    def crossed(self) -> Float[np.ndarray, "rows nine nine"]:
        """int grad phi_a x grad phi_b dt over some windows."""
        some = self.windows.some(FEW_WINDOWS)
        slopes = QUADRATICS.gradients(some.points)
        products = np.cross(slopes[:, :, :, None], slopes[:, :, None, :], axis=1)
        each = products.reshape(*some.spans.shape, *products.shape[1:])
        return np.einsum("wn,wnkab->wkab", some.spans, each).reshape(-1, *products.shape[2:])

    @cached_property
    def changes(self) -> Float[np.ndarray, " rows"]:
        """Of the states over these windows."""
        return self.windows.some(FEW_WINDOWS).changes

    def fitted(self, parts: Parts) -> LieFit:
        """The maximum for one kind. Raises `FitError`."""
        casimir, energy = self.balanced(*self.start(parts))
        basis = self.basis(parts, casimir, energy)
        every = np.concatenate([energy, casimir[parts.casimir], [0.0]])
        return self._maximum(parts, basis, basis.T @ every, np.zeros(len(every)))

    def with_casimir(self, parts: Parts, casimir: Float[np.ndarray, " nine"]) -> LieFit:
        """The maximum with this Casimir, whose terms the kind must have. Raises `FitError`."""
        tensor = self.crossed[:, parts.casimir][:, :, parts.energy]
        design = np.einsum("rkl,k->rl", tensor, casimir[parts.casimir])
        _, values, vectors = np.linalg.svd(design, full_matrices=False)
        free = vectors[values > EXACTLY * values[0]].T
        count, size = QUADRATICS.size, QUADRATICS.size + len(parts.casimir) + 1
        basis, offset = np.zeros((size, free.shape[1] + 1)), np.zeros(size)
        basis[parts.energy, :-1] = free
        basis[-1, -1] = 1.0
        offset[count:-1] = casimir[parts.casimir]
        z = np.append(np.linalg.lstsq(design @ free, self.changes, rcond=None)[0], 0.0)
        return self._maximum(parts, basis, z, offset)

    def _maximum(
        self,
        parts: Parts,
        basis: Float[np.ndarray, "P Z"],
        z: Float[np.ndarray, " Z"],
        offset: Float[np.ndarray, " P"],
    ) -> LieFit:
        structure = parts.structure
        problem = replace(Problem.of(QUADRATICS, self.data, np.zeros(3)), structure=structure)
        groups = np.concatenate([QUADRATICS.groups, 2 + QUADRATICS.groups[structure.places], [4]])
        prior = Prior.of(basis, groups, held=(0, 1, 2, 3))
        states, noise = first_guess(problem, self.windows.smoothed)
        variances = [FRICTION if group == 4 else UNKNOWN for group, _ in prior.labels]
        begin = Begin(z, states, np.array(variances), noise)
        found = fit_problem(problem, LinearModel(basis, prior, offset), begin)
        finest = Comparison(problem, found).accurate()
        return LieFit(parts, finest.problem, finest.none)

    def start(self, parts: Parts) -> tuple[Float[np.ndarray, " nine"], Float[np.ndarray, " nine"]]:
        """C and H of the best of alternating linear regressions from several C."""
        tensor = self.crossed[:, parts.casimir][:, :, parts.energy]
        swapped = np.swapaxes(tensor, 1, 2)

        def rounds(first: np.ndarray, count: int) -> tuple[float, np.ndarray, np.ndarray]:
            casimir, energy, left = first, np.zeros(len(parts.energy)), np.inf
            for _ in range(count):
                energy, _ = _regressed(tensor, casimir, self.changes)
                if not (size := np.linalg.norm(energy)):
                    break
                before = left
                casimir, left = _regressed(swapped, energy / size, self.changes)
                energy = energy / size
                if before - left < 1e-9 * left:
                    break
                casimir = casimir / max(float(np.linalg.norm(casimir)), 1e-300)
            energy, left = _regressed(tensor, casimir, self.changes)
            return left, casimir, energy

        tried = [rounds(first[parts.casimir], ROUNDS) for first in self.guesses()]
        tried.sort(key=lambda one: one[0])
        best = min((rounds(c, LAST_ROUNDS) for _, c, _ in tried[:FINALISTS]), key=lambda one: one[0])
        casimir, energy = np.zeros(QUADRATICS.size), np.zeros(QUADRATICS.size)
        casimir[parts.casimir], energy[parts.energy] = best[1], best[2]
        return casimir, energy

    def guesses(self) -> Sequence[Float[np.ndarray, " nine"]]:
        """Casimirs to begin with: diagonal ones of all signatures, and homogeneous quadratics that change
        least along trajectories.
        """
        found = []
        diagonal = [k for k in SQUARES.tolist() if QUADRATICS.exponents[k].max() == 2]
        for signs in np.ndindex(3, 3, 3):
            if (first := next((s for s in signs if s), 0)) and first == 1:
                found.append(np.zeros(QUADRATICS.size))
                found[-1][diagonal] = np.array([0.0, 1.0, -1.0])[list(signs)]
        within = np.zeros((len(SQUARES), len(SQUARES)))
        for states in self.windows.smoothed:
            values = QUADRATICS.values_at(states)[:, SQUARES]
            centred = values - values.mean(axis=0)
            within += centred.T @ centred
        for vector in np.linalg.eigh(within)[1].T[:3]:
            found.append(np.zeros(QUADRATICS.size))
            found[-1][SQUARES] = vector
        return found

    def balanced(
        self, casimir: Float[np.ndarray, " nine"], energy: Float[np.ndarray, " nine"]
    ) -> tuple[Float[np.ndarray, " nine"], Float[np.ndarray, " nine"]]:
        """The same motion with C and H of one size and H without C, so that what leaves the motion as it is
        changes neither to first order.
        """
        energy = energy - (energy @ casimir) / (casimir @ casimir) * casimir
        size = np.sqrt(np.linalg.norm(energy) / np.linalg.norm(casimir))
        return casimir * size, energy / size

    def basis(
        self, parts: Parts, casimir: Float[np.ndarray, " nine"], energy: Float[np.ndarray, " nine"]
    ) -> Float[np.ndarray, "P Z"]:
        """An orthonormal basis of the parameters (H, C, friction) but what leaves the motion as it is: the
        scale of C, H + kappa C, and C + kappa H where both have the same terms. So is what the data tell less
        of than the prior: steps along it would not end.
        """
        by_energy = np.einsum("rab,a->rb", self.crossed, casimir)[:, parts.energy]
        by_casimir = np.einsum("rab,b->ra", self.crossed, energy)[:, parts.casimir]
        _, values, vectors = np.linalg.svd(np.concatenate([by_energy, by_casimir], axis=1))
        left = self.changes - np.einsum("rab,a,b->r", self.crossed, casimir, energy)
        noise = float(np.sqrt(np.mean(left**2)))
        free = vectors[: np.sum(values > max(EXACTLY * values[0], noise / np.sqrt(UNKNOWN)))].T
        count, size = len(parts.energy), QUADRATICS.size
        basis = np.zeros((size + len(parts.casimir) + 1, free.shape[1] + 1))
        basis[parts.energy, :-1] = free[:count]
        basis[size:-1, :-1] = free[count:]
        basis[-1, -1] = 1.0
        return basis


def _regressed(
    tensor: Float[np.ndarray, "rows K L"], first: Float[np.ndarray, " K"], changes: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, " L"], float]:
    """The least squares of tensor first second = changes, with a grain of a prior; the squares left."""
    design = np.einsum("rkl,k->rl", tensor, first)
    normal = design.T @ design
    normal = normal + 1e-9 * max(float(np.trace(normal)), 1e-300) * np.eye(len(normal))
    second = np.linalg.solve(normal, design.T @ changes)
    left = changes - design @ second
    return second, float(left @ left)
