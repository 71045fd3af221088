"""What learned quantities are made of: one function a family, which a configuration knows by its name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import sympy
from flax import nnx
from jaxtyping import Array, Float

from ..beyond import Library, LibraryError, LibraryOptions, Products, libraries
from ..formula import parse_formula
from ..formula.parse import canonical_names
from ..invariants import DICTIONARIES, Dictionary, Monomials, noise_estimate
from ..invariants.dictionary import dictionary_of
from ..invariants.monomials import monomials
from ..networks import QuantityNetwork
from ..options import OptionError, SymmetryOptions
from ..quantities import (
    Basis,
    ConservedQuantities,
    Functions,
    GeneralQuantities,
    QuadraticQuantities,
    TermQuantities,
    Terms,
)
from ..random import stream
from ..scaling import PhaseScale
from ..spelling import suggestion
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import State

SIZED_BY = 1000
"""States, at most, by which terms are brought to one size."""
FLATTEST = 1e-6
"""Of combinations of terms, the mean square of their gradients over the largest, from which they count."""
DEGREE = 4
"""Of polynomials, unless told otherwise; 3 for more than two degrees of freedom."""


class Described(NamedTuple):
    """The data that quantities are made for.

    measured: in their own units. data: in the coordinates of training, which `scale` connects with these.
    spreads: one for all positions and one for all momenta, (2n,), in the latter. seed: of the run.
    """

    measured: Trajectories
    data: Trajectories
    scale: PhaseScale
    spreads: tuple[float, ...]
    seed: int


MakeQuantities = Callable[[SymmetryOptions, Described, int], ConservedQuantities]
"""So many quantities to start learning from."""


def random_quantities(options: SymmetryOptions, described: Described, count: int) -> ConservedQuantities:
    """`count` quantities of the family that `options` name, to start learning from. A dictionary that is
    registered is a family of its name.

    Raises `OptionError` for a family that is not known, or that cannot be made of the data.
    """
    name = options.family
    try:
        if name in FAMILIES:
            return FAMILIES[name](options, described, count)
        if name in DICTIONARIES:
            return _of_terms([dictionary_of(name, described.measured)], options, described, count)
    except LibraryError as error:
        raise OptionError(f"symmetry.{_plural(str(error))}") from None
    known = [*FAMILIES, *(other for other in sorted(DICTIONARIES) if other not in FAMILIES)]
    raise OptionError(f"symmetry.family: got {name!r}, {suggestion(name, known)}")


def _plural(message: str) -> str:
    """The option that a message on a term is about is `terms`."""
    return f"terms: {message}" if message.startswith("term ") else message.replace("term:", "terms:", 1)


def _quadratic(options: SymmetryOptions, described: Described, count: int) -> QuadraticQuantities:
    return QuadraticQuantities.random(
        stream(described.seed, "quantities"),
        count,
        described.data.dof,
        options.initial_scale,
        spreads=described.spreads,
        angles=described.data.angles(),
    )


def _polynomial(options: SymmetryOptions, described: Described, count: int) -> TermQuantities:
    degree = options.degree or (DEGREE if described.data.dof <= 2 else DEGREE - 1)
    return _of_terms([Monomials.of(described.measured.names, degree)], options, described, count)


def _library(options: SymmetryOptions, described: Described, count: int) -> TermQuantities:
    """All that `discover` searches among, together, with the user's terms."""
    measured = described.measured
    noise = noise_estimate(measured).variance
    wanted = LibraryOptions(options.terms, options.degree)
    found = libraries(measured, np.broadcast_to(noise, measured.states.shape[2:]), wanted)
    return _of_terms(found, options, described, count)


def _network(options: SymmetryOptions, described: Described, count: int) -> GeneralQuantities:
    """A network with K outputs, at the start as large as `options` say."""
    data, sizes = described.data, described.spreads
    key = stream(described.seed, "quantities")
    network = QuantityNetwork(count, sizes, width=options.width, periods=data.periods, rngs=nnx.Rngs(key))
    network.resize(jnp.asarray(_sample(data.points()), jnp.float32), options.initial_scale)
    return GeneralQuantities(network, dof=data.dof)


FAMILIES: dict[str, MakeQuantities] = {
    "quadratic": _quadratic,
    "polynomial": _polynomial,
    "library": _library,
    "network": _network,
}
"""What makes the quantities of a family, by its name."""


def _sample(points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "some dim"]:
    return points[evenly(len(points), SIZED_BY)]


def _of_terms(
    dictionaries: Sequence[Dictionary], options: SymmetryOptions, described: Described, count: int
) -> TermQuantities:
    """Combinations of the terms of all dictionaries, that are functions on the circles of angles."""
    measured, spreads = described.measured, np.array(described.spreads)
    points = _sample(measured.points())
    found, slopes = _Entries(measured.names, described.scale), []
    for dictionary in dictionaries:
        usable = dictionary.usable(points, np.ones(points.shape[1], bool), measured.periods)
        kept = found.add(dictionary, usable)
        by_each = [dictionary.slopes(points, i)[:, kept] for i in range(points.shape[1])]
        slopes.append(np.stack(by_each, axis=2) * (spreads * described.scale.scales))
    gradients = np.moveaxis(np.concatenate(slopes, axis=1), 1, 2).reshape(-1, len(found.exponents))
    if not np.isfinite(gradients).all():
        bad = found.names[int(np.flatnonzero(~np.isfinite(gradients).all(axis=0))[0])]
        raise OptionError(f"symmetry.family: the term {bad} is not finite on the data")
    terms = found.terms(described.spreads)
    # Combinations of one size, uncorrelated: of a random start no direction is preferred.
    basis = Basis(terms, _alike(gradients / np.sqrt(len(points))) * found.sizes(spreads))
    key = stream(described.seed, "quantities")
    return TermQuantities.random(key, count, basis, options.initial_scale / np.sqrt(len(basis)))


def _alike(gradients: Float[np.ndarray, "rows M"]) -> Float[np.ndarray, "M M"]:
    """The inverse root of the second moment of the terms' gradients, of which flat directions are damped: a
    continuous function of the data, so that rounding does not change what coefficients mean.
    """
    sizes = np.linalg.norm(gradients, axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    values, vectors = np.linalg.eigh((gradients / sizes).T @ (gradients / sizes))
    root = (vectors / np.sqrt(np.maximum(values, 0) + FLATTEST * values[-1])) @ vectors.T
    return root / sizes


class _Entries:
    """Terms as functions of the state times monomials, each once."""

    def __init__(self, variables: tuple[str, ...], scale: PhaseScale):
        self.variables, self.scale = variables, scale
        self.names: list[str] = []
        self.exponents: list[tuple[int, ...]] = []
        self.which: list[int] = []
        self.functions: list[sympy.Expr] = []

    def add(self, dictionary: Dictionary, usable: np.ndarray) -> list[int]:
        """Add those terms of a dictionary that are `usable` and new; which these are."""
        kept, start = [], 0
        for part in dictionary.parts if isinstance(dictionary, Library) else [dictionary]:
            for k, (factor, exponents) in enumerate(_factored(part)):
                name = part.terms[k].name
                if usable[start + k] and name not in self.names:
                    kept.append(start + k)
                    self.names.append(name)
                    self.exponents.append(exponents)
                    self.which.append(-1 if factor.is_Number else self._number(factor))
            start += len(part)
        return kept

    def _number(self, factor: sympy.Expr) -> int:
        if factor not in self.functions:
            self.functions.append(factor)
        return self.functions.index(factor)

    def sizes(self, spreads: Float[np.ndarray, " dim"]) -> Float[np.ndarray, " M"]:
        """Each term over the same of coordinates divided by `spreads`."""
        scales = spreads * self.scale.scales
        return np.array([np.prod(scales ** np.array(e)) for e in self.exponents])

    def terms(self, spreads: tuple[float, ...]) -> Terms:
        """The same in the coordinates of training."""
        functions = self._in_jax() if self.functions else None
        return Terms(spreads, tuple(self.exponents), tuple(self.which), functions)

    def _in_jax(self) -> Functions:
        names, scale = canonical_names(len(self.variables) // 2), self.scale
        symbols = {
            sympy.Symbol(own): sympy.Symbol(name) for own, name in zip(self.variables, names, strict=True)
        }
        texts = tuple(str(expression.xreplace(symbols)) for expression in self.functions)
        formulas = [parse_formula(text, names) for text in texts]

        def call(state: State) -> Float[Array, " F"]:
            own = state * jnp.asarray(scale.scales, state.dtype) + jnp.asarray(scale.shifts, state.dtype)
            return jnp.stack([jnp.asarray(formula(own), state.dtype) for formula in formulas])

        return Functions((texts, scale), len(formulas), call)


def _factored(part: Dictionary) -> list[tuple[sympy.Expr, tuple[int, ...]]]:
    """Each term as a function and the exponents of a monomial."""
    if isinstance(part, Monomials):
        every = monomials(part.dim, part.degree or 0)
        return [(sympy.Integer(1), tuple(m.count(i) for i in range(part.dim))) for m in every]
    if isinstance(part, Products):
        pairs = zip(part.which.tolist(), part.exponents.tolist(), strict=True)
        return [(part.factors[k].expression, tuple(exponents)) for k, exponents in pairs]
    return [(term.expression, (0,) * part.dim) for term in part.terms]
