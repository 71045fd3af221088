"""Terms that a user adds by formulas, which are parsed and never evaluated as code."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import sympy
from jaxtyping import Array, Float

from ..formula import FormulaError, parse_formula
from ..invariants import FunctionDictionary, Term
from ..thinning import evenly
from ..trajectories import Trajectories
from ..typing import State
from .options import LibraryError

SAME = 1e-9
"""What is left of a term beside others over its size, from which it is one of its own."""
ASKED = 1000
"""States at which this is asked."""


def user_terms(texts: Sequence[str], data: Trajectories, what: str = "term") -> FunctionDictionary | None:
    """The terms of these formulas in the variables of `data`, velocities among them; None without any.

    Raises `LibraryError`, with one line about `what`, for a formula that cannot be read, that is constant or
    not finite on the data, or that is no function on the circle of an angle.
    """
    if not texts:
        return None
    others = data.other_names()
    formulas = []
    for text in dict.fromkeys(part.strip() for part in texts):
        try:
            formulas.append(parse_formula(text, (*data.names, *others)))
        except FormulaError as error:
            raise LibraryError(f"{what}: {error}") from None

    def function(state: State) -> Float[Array, " M"]:
        rows = [jnp.asarray(row, state.dtype) @ state for row in others.values()]
        every = jnp.concatenate([state, jnp.stack(rows)]) if rows else state
        return jnp.stack([formula(every) for formula in formulas])

    meaning = {
        sympy.Symbol(name): sum(
            sympy.Float(value) * sympy.Symbol(own)
            for own, value in zip(data.names, row.tolist(), strict=True)
            if value
        )
        for name, row in others.items()
    }
    made = FunctionDictionary(
        family="user",
        variables=data.names,
        terms=tuple(Term(f"({f.text})", f.expression.xreplace(meaning)) for f in formulas),
        function=function,
    )
    _check(made, [f.text for f in formulas], data, what)
    return made


def _check(made: FunctionDictionary, texts: Sequence[str], data: Trajectories, what: str) -> None:
    points = data.points()
    every = [made.values(points), *(made.slopes(points, i) for i in range(points.shape[1]))]
    finite = np.all([np.isfinite(part) for part in every], axis=0)
    for k, text in enumerate(texts):
        if not finite[:, k].all():
            bad = int(np.sum(~finite[:, k]))
            raise LibraryError(f"{what} {text!r}: not finite at {bad} of {len(points)} rows of the data")
        if np.ptp(every[0][:, k]) <= SAME * np.abs(every[0][:, k]).max(initial=1e-300):
            raise LibraryError(f"{what} {text!r}: constant on the data, expected a function that varies")
    on_circle = made.usable(points, np.ones(points.shape[1], bool), data.periods)
    for text, usable in zip(texts, on_circle.tolist(), strict=True):
        if not usable:
            raise LibraryError(f"{what} {text!r}: whole turns of an angle change it (--periodic)")


def beside(
    made: FunctionDictionary, others: Float[np.ndarray, "rows M"], states: Float[np.ndarray, "rows dim"]
) -> FunctionDictionary | None:
    """The terms that are no combinations of `others`, values at `states`, and of those before them."""
    chosen = evenly(len(states), ASKED)
    known = np.concatenate([np.ones((len(chosen), 1)), others[chosen]], axis=1)
    values, kept = made.values(states[chosen]), []
    for k in range(len(made)):
        size = np.maximum(np.linalg.norm(known, axis=0), np.finfo(float).tiny)
        left = values[:, k] - (known / size) @ np.linalg.lstsq(known / size, values[:, k], rcond=1e-12)[0]
        if len(chosen) <= known.shape[1] or np.linalg.norm(left) > SAME * np.linalg.norm(values[:, k]):
            kept.append(k)
            known = np.concatenate([known, values[:, k : k + 1]], axis=1)
    if len(kept) == len(made):
        return made
    if not kept:
        return None
    function, rows = made.function, np.array(kept)
    return FunctionDictionary(
        family=made.family,
        variables=made.variables,
        terms=tuple(made.terms[k] for k in kept),
        function=lambda state: function(state)[rows],
    )
