"""Terms that quantities are combinations of: their names, values and derivatives at states."""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Array, Bool, Float

from ..scaling import Periods
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import State

FEWEST_ROWS, MOST_ROWS = 64, 1024
"""Rows at a time that JAX gets, a power of two, so that few programs are compiled."""
TURNED = 1e-9
"""Change of a term over its size by which a turn of an angle is seen."""
PROBED = 8
"""States at which angles are turned."""


@dataclass(frozen=True)
class Term:
    """A function of the state: its `name` as it stands in formulas, such as cos(q1)*p1, and the same in sympy
    over symbols named as the variables.
    """

    name: str
    expression: sympy.Expr

    @classmethod
    def of(cls, expression: sympy.Expr) -> "Term":
        """Named as sympy writes it, with ^ for powers."""
        written = str(expression).replace("**", "^")
        return cls(f"({written})" if expression.is_Add else written, expression)


@dataclass(frozen=True, eq=False, kw_only=True)
class Dictionary(ABC):
    """M functions of a state x = (q, p): a quantity is a row (M,) of coefficients of these `terms`.

    Constants are left out, and no term is a combination of others. `family` is the name of the kind,
    `variables` (2n,) are those of the coordinates. `degree` is d where the terms are all monomials of degree
    1 to d in the order of `monomials`, else None. `expansion` (M, monomials) has the terms as combinations of
    all monomials of degree <= 2, where they are some of these; None where they are all, or others. States,
    in the units of the data, are (rows, 2n).

    Raises ValueError for terms of one name, and for symbols that are no variables.
    """

    family: str
    variables: tuple[str, ...]
    terms: tuple[Term, ...] = field(repr=False)
    degree: int | None = None
    expansion: Float[np.ndarray, "M monomials"] | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        names = [term.name for term in self.terms]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"terms of dictionary {self.family}: {', '.join(twice)} stands there twice")
        known = {sympy.Symbol(name) for name in self.variables}
        for term in self.terms:
            if other := term.expression.free_symbols - known:
                raise ValueError(
                    f"term {term.name} of dictionary {self.family} has {sorted(map(str, other))}, "
                    f"expected some of {', '.join(self.variables)}"
                )

    def __len__(self) -> int:
        return len(self.terms)

    @property
    def dim(self) -> int:
        """Coordinates of a state."""
        return len(self.variables)

    @property
    def quadratic(self) -> bool:
        """Whether the terms are all of x^T A x / 2 + b^T x, whose brackets and flows have closed forms."""
        return self.degree == 2

    @property
    def second_degree(self) -> bool:
        """Whether the terms are all of these, or combinations of them."""
        return self.quadratic or self.expansion is not None

    def expanded(self, rows: Float[np.ndarray, "K M"]) -> Float[np.ndarray, "K monomials"]:
        """Coefficients of all monomials of degree <= 2, of combinations of terms of `second_degree`."""
        return rows if self.expansion is None else rows @ self.expansion

    def contracted(self, rows: Float[np.ndarray, "K monomials"]) -> Float[np.ndarray, "K M"]:
        """The inverse of `expanded`, by least squares for what is no combination of the terms."""
        return rows if self.expansion is None else np.linalg.lstsq(self.expansion.T, rows.T, rcond=None)[0].T

    @cached_property
    def reads(self) -> Bool[np.ndarray, "M dim"]:
        """Which coordinates each term depends on."""
        symbols = [sympy.Symbol(name) for name in self.variables]
        return np.array(
            [[symbol in term.expression.free_symbols for symbol in symbols] for term in self.terms], bool
        ).reshape(len(self), self.dim)

    @abstractmethod
    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        """All terms at each state."""

    @abstractmethod
    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        """Their derivatives by one coordinate."""

    @abstractmethod
    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        """Their second derivatives by two coordinates, which may be the same."""

    @abstractmethod
    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        """The matrix T of terms(x) = T terms((x - `shift`) / `scales`) + constants, for scales above 0; None
        where the terms are no such combinations, so that they mean something in the units of the data alone.
        """

    def usable(
        self,
        states: Float[np.ndarray, "rows dim"],
        moving: Bool[np.ndarray, " dim"],
        periods: Periods,
    ) -> Bool[np.ndarray, " M"]:
        """Terms that read `moving` coordinates alone, and are functions on the circles of angles.

        Whole turns of an angle must leave a term as it is; this is tried at some of `states`.
        """
        used = ~np.any(self.reads & ~moving, axis=1)
        some = states[evenly(len(states), PROBED)]
        before = self.values(some)
        for k, period in enumerate(periods):
            if period is not None:
                turn = np.where(np.arange(self.dim) == k, period, 0.0)
                off = np.abs(self.values(some + turn) - before)
                used &= ~np.any(off > TURNED * np.maximum(np.abs(before), 1.0) * self.reads[:, k], axis=0)
        return used


@dataclass(frozen=True, eq=False, kw_only=True)
class FunctionDictionary(Dictionary):
    """Terms by a JAX function, state (2n,) -> (M,), which is what their sympy expressions say.

    Derivatives are those of JAX, in float64.
    """

    function: Callable[[State], Float[Array, " M"]] = field(repr=False)

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        return self._at(self._compiled[0], states)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        return self._at(self._compiled[1], states, coordinate)

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        return self._at(self._compiled[2], states, first, second)

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        return None

    @cached_property
    def _compiled(self) -> tuple[Callable[..., Array], ...]:
        """Values, slopes along a direction, and bends along two, of states."""
        function = self.function

        def slope(state: State, one: State) -> Array:
            return jax.jvp(function, (state,), (one,))[1]

        def bend(state: State, one: State, other: State) -> Array:
            return jax.jvp(lambda at: slope(at, one), (state,), (other,))[1]

        axes = (0,), (0, None), (0, None, None)
        return tuple(jax.jit(jax.vmap(f, of)) for f, of in zip((function, slope, bend), axes, strict=True))

    def _at(self, compiled: Callable[..., Array], states: np.ndarray, *along: int) -> np.ndarray:
        """`compiled` at states, some rows at a time, with the directions of some coordinates."""
        parts = [np.zeros((0, len(self)))]
        with jax.enable_x64(True):
            directions = [jnp.asarray(np.eye(self.dim)[k]) for k in along]
            for start in range(0, len(states), MOST_ROWS):
                part = np.asarray(states[start : start + MOST_ROWS], np.float64)
                size = max(FEWEST_ROWS, 1 << (len(part) - 1).bit_length())
                padded = np.concatenate([part, np.repeat(part[-1:], size - len(part), axis=0)])
                parts.append(np.asarray(compiled(jnp.asarray(padded), *directions))[: len(part)])
        return np.concatenate(parts)


MakeDictionary = Callable[[tuple[str, ...], Periods], Dictionary]
"""A dictionary for variables (2n,), positions first, with periods (2n,), None where they are no angles."""

DICTIONARIES: dict[str, MakeDictionary] = {}
"""What makes the dictionary of a family, by its name."""


def register_dictionary(name: str) -> Callable[[MakeDictionary], MakeDictionary]:
    """Make a family of dictionaries known by its name, as the decorator of what makes one of the names and
    periods of variables.

    A function of the same name in the same module is replaced, so that a cell of a notebook may run twice.
    Raises ValueError for a name that is none of small letters, or another's.
    """
    if not re.fullmatch("[a-z][a-z0-9_]*", name):
        raise ValueError(f"got dictionary {name!r}, expected a name of small letters")

    def register(make: MakeDictionary) -> MakeDictionary:
        known: Any = DICTIONARIES.get(name)
        if known is not None and _place(known) != _place(make):
            raise ValueError(f"dictionary {name!r} is {known.__name__}, choose another name")
        DICTIONARIES[name] = make
        return make

    return register


def _place(make: Any) -> tuple[str, str]:
    return make.__module__, make.__qualname__


@lru_cache(maxsize=16)
def _made(make: MakeDictionary, names: tuple[str, ...], periods: Periods) -> Dictionary:
    """One dictionary for all data of the same variables, so that JAX compiles its functions once."""
    return make(names, periods)


def dictionary_of(dictionary: Dictionary | str | None, trajectories: Trajectories) -> Dictionary:
    """The dictionary of that family for the variables of `trajectories`, or the one given; None: quadratic.

    Raises ValueError for a family that is not registered, and for a dictionary of other variables.
    """
    if dictionary is None or isinstance(dictionary, str):
        family = dictionary or "quadratic"
        if family not in DICTIONARIES:
            raise ValueError(f"got dictionary {family!r}, expected one of {', '.join(sorted(DICTIONARIES))}")
        dictionary = _made(DICTIONARIES[family], trajectories.names, trajectories.periods)
    if dictionary.variables != trajectories.names:
        raise ValueError(
            f"the dictionary has variables {', '.join(dictionary.variables)}, "
            f"expected those of the trajectories, {', '.join(trajectories.names)}"
        )
    return dictionary
