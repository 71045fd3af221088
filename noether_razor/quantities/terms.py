"""Quantities that are linear in coefficients: polynomials, and functions of the state times polynomials."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from functools import cached_property
from itertools import permutations
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jaxtyping import Array, Float

from ..orthonormal import orthonormal
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


class Tensors(NamedTuple):
    """Polynomials as symmetric tensors of the powers y^0, y^1, .., flat: their products with `_powers` are
    the values. `polynomials` are those of terms without a function, `multiples` stand before each function.
    """

    polynomials: Float[Array | np.ndarray, "*terms entries"]
    multiples: Float[Array | np.ndarray, "*terms F entries_of_multiples"]


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
        """The largest degree of a monomial without a function."""
        return self._degree(False)

    @cached_property
    def degree_of_multiples(self) -> int:
        """The largest degree of a monomial times a function."""
        return self._degree(True)

    def _degree(self, multiples: bool) -> int:
        pairs = zip(self.exponents, self.which, strict=True)
        return max((sum(e) for e, which in pairs if (which >= 0) is multiples), default=0)

    @cached_property
    def tensors(self) -> Tensors:
        """Each term as symmetric tensors of the powers of y before its function, the others being zero."""
        count = 0 if self.functions is None else self.functions.count
        degrees = self.degree, self.degree_of_multiples
        polynomials = np.zeros((len(self), sum(self.dim**k for k in range(degrees[0] + 1))), np.float32)
        multiples = np.zeros((len(self), count, sum(self.dim**k for k in range(degrees[1] + 1))), np.float32)
        for m, (exponents, which) in enumerate(zip(self.exponents, self.which, strict=True)):
            factors = [i for i, e in enumerate(exponents) for _ in range(e)]
            start = sum(self.dim**k for k in range(len(factors)))
            orders = set(permutations(factors))
            for order in orders:
                place = start + sum(i * self.dim**k for k, i in enumerate(reversed(order)))
                row = polynomials[m] if which < 0 else multiples[m, which]
                row[place] = 1 / len(orders)
        return Tensors(polynomials, multiples)

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
    def tensors(self) -> Tensors:
        """`Terms.tensors` of the combinations."""
        return Tensors(
            *(np.tensordot(self.mixing, part, 1).astype(np.float32) for part in self.terms.tensors)
        )


class TermQuantities(ConservedQuantities):
    """K quantities C_k(x) = sum_b c_kb phi_b(x) in the B functions of a `basis`.

    c are the `coefficients` (K, B) as they are; with a `size`, orthogonal rows of that norm which span the
    same. Then quantities can neither shrink to nothing nor become alike.
    """

    def __init__(self, coefficients: Float[Array, "K B"], basis: Basis, size: float | None = None):
        if coefficients.ndim != 2 or coefficients.shape[1] != len(basis):
            raise ValueError(f"coefficients must have shape (K, {len(basis)}), got {coefficients.shape}")
        self.coefficients = nnx.Param(coefficients)
        self.basis = basis
        self.size = size

    def __repr__(self) -> str:
        return f"TermQuantities({self.count} of {len(self.basis.terms)} terms)"

    @classmethod
    def random(
        cls, key: PRNGKey, count: int, basis: Basis, scale: float, size: float | None = None
    ) -> "TermQuantities":
        """Quantities with independent N(0, scale^2) coefficients, to start learning from."""
        return cls(jnp.asarray(scale * normal(key, (count, len(basis)))), basis, size)

    @property
    def count(self) -> int:
        return self.coefficients.shape[0]

    def __call__(self, state: State) -> Float[Array, " K"]:
        return jax.vmap(self._value, in_axes=(0, None))(self._tensors(self.rows()), state)

    def gradient(self, weights: Float[Array, " K"]) -> VectorField:
        terms, tensors = self.basis.terms, self._tensors(weights @ self.rows())
        # Symmetric tensors: grad T[y^k] = k T[y^(k-1)].
        starts = np.cumsum([terms.dim**k for k in range(terms.degree + 1)])
        parts = jnp.split(jnp.asarray(tensors.polynomials), starts[:-1])[1:]
        slopes = [k * part.reshape(terms.dim, -1) for k, part in enumerate(parts, start=1)]
        scales = jnp.asarray(terms.scales, jnp.float32)
        polynomial = jnp.concatenate([jnp.zeros((terms.dim, 0)), *slopes], axis=1) / scales[:, None]

        def plain(state: State) -> State:
            return polynomial @ _powers(terms.scaled(state), terms.degree - 1)

        if terms.functions is None:
            return plain
        multiples = jax.grad(lambda state: self._multiples(tensors, state))
        if terms.degree == 0:
            return multiples
        return lambda state: plain(state) + multiples(state)

    def rows(self) -> Float[Array, "K B"]:
        """c."""
        own = self.coefficients[...]
        if self.size is None:
            return own
        return self.size * orthonormal(own @ own.T, own)

    def _tensors(self, coefficients: Float[Array, "*K B"]) -> Tensors:
        return Tensors(*(jnp.tensordot(coefficients, jnp.asarray(part), 1) for part in self.basis.tensors))

    def _value(self, tensors: Tensors, state: State) -> Scalar:
        terms = self.basis.terms
        polynomial = jnp.dot(tensors.polynomials, _powers(terms.scaled(state), terms.degree))
        return polynomial if terms.functions is None else polynomial + self._multiples(tensors, state)

    def _multiples(self, tensors: Tensors, state: State) -> Scalar:
        terms = self.basis.terms
        assert terms.functions is not None
        polynomials = tensors.multiples @ _powers(terms.scaled(state), terms.degree_of_multiples)
        return jnp.dot(terms.functions.call(state), polynomials)


def _powers(y: State, degree: int) -> Float[Array, " entries"]:
    """1, y, and the tensor powers of y up to `degree`, flat."""
    found = [jnp.ones((1,), y.dtype)]
    for _ in range(degree):
        found.append((found[-1][:, None] * y).reshape(-1))
    return jnp.concatenate(found)
