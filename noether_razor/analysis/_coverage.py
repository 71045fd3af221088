"""How much of phase space trajectories cover, and whether these are enough to tell a law from an accident."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from ..data import Trajectories
from ._monomials import canonical_scales, monomial_values, monomials

CONSTANT = 0.02
"""A combination of monomials counts as constant along trajectories when its variance along them is this share
of its variance in the set; a true one has less, being off by noise and sampling only.
"""


class PhaseSpaceCoverage(NamedTuple):
    """What the data can and cannot tell about quantities of degree at most two.

    trajectories, transitions: their numbers. monomials: of degree 1 and 2, of which quantities are combined.
    constant: (k, count) for growing numbers k of trajectories, the count being that of independent
        combinations that are constant along the first k of them; it can only fall. The last holds for all.
    settled_at: the smallest k from which the count no longer falls.
    dimensions: effective number of dimensions that the states fill, from 1 to 2n: (sum v)^2 / sum v^2 of the
        variances v along principal axes of scaled states.
    """

    trajectories: int
    transitions: int
    monomials: int
    constant: tuple[tuple[int, int], ...]
    settled_at: int
    dimensions: float

    @property
    def enough(self) -> bool:
        """Whether half of the trajectories already show the same count: accidental invariants are then
        unlikely. More trajectories never make false what these say about themselves.
        """
        return 2 * self.settled_at <= self.trajectories

    def text(self) -> str:
        """One sentence for a report."""
        last = self.constant[-1][1]
        many = f"{self.trajectories} {'trajectory' if self.trajectories == 1 else 'trajectories'}"
        stay = "combination stays" if last == 1 else "combinations stay"
        start = f"{many}: {last} {stay} constant among {self.monomials} monomials"
        if self.enough:
            return f"{start}, no fewer than along {self.settled_at} of them"
        if self.trajectories == 1:
            return f"{start}; one trajectory cannot tell a law from an accident of its orbit"
        before, count = next(entry for entry in reversed(self.constant) if entry[1] != last)
        return (
            f"{start}, along {before} of them {count}: the number still falls, so some may be accidents of "
            f"few trajectories; about {4 * self.trajectories} would tell"
        )


def phase_space_coverage(
    trajectories: Trajectories, *, noise_variance: float | Float[np.ndarray, " dim"] = 0.0
) -> PhaseSpaceCoverage:
    """Count the combinations of monomials of degree at most two that stay constant along ever more of the
    trajectories.

    Every true conserved quantity of that degree stays constant along all of them; few trajectories also keep
    others constant by accident (one orbit of two equal oscillators keeps ten, of which four are laws), and
    the count falls as trajectories are added until only laws are left. `noise_variance`, of the states in the
    units of the trajectories, one number or one a coordinate, is subtracted.
    """
    count = len(trajectories)
    shift, scales = trajectories.points().mean(axis=0), canonical_scales(trajectories.points())
    noise = np.broadcast_to(noise_variance, scales.shape) / scales**2
    states = [(path - shift) / scales for _, path in trajectories.segments()]
    everything = np.concatenate(states)
    # By their singular values: monomials may depend on each other on few points.
    values = monomial_values(everything)
    total = np.cov(values.T, bias=True)
    variances, axes = np.linalg.eigh(total - _noise_part(everything, noise))
    kept = variances > 1e-9 * variances[-1]
    white = axes[:, kept] / np.sqrt(variances[kept])
    never_moving = int(np.count_nonzero(~kept))
    sizes = sorted({min(2**k, count) for k in range(count.bit_length() + 1)} | {count})
    counts = []
    for size in sizes:
        parts = [monomial_values(path) for path in states[:size]]
        moved = np.concatenate([part - part.mean(axis=0) for part in parts])
        within = moved.T @ moved / len(moved)
        # A mean over a trajectory takes a share of the noise with it.
        share = 1 - size / len(moved)
        within -= share * _noise_part(np.concatenate(states[:size]), noise)
        shares = np.linalg.eigvalsh(white.T @ within @ white)
        counts.append((size, never_moving + int(np.count_nonzero(shares < CONSTANT))))
    last = counts[-1][1]
    settled = next(size for size, constant in counts if constant == last)
    spread = np.linalg.eigvalsh(np.cov(everything.T, bias=True))
    return PhaseSpaceCoverage(
        trajectories=count,
        transitions=int((trajectories.lengths - 1).sum()),
        monomials=values.shape[1],
        constant=tuple(counts),
        settled_at=settled,
        dimensions=float(spread.sum() ** 2 / max((spread**2).sum(), 1e-300)),
    )


def _noise_part(
    states: Float[np.ndarray, "points dim"], noise: Float[np.ndarray, " dim"]
) -> Float[np.ndarray, "monomials monomials"]:
    """The covariance that independent noise of variances `noise` gives to monomials, to first order."""
    dim = states.shape[1]
    terms = monomials(dim)
    part = np.zeros((len(terms), len(terms)))
    for coordinate in range(dim):
        if noise[coordinate] == 0:
            continue
        slopes = np.zeros((len(states), len(terms)))
        for column, term in enumerate(terms):
            for place, factor in enumerate(term):
                if factor == coordinate:
                    rest = [*term[:place], *term[place + 1 :]]
                    slopes[:, column] += np.prod(states[:, rest], axis=1)
        part += noise[coordinate] * slopes.T @ slopes / len(states)
    return part
