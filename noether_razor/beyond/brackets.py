"""Poisson brackets of found quantities as polynomials in these, relations between them, and integrability."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from math import comb

import numpy as np
from jaxtyping import Float

from ..invariants.monomials import Monomial, monomials
from ..invariants.simple_numbers import SimpleNumber, simple_expression, simple_number

MOST_POINTS = 400
"""States at which brackets are evaluated."""
LARGEST_DEGREE, MOST_TERMS = 3, 3
"""Of a polynomial in the quantities: its degree, and how many terms it may have."""
MOST_MEMBERS = 6
"""Quantities of which all monomials are asked; of more, those of degree 2 and 3 of the independent ones."""
MOST_SUBSETS = 20_000
"""Choices of terms that are all tried; of more, one term is added at a time."""
LEAST, LARGEST = 3e-3, 0.1
"""Share that may be left of a bracket: at least, and at most, whatever the errors of the quantities."""
ERRORS = 3.0
"""Relative errors of the coefficients that may be left."""
FARTHER = 2.0
"""How much more may be left where an identity is not fitted."""
SEEN = 0.03
"""Singular value of unit brackets from which it counts for the rank."""


@dataclass(frozen=True, eq=False)
class Members:
    """K quantities at some states: values (points, K), gradients (points, K, 2n) in canonical units, and the
    relative errors of their coefficients (K,). `names` are what formulas call them, `generating` are the
    indices of the independent ones.
    """

    names: tuple[str, ...]
    values: Float[np.ndarray, "points K"]
    gradients: Float[np.ndarray, "points K dim"]
    errors: Float[np.ndarray, " K"]
    generating: tuple[int, ...]
    action: float
    """What brackets in canonical units are times those in the units of the data."""

    def bracket(self, first: int, second: int) -> Float[np.ndarray, " points"]:
        """{C_first, C_second} in canonical units."""
        (a, b), (c, d) = (np.split(self.gradients[:, k], 2, axis=1) for k in (first, second))
        return np.sum(a * d - b * c, axis=1)

    def sine(self, first: int, second: int) -> float:
        """R.m.s. of the bracket over that of the product of the lengths of both gradients."""
        sizes = np.prod([np.linalg.norm(self.gradients[:, k], axis=1) for k in (first, second)], axis=0)
        size = float(np.sqrt(np.mean(sizes**2)))
        return float(np.sqrt(np.mean(self.bracket(first, second) ** 2))) / max(size, np.finfo(float).tiny)

    def tolerance(self, *members: int) -> float:
        """What may be left of a polynomial identity."""
        return float(np.clip(ERRORS * np.max(self.errors[list(members)]), LEAST, LARGEST))

    def commute(self, first: int, second: int) -> bool:
        """Whether the bracket is zero within the errors."""
        return self.sine(first, second) <= self.tolerance(first, second)


@dataclass(frozen=True)
class Brackets:
    """Brackets {C_i, C_j}, i < j counted from 1, as polynomials in the quantities, None where none of degree
    <= 3 and few terms fits; of quantities that are no polynomials of others. Relations of dependent
    quantities; the rank of the brackets of the independent ones, and how many functions of them are in
    involution.
    """

    table: tuple[tuple[int, int, str | None], ...]
    relations: tuple[str, ...]
    poisson_rank: int
    involution: int


def brackets_of(members: Members) -> Brackets:
    """The brackets of quantities, by regression over states where their formulas are exact."""
    relations = _relations(members)
    basic = [
        k
        for k, name in enumerate(members.names)
        if not any(text.startswith(f"{name} =") for text in relations)
    ]
    every, linear = _monomials(members, basic), [(k,) for k in basic]
    table = []
    for i, j in combinations(basic, 2):
        if members.commute(i, j):
            text = "0"
        else:
            target = members.bracket(i, j) / members.action
            text = _polynomial(members, target, [linear, every], members.tolerance(i, j))
        table.append((i + 1, j + 1, text))
    rank = _poisson_rank(members)
    count = len(members.generating)
    return Brackets(tuple(table), relations, rank, count - rank // 2)


def _monomials(members: Members, basic: Sequence[int]) -> list[Monomial]:
    """Products of quantities of degree 0 to 3, as indices."""
    own = members.generating if len(basic) > MOST_MEMBERS else basic
    products = [tuple(own[i] for i in m) for m in monomials(len(own), LARGEST_DEGREE) if len(m) > 1]
    return [(), *((k,) for k in basic), *products]


def _relations(members: Members) -> tuple[str, ...]:
    """What the quantities that are not independent are of those that are: themselves, or their squares."""
    found, own = [], members.generating
    every = [(), *(tuple(own[i] for i in m) for m in monomials(len(own), LARGEST_DEGREE))]
    for k, name in enumerate(members.names):
        if k in own:
            continue
        tolerance = members.tolerance(k, *own)
        for power, written in ((1, name), (2, f"{name}^2")):
            text = _polynomial(members, members.values[:, k] ** power, [every], tolerance)
            if text is not None:
                found.append(f"{written} = {text}")
                break
    return tuple(found)


def _polynomial(
    members: Members,
    target: Float[np.ndarray, " points"],
    stages: Sequence[Sequence[Monomial]],
    tolerance: float,
) -> str | None:
    """The polynomial of fewest terms that leaves no more than a share `tolerance` of the target, among those
    of the first stage that has one; None without any.
    """
    size = max(float(np.linalg.norm(target)), np.finfo(float).tiny)
    for stage in stages:
        columns = np.stack([np.prod(members.values[:, list(m)], axis=1) for m in stage], axis=1)
        lengths = np.maximum(np.linalg.norm(columns, axis=0), np.finfo(float).tiny)
        columns = columns / lengths
        chosen: tuple[int, ...] = ()
        for terms in range(1, min(MOST_TERMS, len(stage)) + 1):
            chosen, left = _best(columns, target / size, terms, chosen)
            if left <= tolerance and _reaches(columns[:, chosen], target, tolerance):
                weights = np.linalg.lstsq(columns[:, chosen], target, rcond=None)[0] / lengths[list(chosen)]
                products = [stage[k] for k in chosen]
                own = members.errors[sorted({k for product in products for k in product})]
                return _written(members, products, weights, max(tolerance / ERRORS, left, *own))
    return None


def _best(
    columns: Float[np.ndarray, "points T"],
    target: Float[np.ndarray, " points"],
    terms: int,
    before: tuple[int, ...],
) -> tuple[tuple[int, ...], float]:
    """So many columns that leave least of a target of length 1, and what they leave."""
    gram, force = columns.T @ columns, columns.T @ target
    if comb(columns.shape[1], terms) <= MOST_SUBSETS:
        subsets = np.array(list(combinations(range(columns.shape[1]), terms)))
    else:
        more = np.setdiff1d(np.arange(columns.shape[1]), before)
        subsets = np.concatenate([np.tile(before, (len(more), 1)).astype(int), more[:, None]], axis=1)
    inside = gram[subsets[:, :, None], subsets[:, None, :]] + 1e-10 * np.eye(terms)
    own = force[subsets]
    explained = np.einsum("st,st->s", own, np.linalg.solve(inside, own[:, :, None])[:, :, 0])
    best = subsets[int(np.argmax(explained))]
    weights = np.linalg.lstsq(columns[:, best], target, rcond=None)[0]
    return tuple(best.tolist()), float(np.linalg.norm(target - columns[:, best] @ weights))


def _reaches(
    columns: Float[np.ndarray, "points T"], target: Float[np.ndarray, " points"], tolerance: float
) -> bool:
    """Whether an identity that is fitted where a target is small holds where it is large: what only
    resembles it there does not.
    """
    order = np.argsort(np.abs(target))
    inner, outer = np.array_split(order, 2)
    weights = np.linalg.lstsq(columns[inner], target[inner], rcond=None)[0]
    left = np.linalg.norm(target[outer] - columns[outer] @ weights)
    return bool(left <= FARTHER * tolerance * np.linalg.norm(target[outer]))


def _written(
    members: Members, products: Sequence[Monomial], weights: Float[np.ndarray, " T"], error: float
) -> str:
    """As -2*H*L + 3*L^3."""
    text = ""
    for product, weight in zip(products, weights.tolist(), strict=True):
        size = _size(abs(weight), error)
        powers = {k: product.count(k) for k in product}
        names = [members.names[k] + (f"^{count}" if count > 1 else "") for k, count in powers.items()]
        term = "*".join([*([] if size == "1" and names else [size]), *names])
        sign = "-" if weight < 0 else "+"
        text += (f" {sign} " if text else ("-" if weight < 0 else "")) + term
    return text


def _size(value: float, error: float) -> str:
    simple: SimpleNumber | None = simple_number(value, error * value)
    if simple is None:
        return f"{value:.3g}"
    written = str(simple_expression(simple))
    return f"({written})" if "/" in written or " " in written else written


def _poisson_rank(members: Members) -> int:
    """The rank of the brackets of the independent quantities where the data are."""
    own = members.generating
    matrix = np.zeros((len(members.values), len(own), len(own)))
    for a, b in combinations(range(len(own)), 2):
        if not members.commute(own[a], own[b]):
            sizes = np.prod([np.linalg.norm(members.gradients[:, own[k]], axis=1) for k in (a, b)], axis=0)
            matrix[:, a, b] = members.bracket(own[a], own[b]) / np.maximum(sizes, np.finfo(float).tiny)
            matrix[:, b, a] = -matrix[:, a, b]
    if len(own) < 2:
        return 0
    sizes = np.median(np.linalg.svd(matrix, compute_uv=False), axis=0)
    return 2 * (int(np.sum(sizes > SEEN)) // 2)


def verdict(independent: int, involution: int, dof: int, *, hamiltonian: bool, decided: bool) -> str:
    """What the counts say, in a few words."""
    if not independent:
        return "no conserved quantity among these terms"
    if not hamiltonian:
        return f"{involution} in involution; without a Hamiltonian this says nothing of integrability"
    if involution >= dof:
        if independent == 2 * dof - 1 and dof > 1:
            return "Liouville integrable, maximally superintegrable"
        return "Liouville integrable" + (", superintegrable" if independent > dof else "")
    if decided:
        return f"not integrable by what can exist: {involution} in involution, {dof} are needed"
    return f"not shown to be integrable: {involution} in involution, {dof} are needed"
