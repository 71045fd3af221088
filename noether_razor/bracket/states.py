"""The bracket of states that are no pairs of positions and momenta, of whichever family fits."""

from collections.abc import Callable, Sequence
from typing import Any

from ..trajectories import Trajectories
from .lie_poisson import LiePoisson, lie_poisson
from .log_canonical import MOST_COLUMNS, LogCanonical, log_canonical


def bracket_of_states(
    data: Trajectories, *, progress: Callable[[str], None] | None = None
) -> LiePoisson | LogCanonical:
    """Of three columns a bracket that is linear in them, where one fits; else of positive columns one that is
    constant for their logarithms. Raises ValueError for columns that have neither.
    """
    dim, positive = data.states.shape[2], bool((data.points() > 0).all())
    if dim == 3:
        linear = lie_poisson(data, progress=progress)
        if linear.fits or not positive:
            return linear
        logarithmic = log_canonical(data, progress=progress)
        return logarithmic if logarithmic.fits else linear
    if positive and 2 <= dim <= MOST_COLUMNS:
        return log_canonical(data, progress=progress)
    raise ValueError(
        "a bracket is found for three columns, or where all rows are positive for 2 to "
        f"{MOST_COLUMNS}, got {dim} columns" + ("" if positive else " with values that are not positive")
    )


def no_bracket(columns: Sequence[str], why: str) -> dict[str, Any]:
    """The contents of symmetry.json for columns of which no bracket is looked for."""
    return {
        "rank": 0,
        "quantities": [],
        "independent": 0,
        "hamiltonian": None,
        "algebra": {"name": "trivial", "dimension": 0},
        "bracket": {
            "kind": "unknown",
            "sentences": [f"no bracket was looked for: {why}"],
            "columns": list(columns),
            "brackets": [],
            "adequate": False,
            "why": why,
        },
    }
