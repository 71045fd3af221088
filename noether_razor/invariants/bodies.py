"""Terms of equal bodies that no exchange of two of them changes: sums over bodies, and products of sums."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np
import sympy
from jaxtyping import Float

from ..phase_space import by_body
from .dictionary import Dictionary, Term
from .monomials import coefficients


@dataclass(frozen=True, eq=False, kw_only=True)
class BodyTerms(Dictionary):
    """All functions of degree 1 and 2 of N `bodies` in d dimensions that are the same in every order of them.

    With z_ia the a-th of the 2d coordinates and momenta of body i they are sum_i z_ia, sum_i z_ia z_ib and
    (sum_i z_ia) (sum_i z_ib): 4 d (d + 1) in all, 48 in space, whatever N is. Positions stand body by body,
    momenta likewise. A name has the coordinates of the first body: sum(q1*p2).
    """

    bodies: int

    @classmethod
    def of(cls, names: Sequence[str], bodies: int) -> "BodyTerms":
        """Those in variables of these names; raises ValueError where bodies cannot share them."""
        if bodies < 2 or len(names) % (2 * bodies):
            raise ValueError(f"expected two bodies or more that share {len(names)} coordinates, got {bodies}")
        each = np.array([sympy.Symbol(name) for name in names]).reshape(2, bodies, -1)
        each = each.transpose(1, 0, 2).reshape(bodies, -1)
        sums = [sympy.Add(*column) for column in each.T]
        pairs = list(combinations_with_replacement(range(len(sums)), 2))
        written = {(a, b): f"{each[0, a]}^2" if a == b else f"{each[0, a]}*{each[0, b]}" for a, b in pairs}
        linear = [Term(f"sum({symbol})", total) for symbol, total in zip(each[0], sums, strict=True)]
        single = [Term(f"sum({written[a, b]})", sympy.Add(*(z[a] * z[b] for z in each))) for a, b in pairs]
        products = [
            Term(f"{linear[a].name}^2" if a == b else f"{linear[a].name}*{linear[b].name}", sums[a] * sums[b])
            for a, b in pairs
        ]
        return cls(
            family="bodies",
            variables=tuple(names),
            terms=(*linear, *single, *products),
            expansion=_expansion(len(sums), bodies),
            bodies=bodies,
        )

    def values(self, states: Float[np.ndarray, "rows dim"]) -> Float[np.ndarray, "rows M"]:
        own, (i, j) = by_body(states, self.bodies), np.triu_indices(self.dim // self.bodies)
        sums = own.sum(axis=1)
        single = np.einsum("rna,rnb->rab", own, own, optimize=True)
        return np.concatenate([sums, single[:, i, j], sums[:, i] * sums[:, j]], axis=1)

    def slopes(self, states: Float[np.ndarray, "rows dim"], coordinate: int) -> Float[np.ndarray, "rows M"]:
        own, (i, j) = by_body(states, self.bodies), np.triu_indices(self.dim // self.bodies)
        body, axis = self._place(coordinate)
        here, sums = own[:, body], own.sum(axis=1)
        linear = np.broadcast_to(np.arange(sums.shape[1]) == axis, sums.shape).astype(float)
        of_pairs = [(i == axis) * part[:, j] + (j == axis) * part[:, i] for part in (here, sums)]
        return np.concatenate([linear, *of_pairs], axis=1)

    def bends(
        self, states: Float[np.ndarray, "rows dim"], first: int, second: int
    ) -> Float[np.ndarray, "rows M"]:
        (one, a), (other, b) = self._place(first), self._place(second)
        own = self.dim // self.bodies
        i, j = np.triu_indices(own)
        bent = 1.0 * ((i == a) & (j == b)) + 1.0 * ((i == b) & (j == a))
        row = np.concatenate([np.zeros(own), bent * (one == other), bent])
        return np.broadcast_to(row, (len(states), len(row)))

    def moved(
        self, shift: Float[np.ndarray, " dim"], scales: Float[np.ndarray, " dim"]
    ) -> Float[np.ndarray, "M M"] | None:
        # Bodies may differ in means and spreads by chance.
        return None

    def _place(self, coordinate: int) -> tuple[int, int]:
        """The body of a coordinate, and which of its own it is."""
        half, dimension = self.dim // 2, self.dim // (2 * self.bodies)
        momentum, rest = divmod(coordinate, half)
        body, axis = divmod(rest, dimension)
        return body, momentum * dimension + axis


def _expansion(own: int, bodies: int) -> Float[np.ndarray, "M monomials"]:
    """The terms as coefficients of all monomials of degree <= 2."""
    dim, d = own * bodies, own // 2
    pairs = list(combinations_with_replacement(range(own), 2))
    matrices = np.zeros((own + 2 * len(pairs), dim, dim))
    vectors = np.zeros((len(matrices), dim))
    # place[a]: the coordinates a of all bodies.
    place = [(a // d) * d * bodies + a % d + d * np.arange(bodies) for a in range(own)]
    for a in range(own):
        vectors[a, place[a]] = 1.0
    for k, (a, b) in enumerate(pairs):
        single, product = own + k, own + len(pairs) + k
        matrices[single, place[a], place[b]] += 1.0
        matrices[single, place[b], place[a]] += 1.0
        matrices[product][np.ix_(place[a], place[b])] += 1.0
        matrices[product][np.ix_(place[b], place[a])] += 1.0
    return coefficients(matrices, vectors)
