"""Whether data can be those of equal bodies."""

import numpy as np
from jaxtyping import Float

from ..invariants import BodyTerms
from ..options import OptionError, Options
from ..scaling import PhaseScale
from ..trajectories import Trajectories

FEWEST, STANDARD_ERRORS, DIFFERENT = 8, 6.0, 0.1
"""Trajectories from which bodies are compared; and standard errors and relative difference of what moves them
from which they are not equal.
"""
LAWS = ("velocity", "momentum"), ("force", "position")
"""What moves, and what it is compared with."""


def equal_bodies(bodies: int | None, measured: Trajectories, scale: PhaseScale, option: str) -> int:
    """The number of equal bodies that `measured` trajectories are of.

    Raises `OptionError`, which begins with `option` where none are known, and with data.bodies where
    positions cannot be shared among them, are angles, or have a `scale` that differs between bodies, and
    where a body moves as none that is equal to the others would.
    """
    if bodies is None:
        raise OptionError(f"{option}: needs data.bodies, the number of equal bodies, but got none")
    if measured.dof % bodies:
        raise OptionError(
            f"data.bodies: got {bodies}, but {measured.dof} positions cannot be shared among them"
        )
    if measured.angles():
        raise OptionError(
            "data.bodies: positions that are angles (data.periodic) are none of bodies in space"
        )
    for part in (scale.scales, np.array(scale.shifts)):
        own = part.reshape(2, bodies, -1)
        if not np.array_equal(own, np.broadcast_to(own[:, :1], own.shape)):
            raise OptionError(
                "data.bodies: coordinates are scaled or shifted differently for different bodies, "
                'use data.scale = "none"'
            )
    _check_equal(measured, bodies)
    return bodies


def _check_equal(measured: Trajectories, bodies: int) -> None:
    """Raise `OptionError` where the velocities of a body go with its momenta, or its forces with its
    positions, by another factor than those of all bodies: it has another mass, say.

    The factors are those of least squares, with errors from how they differ between trajectories.
    """
    if len(measured) < FEWEST:
        return
    products = np.array([_products(times, states, bodies) for times, states in measured.segments()])
    for (what, of), (moved, squares) in zip(LAWS, products.transpose(2, 3, 0, 1), strict=True):
        factors = moved.sum(axis=0) / squares.sum(axis=0)
        left = moved - factors * squares
        errors = np.sqrt(np.sum(left**2, axis=0)) / squares.sum(axis=0)
        typical = np.median(factors)
        off = np.abs(factors - typical)
        if np.any(wrong := (off > STANDARD_ERRORS * errors) & (off > DIFFERENT * abs(typical))):
            k = int(np.argmax(np.where(wrong, off, 0.0)))
            raise OptionError(
                f"data.bodies: expected equal bodies, but {what} over {of} is {factors[k]:.3g} for body "
                f"{k + 1} and {typical:.3g} for a typical one"
            )


def _products(
    times: Float[np.ndarray, " time"], states: Float[np.ndarray, "time dim"], bodies: int
) -> Float[np.ndarray, "N laws two"]:
    """Of each body, for momenta and for positions: their products with the changes of the other, and their
    squares, summed over the steps.
    """
    own = states.reshape(len(states), 2, bodies, -1)
    steps = np.diff(times)[:, None, None]
    middle = (own[1:] + own[:-1]) / 2
    # About their mean: an origin is none of a force.
    middle = (middle - middle.mean(axis=0))[:, ::-1]
    changes = np.diff(own, axis=0) / steps[..., None]
    both = np.stack([middle * changes, middle**2], axis=-1)
    return both.sum(axis=(0, 3)).transpose(1, 0, 2)


def body_terms(options: Options, measured: Trajectories) -> BodyTerms | None:
    """The terms among which conserved quantities of `measured` trajectories are sought, where `options` name
    the family bodies; None for other families. Raises `OptionError` for data of no equal bodies.
    """
    if options.symmetry.mode != "learned" or options.symmetry.family != "bodies":
        return None
    identity = PhaseScale.identity(measured.dof)
    return BodyTerms.of(measured.names, equal_bodies(options.bodies, measured, identity, "symmetry.family"))
