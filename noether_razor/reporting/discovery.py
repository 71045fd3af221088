"""What `discover` adds to the answer: hypotheses, and the checks of the model."""

from collections.abc import Mapping
from typing import Any

from .answer import DIFFERENCE, folded, gain_text, judgement_text, limit_text, percent
from .exact import exact_verdict

CHECKS = ("structure", "sampling", "calibration")
AGAINST = {"none": "no symmetry", "learned": "learned quantities"}
"""What a fit with a hypothesis built in is compared with."""
ENGINES = {"data": "the data", "exact": "the exact evidence", "bound": "the bound"}
"""What an answer is by."""
PASSED = {"structure": "hamiltonian", "sampling": "fine_enough"}
"""The verdict of each check of symmetry.json."""


def discovery_text(symmetry: Mapping[str, Any]) -> str:
    """The hypotheses and checks of symmetry.json for a person to read; empty where there are none."""
    return _hypotheses_text(symmetry) + _checks_text(symmetry)


def _hypotheses_text(symmetry: Mapping[str, Any]) -> str:
    hypotheses = symmetry.get("hypotheses")
    if not hypotheses:
        return ""
    fitted = any(entry["fit"] is not None for entry in hypotheses)
    title = "hypotheses"
    if fitted and not symmetry["rank"]:
        title += f" (Delta-ELBO is {DIFFERENCE})"
    lines = [title]
    for entry in hypotheses:
        lines += folded(_hypothesis(entry, exact_verdict(symmetry, entry["formula"])), "  ", "    ")
    return "\n".join(lines) + "\n"


def _checks_text(symmetry: Mapping[str, Any]) -> str:
    checks = symmetry.get("checks")
    notes = [f"! {note}" for note in symmetry.get("notes", [])]
    if not checks:
        return "\n".join([*notes, ""])
    lines = [
        f"model checks (trained on {checks['trajectories']} trajectories with {checks['transitions']} "
        f"transitions; {checks['held_out_trajectories']} trajectories held out)"
    ]
    for name in CHECKS:
        if name in checks:
            passed = name not in PASSED or checks[name].get(PASSED[name])
            lines += folded(checks[name]["text"], "  " if passed else "! ", "    ")
    return "\n".join([*lines, *notes, ""])


def _hypothesis(entry: Mapping[str, Any], exact: str) -> str:
    drift = f"drift {percent(entry['drift'])} of its spread"
    parts = [
        f"{entry['formula']}: {answered(entry)}",
        f"{entry['data_verdict']} in the data, "
        + (limit_text(entry) if entry["data_verdict"] == "conserved" else drift),
    ]
    if exact:
        parts.append(f"exact evidence: {exact}")
    if entry["against"]:
        parts.append(f"Delta-ELBO {', '.join(gains(entry))}; {judgement_text(entry['bound'])}")
    if entry.get("failed"):
        parts.append(f"no Delta-ELBO: {entry['failed']}")
    return "; ".join(parts)


def answered(entry: Mapping[str, Any]) -> str:
    """The answer to a hypothesis and what it is by."""
    return f"{entry['answer']} by {ENGINES[entry['engine']]}"


def gains(entry: Mapping[str, Any]) -> list[str]:
    """By how many nats the ELBO with a hypothesis built in exceeds that of each other fit."""
    return [f"{gain_text(part)} against {AGAINST.get(name, name)}" for name, part in entry["against"].items()]


def discovery_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of the hypotheses and checks; empty where there are none."""
    parts = {"Hypotheses": _hypotheses_text(symmetry), "Checks of the model": _checks_text(symmetry)}
    return "\n".join(f"## {title}\n\n```\n{text.rstrip()}\n```\n" for title, text in parts.items() if text)
