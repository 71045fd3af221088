"""What `discover` adds to the answer: hypotheses, and the checks of the model."""

from collections.abc import Mapping
from typing import Any

CHECKS = ("structure", "sampling", "calibration")
PASSED = {"structure": "hamiltonian", "sampling": "fine_enough"}
"""The verdict of each check of symmetry.json."""


def discovery_text(symmetry: Mapping[str, Any]) -> str:
    """The hypotheses and checks of symmetry.json for a person to read; empty where there are none."""
    return _hypotheses_text(symmetry) + _checks_text(symmetry)


def _hypotheses_text(symmetry: Mapping[str, Any]) -> str:
    hypotheses = symmetry.get("hypotheses")
    if not hypotheses:
        return ""
    lines = ["hypotheses: what the data say, and by how many nats the bound is higher with it built in"]
    lines += [f"  {_hypothesis(entry)}" for entry in hypotheses]
    fitted = [entry["fit"] for entry in hypotheses if entry["fit"] is not None]
    if fitted and fitted[0]["repeats"] == 1:
        lines.append("  one fit each: errors are those of the estimate, --repeats 3 adds those of seeds")
    return "\n".join(lines) + "\n"


def _checks_text(symmetry: Mapping[str, Any]) -> str:
    checks = symmetry.get("checks")
    notes = [f"! {note}" for note in symmetry.get("notes", [])]
    if not checks:
        return "\n".join([*notes, ""])
    lines = [
        f"checks of the model ({checks['trajectories']} trajectories to learn from, "
        f"{checks['held_out_trajectories']} kept aside, {checks['transitions']} transitions)"
    ]
    for name in CHECKS:
        if name in checks:
            passed = name not in PASSED or checks[name].get(PASSED[name])
            lines.append(f"{' ' if passed else '!'} {checks[name]['text']}")
    return "\n".join([*lines, *notes, ""])


def _hypothesis(entry: Mapping[str, Any]) -> str:
    against = [
        f"{part['nats']:+.0f} ± {part['stderr']:.0f} against {name}"
        + ("" if part["converged"] else " (not converged)")
        for name, part in entry["against"].items()
    ]
    data = f"{entry['data_verdict']} in the data"
    data += (
        f" (changes by at most {entry['limit']:.1%} of its spread)"
        if entry["data_verdict"] == "conserved"
        else f" (changes by {entry['drift']:.1%} of its spread)"
    )
    return "; ".join([f"{entry['formula']}: {entry['answer']}", data, *against])


def discovery_section(symmetry: Mapping[str, Any]) -> str:
    """The Markdown of the hypotheses and checks; empty where there are none."""
    parts = {"Hypotheses": _hypotheses_text(symmetry), "Checks of the model": _checks_text(symmetry)}
    return "\n".join(f"## {title}\n\n```\n{text.rstrip()}\n```\n" for title, text in parts.items() if text)
