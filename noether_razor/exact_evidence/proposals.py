"""Which sets of waves or bumps a Hamiltonian is written in, by the evidence of its weak form."""

from collections.abc import Sequence

import numpy as np

from ..trajectories import Trajectories
from .features import LinearFeatures
from .polynomials import Polynomials
from .prior import Prior
from .scattered import LENGTHS, Scattered
from .start import Windows, ridge
from .sums import Sum

BESIDE = 2
"""Degree of the polynomials beside them."""
OVERLAP = 2
"""Windows that share a row."""
WORTH = 10.0
"""Nats from which a set of features is taken."""


MOST_WINDOWS = 1000
"""Windows of two steps that are used."""


def scattered_features(
    kind: type[Scattered],
    data: Trajectories,
    degree: int | None,
    most: int,
    besides: Sequence[LinearFeatures] = (),
) -> Sum:
    """Polynomials and functions of positions, of momenta or of all coordinates, of the length scales that the
    integral form of Hamilton's equations along smoothed trajectories `data` makes most probable; more such
    sets and more places as long as they gain 10 nats in it, and at most so many features. `besides` are other
    parts of the sum.
    """
    windows = Windows.of(data.segments(), exact=data.targets is not None).some(MOST_WINDOWS)
    dim, half = data.states.shape[2], data.dof
    parts = (*besides, Polynomials(dim, degree or BESIDE))
    blocks = [tuple(range(half)), tuple(range(half, dim)), tuple(range(dim))]
    best, known, value = Sum.of(*parts), None, 0.0
    while True:
        used = [(one.coordinates, one.length) for one in known.sets] if known else []
        every = [
            kind.with_more(known, dim, block, length)
            for block in blocks
            for length in LENGTHS
            if (block, length) not in used
        ]
        if known:
            every += known.doubled()
        every = [one for one in every if best.size - (known.size if known else 0) + one.size <= most]
        tried = [Sum.of(*parts, one) for one in every]
        gains = np.array([_evidence(one, windows) for one in tried]) - value
        if known and gains.max(initial=0.0) < WORTH:
            return best
        # What gains most for each feature leaves room for others.
        worth = gains / [one.size - best.size for one in tried] if known else gains
        at = int(np.argmax(np.where(gains >= min(WORTH, gains.max()), worth, -np.inf)))
        best, known, value = tried[at], every[at], value + float(gains[at])


def _evidence(features: Sum, windows: Windows) -> float:
    """The log evidence of the weak form as a linear regression."""
    form = windows.regression(features)
    prior = Prior.of(np.eye(features.size), features.groups)
    _, _, variances, noise = ridge(form.design, form.changes, prior)
    normal, pull = form.design.T @ form.design / noise, form.design.T @ form.changes / noise
    count, squares = len(form.changes), float(form.changes @ form.changes) / noise
    value = prior.evidence(variances, normal, pull) - (count * np.log(noise) + squares) / 2
    return float(value) / OVERLAP
