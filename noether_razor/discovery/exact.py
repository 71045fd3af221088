"""The exact evidence of a file, of what was asked about and of what the drift test found."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Int

from ..exact_evidence import Evidence, EvidenceError, evidence
from ..invariants import Analysis, FoundQuantity
from ..quantities import Hypothesis
from ..thinning import evenly
from ..trajectories import Trajectories
from .agreement import Agreement, Halves, agreement
from .examination import data_answer
from .hypotheses import HypothesisAnswer

FREEDOMS = 3
"""Degrees of freedom up to which it is always computed."""
MOST_ROWS, LONGEST = 4000, 100
"""Rows that are used, and of one trajectory where there are more."""
FOUND = 12
"""Quantities that are asked about one by one."""
HALF = 5
"""Recordings that a half needs."""


def exact_answer(
    data: Trajectories, analysis: Analysis, hypotheses: Sequence[HypothesisAnswer], failed: dict[str, str]
) -> tuple[Evidence | None, Agreement | None]:
    """The exact evidence for each hypothesis and for what `analysis` finds to be conserved or to drift, and
    whether the space of its quantities is that of the analysis: on the same file, and on independent halves.

    None, where nothing is asked, above three degrees of freedom, of a single recording, and where nothing
    moves, or rows do not show how. What fails is named in `failed`.
    """
    if not analysis.dictionary.quadratic:
        return None, None
    space = analysis.space
    if not hypotheses and (data.dof > FREEDOMS or space.motion.recordings < 2 or not space.shows_motion):
        return None, None
    few = _few(data)
    first, second = halves(data)
    second = np.intersect1d(second, few.recordings)
    asked = [answer.hypothesis.formula for answer in hypotheses]
    each, together = _alone(analysis), _together(analysis)
    try:
        found = evidence(
            few,
            asked,
            beside=[one for one in (*each, *together) if one.formula not in asked],
            apart=second.tolist(),
        )
        found = _off_surfaces(analysis, found)
        halved = None
        if found.apart is not None:
            own = data_answer(data[np.flatnonzero(np.isin(data.recordings, first))])
            halved = Halves.of(own, found.apart, (len(first), len(second)))
        said = agreement(analysis, found, data, halved)
    except Exception as error:  # whatever this fails of costs this part alone
        failed["exact evidence"] = str(error) if isinstance(error, EvidenceError) else repr(error)
        return None, None
    return found, replace(said, together=together[0].formula) if together else said


def _off_surfaces(analysis: Analysis, found: Evidence) -> Evidence:
    """The evidence without a verdict where all rows lie on a surface and it rejects what is conserved on it:
    beside the surface the data say nothing of H, and so of {C, H}.
    """
    conserved = {one.text for one in analysis.quantities}
    against = any(one.quantity in conserved and one.verdict in ("approximate", "rejected") for one in found)
    if found.withdrawn or not against or not analysis.same:
        return found
    surface = analysis.same[0].text
    why = f"{surface} has one value in the whole file: beside that surface H is not known"
    return replace(found, withdrawn=why)


def halves(data: Trajectories) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " second"]]:
    """Every other recording, and the others; none where a half would have fewer than five."""
    recordings = np.unique(data.recordings)
    if len(recordings) < 2 * HALF:
        return recordings[:0], recordings[:0]
    return recordings[::2], recordings[1::2]


def _few(data: Trajectories) -> Trajectories:
    """Of many rows the first hundred of so many trajectories that it takes seconds."""
    if int(data.lengths.sum()) <= MOST_ROWS:
        return data
    short = data.first(LONGEST)
    many = len(short) * MOST_ROWS // int(short.lengths.sum())
    return short[evenly(len(short), many)] if many < len(short) else short


def _alone(analysis: Analysis) -> list[Hypothesis]:
    """What is conserved and what drifts, one by one."""
    return [_hypothesis([one]) for one in (*analysis.quantities[:FOUND], *analysis.drifting[:FOUND])]


def _together(analysis: Analysis) -> list[Hypothesis]:
    """All that is conserved at once; nothing for a single quantity, and where a coefficient has an error:
    such quantities do not close under the Poisson bracket, and no H has them all.
    """
    found = analysis.quantities
    if len(found) < 2 or any(one.formula.errors for one in found):
        return []
    return [_hypothesis(found)]


def _hypothesis(quantities: Sequence[FoundQuantity]) -> Hypothesis:
    return Hypothesis(
        ", ".join(one.text for one in quantities),
        np.array([one.matrix for one in quantities]),
        np.array([one.vector for one in quantities]),
    )
