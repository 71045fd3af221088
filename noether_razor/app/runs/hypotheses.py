"""Whether a named quantity is conserved: fits with it built in, against none and against learned ones."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from ...formula import FormulaError, parse_formula
from ...invariants import conserved_space
from ...invariants.terms import coefficients
from ...quadratic_forms import Quadratics
from ...quantities import QuadraticQuantities
from ...trajectories import Trajectories
from .folder import RunError, RunFolder
from .refits import OnRefit, refits
from .run import TrainedRun

SIGNIFICANT = 3.0
"""Standard errors by which the bound must differ."""


class Hypothesis(NamedTuple):
    """Quantities C_k(x) = x^T A_k x / 2 + b_k^T x, K of them, that may all be conserved: as typed and as
    read, in the user's units.
    """

    formula: str
    matrices: Float[np.ndarray, "K dim dim"]
    vectors: Float[np.ndarray, "K dim"]


def parse_hypothesis(
    text: str,
    names: Sequence[str],
    velocities: Mapping[str, float] | None = None,
    angles: Sequence[int] = (),
) -> Hypothesis:
    """Read a formula of degree at most two in the coordinates `names`, or several with commas between them;
    nothing is evaluated as code. Where momenta are mass times velocity, `velocities` are these masses by
    the names of the velocities, in the order of the momenta: formulas may then name either. The
    coordinates `angles` may not stand in them.

    Raises `RunError`, with one line, for anything else, for constants and for formulas of which one follows
    from the others.
    """
    matrices, vectors = [], []
    # v = p / m: each row says what a variable of a formula is in coordinates.
    variables, rows = list(names), list(np.eye(len(names)))
    for k, (name, mass) in enumerate((velocities or {}).items(), start=len(names) // 2):
        if name not in names:
            variables.append(name)
            rows.append(rows[k] / mass)
    meaning = np.array(rows)
    for part in text.split(","):
        try:
            matrix, vector, _ = parse_formula(part, variables).quadratic()
        except FormulaError as error:
            raise RunError(f"--quantity: {error}") from None
        matrix, vector = meaning.T @ matrix @ meaning, vector @ meaning
        if not matrix.any() and not vector.any():
            raise RunError(
                f"--quantity: formula {part.strip()!r}: a constant is always conserved, expected a function"
            )
        for k in angles:
            if matrix[k].any() or vector[k]:
                raise RunError(
                    f"--quantity: formula {part.strip()!r}: contains {names[k]}, which is an angle "
                    "(--periodic): no polynomial in an angle is a function on its circle"
                )
        matrices.append(matrix)
        vectors.append(vector)
    found = np.concatenate([np.reshape(matrices, (len(matrices), -1)), vectors], axis=1)
    if np.linalg.matrix_rank(found / np.linalg.norm(found, axis=1, keepdims=True)) < len(found):
        raise RunError(f"--quantity: {text!r}: one formula is a combination of the others")
    return Hypothesis(text.strip(), np.array(matrices), np.array(vectors))


def compare_hypotheses(
    folder: RunFolder,
    run: TrainedRun,
    hypotheses: Sequence[Hypothesis],
    evidence: Mapping[str, Any],
    repeats: int,
    tested: Trajectories,
    *,
    on_refit: OnRefit | None = None,
) -> list[dict[str, Any]]:
    """For each hypothesis: what the trajectories `tested` say of it, the total bound with it built in, and by
    how many nats that exceeds the bound with no symmetry and with learned quantities.

    `evidence` is that of the run's analysis with as many `repeats`, whose fits without symmetry are shared;
    with one repeat the run itself is the fit with learned quantities, with more there are as many of it. Over
    repeats the differences are paired by seed. A fit that fails leaves what the data say.
    """
    if not hypotheses:
        return []
    learned = evidence["learned"]
    if repeats > 1:
        learned = refits(folder, run, "learned", repeats, on_refit=on_refit).bound
    answers = []
    for number, hypothesis in enumerate(hypotheses):
        matrices, vectors = hypothesis.matrices, hypothesis.vectors
        space = run.problem.scale.quantities(Quadratics(matrices, vectors, np.zeros(len(vectors))))
        built_in = QuadraticQuantities(jnp.asarray(space.matrices), jnp.asarray(space.vectors))
        said = of_data(hypothesis, tested)
        entry = {"formula": hypothesis.formula, "A": matrices.tolist(), "b": vectors.tolist(), **said}
        try:
            name = f"hypothesis {number + 1}"
            fit = refits(folder, run, "fixed", repeats, built_in, name=name, on_refit=on_refit).bound
        except FloatingPointError as error:
            answers.append({**entry, "fit": None, "against": {}, "failed": str(error)})
            continue
        against = {"none": gain(evidence["none"], fit), "learned": gain(learned, fit)}
        answers.append({**entry, "fit": fit, "against": against, "answer": _answer(said, against["none"])})
    return answers


def of_data(hypothesis: Hypothesis, trajectories: Trajectories) -> dict[str, Any]:
    """What trajectories alone say of a hypothesis: of several quantities, of the one that changes most."""
    rows = coefficients(hypothesis.matrices, hypothesis.vectors)
    space = conserved_space(trajectories, rows)
    verdict = "not conserved"
    if space.staying == len(rows):
        verdict = "conserved" if not len(space.same) else "the same everywhere"
    elif space.staying + len(space.drifting) == len(rows):
        verdict = "slowly drifting"
    changes = [space.drift.change(row) for row in space.motion.rows(rows)]
    worst = max(changes, key=lambda change: change.change)
    limit = max(change.hidden for change in changes)
    said = {"drift": worst.change, "limit": limit, "data_verdict": verdict}
    return {**said, "answer": _answer(said, None)}


def _answer(said: Mapping[str, Any], against_none: Mapping[str, Any] | None) -> str:
    """The data decide; the bound has a say in what they do not reject."""
    if said["data_verdict"] in ("not conserved", "slowly drifting"):
        return "rejected"
    if said["data_verdict"] == "the same everywhere" or against_none is None:
        return "undecided"
    return answer(against_none)


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
