"""Whether a named quantity is conserved: fits with it built in, against none and against learned ones."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ..analysis import drift_test
from ..conserved import QuadraticQuantities
from ..phase_space import Quadratics
from ..systems import FormulaError, parse_formula
from ..training import Report
from ._analyse import held_out, refits
from ._folder import RunError
from ._run import TrainedRun

SIGNIFICANT = 3.0
"""Standard errors by which the bound must differ."""


class Hypothesis(NamedTuple):
    """A quantity C(x) = x^T A x / 2 + b^T x that may be conserved, as typed and as read, in the user's units:
    `matrix` A (2n, 2n), `vector` b (2n,).
    """

    formula: str
    matrix: Float[np.ndarray, "dim dim"]
    vector: Float[np.ndarray, " dim"]


def parse_hypothesis(text: str, names: Sequence[str]) -> Hypothesis:
    """Read a formula of degree at most two in the coordinates `names`; nothing is evaluated as code.

    Raises `RunError`, with one line, for anything else and for constants.
    """
    try:
        matrix, vector, _ = parse_formula(text, names).quadratic()
    except FormulaError as error:
        raise RunError(f"--quantity: {error}") from None
    if not matrix.any() and not vector.any():
        raise RunError(f"--quantity: formula {text!r}: a constant is always conserved, expected a function")
    return Hypothesis(text, matrix, vector)


def compare_hypotheses(
    run: TrainedRun,
    hypotheses: Sequence[Hypothesis],
    evidence: Mapping[str, Any],
    repeats: int,
    *,
    on_refit: Callable[[str, int, Report], None] | None = None,
) -> list[dict[str, Any]]:
    """For each hypothesis: the total bound with it built in, by how many nats that exceeds the bound with no
    symmetry and with learned quantities, and its drift on held-out trajectories.

    `evidence` is that of the run's analysis with as many `repeats`, whose fits without symmetry are shared;
    with one repeat the run itself is the fit with learned quantities, with more there are as many of it. Over
    repeats the differences are paired by seed.
    """
    if not hypotheses:
        return []
    learned = evidence["learned"] if repeats == 1 else _learned(run, repeats, on_refit)
    test = held_out(run)
    answers = []
    for number, hypothesis in enumerate(hypotheses):
        space = run.problem.scale.quantities(
            Quadratics(hypothesis.matrix[None], hypothesis.vector[None], np.zeros(1))
        )
        built_in = QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))
        name = f"hypothesis {number + 1}"
        fit = refits(run, "fixed", repeats, built_in, name=name, on_refit=on_refit).bound
        drift = drift_test(
            hypothesis.matrix[None],
            hypothesis.vector[None],
            test.trajectories,
            noise_variance=test.noise_variance,
        )
        against = {"none": gain(evidence["none"], fit), "learned": gain(learned, fit)}
        answers.append(
            {
                "formula": hypothesis.formula,
                "A": hypothesis.matrix.tolist(),
                "b": hypothesis.vector.tolist(),
                "fit": fit,
                "against": against,
                "answer": answer(against["none"]),
                "drift": float(drift.relative_drift[0]) if len(drift.verdicts) else None,
                "drift_verdict": drift.verdicts[0] if drift.verdicts else "untested",
            }
        )
    return answers


def _learned(
    run: TrainedRun, repeats: int, on_refit: Callable[[str, int, Report], None] | None
) -> dict[str, Any]:
    return refits(run, "learned", repeats, on_refit=on_refit).bound


def gain(before: Mapping[str, Any], after: Mapping[str, Any]) -> dict[str, Any]:
    """By how many nats the total bound of `after` exceeds that of `before`, its standard error, and whether
    both have converged.
    """
    first, second = before.get("totals", []), after.get("totals", [])
    if len(first) == len(second) > 1:
        differences = np.subtract(first, second)
        nats = float(differences.mean())
        stderr = float(differences.std(ddof=1) / np.sqrt(len(differences)))
    else:
        nats = before["negative_elbo_total"] - after["negative_elbo_total"]
        stderr = float(np.hypot(before["stderr"], after["stderr"]))
    return {"nats": nats, "stderr": stderr, "converged": before["converged"] and after["converged"]}


def answer(against_none: Mapping[str, Any]) -> str:
    """What the difference from no symmetry says: "supported", "rejected" or "undecided"."""
    nats, margin = against_none["nats"], SIGNIFICANT * against_none["stderr"]
    if not against_none["converged"] or abs(nats) <= margin:
        return "undecided"
    return "supported" if nats > 0 else "rejected"
