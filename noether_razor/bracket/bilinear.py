"""Fits of a Poisson matrix that is linear in its parameters together with the Hamiltonian, both of unknown
scale: x' = B(x) grad H(x) is bilinear.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..exact_evidence.built_in import FRICTION, Comparison, first_guess
from ..exact_evidence.features import LinearFeatures
from ..exact_evidence.fields import PoissonStructure
from ..exact_evidence.prior import Prior, covariance_root
from ..exact_evidence.shooting import Begin, Fit, LinearModel, Problem
from ..exact_evidence.shooting import fit as fit_problem
from ..exact_evidence.start import Windows
from ..trajectories import Trajectories

ROUNDS, LAST_ROUNDS, FINALISTS = 15, 200, 3
"""Rounds of alternating regressions, of the best starts again, and how many these are."""
EXACTLY = 1e-9
"""Singular values over the largest of changes of B and H that leave the motion as it is."""
UNKNOWN = 1.0
"""The prior variance of parameters of B and H, both of one size in scaled coordinates."""
FEW_WINDOWS = 1000
"""Windows that choose where a fit begins."""


class Parts(NamedTuple):
    """A kind of bracket: which parameters of B (of K) and of H (of P) are free."""

    name: str
    own: Int[np.ndarray, " Z"]
    energy: Int[np.ndarray, " Y"]


class Family(ABC):
    """Poisson matrices B with K parameters, and the features of H. `damped`: whether a damping x' = .. - rate
    x is fitted as well, which is one where the family has none.
    """

    features: LinearFeatures
    damped: bool = True

    @abstractmethod
    def structure(self, parts: Parts) -> PoissonStructure:
        """The matrix whose parameters are those of a kind."""

    @abstractmethod
    def products(self, points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "points dim K P"]:
        """B_k grad phi_p at many states."""

    @abstractmethod
    def guesses(self, paths: Sequence[Float[np.ndarray, "rows dim"]]) -> Sequence[Float[np.ndarray, " K"]]:
        """Parameters of B to begin with."""

    def balanced(
        self, own: Float[np.ndarray, " K"], energy: Float[np.ndarray, " P"]
    ) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " P"]]:
        """The same motion with B and H of one size, so that another share of the scale changes neither to
        first order.
        """
        size = np.sqrt(np.linalg.norm(energy) / np.linalg.norm(own))
        return own * size, energy / size


class BilinearFit(NamedTuple):
    """A fit of one kind: its problem and maximum."""

    parts: Parts
    problem: Problem
    fit: Fit

    @property
    def friction(self) -> tuple[float, float]:
        """The rate of x' = .. - rate x without its prior, which may have sent it to zero, and its standard
        deviation; 0 where it is not fitted.
        """
        if not self.fit.model.basis[-1].any():
            return 0.0, 1.0
        prior = self.fit.model.prior.precision(self.fit.point.variances)
        free = self.fit.information + prior
        pull = free @ self.fit.point.z
        free[-1] -= prior[-1]
        free[:-1, -1] -= prior[:-1, -1]
        covariance = np.linalg.inv(free)
        return float(covariance[-1] @ pull), float(np.sqrt(covariance[-1, -1]))

    def draws(
        self, count: int, seed: int = 0
    ) -> tuple[Float[np.ndarray, "draws Z"], Float[np.ndarray, "draws P"]]:
        """Parameters of B and of H: the mean, and `count` draws of the posterior."""
        root = covariance_root(self.fit.covariance)
        normal = np.random.default_rng(seed).normal(size=(count, len(root)))
        every = self.fit.parameters + np.concatenate([np.zeros((1, len(root))), normal @ root.T])
        size = self.problem.features.size
        return every[:, size:-1], every[:, :size]


@dataclass(frozen=True, eq=False)
class BilinearSetup:
    """Scaled trajectories, and what all fits of a family to them begin with."""

    data: Trajectories
    family: Family

    @cached_property
    def windows(self) -> Windows:
        """Of smoothed trajectories."""
        return Windows.of(self.data.segments(), exact=False)

    @cached_property
    def products(self) -> Float[np.ndarray, "rows K P"]:
        """int B_k grad phi_p dt over some windows."""
        some = self.windows.some(FEW_WINDOWS)
        found = self.family.products(some.points)
        each = found.reshape(*some.spans.shape, *found.shape[1:])
        return np.einsum("wn,wnikp->wikp", some.spans, each).reshape(-1, *found.shape[2:])

    @cached_property
    def changes(self) -> Float[np.ndarray, " rows"]:
        """Of the states over these windows."""
        return self.windows.some(FEW_WINDOWS).changes

    def fitted(self, parts: Parts) -> BilinearFit:
        """The maximum for one kind. Raises `FitError`."""
        own, energy = self.family.balanced(*self.start(parts))
        every = np.concatenate([energy, own[parts.own], [0.0]])
        basis = self.basis(parts, own, energy)
        return self._maximum(parts, basis, basis.T @ every, np.zeros(len(every)))

    def with_matrix(self, parts: Parts, own: Float[np.ndarray, " K"]) -> BilinearFit:
        """The maximum with these parameters of B, which the kind must have. Raises `FitError`."""
        tensor = self.products[:, parts.own][:, :, parts.energy]
        design = np.einsum("rkl,k->rl", tensor, own[parts.own])
        _, values, vectors = np.linalg.svd(design, full_matrices=False)
        free = vectors[values > EXACTLY * values[0]].T
        count = self.family.features.size
        basis = np.zeros((count + len(parts.own) + 1, free.shape[1]))
        basis[parts.energy] = free
        offset = np.zeros(len(basis))
        offset[count:-1] = own[parts.own]
        z = np.linalg.lstsq(design @ free, self.changes, rcond=None)[0]
        return self._maximum(parts, self._damped(basis), self._start_damped(z), offset)

    def _damped(self, basis: Float[np.ndarray, "P1 Z"]) -> Float[np.ndarray, "P1 Z1"]:
        """With the damping as the last parameter, where the family has one."""
        if not self.family.damped:
            return basis
        return np.concatenate([basis, np.eye(len(basis))[:, -1:]], axis=1)

    def _start_damped(self, z: Float[np.ndarray, " Z"]) -> Float[np.ndarray, " Z1"]:
        return np.append(z, 0.0) if self.family.damped else z

    def _maximum(
        self,
        parts: Parts,
        basis: Float[np.ndarray, "P Z"],
        z: Float[np.ndarray, " Z"],
        offset: Float[np.ndarray, " P"],
    ) -> BilinearFit:
        features, structure = self.family.features, self.family.structure(parts)
        problem = replace(Problem.of(features, self.data, np.zeros(features.dim)), structure=structure)
        # All of one prior, but the damping.
        groups = np.zeros(len(basis), int)
        groups[-1] = 1
        prior = Prior.of(basis, groups, held=(0,))
        states, noise = first_guess(problem, self.windows.smoothed)
        variances = [FRICTION if group else UNKNOWN for group, _ in prior.labels]
        begin = Begin(z, states, np.array(variances), noise)
        found = fit_problem(problem, LinearModel(basis, prior, offset), begin)
        finest = Comparison(problem, found).accurate()
        return BilinearFit(parts, finest.problem, finest.none)

    def start(self, parts: Parts) -> tuple[Float[np.ndarray, " K"], Float[np.ndarray, " P"]]:
        """B and H of the best of alternating linear regressions from several B."""
        tensor = self.products[:, parts.own][:, :, parts.energy]
        swapped = np.swapaxes(tensor, 1, 2)

        def rounds(first: np.ndarray, count: int) -> tuple[float, np.ndarray, np.ndarray]:
            own, before = first, np.inf
            for _ in range(count):
                energy, _ = _regressed(tensor, own, self.changes)
                if not (size := np.linalg.norm(energy)):
                    break
                own, left = _regressed(swapped, energy / size, self.changes)
                own = own / max(float(np.linalg.norm(own)), 1e-300)
                if before - left < 1e-9 * left:
                    break
                before = left
            energy, left = _regressed(tensor, own, self.changes)
            return left, own, energy

        tried = [rounds(first[parts.own], ROUNDS) for first in self.family.guesses(self.windows.smoothed)]
        tried.sort(key=lambda one: one[0])
        best = min((rounds(own, LAST_ROUNDS) for _, own, _ in tried[:FINALISTS]), key=lambda one: one[0])
        own, energy = (np.zeros(size) for size in self.products.shape[1:])
        own[parts.own], energy[parts.energy] = best[1], best[2]
        return own, energy

    def basis(
        self, parts: Parts, own: Float[np.ndarray, " K"], energy: Float[np.ndarray, " P"]
    ) -> Float[np.ndarray, "P1 Z"]:
        """An orthonormal basis of the parameters (H, B, damping) but what leaves the motion as it is: the
        scale of B, and what may be added to H, or to B. So is what the data tell less of than the prior:
        steps along it would not end.
        """
        by_energy = np.einsum("rab,a->rb", self.products, own)[:, parts.energy]
        by_own = np.einsum("rab,b->ra", self.products, energy)[:, parts.own]
        _, values, vectors = np.linalg.svd(np.concatenate([by_energy, by_own], axis=1), full_matrices=False)
        left = self.changes - np.einsum("rab,a,b->r", self.products, own, energy)
        noise = float(np.sqrt(np.mean(left**2)))
        free = vectors[: np.sum(values > max(EXACTLY * values[0], noise / np.sqrt(UNKNOWN)))].T
        count, size = len(parts.energy), len(energy)
        basis = np.zeros((size + len(parts.own) + 1, free.shape[1]))
        basis[parts.energy] = free[:count]
        basis[size:-1] = free[count:]
        return self._damped(basis)


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
