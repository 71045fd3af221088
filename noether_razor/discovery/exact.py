"""The exact evidence of what is asked about, beside the Delta-ELBO."""

from collections.abc import Sequence

from ..exact_evidence import Evidence, EvidenceError, evidence
from ..trajectories import Trajectories
from .hypotheses import HypothesisAnswer


def exact_answer(
    data: Trajectories, hypotheses: Sequence[HypothesisAnswer], failed: dict[str, str]
) -> Evidence | None:
    """The exact evidence for each hypothesis; None where nothing is asked, or where a coordinate is an angle,
    which no polynomial Hamiltonian reads. What fails is named in `failed`.
    """
    if not hypotheses or data.angles():
        return None
    try:
        return evidence(data, [answer.hypothesis.formula for answer in hypotheses])
    except (EvidenceError, ArithmeticError, ValueError, RuntimeError, MemoryError) as error:
        failed["exact evidence"] = str(error)
        return None
