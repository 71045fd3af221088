"""The exact evidence of symmetry.json in words."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..exact_evidence import Friction
from ..exact_evidence.space import DECIDED
from ..invariants.simple_numbers import with_error

ALONE = -100.0
"""Nats below which only the sign of a gain means something."""
LISTED = 6
"""Gains that are printed one by one."""
FAR = 1000
"""Nats of a margin that are all the same."""


def exact_part(symmetry: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """The exact evidence, None where there is none."""
    return (symmetry["evidence"] or {}).get("exact")


def exact_verdict(symmetry: Mapping[str, Any], formula: str) -> str:
    """What it says of a quantity: as exact, +44 nats, broken by less than 0.07 %; empty where it says
    nothing.
    """
    exact = exact_part(symmetry)
    if exact is None or exact["withdrawn"]:
        return ""
    asked = {one["quantity"]: one for one in exact["quantities"]}
    if formula not in asked:
        # The energy takes the place of a found quantity once there is a model.
        together = asked.get((exact.get("agreement") or {}).get("together", ""))
        if together is None or formula not in [entry["formula"] for entry in symmetry["quantities"]]:
            return ""
        return f"{together['verdict']} with the others, {exact_gain(together)}"
    return exact_text(asked[formula])


def exact_text(one: Mapping[str, Any]) -> str:
    """As exact, +44 nats, broken by less than 0.07 %."""
    parts = one["verdict"], exact_gain(one), one["why"] or _broken(one["breaking"])
    return ", ".join(part for part in parts if part)


def _broken(breaking: Mapping[str, float]) -> str:
    low, high = (f"{100 * breaking[edge]:.2g}" for edge in ("lo", "hi"))
    if breaking["lo"] <= 0:
        return f"broken by less than {high} %"
    return f"broken by {low} %" if low == high else f"broken by {low} to {high} %"


def exact_gain(one: Mapping[str, Any]) -> str:
    """By how many nats the data are more probable with a quantity built in."""
    if one["gain"] is None:
        return "no such Hamiltonian fits"
    gain, error = one["gain"], one["stderr"]
    if gain < ALONE or error is None:
        return f"{gain:+.0f} nats"
    places = 1 if error < 1 else 0
    return f"{gain:+.{places}f} ± {max(error, 0.1):.{places}f} nats"


def exact_sentences(symmetry: Mapping[str, Any]) -> list[str]:
    """The space of quantities by the posterior of H beside that of the drift test, H, and its friction."""
    exact = exact_part(symmetry)
    if exact is None:
        return []
    dictionary = exact.get("dictionary") or f"polynomials of degree {exact['degree']}"
    about = f"exact evidence ({dictionary})"
    if exact["withdrawn"]:
        return [f"{about}: no verdict, {exact['withdrawn']}"]
    agreement = exact.get("agreement")
    found = [f"{about}: {_space(exact, agreement or {})}{_compared(agreement or {})}"]
    if agreement is not None and agreement["halves"] is not None:
        found.append(_halves(agreement))
    found += _built_in(exact, [entry["formula"] for entry in symmetry["quantities"]])
    # One H is enough: that of a library has the fewest terms.
    beyond = (symmetry.get("beyond") or {}).get("hamiltonian") or {}
    if exact.get("hamiltonian") is not None and beyond.get("source") != "shooting":
        found.append(f"H = {exact['hamiltonian']['text']}")
    return [*found, friction_text(exact["friction"], symmetry.get("time_unit") or "unit of time")]


def friction_text(friction: Mapping[str, Any], unit: str) -> str:
    """The rate of friction and whether the data show one."""
    rate = f"{with_error(friction['gamma'], friction['sd'])} per {unit}"
    gain = friction["gain"]
    if Friction(friction["gamma"], friction["sd"], np.inf if gain is None else gain).absent:
        return f"friction: none seen ({rate})"
    return f"friction: {rate}" + ("" if gain is None else f", {gain:+.0f} nats")


def disagreement(symmetry: Mapping[str, Any]) -> str:
    """What speaks against the answer of the drift test; empty where nothing does."""
    exact = exact_part(symmetry) or {}
    agreement = exact.get("agreement") or {}
    if agreement.get("said") != "different":
        return ""
    return f"H by the exact evidence has {agreement['posterior']}: {agreement['reason']}"


def _space(exact: Mapping[str, Any], agreement: Mapping[str, Any]) -> str:
    rank, margin = exact["rank"], exact["rank_margin"]
    # Where both methods find the same, the first line has the name.
    algebra = "" if agreement.get("said") == "same" else agreement.get("algebra")
    many = f"{rank} conserved" + (f" ({algebra})" if algebra else "")
    if margin is None:
        return many
    if margin < DECIDED:
        return f"undecided between {_best_two(exact['log_evidence_rank'])} (margin {margin:.1f} nats)"
    return f"{many}, ahead by {_ahead(margin)} nats"


def _best_two(evidence: Sequence[float | None]) -> str:
    known = sorted((value, rank) for rank, value in enumerate(evidence) if value is not None)
    first, second = known[-1][1], known[-2][1]
    return f"{first} and {second} conserved"


def _compared(agreement: Mapping[str, Any]) -> str:
    if not agreement:
        return ""
    said = {
        "same": "; the drift test finds the same on the same file",
        "different": f"; the drift test {agreement['drift']}: {agreement['reason']}",
    }
    return said.get(agreement["said"], f"; the drift test {agreement['drift']}")


def _ahead(margin: float) -> str:
    return f"{margin:.0f}" if margin < FAR else f"over {FAR}"


def _built_in(exact: Mapping[str, Any], formulas: Sequence[str]) -> list[str]:
    """The gains of what the drift test found, alone and together; verdicts other than "exact" stand beside
    the formulas.
    """
    asked = {one["quantity"]: one for one in exact["quantities"]}
    named = [(f"C{k}", asked[text]) for k, text in enumerate(formulas, 1) if text in asked]
    if (together := asked.get((exact.get("agreement") or {}).get("together", ""))) is not None:
        named.append(("all", together))
    sure = [(name, one) for name, one in named if one["verdict"] == "exact"]
    if not sure:
        return []
    gains = [f"{name} {one['gain']:+.0f}" for name, one in sure]
    if len(sure) > LISTED:
        alone = [one["gain"] for name, one in sure if name != "all"]
        gains = [f"{len(alone)} of them {min(alone):+.0f} to {max(alone):+.0f}", *gains[len(alone) :]]
    most = max(100 * one["breaking"]["hi"] for _, one in sure)
    return [f"built in: {', '.join(gains)} nats: exact (broken by less than {most:.2g} %, 95 %)"]


def _halves(agreement: Mapping[str, Any]) -> str:
    halves = agreement["halves"]
    first, second = halves["recordings"]
    margin = "" if halves["margin"] is None else f" ({_ahead(halves['margin'])} nats)"
    words = {"same": "they agree", "different": "they disagree", "undecided": "undecided"}
    word = words[halves["said"]]
    if halves["said"] == agreement["said"] == "different" and all(
        halves[key] == agreement[key] for key in ("drift", "posterior")
    ):
        word = "as on the whole file"
    return (
        f"halves that share no data: drift test {halves['drift']} on {first} trajectories, H "
        f"{halves['posterior']} on {second} others{margin}: {word}"
    )
