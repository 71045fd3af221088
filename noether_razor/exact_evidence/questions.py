"""Quantities whose conservation is asked about, and what their symmetry leaves of a Hamiltonian."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float, Int

from ..quadratic_forms import Quadratics
from .features import Features, LinearFeatures, hamiltonian_fields
from .null_spaces import by_groups, complement, unit_quantities
from .quotients import Maps, quotient

EXACT, NEAR = 1e-7, 5e-3
"""R.m.s. {C, phi} over |grad C| |grad phi|: up to the first a combination phi of features commutes with C, up
to the second it may do so but for rounded coefficients.
"""
CONSTANT = 1e-6
"""Singular values of gradients below this share of the largest belong to combinations that are constant."""

Gradients = Callable[[Float[np.ndarray, "rows dim"]], Float[np.ndarray, "K rows dim"]]
"""Gradients of K quantities at scaled states."""


@dataclass(frozen=True, eq=False)
class Question(ABC):
    """Quantities of scaled coordinates that may all be conserved; `formula` as they were typed."""

    formula: str
    small: ClassVar[float]
    """R.m.s. {C, H} over |grad C| |grad H| up to which the symmetry may be called approximate."""

    @abstractmethod
    def fields(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "K rows dim"]:
        """The fields with {C, f} = field . grad f at states: those of -J grad C."""

    def maps(self) -> Maps | None:
        """Maps of states whose average has the symmetry built in; None where none are known."""
        return None

    def parts(
        self, features: LinearFeatures, states: Float[np.ndarray, "rows dim"]
    ) -> tuple[Float[np.ndarray, "P Z"], ...]:
        """Orthonormal bases of coefficients: of those with {C_k, H} = 0 for all of the quantities first, then
        of what these forbid: in general of those that nearly commute at `states`, and of all others.
        """
        fields = self.fields(states)
        exact = commuting(features, fields, states, (0.0, EXACT))
        near = commuting(features, fields, states, (EXACT, NEAR), besides=exact)
        return exact, near, complement(np.concatenate([exact, near], axis=1), features.groups)


@dataclass(frozen=True, eq=False)
class QuadraticQuestion(Question):
    """Quantities of degree <= 2: exactly a linear condition in dictionaries that are closed."""

    quantities: Quadratics
    small = 0.1

    def fields(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "K rows dim"]:
        matrices, vectors = hamiltonian_fields(unit_quantities(self.quantities))
        return np.einsum("kij,rj->kri", matrices, states) + vectors[:, None]

    def maps(self) -> Maps | None:
        return quotient(self.quantities)

    def parts(
        self, features: LinearFeatures, states: Float[np.ndarray, "rows dim"]
    ) -> tuple[Float[np.ndarray, "P Z"], ...]:
        if isinstance(features, Features):
            return tuple(features.symmetric(self.quantities))
        return super().parts(features, states)


@dataclass(frozen=True, eq=False)
class GeneralQuestion(Question):
    """Quantities of any form, by their gradients."""

    gradients: Gradients
    # Of many terms, a wrong coefficient makes a bracket of some per cent.
    small = 0.01

    def fields(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "K rows dim"]:
        position, momentum = np.split(self.gradients(states), 2, axis=2)
        return np.concatenate([-momentum, position], axis=2)


def commuting(
    features: LinearFeatures,
    fields: Float[np.ndarray, "K rows dim"],
    states: Float[np.ndarray, "rows dim"],
    between: tuple[float, float],
    besides: Float[np.ndarray, "P Y"] | None = None,
) -> Float[np.ndarray, "P Z"]:
    """An orthonormal basis of the coefficients whose brackets at states, of r.m.s. over |grad C| |grad phi|,
    are `between` two sizes, orthogonal to `besides`, as `by_groups` has it.
    """
    gradients = features.gradients(states)
    units = np.sqrt(np.mean(np.sum(fields**2, axis=2), axis=1))
    brackets = np.einsum("kri,rip->krp", fields / units[:, None, None], gradients, optimize=True)
    root = np.sqrt(len(states))
    flat, brackets = (part.reshape(-1, features.size) / root for part in (gradients, brackets))
    groups, every = features.groups, np.arange(features.size)
    out = np.zeros((features.size, 0)) if besides is None else besides
    whole = _sized(flat, brackets, every, between, out)
    parts = [_sized(flat, brackets, np.flatnonzero(groups == g), between, out) for g in np.unique(groups)]
    return by_groups(np.concatenate(parts, axis=1), whole)


def _sized(
    gradients: Float[np.ndarray, "values P"],
    brackets: Float[np.ndarray, "others P"],
    own: Int[np.ndarray, " some"],
    between: tuple[float, float],
    besides: Float[np.ndarray, "P Y"],
) -> Float[np.ndarray, "P Z"]:
    """That of the coefficients of some features."""
    sizes = np.linalg.norm(gradients[:, own], axis=0)
    own, sizes = own[sizes > 0], sizes[sizes > 0]
    if not len(own):
        return np.zeros((gradients.shape[1], 0))
    _, values, right = np.linalg.svd(gradients[:, own] / sizes, full_matrices=False)
    varies = values > CONSTANT * values.max()
    # Combinations of gradients of r.m.s. 1, and rows of zeros for brackets that there are too few of.
    basis = right[varies].T / values[varies] / sizes[:, None]
    some = np.pad(brackets[:, own] @ basis, ((0, basis.shape[1]), (0, 0)))
    _, values, right = np.linalg.svd(some, full_matrices=False)
    columns = basis @ right[(values >= between[0]) & (values <= between[1])].T
    found = np.zeros((gradients.shape[1], columns.shape[1]))
    found[own] = columns / np.linalg.norm(columns, axis=0)
    found = found - besides @ (besides.T @ found)
    left, values, _ = np.linalg.svd(found, full_matrices=False)
    return left[:, values > CONSTANT]
