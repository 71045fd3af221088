"""The libraries that data suggest: polynomials, waves of angles, distances and their powers, pairs."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations, combinations_with_replacement
from math import comb
from typing import Any

import numpy as np
import sympy

from ..invariants import Monomials
from ..invariants.monomials import Monomial, monomials
from ..trajectories import Trajectories
from .factors import Factor, One, Radial, RadialKind, Ridge, RidgeKind
from .library import Library, Products
from .options import LibraryError, LibraryOptions
from .user_terms import beside, user_terms

FEW_FREEDOMS, MANY_FREEDOMS = 2, 6
"""Degrees of freedom up to which polynomials have degree 4, and up to which they have degree 3."""
NEAREST, CLEAR_OF_NOISE = 0.05, 8.0
"""Of a distance: the smallest over its r.m.s., and over its noise, from which its powers are terms."""
FLATTEST, STEEPEST = 0.05, 4.0
"""Spread of q_i - q_j from which exp(q_i - q_j) is no straight line, and up to which it is no wall."""
RADIAL: tuple[RadialKind, ...] = ("r", "1/r", "1/r^2", "log(r)")


@dataclass(frozen=True)
class Positions:
    """What positions are: `angles`, `plain` ones of one unit, and noise and spread of all coordinates."""

    data: Trajectories
    noise: np.ndarray

    @property
    def angles(self) -> list[int]:
        return [k for k in self.data.angles() if k < self.data.dof]

    @property
    def plain(self) -> list[int]:
        """Positions that are no angles, where they have one unit."""
        found = [k for k in range(self.data.dof) if k not in self.data.angles()]
        return found if len({self.data.units[k] for k in found}) == 1 else []

    @property
    def others(self) -> list[int]:
        """All coordinates that are no angles."""
        return [k for k in range(2 * self.data.dof) if k not in self.data.angles()]

    @property
    def momenta(self) -> list[int]:
        return list(range(self.data.dof, 2 * self.data.dof))

    def bodies(self) -> list[list[list[int]]]:
        """The ways in which positions may be those of bodies in the plane or in space: lists of coordinates
        of each body. Names such as x1, y1, x2, y2 say which; else bodies follow each other.
        """
        plain = self.plain
        if len(plain) < 2:
            return []
        named = [re.fullmatch(r"([xyzXYZ])_?(\d*)", self.data.names[k]) for k in plain]
        if all(named):
            numbers = [match.group(2) for match in named if match]
            groups = [
                [k for k, n in zip(plain, numbers, strict=True) if n == own] for own in dict.fromkeys(numbers)
            ]
            return [groups] if len({len(group) for group in groups}) == 1 and len(groups[0]) > 1 else []
        return [
            [plain[k : k + size] for k in range(0, len(plain), size)]
            for size in (2, 3)
            if len(plain) % size == 0
        ]


def libraries(data: Trajectories, noise: np.ndarray, options: LibraryOptions) -> list[Library]:
    """The libraries to search, plainest first: polynomials with the waves of angles, then each with the
    distances of one way to see bodies, or with the differences of positions. `noise` (2n,) are variances.

    Terms that are not finite or steep beyond the noise of the data are not proposed. Raises `LibraryError`
    for more terms than `options` allow, and for terms of the user that do not serve.
    """
    positions, own = Positions(data, noise), user_terms(options.terms, data)
    degree = options.degree
    if degree is None:
        degree = 4 if data.dof <= FEW_FREEDOMS else 3
    plainest = _polynomials(positions, degree, options.most_terms)
    found = [plainest]
    for blocks, label, legend in _blocks(positions):
        # With more functions to choose from, polynomials of degree 3 are enough.
        base = _polynomials(positions, min(degree, 3), options.most_terms)
        products = Products.of(data.names, blocks, label)
        whole = Library.of([*base.parts, products], f"{base.label}, and {label}", base.largest, legend)
        if len(whole) <= options.most_terms:
            found.append(whole)
    if own is None:
        return found
    with_own = [_with_own(library, own, data) for library in found]
    largest = max(with_own, key=len)
    if len(largest) > options.most_terms:
        raise _too_large(len(largest), options.most_terms)
    return with_own


def _with_own(library: Library, own: Any, data: Trajectories) -> Library:
    points = data.points()
    more = beside(own, library.values(points), points)
    if more is None:
        return library
    label = f"{library.label}, and {len(more)} of the user's"
    return Library.of([*library.parts, more], label, library.largest, library.legend)


def _too_large(size: int, most: int) -> LibraryError:
    return LibraryError(
        f"the library has {size} terms, expected at most {most}: lower the degree or allow more"
    )


def _polynomials(positions: Positions, degree: int, most: int) -> Library:
    """All monomials of coordinates that are no angles, and the waves of angles times some of them."""
    data, others = positions.data, positions.others
    if not positions.angles:
        size = _count(2 * data.dof, degree)
        if size > most:
            raise _too_large(size, most)
        return Library.of([Monomials.of(data.names, degree)], f"polynomials of degree {degree}", degree)
    plain = _count(len(others), degree)
    for times in (2, 1, 0):
        waves = _waves(positions)
        small: list[Monomial] = (
            [(), *(_in(others, m) for m in monomials(len(others), times))] if times else [()]
        )
        if plain + len(waves) * len(small) <= most:
            blocks = [(wave, small) for wave in waves]
            every = [_in(others, m) for m in monomials(len(others), degree)]
            made = Products.of(data.names, [(One.make(), every), *blocks], "waves")
            return Library.of([made], f"polynomials of degree {degree}, and waves of angles", degree)
    raise _too_large(plain + len(_waves(positions)), most)


def _count(variables: int, degree: int) -> int:
    return comb(variables + degree, degree) - 1


def _in(coordinates: Sequence[int], monomial: Monomial) -> Monomial:
    return tuple(coordinates[i] for i in monomial)


def _waves(positions: Positions) -> list[Factor]:
    """cos and sin of each angle, of twice it, and of differences of angles of one period."""
    data, angles, found = positions.data, positions.angles, []
    for k in angles:
        for count in (1, 2):
            found += [_wave(data, kind, {k: count}) for kind in ("cos", "sin")]
    for one, other in combinations(angles, 2):
        if data.periods[one] == data.periods[other]:
            found += [_wave(data, kind, {one: 1, other: -1}) for kind in ("cos", "sin")]
    return found


def _wave(data: Trajectories, kind: RidgeKind, counts: dict[int, int]) -> Ridge:
    weights, inside = np.zeros(2 * data.dof), sympy.Integer(0)
    for k, count in counts.items():
        period = data.periods[k]
        assert period is not None
        weights[k] = 2 * np.pi * count / period
        turns = Fraction(2 * np.pi / period).limit_denominator(1000)
        near = abs(float(turns) * period / (2 * np.pi) - 1) < 1e-12
        size = sympy.Rational(turns.numerator, turns.denominator) if near else sympy.Float(2 * np.pi / period)
        inside += count * size * sympy.Symbol(data.names[k])
    expression = (sympy.cos if kind == "cos" else sympy.sin)(inside, evaluate=False)
    return Ridge(f"{kind}({inside})", expression, kind, tuple(weights.tolist()))


Blocks = list[tuple[Factor, list[Monomial]]]


def _blocks(positions: Positions) -> Iterator[tuple[Blocks, str, dict[str, str]]]:
    """Factors with what they are multiplied by, what they are, and what short names mean."""
    for groups in positions.bodies():
        blocks, legend = _distances(positions, groups)
        if blocks:
            yield blocks, f"functions of {', '.join(legend)}", legend
    blocks = _differences(positions)
    if blocks:
        yield blocks, "functions of differences of positions", {}


def _distances(positions: Positions, groups: list[list[int]]) -> tuple[Blocks, dict[str, str]]:
    """Powers of the distances of bodies from the origin and from each other, as far as these avoid 0."""
    single = len(groups) == 1
    by: list[Monomial] = [(), *((k,) for k in positions.momenta)]
    blocks: Blocks = []
    legend: dict[str, str] = {}
    pairs = [*((number,) for number in range(len(groups))), *combinations(range(len(groups)), 2)]
    for numbers in pairs:
        rows, inside = _offset(positions.data, [groups[k] for k in numbers])
        if not _stays_away(positions, rows):
            continue
        name = _free_name(positions.data, "r" if single else "r" + "".join(str(k + 1) for k in numbers))
        legend[name] = (
            f"sqrt({' + '.join(f'{part}^2' if part.is_Symbol else f'({part})^2' for part in inside)})"
        )
        distance = sympy.sqrt(sympy.Add(*(part**2 for part in inside)))
        rows_of = tuple(map(tuple, rows.tolist()))
        # Of many bodies the potential and its products with momenta, no more.
        for kind in RADIAL:
            shape = kind.replace("r", name) if kind != "log(r)" else f"log({name})"
            times = by if single or kind == "1/r" else [()]
            blocks.append((Radial(shape, _radial(kind, distance), kind, rows_of), times))
        if single:
            for k, part in enumerate(inside):
                blocks.append((Radial(f"{part}/{name}", part / distance, "1/r", rows_of, k), by))
    return blocks, legend


def _offset(data: Trajectories, bodies: list[list[int]]) -> tuple[np.ndarray, list[sympy.Expr]]:
    """A body's position, or the difference of two, as rows (d, 2n) and in sympy."""
    rows, inside = np.zeros((len(bodies[0]), 2 * data.dof)), []
    for j in range(len(bodies[0])):
        symbols = [sympy.Symbol(data.names[body[j]]) for body in bodies]
        rows[j, bodies[0][j]] = 1.0
        if len(bodies) == 2:
            rows[j, bodies[1][j]] = -1.0
            inside.append(symbols[0] - symbols[1])
        else:
            inside.append(symbols[0])
    return rows, inside


def _stays_away(positions: Positions, rows: np.ndarray) -> bool:
    """Whether |D x| stays away from 0 on the data, by its own size and by the noise."""
    distance = np.linalg.norm(positions.data.points() @ rows.T, axis=1)
    noise = float(np.sqrt(np.max(rows**2 @ positions.noise)))
    least = float(distance.min())
    return least > NEAREST * float(np.sqrt(np.mean(distance**2))) and least > CLEAR_OF_NOISE * noise


def _radial(kind: RadialKind, distance: sympy.Expr) -> sympy.Expr:
    forms = {"r": distance, "1/r": 1 / distance, "1/r^2": 1 / distance**2, "log(r)": sympy.log(distance)}
    return forms[kind]


def _free_name(data: Trajectories, name: str) -> str:
    return name if name not in data.names else f"{name}_"


def _differences(positions: Positions) -> Blocks:
    """exp(+-(q_i - q_j)) and (q_i - q_j)^-2 of positions on a line, times {1, p}."""
    data, plain, points = positions.data, positions.plain, positions.data.points()
    by: list[Monomial] = [(), *((k,) for k in positions.momenta)]
    blocks: Blocks = []
    for one, other in combinations_with_replacement(plain, 2):
        if one == other:
            continue
        weights = np.zeros(2 * data.dof)
        weights[one], weights[other] = 1.0, -1.0
        apart, inside = points @ weights, sympy.Symbol(data.names[one]) - sympy.Symbol(data.names[other])
        if apart.std() > FLATTEST and np.abs(apart).max() < 4 * STEEPEST and apart.std() < STEEPEST:
            for sign in (1, -1):
                weighted = tuple((sign * weights).tolist())
                text = f"exp({sign * inside})"
                blocks.append((Ridge(text, sympy.exp(sign * inside), "exp", weighted), by))
        if _stays_away(positions, weights[None]):
            name = f"1/({inside})^2"
            blocks.append((Ridge(name, inside**-2, "inverse square", tuple(weights.tolist())), by))
    return blocks
