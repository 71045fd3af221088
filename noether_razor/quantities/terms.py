"""Quantities that are linear in coefficients: polynomials, and functions of the state times polynomials."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..random import normal
from ..typing import PRNGKey, Scalar, State, VectorField
from .base import ConservedQuantities

Exponents = tuple[int, ...]
"""The powers of the coordinates in a monomial."""


@dataclass(frozen=True)
class Functions:
    """F functions of a state (2n,), each of which polynomials are multiplied by. Those of one `name` are the
    same.
    """

    name: Hashable
    count: int
    call: Callable[[State], Float[Array, " F"]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Terms:
    """M functions f(x) m(y) of a state x, with monomials m of y = x / scales.

    `exponents` (M, 2n) are those of the monomials, and `which` of the `functions` stands before each; -1: 1.
    """

    scales: tuple[float, ...]
    exponents: tuple[Exponents, ...]
    which: tuple[int, ...]
    functions: Functions | None = None

    def __len__(self) -> int:
        return len(self.exponents)

    @property
    def dim(self) -> int:
        """Coordinates of a state."""
        return len(self.scales)

    @cached_property
    def degree(self) -> int:
        """The largest degree of a monomial."""
        return max(sum(e) for e in self.exponents)

    @cached_property
    def tensors(self) -> Float[np.ndarray, "M multiples entries"]:
        """Each term as symmetric tensors of the powers y^0, y^1, .. of its function, the others being zero:
        with those of `_powers` their product is the value. Functions come first, 1 last.
        """
        sizes = [self.dim**k for k in range(self.degree + 1)]
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        count = 0 if self.functions is None else self.functions.count
        found = np.zeros((len(self), count + 1, sum(sizes)), np.float32)
        for m, (exponents, which) in enumerate(zip(self.exponents, self.which, strict=True)):
            factors = [i for i, e in enumerate(exponents) for _ in range(e)]
            orders = set(permutations(factors))
            for order in orders:
                place = sum(i * self.dim**k for k, i in enumerate(reversed(order)))
                found[m, which if which >= 0 else count, starts[len(order)] + place] = 1 / len(orders)
        return found

    def scaled(self, state: State) -> State:
        """y."""
        return state / jnp.asarray(self.scales, state.dtype)


@dataclass(frozen=True, eq=False)
class Basis:
    """B combinations of terms: `mixing` (B, M)."""

    terms: Terms
    mixing: Float[np.ndarray, "B M"] = field(repr=False)

    def __len__(self) -> int:
        return len(self.mixing)

    @cached_property
    def _key(self) -> Hashable:
        return self.terms, self.mixing.shape, self.mixing.tobytes()

    def __hash__(self) -> int:
        return hash(self._key)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Basis) and self._key == other._key

    @cached_property
    def tensors(self) -> Float[np.ndarray, "B multiples entries"]:
        """`Terms.tensors` of the combinations."""
        return np.tensordot(self.mixing, self.terms.tensors, 1).astype(np.float32)


class TermQuantities(ConservedQuantities):
    """K quantities C_k(x) = sum_b c_kb phi_b(x) in the B functions of a `basis`: `coefficients` (K, B)."""

    def __init__(self, coefficients: Float[Array, "K B"], basis: Basis):
        if coefficients.ndim != 2 or coefficients.shape[1] != len(basis):
            raise ValueError(f"coefficients must have shape (K, {len(basis)}), got {coefficients.shape}")
        self.coefficients = nnx.Param(coefficients)
        self.basis = basis

    def __repr__(self) -> str:
        return f"TermQuantities({self.count} of {len(self.basis.terms)} terms)"

    @classmethod
    def random(cls, key: PRNGKey, count: int, basis: Basis, scale: float) -> "TermQuantities":
        """Quantities with independent N(0, scale^2) coefficients, to start learning from."""
        return cls(jnp.asarray(scale * normal(key, (count, len(basis)))), basis)

    @property
    def count(self) -> int:
        return self.coefficients.shape[0]

    def __call__(self, state: State) -> Float[Array, " K"]:
        tensors = jnp.tensordot(self.coefficients[...], jnp.asarray(self.basis.tensors), 1)
        return jax.vmap(self._value, in_axes=(0, None))(tensors, state)

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        terms = self.basis.terms
        tensors = jnp.tensordot(weights @ self.coefficients[...], jnp.asarray(self.basis.tensors), 1)
        if terms.functions is not None:
            return jax.grad(lambda state: self._value(tensors, state))
        # Symmetric tensors: grad T[y^k] = k T[y^(k-1)].
        starts = np.cumsum([terms.dim**k for k in range(terms.degree + 1)])
        parts = jnp.split(tensors[0], starts[:-1])[1:]
        slopes = (
            jnp.concatenate(
                [k * part.reshape(terms.dim, -1) for k, part in enumerate(parts, start=1)], axis=1
            )
            / jnp.asarray(terms.scales, tensors.dtype)[:, None]
        )
        return lambda state: slopes @ _powers(terms.scaled(state), terms.degree - 1)

    def _value(self, tensors: Float[Array, "multiples entries"], state: State) -> Scalar:
        terms = self.basis.terms
        polynomials = tensors @ _powers(terms.scaled(state), terms.degree)
        if terms.functions is None:
            return polynomials[0]
        return terms.functions.call(state) @ polynomials[:-1] + polynomials[-1]


def _powers(y: State, degree: int) -> Float[Array, " entries"]:
    """1, y, and the tensor powers of y up to `degree`, flat."""
    found = [jnp.ones((1,), y.dtype)]
    for _ in range(degree):
        found.append((found[-1][:, None] * y).reshape(-1))
    return jnp.concatenate(found)
