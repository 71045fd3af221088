"""Velocities of trajectories that only have positions, by polynomials through blocks of rows."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from ..thinning import evenly

ROWS = (3, 5, 7, 9, 13, 17, 25, 35, 49, 69, 97, 137, 193, 273, 385)
"""Numbers of rows of a block that are tried: odd, so that a block has a row in its middle."""
DEGREES = (2, 4, 6)
"""Degrees of the polynomials: even, so that an odd one more does not change the velocity in the middle."""
FEWEST = 2
"""Blocks that a trajectory must have."""
PER_PERIOD = 8.0
"""Blocks that a period must have: motion is followed from block to block."""
SEEN = 3.0
"""Standard errors by which a bias must exceed chance to be measured; else it follows from longer blocks."""
LARGEST_ERROR = 0.3
"""Error of a velocity over its spread from which it says too little."""
MOST_TRIED = 1000
"""Windows that a choice of rows and degree is judged by."""
WIDER = 1.6
"""Rows of the windows with two degrees more that show the bias, over those of a block: as little noise."""
NOISE_ROWS, NOISE_DEGREE = 9, 6
"""Rows and degree of the polynomials that show the noise of positions."""

HIDDEN = 1e-6
"""Share of a velocity's mean square below which noise leaves nothing."""

Span = tuple[int, int]
"""The rows of a trajectory: the first, and the one after the last."""


class PositionsError(ValueError):
    """Positions that no velocities can be had from, and what would help."""


class Smoothed(NamedTuple):
    """Positions and velocities in the middle of blocks of rows that do not overlap, so that their noise is
    independent, too; in the middle of equal steps that of position and velocity as well.

    times (blocks,); positions, velocities (blocks, n); spans: the blocks of each trajectory; kept: which
    trajectories have enough rows; rows: of a block; degree: of its polynomial; errors (n,): standard
    deviations of the velocities.
    """

    times: Float[np.ndarray, " blocks"]
    positions: Float[np.ndarray, "blocks n"]
    velocities: Float[np.ndarray, "blocks n"]
    spans: tuple[Span, ...]
    kept: tuple[int, ...]
    rows: int
    degree: int
    errors: Float[np.ndarray, " n"]


class _Choice(NamedTuple):
    """Blocks of so many rows with polynomials of a degree: how many there are, variance and squared bias of
    the velocities (n,) with the standard error of the latter, their mean square (n,), and the time that a
    block takes.
    """

    rows: int
    degree: int
    blocks: int
    variance: Float[np.ndarray, " n"]
    bias: Float[np.ndarray, " n"]
    chance: Float[np.ndarray, " n"]
    square: Float[np.ndarray, " n"]
    time: float

    def share(self, what: Float[np.ndarray, " n"]) -> float:
        """The largest over the columns beside the mean square that noise leaves."""
        left = np.maximum(self.square - self.variance, HIDDEN * self.square + np.finfo(float).tiny)
        return float(np.max(what / left))


def velocities(
    times: Float[np.ndarray, " rows"],
    positions: Float[np.ndarray, "rows n"],
    spans: Sequence[Span],
    names: Sequence[str],
) -> Smoothed:
    """Velocities of the trajectories in rows `spans`, one for each block of rows.

    Of all block lengths with at least eight blocks a period the one whose velocities have the least variance
    for the time that they take, where the bias by a polynomial of too low a degree is below the error of the
    mean over all blocks: it is measured against a polynomial of two degrees more, and in blocks so short that
    noise hides it, it is that of longer ones, by the power of their length. The period is that of a harmonic
    motion with the r.m.s. velocity and spread of the fastest column. Raises `PositionsError`, with the number
    of rows that would do.
    """
    if max(end - first for first, end in spans) < FEWEST * NOISE_ROWS:
        raise PositionsError(
            f"positions alone need {FEWEST * NOISE_ROWS} rows or more of a trajectory for its velocities: "
            "give velocities or momenta"
        )
    noise = _noise(times, positions, spans)
    tried = [one for d in DEGREES for one in _choices(times, positions, spans, noise, d)]
    spread = np.sqrt(np.mean([np.var(positions[a:b], axis=0) for a, b in spans], axis=0))
    surest = min(tried, key=lambda one: one.share(one.variance + one.bias))
    speed = np.sqrt((surest.square - surest.variance).clip(1e-300))
    period = float(np.min(2 * np.pi * spread / speed))
    followed = [one for one in tried if one.time * PER_PERIOD <= period]
    if not followed:
        raise PositionsError(
            f"the fastest motion has {period * surest.rows / surest.time:.2g} rows a period, velocities from "
            f"positions need {ROWS[0] * PER_PERIOD:.0f}: sample more often, or give velocities or momenta"
        )
    best = _best(followed)
    _check_errors(best, names)
    kept = tuple(k for k, (first, end) in enumerate(spans) if end - first >= FEWEST * best.rows)
    starts = [_starts(spans[k], best.rows) for k in kept]
    at, values, slopes = _smoothed(times, positions, np.concatenate(starts), best.rows, best.degree)
    ends = np.cumsum([len(one) for one in starts]).tolist()
    blocks = tuple(zip([0, *ends[:-1]], ends, strict=True))
    errors = np.sqrt(best.variance + best.bias)
    return Smoothed(at, values, slopes, blocks, kept, best.rows, best.degree, errors)


def _check_errors(best: _Choice, names: Sequence[str]) -> None:
    """Raises `PositionsError` where noise leaves too little of a velocity."""
    squares = best.variance + best.bias
    worst, name = best.share(squares) ** 0.5, names[int(np.argmax(squares / best.square.clip(1e-300)))]
    if worst > 1:
        raise PositionsError(
            f"noise hides the velocity of {name}: leave the column out if it does not move, or give "
            "velocities or momenta"
        )
    if worst > LARGEST_ERROR:
        raise PositionsError(
            f"noise leaves the velocity of {name} an error of {100 * worst:.0f} % of its spread, at most "
            f"{100 * LARGEST_ERROR:.0f} % can be used: sample about {(worst / LARGEST_ERROR) ** 2:.1f} times "
            "as often, or give velocities or momenta"
        )


def _best(followed: Sequence[_Choice]) -> _Choice:
    unbiased = [one for one in followed if one.share(one.bias - one.variance / one.blocks) <= 0]
    if unbiased:
        return min(unbiased, key=lambda one: one.share(one.variance) * one.time)
    return min(followed, key=lambda one: one.share(one.variance + one.bias))


def _noise(
    times: Float[np.ndarray, " rows"], positions: Float[np.ndarray, "rows n"], spans: Sequence[Span]
) -> Float[np.ndarray, " n"]:
    """The variance of the noise of positions."""
    middles = _middles(spans, NOISE_ROWS)
    inside = middles[:, None] + np.arange(NOISE_ROWS) - NOISE_ROWS // 2
    powers = _powers(times[inside], NOISE_DEGREE)
    basis = np.linalg.qr(powers)[0]
    rows = positions[inside]
    left = rows - basis @ (np.swapaxes(basis, 1, 2) @ rows)
    return np.sum(left**2, axis=(0, 1)) / (len(middles) * (NOISE_ROWS - NOISE_DEGREE - 1))


def _choices(
    times: Float[np.ndarray, " rows"],
    positions: Float[np.ndarray, "rows n"],
    spans: Sequence[Span],
    noise: Float[np.ndarray, " n"],
    degree: int,
) -> list[_Choice]:
    """What blocks of all lengths give with polynomials of a degree, up to those with more bias than noise."""
    tried: list[_Choice] = []
    for rows in ROWS:
        one = _choice(times, positions, spans, noise, rows, degree) if rows > degree else None
        if one is not None:
            tried.append(one)
            if one.share(one.bias) > max(one.share(one.variance), one.share(SEEN * one.chance)):
                break
    for k in range(len(tried) - 2, -1, -1):
        own, longer = tried[k], tried[k + 1]
        expected = longer.bias * (own.time / longer.time) ** (2 * degree)
        seen = own.bias > SEEN * own.chance
        tried[k] = own._replace(bias=np.where(seen, own.bias, expected))
    return tried


def _choice(
    times: Float[np.ndarray, " rows"],
    positions: Float[np.ndarray, "rows n"],
    spans: Sequence[Span],
    noise: Float[np.ndarray, " n"],
    rows: int,
    degree: int,
) -> _Choice | None:
    """What such blocks give; None where no trajectory has two of them with room for a wider one."""
    wide = max(2 * round(WIDER * rows / 2) + 1, degree + 3)
    middles = _middles(spans, wide)
    if not len(middles) or not any(end - first >= FEWEST * rows for first, end in spans):
        return None
    inside = middles[:, None] + np.arange(wide) - wide // 2
    block = slice((wide - rows) // 2, (wide + rows) // 2)
    within = inside[:, block]
    own = _weights(times[within], degree)[:, 1]
    slopes = np.einsum("br,brn->bn", own, positions[within])
    off = -_weights(times[inside], degree + 2)[:, 1]
    off[:, block] += own
    differences = np.einsum("br,brn->bn", off, positions[inside])
    by_noise = noise * np.mean(np.sum(off**2, axis=1))
    apart = max(1.0, sum(end - first for first, end in spans) / wide)
    return _Choice(
        rows,
        degree,
        sum((end - first) // rows for first, end in spans),
        noise * np.mean(np.sum(own**2, axis=1)),
        np.maximum(np.mean(differences**2, axis=0) - by_noise, 0.0),
        by_noise * np.sqrt(2 / apart),
        np.mean((slopes - slopes.mean(axis=0)) ** 2, axis=0),
        float(np.median(np.ptp(times[within], axis=1))) * rows / (rows - 1),
    )


def _starts(span: Span, rows: int) -> Int[np.ndarray, " blocks"]:
    """Where the blocks of a trajectory begin, what is left over on both sides."""
    count = (span[1] - span[0]) // rows
    first = span[0] + (span[1] - span[0] - count * rows) // 2
    return first + rows * np.arange(count)


def _middles(spans: Sequence[Span], wide: int) -> Int[np.ndarray, " some"]:
    """The middle rows of some windows of `wide` rows."""
    half = wide // 2
    every = np.concatenate([np.arange(first + half, end - half) for first, end in spans])
    return every[evenly(len(every), MOST_TRIED)] if len(every) else every


def _smoothed(
    times: Float[np.ndarray, " rows"],
    positions: Float[np.ndarray, "rows n"],
    starts: Int[np.ndarray, " blocks"],
    rows: int,
    degree: int,
) -> tuple[Float[np.ndarray, " blocks"], Float[np.ndarray, "blocks n"], Float[np.ndarray, "blocks n"]]:
    """The middle of each block, the position there and the velocity."""
    inside = starts[:, None] + np.arange(rows)
    both = np.einsum("bkr,brn->kbn", _weights(times[inside], degree), positions[inside])
    return times[inside].mean(axis=1), both[0], both[1]


def _powers(times: Float[np.ndarray, "blocks rows"], degree: int) -> Float[np.ndarray, "blocks rows powers"]:
    """Powers of the time from the middle of the block, in halves of its length."""
    half = np.ptp(times, axis=1, keepdims=True) / 2
    return ((times - times.mean(axis=1, keepdims=True)) / half)[..., None] ** np.arange(degree + 1)


def _weights(times: Float[np.ndarray, "blocks rows"], degree: int) -> Float[np.ndarray, "blocks 2 rows"]:
    """What a least-squares polynomial takes of each row for the value and the slope in the middle."""
    half = np.ptp(times, axis=1) / 2
    powers = _powers(times, degree)
    turned = np.swapaxes(powers, 1, 2)
    weights = np.linalg.inv(turned @ powers)[:, :2] @ turned
    weights[:, 1] /= half[:, None]
    return weights
