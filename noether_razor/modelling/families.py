"""What learned quantities are made of: one function a family, which a configuration knows by its name."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import sympy
from flax import nnx
from jaxtyping import Array, Float, Int

from ..beyond import Library, LibraryError, LibraryOptions, Products, libraries, user_terms
from ..formula import parse_formula
from ..formula.parse import canonical_names
from ..invariants import DICTIONARIES, Dictionary, Monomials, noise_estimate
from ..invariants.dictionary import dictionary_of
from ..invariants.monomials import monomials
from ..networks import QuantityNetwork
from ..options import OptionError, SymmetryOptions
from ..quantities import (
    Basis,
    BodyQuantities,
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
from .bodies import equal_bodies

SIZED_BY = 1000
"""States, at most, by which terms are brought to one size."""
KEPT_BY = 256
"""States, at most, at which a network of quantities keeps its size: they are a part of each step."""
FLATTEST = 1e-6
"""Of combinations of terms, the mean square of their gradients over the largest, from which they count."""
DEGREE = 4
"""Of polynomials, unless told otherwise; 3 for more than two degrees of freedom."""


class Described(NamedTuple):
    """The data that quantities are made for.

    measured: in their own units. data: in the coordinates of training, which `scale` connects with these.
    spreads: one for all positions and one for all momenta, (2n,), in the latter. seed: of the run. bodies: as
    many equal ones as are known to be.
    """

    measured: Trajectories
    data: Trajectories
    scale: PhaseScale
    spreads: tuple[float, ...]
    seed: int
    bodies: int | None = None


MakeQuantities = Callable[[SymmetryOptions, Described, int], ConservedQuantities]
"""So many quantities to start learning from."""


def random_quantities(options: SymmetryOptions, described: Described, count: int) -> ConservedQuantities:
    """`count` quantities of the family that `options` name, to start learning from. A dictionary that is
    registered is a family of its name.

    Raises `OptionError` for a family that is not known, or that cannot be made of the data.
    """
    if (name := options.family) in FAMILIES:
        return FAMILIES[name](options, described, count)
    if name in DICTIONARIES:
        return _of_terms(options, described, count)
    known = [*FAMILIES, *(other for other in sorted(DICTIONARIES) if other not in FAMILIES)]
    raise OptionError(f"symmetry.family: got {name!r}, {suggestion(name, known)}")


def family_terms(options: SymmetryOptions, measured: Trajectories) -> Library:
    """The terms of a family, in the units of the data: what its quantities are combinations of, or of a
    network what formulas are read off by.

    Those of a library, and of a network, are all that `discover` searches among, together, with the user's;
    where these are too many, polynomials, waves of angles and the user's. Raises `OptionError` for terms that
    cannot be made of the data.
    """
    name, degree = options.family, options.degree or (DEGREE if measured.dof <= 2 else DEGREE - 1)
    if name == "polynomial":
        made = Monomials.of(measured.names, degree)
        return Library.of([made], f"polynomials of degree {degree}", degree)
    if name == "terms":
        return _named(options, measured)
    if name not in FAMILIES:
        return Library.of([dictionary_of(name, measured)], name, 0)
    noise = np.broadcast_to(noise_estimate(measured).variance, measured.states.shape[2:])
    wanted = LibraryOptions(options.terms, options.degree)
    try:
        plainest, *others = libraries(measured, noise, wanted)
    except LibraryError as error:
        raise OptionError(f"symmetry.{_option(str(error))}") from None
    together = plainest
    for other in others:
        for part in other.parts:
            known = {term.name for term in together.terms}
            new = np.array([k for k, term in enumerate(part.terms) if term.name not in known], int)
            if len(new):
                more = Library.of([part], other.label, other.largest, other.legend).chosen(new)
                legend = {**together.legend, **other.legend}
                parts = [*together.parts, *more.parts]
                together = Library.of(parts, plainest.label, plainest.largest, legend)
    return together if len(together) <= wanted.most_terms else plainest


def _named(options: SymmetryOptions, measured: Trajectories) -> Library:
    """The terms that `options` name, and no others."""
    try:
        made = user_terms(options.terms, measured, "terms")
    except LibraryError as error:
        raise OptionError(f"symmetry.{error}") from None
    if made is None:
        raise OptionError('symmetry.terms: got none, expected formulas: family = "terms" has these alone')
    return Library.of([made], "terms", 0)


def _option(message: str) -> str:
    """A message of the library with the name of the option that it is about."""
    if message.startswith("degree"):
        return message
    return f"terms: {message.removeprefix('term: ')}"


def _quadratic(options: SymmetryOptions, described: Described, count: int) -> QuadraticQuantities:
    return QuadraticQuantities.random(
        stream(described.seed, "quantities"),
        count,
        described.data.dof,
        options.initial_scale,
        spreads=described.spreads,
        angles=described.data.angles(),
    )


def _bodies(options: SymmetryOptions, described: Described, count: int) -> BodyQuantities:
    """Raises `OptionError` where the data are not known to be of equal bodies, or move otherwise."""
    bodies = equal_bodies(described.bodies, described.measured, described.scale, "symmetry.family")
    return BodyQuantities.random(
        stream(described.seed, "quantities"),
        count,
        options.initial_scale,
        bodies=bodies,
        dimension=described.data.dof // bodies,
        sizes=(described.spreads[0], described.spreads[-1]),
    )


def _network(options: SymmetryOptions, described: Described, count: int) -> GeneralQuantities:
    """A network with K outputs, as large as `options` say: at the start, or always."""
    data, sizes = described.data, described.spreads
    key = stream(described.seed, "quantities")
    network = QuantityNetwork(count, sizes, width=options.width, periods=data.periods, rngs=nnx.Rngs(key))
    points = jnp.asarray(_sample(data.points()), jnp.float32)
    if options.fixed_size:
        network.keep(points[evenly(len(points), KEPT_BY)], options.initial_scale)
    else:
        network.resize(points, options.initial_scale)
    return GeneralQuantities(network, dof=data.dof)


def _sample(points: Float[np.ndarray, "points dim"]) -> Float[np.ndarray, "some dim"]:
    return points[evenly(len(points), SIZED_BY)]


def _of_terms(options: SymmetryOptions, described: Described, count: int) -> TermQuantities:
    """Combinations of the terms of a family that are functions on the circles of angles."""
    measured, sizes = described.measured, np.array(described.spreads) * described.scale.scales
    points, library = _sample(measured.points()), family_terms(options, measured)
    usable = library.usable(points, np.ones(points.shape[1], bool), measured.periods)
    kept = np.flatnonzero(usable)
    if not len(kept):
        raise OptionError("symmetry.family: every term contains an angle (data.periodic), expected others")
    slopes = [library.slopes(points, i)[:, kept] * size for i, size in enumerate(sizes)]
    gradients = np.concatenate(slopes)
    finite = np.isfinite(gradients).all(axis=0)
    if not finite.all():
        name = library.terms[kept[np.argmin(finite)]].name
        raise OptionError(f"symmetry.family: the term {name} is not finite on the data")
    terms, units = _in_training(library, kept, described)
    # Combinations of one size, uncorrelated: of a random start no direction is preferred.
    basis = Basis(terms, _alike(gradients / np.sqrt(len(points))) * units)
    key = stream(described.seed, "quantities")
    one = 1 / float(np.sqrt(len(basis)))
    if not options.fixed_size:
        return TermQuantities.random(key, count, basis, options.initial_scale * one)
    if count > len(basis):
        raise OptionError(f"symmetry.quantities: got {count}, but the family has {len(basis)} terms")
    # What steps are measured against is one, whatever the size.
    return TermQuantities.random(key, count, basis, one, options.initial_scale)


def _alike(gradients: Float[np.ndarray, "rows M"]) -> Float[np.ndarray, "M M"]:
    """The inverse root of the second moment of the terms' gradients, of which flat directions are damped: a
    continuous function of the data, so that rounding does not change what coefficients mean.
    """
    sizes = np.linalg.norm(gradients, axis=0)
    sizes = np.where(sizes > 0, sizes, 1.0)
    values, vectors = np.linalg.eigh((gradients / sizes).T @ (gradients / sizes))
    root = (vectors / np.sqrt(np.maximum(values, 0) + FLATTEST * values[-1])) @ vectors.T
    return root / sizes


def _in_training(
    library: Library, kept: Int[np.ndarray, " M"], described: Described
) -> tuple[Terms, Float[np.ndarray, " M"]]:
    """Terms `kept` in the coordinates of training over the spreads of these, and each own one over that."""
    factors: list[sympy.Expr] = []
    exponents, which = [], []
    every = [entry for part in library.parts for entry in _factored(part, described.scale)]
    numbers = []
    for factor, powers in (every[k] for k in kept.tolist()):
        exponents.append(powers)
        numbers.append(float(factor) if factor.is_Number else 1.0)
        if not factor.is_Number and factor not in factors:
            factors.append(factor)
        which.append(-1 if factor.is_Number else factors.index(factor))
    functions = _in_jax(factors, library.variables, described.scale) if factors else None
    sizes = np.array(described.spreads) * described.scale.scales
    units = np.array(numbers) * np.array([np.prod(sizes ** np.array(powers)) for powers in exponents])
    return Terms(described.spreads, tuple(exponents), tuple(which), functions), units


def _in_jax(factors: Sequence[sympy.Expr], variables: Sequence[str], scale: PhaseScale) -> Functions:
    """Functions in the units of the data, of states in the coordinates of training."""
    names = canonical_names(len(variables) // 2)
    symbols = {sympy.Symbol(own): sympy.Symbol(name) for own, name in zip(variables, names, strict=True)}
    texts = tuple(str(factor.xreplace(symbols)) for factor in factors)
    formulas = [parse_formula(text, names) for text in texts]

    def call(state: State) -> Float[Array, " F"]:
        own = state * jnp.asarray(scale.scales, state.dtype) + jnp.asarray(scale.shifts, state.dtype)
        return jnp.stack([jnp.asarray(formula(own), state.dtype) for formula in formulas])

    return Functions((texts, scale), len(formulas), call)


def _factored(part: Dictionary, scale: PhaseScale) -> list[tuple[sympy.Expr, tuple[int, ...]]]:
    """Each term as a function and the exponents of a monomial."""
    if isinstance(part, Monomials):
        every = monomials(part.dim, part.degree or 0)
        return [(sympy.Integer(1), tuple(m.count(i) for i in range(part.dim))) for m in every]
    if isinstance(part, Products):
        pairs = zip(part.which.tolist(), part.exponents.tolist(), strict=True)
        return [(part.factors[k].expression, tuple(exponents)) for k, exponents in pairs]
    # A power of a coordinate that training shifts is none of the shifted one.
    own = [
        None if shift else sympy.Symbol(name)
        for name, shift in zip(part.variables, np.asarray(scale.shifts).tolist(), strict=True)
    ]
    return [_without_powers(term.expression, own) for term in part.terms]


def _without_powers(
    expression: sympy.Expr, symbols: Sequence[sympy.Symbol | None]
) -> tuple[sympy.Expr, tuple[int, ...]]:
    """What an expression is besides whole powers of `symbols`, and their exponents."""
    powers = expression.as_powers_dict()
    exponents = tuple(int(p) if (p := powers.get(s, 0)) in range(1, 9) else 0 for s in symbols)
    taken = sympy.Mul(*(s**e for s, e in zip(symbols, exponents, strict=True) if s and e))
    return expression / taken, exponents


FAMILIES: dict[str, MakeQuantities] = {
    "quadratic": _quadratic,
    "bodies": _bodies,
    "polynomial": _of_terms,
    "library": _of_terms,
    "terms": _of_terms,
    "network": _network,
}
"""What makes the quantities of a family, by its name."""
