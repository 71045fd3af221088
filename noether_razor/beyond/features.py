"""The terms of a library as features of a Hamiltonian that is fitted to trajectories."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Array, Float, Int

from ..exact_evidence.features import Derivatives, LinearFeatures
from ..formula import parse_formula
from ..formula.parse import canonical_names
from ..invariants import Dictionary, FunctionDictionary, Monomials
from ..invariants.monomials import monomials
from ..scaling import PhaseScale
from ..typing import Hamiltonian, State
from .library import Chosen, Library, Products

Function = Callable[[State], Float[Array, " M"]]


class Jet(NamedTuple):
    """Values (M,), gradients (M, dim) and second derivatives (M, dim, dim) of functions at a state."""

    values: Float[Array, " M"]
    gradients: Float[Array, "M dim"]
    hessians: Float[Array, "M dim dim"]

    def scaled(self, scales: Array) -> "Jet":
        """Those of the same functions of x, where these are of scales * x."""
        return Jet(self.values, self.gradients * scales, self.hessians * scales * scales[:, None])


@dataclass(frozen=True, eq=False)
class LibraryFeatures(LinearFeatures):
    """The terms of a library as functions of a scaled state, in units of their gradients' sizes (P,).

    Monomials of one degree share a prior variance; so do functions of one kind times monomials of one degree:
    cos and sin of an angle and of others alike, 1/r of all pairs of bodies. Other terms have their own.
    """

    dim: int
    degree: int
    library: Library
    scale: PhaseScale
    units: Float[np.ndarray, " P"]

    @classmethod
    def of(
        cls, library: Library, scale: PhaseScale, states: Float[np.ndarray, "rows dim"]
    ) -> "LibraryFeatures":
        """With units from `states`, in the units of the data."""
        squares = [
            np.mean((library.slopes(states, i) * size) ** 2, axis=0) for i, size in enumerate(scale.scales)
        ]
        return cls(library.dim, library.largest, library, scale, np.sqrt(np.sum(squares, axis=0)))

    @property
    def name(self) -> str:
        return self.library.label

    @property
    def size(self) -> int:
        return len(self.library)

    @cached_property
    def groups(self) -> Int[np.ndarray, " P"]:
        labels = [label for part in self.library.parts for label in _labels(part)]
        return np.unique(labels, return_inverse=True)[1].reshape(-1)

    @cached_property
    def _jets(self) -> list[Callable[[State], Jet]]:
        return [_jet(part) for part in self.library.parts]

    def _at(self, state: State) -> Jet:
        jets = [jet(self.scale.states_back(state)) for jet in self._jets]
        found = Jet(*(jnp.concatenate(parts) for parts in zip(*jets, strict=True)))
        return found.scaled(jnp.asarray(self.scale.scales))

    def values(self, state: State) -> Float[Array, " P"]:
        return self._at(state).values / jnp.asarray(self.units)

    def values_at(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows P"]:
        return self.library.values(self.scale.states_back(states)) / self.units

    def gradients(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows dim P"]:
        back, scales = self.scale.states_back(states), self.scale.scales
        slopes = [self.library.slopes(back, i) * scales[i] for i in range(self.dim)]
        return np.stack(slopes, axis=1) / self.units

    def prepared(self, coefficients: Float[Array, " P"]) -> Array:
        return coefficients / jnp.asarray(self.units)

    def slopes(self, state: State, prepared: Array) -> Derivatives:
        found = self._at(state)
        return Derivatives(prepared @ found.gradients, jnp.tensordot(prepared, found.hessians, 1))

    def slopes_of_all(self, state: State) -> Float[Array, "dim P"]:
        return self._at(state).gradients.T / jnp.asarray(self.units)


def _labels(part: Dictionary) -> list[str]:
    """What the terms of a part share their prior variance by."""
    if isinstance(part, Products):
        factors = [part.factors[k].kin for k in part.which.tolist()]
        degrees = part.exponents.sum(axis=1).tolist()
        return [f"{kin}, {degree}" for kin, degree in zip(factors, degrees, strict=True)]
    if isinstance(part, Monomials):
        return [f"degree {len(m)}" for m in monomials(part.dim, part.degree or 0)]
    return [term.name for term in part.terms]


def _jet(part: Dictionary) -> Callable[[State], Jet]:
    """The terms of a part in JAX, of states in the units of the data."""
    if isinstance(part, Chosen):
        whole, kept = _jet(part.whole), part.kept
        return lambda state: Jet(*(array[kept] for array in whole(state)))
    if isinstance(part, FunctionDictionary):
        return _by_autodiff(part.function)
    if isinstance(part, Products):
        return _products(_factors(part), part.which, part.exponents)
    if isinstance(part, Monomials):
        every = monomials(part.dim, part.degree or 0)
        exponents = np.array([[m.count(i) for i in range(part.dim)] for m in every])
        return _powers(exponents)
    raise TypeError(f"the terms of {part.family} are not known in JAX")


def _by_autodiff(function: Function) -> Callable[[State], Jet]:
    first = jax.jacfwd(function)
    second = jax.jacfwd(first)
    return lambda state: Jet(function(state), first(state), second(state))


def _factors(part: Products) -> Callable[[State], Jet]:
    """The functions that terms are multiples of."""
    names = canonical_names(part.dim // 2)
    symbols = {sympy.Symbol(own): sympy.Symbol(name) for own, name in zip(part.variables, names, strict=True)}
    formulas: Sequence[Hamiltonian] = [
        parse_formula(str(factor.expression.xreplace(symbols)), names) for factor in part.factors
    ]
    return _by_autodiff(
        lambda state: jnp.stack([jnp.asarray(formula(state), state.dtype) for formula in formulas])
    )


def _powers(exponents: Int[np.ndarray, "M dim"]) -> Callable[[State], Jet]:
    """Monomials of these exponents."""
    dim, most = exponents.shape[1], int(exponents.max(initial=0))
    lower = [np.maximum(exponents - k, 0).T for k in range(3)]
    sizes = [np.ones(exponents.T.shape), exponents.T, exponents.T * (exponents.T - 1)]
    # Which power of each coordinate each factor is, with what differentiation makes of it: products with
    # tables of constants cost far less than picking entries.
    picked = [
        (low[..., None] == np.arange(most + 1)) * s[..., None] for low, s in zip(lower, sizes, strict=True)
    ]
    # How often each coordinate is differentiated by, in each first and second derivative.
    once = np.eye(dim, dtype=int)
    twice = (once[:, None] + once[None])[..., None]

    def jet(state: State) -> Jet:
        powers = [jnp.ones_like(state)]
        for _ in range(most):
            powers.append(powers[-1] * state)
        table = jnp.stack(powers, axis=1)
        plain, first, second = (
            jnp.einsum("imk,ik->im", jnp.asarray(tensor, state.dtype), table) for tensor in picked
        )
        slopes = jnp.where(once[..., None] > 0, first, plain)
        bends = jnp.where(twice > 1, second, jnp.where(twice > 0, first, plain))
        return Jet(
            jnp.prod(plain, axis=0), jnp.prod(slopes, axis=1).T, jnp.moveaxis(jnp.prod(bends, axis=2), 2, 0)
        )

    return jet


def _products(
    factors: Callable[[State], Jet], which: Int[np.ndarray, " M"], exponents: Int[np.ndarray, "M dim"]
) -> Callable[[State], Jet]:
    """Factors times monomials, by the product rule."""
    plain = _powers(exponents)

    def jet(state: State) -> Jet:
        f, m = Jet(*(array[which] for array in factors(state))), plain(state)
        mixed = f.gradients[:, :, None] * m.gradients[:, None]
        value, other = f.values[:, None], m.values[:, None]
        return Jet(
            f.values * m.values,
            f.gradients * other + value * m.gradients,
            f.hessians * other[..., None] + mixed + jnp.swapaxes(mixed, 1, 2) + value[..., None] * m.hessians,
        )

    return jet
