"""The Lie algebra of conserved quantities on surfaces of constant energy."""

from collections.abc import Sequence
from itertools import combinations

import numpy as np
from jaxtyping import Float

from ..lie import abstract_algebra
from .brackets import Members

MOST = 15
"""Quantities whose algebra is named."""
QUANTILES, ENOUGH = (0.1, 0.3, 0.5, 0.7, 0.9), 3
"""Of the energy over the data: surfaces on which it is named; as many must have a name, and all the same."""
ROUNDED = 0.02
"""Structure constants below this share of the largest are errors."""
ALIASES = {"so(3)+so(3)": "so(4)", "sl(2,C)": "so(3,1)"}
"""Other names of the algebras of a planet and of a comet."""


def surface_algebra(members: Members, relations: Sequence[str]) -> str:
    """The name of the algebra of quantities where H is constant: of those that are no polynomials of others
    by `relations`, and without H.

    Empty where brackets are not combinations of these with weights that are linear in H, where all are zero,
    and where surfaces of the data differ.
    {A_i, A_j} = -2 H L_k closes on such a surface: so(4) of bound, so(3,1) of unbound motion about a centre.
    """
    derived = {text.partition(" =")[0] for text in relations} | {"H"}
    own = [k for k, name in enumerate(members.names) if name not in derived]
    if not 1 < len(own) <= MOST or all(members.commute(i, j) for i, j in combinations(own, 2)):
        return ""
    energy = np.zeros(len(members.values))
    if "H" in members.names:
        energy = members.values[:, members.names.index("H")]
    values = members.values[:, own]
    spread = np.maximum(values.std(axis=0), np.finfo(float).tiny)
    sizes = energy / max(float(np.abs(energy).max()), np.finfo(float).tiny)
    columns = np.concatenate([values / spread, values / spread * sizes[:, None]], axis=1)
    columns = columns[:, columns.std(axis=0) > 0]
    constants = np.zeros((2, len(own), len(own), len(own)))
    for (a, i), (b, j) in combinations(enumerate(own), 2):
        if members.commute(i, j):
            continue
        target = members.bracket(i, j) / members.action / (spread[a] * spread[b])
        weights = _sparse(columns, target, members.tolerance(i, j))
        if weights is None:
            return ""
        both = np.pad(weights, (0, 2 * len(own) - len(weights))).reshape(2, len(own))
        constants[:, a, b], constants[:, b, a] = both, -both
    names = [_named(constants[0] + float(at) * constants[1]) for at in np.quantile(sizes, QUANTILES)]
    told = [name for name in names if name]
    return told[0] if len(told) >= ENOUGH and len(set(told)) == 1 else ""


def _sparse(
    columns: Float[np.ndarray, "points C"], target: Float[np.ndarray, " points"], tolerance: float
) -> Float[np.ndarray, " C"] | None:
    """Weights without small ones that leave no more than a share `tolerance` of the target; None where these
    do not.
    """
    weights = np.linalg.lstsq(columns, target, rcond=1e-9)[0]
    kept = np.abs(weights) > ROUNDED * np.abs(weights).max()
    found = np.zeros(len(weights))
    found[kept] = np.linalg.lstsq(columns[:, kept], target, rcond=1e-9)[0]
    left = np.linalg.norm(target - columns @ found) / max(float(np.linalg.norm(target)), np.finfo(float).tiny)
    return found if left <= tolerance else None


def _named(constants: Float[np.ndarray, "d d d"]) -> str:
    """The name of an algebra, empty where it has none."""
    try:
        found = abstract_algebra(constants, error=ROUNDED / 10 * float(np.abs(constants).max()))
    except ValueError:
        return ""
    if not found.named:
        return ""
    return f"{found.name} = {ALIASES[found.name]}" if found.name in ALIASES else found.name
